"""Does a certificate fit a pattern of ``[clients.groups]``? Pure, and without pydantic: the guard asks.

A star stands for one whole part of a name, and never for more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, Protocol

__all__ = ["Kind", "Names", "matches"]

Kind = Literal["cn", "uri", "dns", "email", "fingerprint"]
"""By what a certificate is known."""

# What a star stands for: no percent-encoding, in which a slash or a dot could hide.
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+", re.ASCII)
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'+/=?^_`{|}~-]+)*", re.ASCII)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.ASCII)


class Names(Protocol):
    """What a certificate says, as `guard.certificate.Certificate` has it."""

    @property
    def common_name(self) -> str:
        """Empty where there is none, or more than one."""

    @property
    def dns_names(self) -> Sequence[str]:
        """Of the subject alternative name, as the next two."""

    @property
    def uris(self) -> Sequence[str]:
        """URIs."""

    @property
    def emails(self) -> Sequence[str]:
        """Mail addresses."""

    @property
    def fingerprint(self) -> str:
        """SHA-256, lower-case hex."""


def matches(kind: Kind, pattern: str, names: Names) -> bool:
    """Does what a certificate says fit a pattern?

    Args:
        kind: by what.
        pattern: as `policy.groups.Member.pattern` normalised it.
        names: of the certificate; chosen by whoever asked for it, so hostile.
    """
    match kind:
        case "cn":
            return names.common_name == pattern
        case "fingerprint":
            return names.fingerprint == pattern
        case "uri":
            return any(_fits(pattern.split("/"), uri.split("/"), _SEGMENT) for uri in names.uris)
        case "dns":
            wanted = pattern.split(".")
            return any(_fits(wanted, _lower(name).split("."), _LABEL) for name in names.dns_names)
        case "email":
            return any(_mails(pattern, address) for address in names.emails)


def _fits(wanted: list[str], found: list[str], star: re.Pattern[str]) -> bool:
    """Part by part; a star is one part that a name is made of, and no `.` or `..`."""
    return len(wanted) == len(found) and all(
        star.fullmatch(other) is not None and other not in {".", ".."} if one == "*" else one == other
        for one, other in zip(wanted, found, strict=True)
    )


def _lower(text: str) -> str:
    """ASCII's letters alone: the Kelvin sign would become a k."""
    return text.lower() if text.isascii() else text


def _mails(pattern: str, address: str) -> bool:
    local, at, domain = address.rpartition("@")
    wanted, _, where = pattern.rpartition("@")
    if not at or _lower(domain) != where:
        return False
    return _LOCAL.fullmatch(local) is not None if wanted == "*" else wanted == local
