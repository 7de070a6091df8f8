"""The threads' half of a worker: whole requests come in, the app is called, its answer written."""

from __future__ import annotations

import contextlib
import errno
import time
import uuid
from datetime import timedelta
from typing import Any, ClassVar

from gunicorn.http import wsgi
from gunicorn.workers.gthread import ThreadWorker

from sealgate.engines.counts import Row
from sealgate.runtime.inside.answers import Hsts, problem_bytes
from sealgate.runtime.inside.gunicorn.answer import Answer, slug_of
from sealgate.runtime.inside.gunicorn.connection import Connection
from sealgate.runtime.inside.gunicorn.plan import Plan
from sealgate.runtime.inside.gunicorn.record import host_of, record
from sealgate.runtime.inside.journal import Journal

__all__ = ["Answering"]

_MOST_UNREAD = 64 * 1024  # of a body that the app did not want; more is not worth a connection
# What a client says to the server alone (RFC 9110 §7.6.1): behind a server of its own an app sees none of it.
_HOP_BY_HOP = frozenset(
    f"HTTP_{name}"
    for name in (
        "CONNECTION",
        "KEEP_ALIVE",
        "PROXY_CONNECTION",
        "TE",
        "TRAILER",
        "TRANSFER_ENCODING",
        "UPGRADE",
    )
)
_GONE = {errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ETIMEDOUT, errno.EBADF}


class Answering(ThreadWorker):  # type: ignore[misc]  # Gunicorn has no types
    """Calls the app for whole requests."""

    plan: ClassVar[Plan]
    wsgi: Any
    _hsts: Hsts
    _journal: Journal | None
    _counts: Row

    def handle(self, conn: Connection) -> bool:
        """Answer one request; is another one to be expected?"""
        if conn.cut:  # it waited for a thread longer than anybody waits for an answer
            return False
        try:
            return self.handle_request(conn.request, conn)
        except OSError as error:
            if error.errno not in _GONE and slug_of(error) == "":
                self.log.exception("Error handling request")
                return self._failed(conn, error)
            return self._failed(conn, error) if slug_of(error) else False
        except (Exception, SystemExit) as error:
            if not slug_of(error):
                self.log.exception("Error handling request %s", conn.request.path)
            return self._failed(conn, error)

    def _failed(self, conn: Connection, error: BaseException) -> bool:
        """Say so where no answer has begun; else end it: nobody shall take it for whole. Always false."""
        if conn.begun:
            conn.abort()
            return False
        host = host_of(conn.request)
        slug = slug_of(error) or "internal-error"
        said = problem_bytes(slug, self._hsts, host=host, method=conn.request.method)
        with contextlib.suppress(OSError):
            conn.sendall(said)
            self._refused(conn, slug, said)
        return False

    def _refused(self, conn: Connection, slug: str, said: bytes) -> None:
        """Count and log an answer of the server's own."""
        status = int(said[9:12])
        self._counts.denied(slug)
        self._counts.answered(status, _nanoseconds(conn))
        if self._journal is not None:
            self._journal.write(record(conn, status=status, sent=len(said)))

    def handle_request(self, req: Any, conn: Connection) -> bool:  # noqa: ANN401 - Gunicorn's request
        """Run the app; is another request to be expected on this connection?"""
        self.cfg.pre_request(self, req)
        answer, environ = self._environ(req, conn)
        try:
            if conn.last or not self.alive or not self.cfg.keepalive:
                answer.force_close()
            self._count(answer)
            pieces = self.wsgi(environ, answer.start_response)
            try:
                for piece in pieces:
                    answer.write(piece)
                answer.close()
            finally:
                close = getattr(pieces, "close", None)
                if close is not None:
                    close()
        finally:
            self._log(answer, req, environ, conn)
            try:
                self.cfg.post_request(self, req, environ, answer)
            except Exception:
                self.log.exception("Exception in post_request hook")
        if answer.is_short:
            conn.abort()
            return False
        if answer.should_close() or len(conn.inbox) > _MOST_UNREAD:
            return False
        return bool(conn.parser.finish_body())

    def _count(self, answer: Answer) -> None:
        """Gunicorn's `max_requests`."""
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.handle_exit(None, None)
            answer.force_close()

    def _environ(self, req: Any, conn: Connection) -> tuple[Answer, dict[str, Any]]:  # noqa: ANN401 - same
        host = host_of(req)
        answer, environ = wsgi.create(
            req, conn, conn.client, conn.server, self.cfg, Answer, (self._hsts, host)
        )
        del environ["gunicorn.socket"]  # nobody writes past the policy
        for name in _HOP_BY_HOP.intersection(environ):
            del environ[name]
        environ["wsgi.multithread"] = True
        environ["SERVER_SOFTWARE"] = "Gunicorn"
        environ["HTTP_X_REQUEST_ID"] = str(uuid.uuid4())
        environ["sealgate.peer_certificate"] = conn.certificate
        environ["sealgate.abort"] = conn.abort
        return answer, environ

    def _log(self, answer: Answer, req: Any, environ: dict[str, Any], conn: Connection) -> None:  # noqa: ANN401 - same
        if answer.status is None:
            return  # the error is what is answered and logged
        self._counts.answered(answer.status_code, _nanoseconds(conn))
        if self._journal is None:
            self.log.access(answer, req, environ, timedelta(seconds=time.monotonic() - conn.began))
            return
        request_id = str(environ.get("HTTP_X_REQUEST_ID", ""))
        self._journal.write(record(conn, status=answer.status_code, sent=answer.sent, request_id=request_id))


def _nanoseconds(conn: Connection) -> int:
    """Since the first byte of the request; 0 where none came."""
    return int((time.monotonic() - conn.began) * 1e9) if conn.began else 0
