"""Configurations that somebody else wrote: read, never written, never run."""
