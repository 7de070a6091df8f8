"""``sealgate.protect``: the guard in front of an app that somebody else's server runs.

It judges by what ``sealgate watch`` hands out (``handing.py``), and only while that is fresh: a thread of
each process sees to it that what it judges by is what is handed out now. Where nobody does, nobody is let in.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from sealgate._system.board import BoardReader
from sealgate._system.pulse import PulseReader
from sealgate.errors import PolicyError, SealgateError
from sealgate.falcon import introduce
from sealgate.guard.asgi import Guard as AsgiGuard
from sealgate.guard.compiled import Compiled
from sealgate.guard.decision import Deny
from sealgate.guard.log import denial
from sealgate.guard.own import OwnSource
from sealgate.guard.problems import answer
from sealgate.guard.wsgi import Guard as WsgiGuard
from sealgate.pki.revocations import Revoked
from sealgate.policy.load import DEFAULT_NAME, load
from sealgate.policy.model import Policy
from sealgate.policy.problems import problem
from sealgate.runtime.app import interface_of
from sealgate.runtime.denials import log_denial
from sealgate.runtime.handing import HANDED, SOCKET, receive
from sealgate.runtime.means import means_by
from sealgate.runtime.state_path import state_of

__all__ = ["STALE_SECONDS", "protect"]

STALE_SECONDS = 3.0
"""After so long without a beat nothing that was handed out counts any more."""

_LATE_SECONDS = 0.6
_LOOK_SECONDS = 0.1
_PATIENCE = 0.5
_STALE = Deny(problem("app-unavailable"), "nobody-hands-out-policy")
_EPOCH = 1 << 40


def protect(app: Any, policy: str | os.PathLike[str] = DEFAULT_NAME) -> Any:  # noqa: ANN401 - any app
    """Put the guard of a policy in front of an app, whatever server runs it.

    The server does HTTPS by itself (or a proxy that ``network.trusted_proxies`` names); what the policy says
    of tokens, client certificates, access, addresses, rates and validation is decided here. ``sealgate
    watch`` must run beside it, as the same user: without it every request gets 503.

    Args:
        app: WSGI or ASGI application.
        policy: the policy file. Its state directory is found as by the command line (``SEALGATE_STATE``).

    Returns:
        An application of the same kind.

    Raises:
        PolicyError: the policy is no good, or asks for what cannot be had here (``engine-cannot``).
        AppError: ``app-not-callable``.
    """
    path = Path(policy).absolute()
    loaded = load(path, environ=os.environ, euid=os.geteuid())
    _check(loaded.policy)
    interface = interface_of(app, type(app).__name__)
    introduce(app)
    socket = state_of(loaded.base, os.environ, os.geteuid()) / "run" / SOCKET
    return _Wsgi(app, socket) if interface == "wsgi" else _Asgi(app, socket)


def _check(policy: Policy) -> None:
    """Nothing is asked for that nobody sees to."""
    fetched = [one.name for one in policy.clients.authorities if one.fetched]
    if policy.clients.mode != "off" and fetched:
        raise PolicyError(
            "engine-cannot",
            f"sealgate.protect has nobody who fetches the lists of {', '.join(fetched)}",
            'give its list as a file (crl = "partners.crl"), or serve the app with sealgate serve',
        )


class _Gone:
    """Nothing was handed out yet."""

    generation = 0

    def __contains__(self, key: bytes, /) -> bool:
        return True

    def read(self) -> tuple[int, bytes]:
        return 0, b""


class _Shut:
    """The table of the revoked; of what is not fresh everybody is on it."""

    def __init__(self, held: _Held) -> None:
        self._held = held

    def __contains__(self, key: bytes, /) -> bool:
        return key in self._held.table or not self._held.fresh


class _Given:
    """The same table, for the groups of single certificates: of what is not fresh nobody has any."""

    def __init__(self, held: _Held) -> None:
        self._held = held

    def __contains__(self, key: bytes, /) -> bool:
        return self._held.fresh and key in self._held.table


class _Keys:
    """The keys by which tokens count; of what is not fresh there are none."""

    def __init__(self, held: _Held) -> None:
        self._held = held

    @property
    def generation(self) -> int:
        """Rises with each document, over all who ever handed one out."""
        held = self._held
        return held.epoch * _EPOCH + held.keys.generation if held.fresh else 0

    def read(self) -> tuple[int, bytes]:
        """The newest document."""
        held = self._held
        if not held.fresh:
            return 0, b""
        epoch = held.epoch
        generation, document = held.keys.read()
        return epoch * _EPOCH + generation, document


class _Held:
    """What was handed out last, in this process.

    Args:
        socket: where it is to be had.
        changed: called with each policy, before it counts.
    """

    def __init__(self, socket: Path, changed: Callable[[Compiled, _Held], None]) -> None:
        self._socket, self._changed = socket, changed
        self._pulse: PulseReader | None = None
        self._policy: BoardReader | None = None
        self._read = 0
        self._pid = 0
        self._lock = threading.Lock()
        self._said = ""
        self.epoch = 0
        self.table: Revoked | _Gone = _Gone()
        self.keys: BoardReader | _Gone = _Gone()
        self.rates = -1

    @property
    def fresh(self) -> bool:
        """Did whoever hands it out say a moment ago that it counts?"""
        return self._pulse is not None and self._pulse.age < STALE_SECONDS

    @property
    def here(self) -> bool:
        """Is this process, which may be a fork, looking?"""
        return self._pid == os.getpid()

    def begin(self) -> None:
        """Look, once now and then again and again; may take half a second. Blocking."""
        with self._lock:
            if self.here:
                return
            self.look()
            self._pid = os.getpid()
            threading.Thread(target=self._follow, name="sealgate-protect", daemon=True).start()

    def _follow(self) -> None:
        pid = self._pid
        while pid == os.getpid():
            time.sleep(_LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Take what is handed out now, where it is something else."""
        said = ""
        try:
            # A new one begins with memory of its own: what is in the old one counts no more.
            if self._pulse is None or self._pulse.age > _LATE_SECONDS:
                self._take()
            self._take_policy()
        except (OSError, SealgateError, ValueError) as error:
            if not self.fresh:
                said = f"nobody is let in: {error}; run sealgate watch beside the app, as its user"
        if said and said != self._said:
            _say(said)
        elif self._said and not said and self.fresh:
            _say("requests are judged again")
        if said or self.fresh:
            self._said = said

    def _take(self) -> None:
        fds = receive(self._socket, _PATIENCE)
        try:
            pulse = PulseReader(fds["pulse"])
            if not self.fresh or (self._pulse is not None and pulse.age < self._pulse.age):
                self._policy, self._read = BoardReader(fds["policy"]), 0
                self.table, self.keys = Revoked(fds["revoked"]), BoardReader(fds["issued"])
                # It stays open as long as anybody may count: locks of the table are the file's.
                self.rates, fds["rates"] = fds["rates"], -1
                self.epoch += 1
                self._take_policy()
                self._pulse = pulse
        finally:
            for name in HANDED:
                if fds[name] >= 0:
                    os.close(fds[name])

    def _take_policy(self) -> None:
        board = self._policy
        if board is None or board.generation == self._read:
            return
        generation, document = board.read()
        if document:
            self._changed(Compiled.from_json(document), self)
            self._read = generation


