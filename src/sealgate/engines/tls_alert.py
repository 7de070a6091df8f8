"""A TLS object that lets its alert out: event loops drop it and just close when a handshake fails.

Without the alert (RFC 9846 §6.2) a client cannot tell "no certificate" from a broken line. asyncio and uvloop
write what a handshake wants to say only when it asks for more input, so that is what the first failure says;
the handshake fails at the next input, or when its time is over.
"""

from __future__ import annotations

import ssl

__all__ = ["AlertingObject"]

_SAID_NOTHING = frozenset({"HTTP_REQUEST", "HTTPS_PROXY_REQUEST"})  # not TLS at all: OpenSSL has no alert


class AlertingObject(ssl.SSLObject):
    """For ``SSLContext.sslobject_class``."""

    _failure: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        """As the base class's, one step later where it fails."""
        if self._failure is not None:
            raise self._failure
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            if error.reason in _SAID_NOTHING:
                raise
            self._failure = error
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "the alert goes out first") from None
