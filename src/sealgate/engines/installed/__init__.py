"""Servers that somebody else installed and started: our site by one file of ours and one include line."""
