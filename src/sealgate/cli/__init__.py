"""One file per command; the modules that begin with an underscore are what they share."""
