"""Tokens: which one a request carries, and whether it counts. Pure; keys and API keys are handed in."""
