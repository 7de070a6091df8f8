"""Processes of engines that run the app inside of themselves, and of their plain HTTP listeners."""