def _guarded(make: Any, app: Any, compiled: Compiled, held: _Held) -> Any:  # noqa: ANN401 - of two kinds
    shut, given = _Shut(held), _Given(held)
    means = means_by(_Keys(held), held.rates)
    return make(app, compiled, OwnSource(compiled, given), log_denial, revoked=shut, means=means)


class _Wsgi:
    """PEP 3333."""

    def __init__(self, app: Any, socket: Path) -> None:  # noqa: ANN401 - any app
        self._app = app
        self._guard: WsgiGuard | None = None
        self._held = _Held(socket, self._use)

    def _use(self, compiled: Compiled, held: _Held) -> None:
        self._guard = _guarded(WsgiGuard, self._app, compiled, held)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Judge one request."""
        if "sealgate.client" in environ:  # by a guard of ours around this one; no header field is named so
            judged: Iterable[bytes] = self._app(environ, start_response)
            return judged
        if not self._held.here:
            self._held.begin()
        guard = self._guard
        if guard is not None and self._held.fresh:
            return guard(environ, start_response)
        method = str(environ.get("REQUEST_METHOD", ""))
        _note(str(environ.get("REMOTE_ADDR", "")), method, str(environ.get("PATH_INFO", "")))
        said = answer(_STALE.problem, method=method)
        start_response(f"{said.status} {said.phrase}", list(said.headers))
        return [said.body]


class _Asgi:
    """ASGI 3."""

    def __init__(self, app: Any, socket: Path) -> None:  # noqa: ANN401 - any app
        self._app = app
        self._guard: AsgiGuard | None = None
        self._held = _Held(socket, self._use)

    def _use(self, compiled: Compiled, held: _Held) -> None:
        self._guard = _guarded(AsgiGuard, self._app, compiled, held)

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Judge one exchange."""
        if scope["type"] == "lifespan" or "sealgate" in scope:
            await self._app(scope, receive, send)
            return
        if not self._held.here:
            await asyncio.to_thread(self._held.begin)
        guard = self._guard
        if guard is not None and self._held.fresh:
            await guard(scope, receive, send)
            return
        method = str(scope.get("method", "GET"))
        _note(str((scope.get("client") or ("",))[0]), method, str(scope.get("path", "")))
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1013})
            return
        if scope["type"] != "http":
            raise NotImplementedError(f"unknown ASGI scope {scope['type']!r}")
        said = answer(_STALE.problem, method=method)
        headers = [(name.encode(), value.encode()) for name, value in said.headers]
        await send({"type": "http.response.start", "status": said.status, "headers": headers})
        await send({"type": "http.response.body", "body": said.body})


def _note(address: str, method: str, path: str) -> None:
    log_denial(denial(_STALE, address=address, method=method, target=path, request_id=""))


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"sealgate: {text}\n")
        sys.stderr.flush()
