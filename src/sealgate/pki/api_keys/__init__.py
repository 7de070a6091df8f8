"""API keys: which were issued, to whom, for what; never the keys themselves."""
