"""Gunicorn's processes: its arbiter and its workers, with the guard around the app."""
