"""The errors of this room, one function for each code; foreign texts are escaped and shortened here."""

from __future__ import annotations

from sealgate.errors import AcmeError, Fault
from sealgate.policy.quoting import printable

__all__ = ["error", "short"]

_LONGEST = 300


def short(text: object, longest: int = _LONGEST) -> str:
    """A foreign text as one printable line."""
    words = " ".join(str(text).split())
    return printable(words if len(words) <= longest else f"{words[: longest - 1]}…")


def error(code: str, fact: str, remedy: str, *, fault: Fault, **details: object) -> AcmeError:
    """An error that says whose fault it is."""
    found = AcmeError(code, fact, remedy, **details)
    found.fault = fault
    return found
