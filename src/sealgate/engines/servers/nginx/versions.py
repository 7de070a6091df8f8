"""What differs between versions of nginx: since when each thing is there. What renders compares with these.

Both ends of the range were run against every question of the tests; what lies between them only in rendering,
by nginx's own list of changes.
"""

from __future__ import annotations

from typing import TypeAlias

__all__ = [
    "CERTIFICATE_CACHE",
    "HTTP2_DIRECTIVE",
    "POST_QUANTUM_OPENSSL",
    "STAYS_OPEN",
    "TESTED",
    "TICKET_KEYS_CHANGE",
    "accepted",
]

Version: TypeAlias = tuple[int, int, int]

TESTED = ("1.22", "1.31")
"""Minor versions on which the tests were run: Debian's, and the mainline of the day."""

TICKET_KEYS_CHANGE: Version = (1, 23, 2)
"""Keys of session tickets are in the shared cache and change; before, one served until the next load."""

HTTP2_DIRECTIVE: Version = (1, 25, 1)
"""`http2 on;` before it a word of `listen`, which later versions warn about."""

CERTIFICATE_CACHE: Version = (1, 27, 4)
"""`ssl_certificate_cache`, and `ssl_object_cache_inheritable` with it."""

STAYS_OPEN: Version = (1, 27, 4)
"""`keepalive_min_timeout`: idle connections outlive a load by that much."""

POST_QUANTUM_OPENSSL: Version = (3, 5, 0)
"""OpenSSL's first version with X25519MLKEM768."""


def accepted(version: Version) -> bool:
    """Is it one of those tested, or between them?"""
    first, last = (tuple(map(int, minor.split("."))) for minor in (TESTED[0], TESTED[-1]))
    return first <= version[:2] <= last
