"""One folder for each engine."""
