"""What tests present answers with: the real solvers behind small servers, and the tests' own DNS."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence

from sealgate.acme.order import Answer
from sealgate.acme.solvers import Solver
from sealgate.acme.solvers.http import HttpSolver
from sealgate.acme.solvers.standalone import Responder
from sealgate.acme.solvers.tls_alpn import ALPN, AlpnFiles, AlpnSolver
from sealgate.pki.state import State
from sealgate.policy.values import Endpoint
from tests.acme.pebble import Server


class Noted:
    """A solver that notes what is asked of it.

    Attributes:
        shown: answers presented and not withdrawn yet.
        calls: ``present`` and ``withdraw``, in their order.
    """

    def __init__(self, inner: Solver) -> None:
        self.inner = inner
        self.shown: set[Answer] = set()
        self.calls: list[str] = []

    def present(self, answers: Sequence[Answer]) -> None:
        self.calls.append("present")
        self.shown |= set(answers)
        self.inner.present(answers)

    def withdraw(self, answers: Sequence[Answer]) -> None:
        self.calls.append("withdraw")
        self.inner.withdraw(answers)
        self.shown -= set(answers)


class DnsSolver:
    """TXT records of the tests' own DNS."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def present(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            digest = hashlib.sha256(answer.key_authorization.encode()).digest()
            value = urlsafe_b64encode(digest).rstrip(b"=").decode()
            self.server.manage("set-txt", host=f"_acme-challenge.{answer.name}.", value=value)

    def withdraw(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            self.server.manage("clear-txt", host=f"_acme-challenge.{answer.name}.")


@contextlib.contextmanager
def http_solver(server: Server, state: State) -> Iterator[Noted]:
    """http-01, answered by our own responder where the authority looks."""
    endpoint = Endpoint(server.host, server.http)
    with Responder([endpoint]) as responder:
        yield Noted(HttpSolver(state.live / "challenges", responder.tell, [endpoint], seconds=5))


class AlpnServer(threading.Thread):
    """A TLS server that shows the certificate of the name asked for, and speaks acme-tls/1 only."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(daemon=True)
        self.contexts: dict[str, ssl.SSLContext] = {}
        self.listener = socket.create_server((host, port))
        self.ends = False

    def tell(self, files: Sequence[AlpnFiles]) -> None:
        contexts = {}
        for one in files:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(one.chain, one.key)
            context.set_alpn_protocols([ALPN])
            contexts[one.name] = context
        self.contexts = contexts

    def _choose(self, sock: ssl.SSLSocket | ssl.SSLObject, name: str | None, _context: object) -> int | None:
        if (context := self.contexts.get(name or "")) is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        sock.context = context
        return None

    def run(self) -> None:
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            if self.ends:
                raw.close()
                return
            base = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            base.set_alpn_protocols([ALPN])
            base.sni_callback = self._choose
            raw.settimeout(10)
            with contextlib.suppress(OSError), base.wrap_socket(raw, server_side=True) as tls:
                tls.recv(1)
            raw.close()

    def stop(self) -> None:
        self.ends = True
        with contextlib.suppress(OSError), socket.create_connection(self.listener.getsockname(), timeout=5):
            pass
        self.join(20)
        self.listener.close()


@contextlib.contextmanager
def alpn_solver(server: Server, state: State, clock: object) -> Iterator[Noted]:
    """tls-alpn-01, answered by a TLS server where the authority looks."""
    shower = AlpnServer(server.host, server.https)
    shower.start()
    try:
        endpoint = Endpoint(server.host, server.https)
        yield Noted(
            AlpnSolver(state.live / "challenges" / "alpn", shower.tell, [endpoint], clock=clock, seconds=5)  # type: ignore[arg-type] # a clock
        )
    finally:
        shower.stop()
