"""Engines: the servers that do TLS and HTTP, and what is the same for all of them."""
