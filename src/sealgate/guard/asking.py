"""What nobody knows is told to whoever can find out: is a certificate revoked, by which keys an issuer signs.

Apart from what reads certificates, which is large: most workers never see one.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sealgate.guard.certificate import Certificate

__all__ = ["KEY_SET", "Asked", "Asking", "AskingForKeys"]

KEY_SET = b"key-set:"
"""What a question for the keys of an issuer begins with; no certificate does."""

_AGAIN = 1.0
_MOST_REMEMBERED = 1024


class Asked(Protocol):
    """Who is told that nobody knows whether a certificate is revoked (``engines/counts.Row``)."""

    def asks(self, question: bytes, /) -> None:
        """Find it out: of a certificate (DER), or of an issuer's keys (`KEY_SET` and SHA-256 of its name).

        May be forgotten, and is asked again then.
        """


class Asking:
    """Asks for each certificate at most once a second, whatever its holder sends.

    Args:
        asked: who is told; None: nobody.
    """

    __slots__ = ("_asked", "_last")

    def __init__(self, asked: Asked | None = None) -> None:
        self._asked = asked
        self._last: dict[tuple[bytes, ...], float] = {}

    def ask(self, certificate: Certificate) -> None:
        """Whether this one is revoked is not known."""
        vouchers, now = certificate.vouchers, time.monotonic()
        if self._asked is None or not vouchers or now - self._last.get(vouchers, -_AGAIN) < _AGAIN:
            return
        if len(self._last) >= _MOST_REMEMBERED:
            self._last = {}
        self._last[vouchers] = now
        self._asked.asks(certificate.der)


class AskingForKeys:
    """Asks for each issuer's keys at most once a second, whatever tokens come.

    Args:
        asked: who is told; None: nobody.
    """

    __slots__ = ("_asked", "_last")

    def __init__(self, asked: Asked | None = None) -> None:
        self._asked = asked
        self._last: dict[str, float] = {}

    def __call__(self, issuer: str) -> None:
        """A token of this issuer names a key that is not known. Issuers are the policy's, so they are few."""
        now = time.monotonic()
        if self._asked is not None and now - self._last.get(issuer, -_AGAIN) >= _AGAIN:
            self._last[issuer] = now
            self._asked.asks(KEY_SET + hashlib.sha256(issuer.encode()).digest())
