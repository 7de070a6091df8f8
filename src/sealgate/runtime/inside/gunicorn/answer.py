"""An app's answer on its way out, and what an error means to a client."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

from gunicorn.http import errors
from gunicorn.http.wsgi import Response

from sealgate.runtime.inside.answers import Hsts
from sealgate.runtime.inside.gunicorn.connection import Connection

__all__ = ["Answer", "slug_of"]


class _Date:
    """The Date field, made once a second."""

    def __init__(self) -> None:
        self._second, self._text = 0, ""

    def __call__(self) -> str:
        now = int(time.time())
        if now != self._second:
            self._second, self._text = now, formatdate(now, usegmt=True)
        return self._text


_date = _Date()


class Answer(Response):  # type: ignore[misc]  # Gunicorn has no types
    """Gunicorn's answer with HSTS and without a banner; header and first bytes leave together."""

    headers_sent: bool

    def __init__(self, req: Any, conn: Connection, cfg: Any, hsts: Hsts, host: str) -> None:  # noqa: ANN401 - Gunicorn's
        super().__init__(req, conn, cfg)
        self._conn, self._hsts, self._host = conn, hsts, host
        self._omits_body_warned = True  # many apps leave it to the server to drop the body of a HEAD

    def send_headers(self) -> None:
        """Hold the header back until there is something to send with it."""
        if self.headers_sent:
            return
        if self.status is None:
            raise AssertionError("the app did not call start_response (PEP 3333)")
        names = {name.lower() for name, _ in self.headers}
        lines = [f"HTTP/1.1 {self.status}"]
        if "date" not in names:
            lines.append(f"date: {_date()}")
        lines += [f"{name}: {value}" for name, value in self._hsts.added(self.headers, self._host)]
        if self.chunked:
            lines.append("transfer-encoding: chunked")
        if self.should_close():
            lines.append("connection: close")
        self._conn.stage("\r\n".join([*lines, "", ""]).encode("latin-1"))
        self.headers_sent = True

    def write(self, arg: bytes) -> None:
        """PEP 3333's; nothing at all lets go of the header."""
        super().write(arg)
        if not arg or self._omits_body:
            self._conn.push()

    @property
    def is_short(self) -> bool:
        """Less came than was announced: nobody shall wait for the rest, or take the next answer for it."""
        announced = self.response_length
        return announced is not None and not self._omits_body and self.sent < announced

    def close(self) -> None:
        """The end of the answer."""
        super().close()
        self._conn.push()


def slug_of(error: BaseException) -> str:
    """The problem that a request's error is; empty: it is not the request's."""
    if isinstance(error, (errors.LimitRequestLine, errors.LimitRequestHeaders)):
        return "headers-too-large"
    if isinstance(error, errors.InvalidHTTPVersion):
        return "http-version-unsupported"
    response = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)
    if isinstance(error, response) or not isinstance(error, (errors.ParseException, errors.NoMoreData)):
        return ""
    return "bad-request"
