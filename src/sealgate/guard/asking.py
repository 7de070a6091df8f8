"""That nobody knows whether a certificate is revoked is told to whoever can find out.

Apart from what reads certificates, which is large: most workers never see one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sealgate.guard.certificate import Certificate

__all__ = ["Asked", "Asking"]

_AGAIN = 1.0
_MOST_REMEMBERED = 1024


class Asked(Protocol):
    """Who is told that nobody knows whether a certificate is revoked (``engines/counts.Row``)."""

    def asks(self, der: bytes) -> None:
        """Find it out; may be forgotten, and is asked again then."""


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
