"""The guard in front of a WSGI app (PEP 3333)."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from sealgate.guard.admission import NOTHING, Means
from sealgate.guard.asking import Asking
from sealgate.guard.body import ClosingBody, TooLarge, discard, spool, taken_in
from sealgate.guard.decision import (
    BODY_CUT,
    BODY_TOO_LARGE,
    HEADERS_TOO_LARGE,
    PATH_MISMATCH,
    REVOKED,
    UNJUDGED,
    UNKNOWN,
    UNSPOOLED,
    VALIDATED,
    Deny,
    Facts,
)
from sealgate.guard.headers import is_spoofable_variable
from sealgate.guard.judge import Judge
from sealgate.guard.log import denial, to_stderr
from sealgate.guard.problems import answer
from sealgate.guard.under_way import PIECE, CutOff, Told, UnderWay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sealgate.guard.client import Client
    from sealgate.guard.compiled import Compiled
    from sealgate.guard.judge import Passed, Revoked
    from sealgate.guard.log import Log
    from sealgate.guard.sources import Source

    Environ = dict[str, Any]
    StartResponse = Callable[..., Any]
    WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]

__all__ = ["Guard"]

# Requests of these methods have no body that means anything (RFC 9110 §9.3); for others a length is needed.
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "CONNECT"})
_MOST_REMEMBERED = 4096


class Guard:
    """A WSGI app that lets only judged requests through to another.

    Args:
        app: the app behind.
        compiled: the policy in force; see :meth:`use`.
        source: the engine's way of telling facts.
        log: takes one event per denial.
        revoked: clients.
        means: by what it judges beside the policy.
        spool_directory: for request bodies of unknown length over 1 MiB; default: the system's.
    """

    def __init__(
        self,
        app: WsgiApp,
        compiled: Compiled,
        source: Source,
        log: Log = to_stderr,
        *,
        revoked: Revoked = (),
        means: Means = NOTHING,
        told: Told | None = None,
        spool_directory: str | None = None,
    ) -> None:
        self._app = app
        self._revoked, self._means = revoked, means
        self._under_way = UnderWay(revoked, self._refused, told)
        self._asking = Asking(told)
        self._judge = Judge(compiled, revoked, means)
        self._source = source
        self._log = log
        self._spool_directory = spool_directory
        # Names of variables known to be harmless. Clients choose names, so it is bounded.
        self._harmless: set[str] = set()

    def use(self, compiled: Compiled) -> None:
        """Judge by another policy from the next request on."""
        self._judge = Judge(compiled, self._revoked, self._means)
        self._source.use(compiled)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Judge one request (PEP 3333)."""
        told = self._source.from_environ(environ)
        if told is None:
            return self._refuse(UNJUDGED, None, environ, start_response)
        origin, target = told
        judge, method = self._judge, environ["REQUEST_METHOD"]
        host, length = environ.get("HTTP_HOST", ""), environ.get("CONTENT_LENGTH", "")
        limit = judge.compiled.headers_limit
        if limit and _size(environ) > limit:
            passed: Passed | Deny = HEADERS_TOO_LARGE
        else:
            stranger = judge.stranger(origin)
            passed = stranger or judge(origin.client, method, host, target, length)
        if isinstance(passed, Deny) or environ["PATH_INFO"] != passed.native:
            deny = passed if isinstance(passed, Deny) else PATH_MISMATCH
            if deny is BODY_TOO_LARGE:
                discard(environ["wsgi.input"], length, limit=judge.compiled.body_limit)
            return self._refuse(deny, Facts(origin.client, method, host, target), environ, start_response)
        client = origin.client
        if judge.admission is not None:
            admitted = judge.admission(client, method, passed.path, _Fields(environ))
            client = admitted.client
            if admitted.deny is not None:
                # Who is still sending would find an error where the answer is (see `discard`).
                discard(environ["wsgi.input"], length, limit=judge.compiled.body_limit)
                facts = Facts(client, method, host, target)
                return self._refuse(admitted.deny, facts, environ, start_response)
            if admitted.headers:
                start_response = _telling(start_response, admitted.headers)
        facts = Facts(client, method, host, target, length)
        if judge.validation is not None:
            told_of = self._validated(judge, facts, passed, environ)
            if isinstance(told_of, Deny):
                return self._refuse(told_of, facts, environ, start_response)
            facts = told_of
        self._introduce(environ, facts, passed, origin.port, judge.compiled)
        abort = environ.pop("sealgate.abort", None)
        if not client.watched:
            return self._call(facts, environ, start_response)
        watched = _Watched(abort, partial(self._cut_off, facts, environ))
        return self._watch(watched, facts, environ, start_response)

    def _validated(self, judge: Judge, facts: Facts, passed: Passed, environ: Environ) -> Facts | Deny:
        """By the API's description. The app gets the body that was judged, and nothing else."""
        assert judge.validation is not None  # noqa: S101 - asked for
        stream, length, limit = environ["wsgi.input"], facts.length, judge.compiled.body_limit
        checked = judge.validation(facts.method, passed.path, passed.query, length, _Fields(environ))
        content: bytes | None = None
        denied: Deny | None = None
        if isinstance(checked, Deny):
            denied = checked
        elif isinstance(checked, bytes):
            content = checked
        elif checked is not None:
            there = length or environ.get("wsgi.input_terminated")
            content = taken_in(stream, int(length) if length else limit + 1) if there else b""
            if len(content) > limit:
                return BODY_TOO_LARGE
            if length and len(content) < int(length):
                return BODY_CUT
            denied = checked.body(content) or self._refused(facts.client)  # it may have taken its time
        if denied is not None:
            if judge.validation.enforced or denied.problem.slug not in VALIDATED:
                if content is None:
                    discard(stream, length, limit=limit)
                return denied
            self._note(denied, facts, environ, enforced=False)
        if content is not None:
            environ["wsgi.input"] = io.BytesIO(content)
            if content:
                facts = replace(facts, length=str(len(content)))
                environ["CONTENT_LENGTH"] = facts.length
        return facts

    def _introduce(
        self, environ: Environ, facts: Facts, passed: Passed, port: int, compiled: Compiled
    ) -> None:
        """Say what is known in WSGI's own words, and nothing else."""
        self._clean(environ)
        environ["QUERY_STRING"] = passed.query
        environ["REMOTE_ADDR"] = facts.client.address
        environ["REMOTE_PORT"] = str(port)
        environ["SERVER_NAME"] = compiled.public_host
        environ["SERVER_PORT"] = str(compiled.public_port)
        environ["HTTPS"] = "on"
        environ["wsgi.url_scheme"] = "https"
        environ["sealgate.client"] = facts.client
        environ["sealgate.rates"] = self._judge.counting

    def _watch(
        self,
        watched: _Watched,
        facts: Facts,
        environ: Environ,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        """Call the app for a client who may be revoked before the exchange ends."""
        mark = self._under_way.enter(facts.client, watched.end)
        leave = partial(self._under_way.leave, mark)
        try:
            response = self._call(facts, environ, start_response)
        except BaseException:
            leave()
            raise
        if watched.ended:
            leave()
            _close(response)
            if watched.abortable:
                raise CutOff
            gone = CutOff()
            return _answered(
                self._why(facts), environ, partial(start_response, exc_info=(CutOff, gone, None))
            )
        if isinstance(response, list) and not watched.abortable:
            if sum(map(len, response)) <= PIECE:  # complete, and on its way at once
                leave()
                return response
            response = _pieces(response)
        return _WatchedBody(response, watched, leave)

    def _call(self, facts: Facts, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """The app; a body whose length is not known is taken in first."""
        bodiless = facts.method in _BODILESS
        if facts.length or bodiless or not environ.get("wsgi.input_terminated"):
            return self._app(environ, start_response)
        return self._call_with_length(facts, environ, start_response)

    def _clean(self, environ: Environ) -> None:
        """Remove what an app might take for a proxy's word."""
        # Envoy always sends these two, so they are not searched for.
        environ.pop("HTTP_X_FORWARDED_PROTO", None)
        environ.pop("HTTP_X_FORWARDED_FOR", None)
        if self._harmless.issuperset(environ):
            return
        harmless = set(self._harmless) if len(self._harmless) < _MOST_REMEMBERED else set()
        for name in [name for name in environ if name not in harmless]:
            if is_spoofable_variable(name):
                del environ[name]
            else:
                harmless.add(name)
        self._harmless = harmless

    def _call_with_length(
        self, facts: Facts, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Take a body of unknown length in first; see ``body.py``."""
        try:
            file, size = spool(
                environ["wsgi.input"], limit=self._judge.compiled.body_limit, directory=self._spool_directory
            )
        except TooLarge:
            return self._refuse(BODY_TOO_LARGE, facts, environ, start_response)
        except OSError:
            return self._refuse(UNSPOOLED, facts, environ, start_response)
        environ["wsgi.input"] = file
        environ["CONTENT_LENGTH"] = str(size)
        try:
            response = self._app(environ, start_response)
        except BaseException:
            file.close()
            raise
        if isinstance(response, list):  # complete: servers join a list at once, so keep it one
            file.close()
            return response
        return ClosingBody(response, file)

    def _refused(self, client: Client) -> Deny | None:
        """By the policy in force: may an exchange of this one not go on?"""
        return self._judge.refused(client)

    def _why(self, facts: Facts) -> Deny:
        return self._refused(facts.client) or REVOKED

    def _cut_off(self, facts: Facts, environ: Environ) -> None:
        """Into the log: an exchange was ended."""
        self._note(self._why(facts), facts, environ)

    def _refuse(
        self, deny: Deny, facts: Facts | None, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        self._note(deny, facts, environ)
        return _answered(deny, environ, start_response)

    def _note(self, deny: Deny, facts: Facts | None, environ: Environ, *, enforced: bool = True) -> None:
        """Into the log; what is not known is asked for."""
        if deny is UNKNOWN and facts is not None and facts.client.certificate is not None:
            self._asking.ask(facts.client.certificate)
        self._log(
            denial(
                deny,
                address=facts.client.address if facts else "",
                client=facts.client if facts else None,
                method=str(environ.get("REQUEST_METHOD", "")),
                target=facts.target if facts else "",
                request_id=str(environ.get("HTTP_X_REQUEST_ID", "")),
                enforced=enforced,
            )
        )


def _answered(deny: Deny, environ: Environ, start_response: StartResponse) -> list[bytes]:
    method, request_id = str(environ.get("REQUEST_METHOD", "")), str(environ.get("HTTP_X_REQUEST_ID", ""))
    said = answer(
        deny.problem,
        method=method,
        request_id=request_id,
        headers=deny.headers,
        members=deny.members,
    )
    start_response(f"{said.status} {said.phrase}", list(said.headers))
    return [said.body] if said.body else []


def _telling(start_response: StartResponse, further: tuple[tuple[str, str], ...]) -> StartResponse:
    """Whatever the app answers, these fields are in it."""

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:  # noqa: ANN401 - PEP 3333
        told = [*headers, *further]
        return start_response(status, told) if exc_info is None else start_response(status, told, exc_info)

    return start


class _Fields:
    """The header of a request, of which servers join fields of the same name by commas."""

    __slots__ = ("_environ",)

    def __init__(self, environ: Environ) -> None:
        self._environ = environ

    def __call__(self, name: str) -> list[str]:
        """See :class:`~sealgate.guard.fields.Fields`."""
        variable = name.upper().replace("-", "_")
        if variable not in ("CONTENT_TYPE", "CONTENT_LENGTH"):  # RFC 3875 §4.1
            variable = f"HTTP_{variable}"
        value = self._environ.get(variable)
        return [] if value is None else [value]


class _Watched:
    """An exchange of a client who may be revoked before it ends.

    Args:
        abort: ends the connection, where the server gives a means; else the next piece is the last.
        note: says so in the log.
    """

    __slots__ = ("_abort", "_note", "ended")

    def __init__(self, abort: Callable[[], None] | None, note: Callable[[], None]) -> None:
        self._abort, self._note, self.ended = abort, note, False

    @property
    def abortable(self) -> bool:
        """Can the server end it?"""
        return self._abort is not None

    def end(self) -> None:
        """From any thread."""
        self.ended = True
        self._note()
        if self._abort is not None:
            self._abort()


class _WatchedBody:
    """An app's response that breaks off once its client was revoked."""

    def __init__(self, inner: Iterable[bytes], watched: _Watched, leave: Callable[[], None]) -> None:
        self._inner, self._watched, self._leave = inner, watched, leave

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._inner:
            if self._watched.ended:
                raise CutOff
            yield piece

    def close(self) -> None:
        """As PEP 3333 asks, whatever the app's does."""
        self._leave()
        _close(self._inner)


def _pieces(whole: list[bytes]) -> Iterator[bytes]:
    for part in whole:
        view = memoryview(part)
        for at in range(0, len(part), PIECE):
            yield bytes(view[at : at + PIECE])


def _close(response: object) -> None:
    close: Callable[[], None] | None = getattr(response, "close", None)
    if close is not None:
        close()


def _size(environ: Environ) -> int:
    """Bytes of all header fields that came from outside: names and values."""
    return sum(
        len(name) - 5 + len(value)
        for name, value in environ.items()
        if name.startswith("HTTP_") and not name.startswith("HTTP_SEALGATE_")
    )
