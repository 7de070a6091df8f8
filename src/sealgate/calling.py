"""For Python clients of a site: a TLS context that shows a client certificate, and follows its renewal.

Theory: a context copies certificate and key into each connection when the connection is made, under a lock
that also guards their replacement. So a connection has the old pair or the new one, never half of each. A
pair is read into memory first, tried in a context that nobody uses, and only then given to this one: files
that do not fit (yet) never replace a good pair. A look is three calls of stat(2), once in a second at most.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sealgate._system.secret_file import secret_file
from sealgate.errors import CertificateError

if TYPE_CHECKING:
    from _typeshed import StrPath

__all__ = ["ClientContext", "client_context"]

_EVERY = 1.0
_LARGEST = 1024 * 1024
_Stamp = tuple[tuple[int, ...], ...]


def client_context(cert: StrPath, key: StrPath, ca: StrPath) -> ClientContext:
    """A context for ``httpx.Client(verify=...)``, ``http.client``, ``urllib3``, ``aiohttp``, ``asyncio``.

    It verifies the server by ``ca`` alone (names too), speaks TLS 1.2 or later, shows the certificate, and
    takes up another one when the files change: the next connection has it, open ones stay as they are.

    Args:
        cert: PEM file with the certificate, then its issuers (``NAME.pem``).
        key: PEM file with its private key, not encrypted (``NAME.key``).
        ca: PEM file with the root of the server's certificate (``root.pem``).

    Raises:
        CertificateError: ``client-files``: there is no pair that fits, or no root, to begin with.
    """
    return ClientContext(Path(cert), Path(key), Path(ca))


class ClientContext(ssl.SSLContext):
    """What :func:`client_context` makes. All that an ``SSLContext`` can be told, this one can be told too.

    Args:
        cert, key, ca: see :func:`client_context`.
        every: the files are looked at once in so many seconds at most, when a connection is made.
        clock: seconds, monotonic.
    """

    def __new__(cls, *args: object, **options: object) -> Self:
        """An SSLContext is made here; ``__init__`` does the rest."""
        del args, options
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(
        self,
        cert: Path,
        key: Path,
        ca: Path,
        *,
        every: float = _EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cert, self._key, self._ca = cert, key, ca
        self._every, self._clock = every, clock
        self._taking = threading.Lock()
        self._stamp: _Stamp = ()
        self._pair = b""
        self._roots = b""
        self._looked = clock()
        self._failed = ""
        self.minimum_version = ssl.TLSVersion.TLSv1_2
        if not self.refresh():
            raise CertificateError(
                "client-files",
                f"{cert}, {key} and {ca} cannot be used together ({self._failed})",
                "make them with: sealgate client add NAME",
            )

    @property
    def failed(self) -> str:
        """Why the files as they are now do not count; empty: they do."""
        return self._failed

    def refresh(self) -> bool:
        """Look at the files now; true if another pair or root counts since."""
        with self._taking:
            return self._refresh()

    def _refresh(self) -> bool:
        try:
            stamp = self._stamped()
            if stamp == self._stamp:
                return False
            changed = self._take(_read(self._cert), _read(self._key), _read(self._ca))
        except (OSError, ValueError) as error:
            self._failed = str(error)
            return False
        # The stamp from before reading: what changed meanwhile is seen at the next look.
        self._stamp, self._failed = stamp, ""
        return changed

    def _stamped(self) -> _Stamp:
        found = [os.stat(path) for path in (self._cert, self._key, self._ca)]  # noqa: PTH116 - quick
        return tuple((s.st_dev, s.st_ino, s.st_mtime_ns, s.st_ctime_ns, s.st_size) for s in found)

    def _take(self, chain: bytes, key: bytes, roots: bytes) -> bool:
        """Try first, then use; raises OSError or ValueError, and nothing changed."""
        pair = key.rstrip() + b"\n" + chain
        if (pair, roots) == (self._pair, self._roots):
            return False
        trial = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with secret_file(pair) as path:
            trial.load_cert_chain(path, password=_no_password)
            trial.load_verify_locations(cadata=roots.decode("ascii"))
            self.load_cert_chain(path, password=_no_password)
        if roots != self._roots:
            # A root is only ever added: connections that verify by the one before are being made just now.
            self.load_verify_locations(cadata=roots.decode("ascii"))
        self._pair, self._roots = pair, roots
        return True

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked >= self._every:
            self._looked = now
            self._refresh()

    def wrap_socket(
        self,
        sock: socket.socket,
        server_side: bool = False,  # noqa: FBT001, FBT002 - the standard library's signature
        do_handshake_on_connect: bool = True,  # noqa: FBT001, FBT002 - the standard library's signature
        suppress_ragged_eofs: bool = True,  # noqa: FBT001, FBT002 - the standard library's signature
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        """With the newest pair."""
        with self._taking:  # the pair is copied here; the handshake takes its time outside
            self._look()
            wrapped = super().wrap_socket(
                sock,
                server_side=server_side,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=suppress_ragged_eofs,
                server_hostname=server_hostname,
                session=session,
            )
        # What `connect` looks at.
        wrapped.do_handshake_on_connect = do_handshake_on_connect  # type: ignore[attr-defined]  # in no stub
        if do_handshake_on_connect and _connected(wrapped):
            _shake_hands(wrapped)
        return wrapped

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:  # noqa: ANN401 - as SSLContext's
        """With the newest pair."""
        with self._taking:
            self._look()
            return super().wrap_bio(*args, **options)


def _shake_hands(wrapped: ssl.SSLSocket) -> None:
    """As the base class does; what fails leaves no open socket."""
    if wrapped.gettimeout() == 0:
        wrapped.close()
        raise ValueError("do_handshake_on_connect should not be specified for non-blocking sockets")
    try:
        wrapped.do_handshake()
    except BaseException:
        wrapped.close()
        raise


def _connected(sock: ssl.SSLSocket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ValueError(f"{path} is larger than {_LARGEST} bytes")
    return data


def _no_password() -> str:
    """An encrypted key is refused; OpenSSL would ask on the terminal."""
    return ""
