"""Settings that do not do what they seem to: one module for each server, with one constant ``TRAPS``."""
