"""What an API key looks like: recognised in a leak, told from a typing error, named by a part of it.

``sealgate_<id>_<secret><checksum>``: ten characters that name it in lists and logs, forty-three of 256 random
bits, six of a CRC-32 over all before them. Letters and digits alone, so that a double click selects all of it
and no shell, URL or header needs a quote. For those who look for secrets in repositories: :data:`PATTERN`.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from typing import NamedTuple

__all__ = [
    "EXPOSED_RE2",
    "ID_LENGTH",
    "PATTERN",
    "PREFIX",
    "Parts",
    "checksum",
    "hashed",
    "id_of",
    "made_of",
    "parts_of",
]

PREFIX = "sealgate_"
ID_LENGTH = 10
_SECRET_LENGTH = 43  # of 256 bits
_CHECK_LENGTH = 6  # of 32 bits
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

PATTERN = rf"sealgate_[0-9A-Za-z]{{{ID_LENGTH}}}_[0-9A-Za-z]{{{_SECRET_LENGTH + _CHECK_LENGTH}}}"
"""A regular expression for scanners of secrets."""

EXPOSED_RE2 = rf"(?s:(?i:bearer +)?{PREFIX}([0-9A-Za-z]{{{ID_LENGTH}}})_.*|.*)"
"""Fits every value of a field; the first group is the public part of an API key in it, or nothing."""

_WHOLE = re.compile(PATTERN, re.ASCII)


class Parts(NamedTuple):
    """A key that was read.

    Attributes:
        id: public.
        whole: the secret, as it was shown once.
    """

    id: str
    whole: str


def _base62(value: int, length: int) -> str:
    made = ""
    for _ in range(length):
        value, digit = divmod(value, 62)
        made = _ALPHABET[digit] + made
    return made


def checksum(text: str) -> str:
    """Of what stands before it: CRC-32, which a typing error changes; it guards against nothing else."""
    return _base62(zlib.crc32(text.encode("ascii")), _CHECK_LENGTH)


def made_of(name: bytes, secret: bytes) -> Parts:
    """A key of random bytes: at least 8 for its public part, exactly 32 for the secret."""
    if len(name) < 8 or len(secret) != 32:
        raise ValueError("8 and 32 random bytes make a key")
    mark = _base62(int.from_bytes(name, "big"), ID_LENGTH)
    text = f"{PREFIX}{mark}_{_base62(int.from_bytes(secret, 'big'), _SECRET_LENGTH)}"
    return Parts(mark, text + checksum(text))


def parts_of(text: str) -> Parts | None:
    """Read one; None: it is none, or was not typed right."""
    if not _WHOLE.fullmatch(text) or checksum(text[:-_CHECK_LENGTH]) != text[-_CHECK_LENGTH:]:
        return None
    return Parts(text[len(PREFIX) : len(PREFIX) + ID_LENGTH], text)


def id_of(text: str) -> str:
    """The public part of what may be a key, for a log; empty: there is none."""
    found = re.match(rf"{PREFIX}([0-9A-Za-z]{{{ID_LENGTH}}})_", text, re.ASCII)
    return found[1] if found else ""


def hashed(whole: str) -> str:
    """What is kept of a key: SHA-256, hex.

    Nothing slower: of 256 random bits no second one is ever found by trying, as of people's passwords.
    """
    return hashlib.sha256(whole.encode("ascii")).hexdigest()
