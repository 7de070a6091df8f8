"""The guard in front of a WSGI app (PEP 3333)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sealgate.guard.body import ClosingBody, TooLarge, spool
from sealgate.guard.decision import BODY_TOO_LARGE, PATH_MISMATCH, UNJUDGED, UNSPOOLED, Deny, Facts
from sealgate.guard.headers import is_spoofable_variable
from sealgate.guard.judge import Judge
from sealgate.guard.log import denial, to_stderr
from sealgate.guard.problems import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sealgate.guard.compiled import Compiled
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
        spool_directory: for request bodies of unknown length over 1 MiB; default: the system's.
    """

    def __init__(
        self,
        app: WsgiApp,
        compiled: Compiled,
        source: Source,
        log: Log = to_stderr,
        *,
        spool_directory: str | None = None,
    ) -> None:
        self._app = app
        self._judge = Judge(compiled)
        self._source = source
        self._log = log
        self._spool_directory = spool_directory
        # Names of variables known to be harmless. Clients choose names, so it is bounded.
        self._harmless: set[str] = set()

    def use(self, compiled: Compiled) -> None:
        """Judge by another policy from the next request on."""
        self._judge = Judge(compiled)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Judge one request (PEP 3333)."""
        told = self._source.from_environ(environ)
        if told is None:
            return self._refuse(UNJUDGED, None, environ, start_response)
        origin, target = told
        judge, method = self._judge, environ["REQUEST_METHOD"]
        host, length = environ.get("HTTP_HOST", ""), environ.get("CONTENT_LENGTH", "")
        passed = judge(origin.client, method, host, target, length)
        if isinstance(passed, Deny) or environ["PATH_INFO"] != passed.native:
            deny = passed if isinstance(passed, Deny) else PATH_MISMATCH
            return self._refuse(deny, Facts(origin.client, method, host, target), environ, start_response)
        self._clean(environ)
        compiled = judge.compiled
        environ["QUERY_STRING"] = passed.query
        environ["REMOTE_ADDR"] = origin.client.address
        environ["REMOTE_PORT"] = str(origin.port)
        environ["SERVER_NAME"] = compiled.public_host
        environ["SERVER_PORT"] = str(compiled.public_port)
        environ["HTTPS"] = "on"
        environ["wsgi.url_scheme"] = "https"
        environ["sealgate.client"] = origin.client
        if length or method in _BODILESS or not environ.get("wsgi.input_terminated"):
            return self._app(environ, start_response)
        facts = Facts(origin.client, method, host, target)
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

    def _refuse(
        self, deny: Deny, facts: Facts | None, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        method = str(environ.get("REQUEST_METHOD", ""))
        request_id = str(environ.get("HTTP_X_REQUEST_ID", ""))
        self._log(
            denial(
                deny,
                address=facts.client.address if facts else "",
                method=method,
                target=facts.target if facts else "",
                request_id=request_id,
            )
        )
        said = answer(deny.problem, method=method, request_id=request_id)
        start_response(f"{said.status} {said.phrase}", list(said.headers))
        return [said.body] if said.body else []
