"""Revocation lists that somebody else publishes. See docs/design/lists.md.

``file`` reads those that the operator gives; its names are the package's. For those that are fetched:
``points`` (where they are), ``judging`` (does one count), ``entries`` (who is on it), ``schedule`` (when to
ask). All of these are pure; ``_system/fetch.py`` asks.
"""

from __future__ import annotations

from sealgate.pki.lists.file import (
    age_of,
    foreign_lists,
    lists_of,
    pem_of_lists,
    revocation_keys,
    same_key,
    until_of,
)

__all__ = [
    "age_of",
    "foreign_lists",
    "lists_of",
    "pem_of_lists",
    "revocation_keys",
    "same_key",
    "until_of",
]
