"""The application every server serves: Falcon saying hello, as WSGI and as ASGI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import falcon
import falcon.asgi

if TYPE_CHECKING:
    from collections.abc import Sequence

    from falcon.asgi import Request as AsyncRequest
    from falcon.asgi import Response as AsyncResponse

__all__ = ["BODY", "Hello", "hello_asgi", "hello_wsgi", "orders", "orders_wsgi"]

BODY = "hello\n"


class Hello:
    """GET / for WSGI."""

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        """Answer with the shortest useful body: what is measured is the way to it."""
        response.content_type = falcon.MEDIA_TEXT
        response.text = BODY


class Orders:
    """POST /orders for WSGI."""

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """Read the order, as any app would."""
        request.get_media()
        response.content_type = falcon.MEDIA_TEXT
        response.text = BODY


class AsyncHello:
    """GET / for ASGI."""

    async def on_get(self, _request: AsyncRequest, response: AsyncResponse) -> None:
        """Answer with the shortest useful body: what is measured is the way to it."""
        response.content_type = falcon.MEDIA_TEXT
        response.text = BODY


hello_wsgi = falcon.App()
hello_wsgi.add_route("/", Hello())

hello_asgi = falcon.asgi.App()
hello_asgi.add_route("/", AsyncHello())


def orders(middleware: Sequence[Any] = ()) -> falcon.App[falcon.Request, falcon.Response]:
    """An app with both routes, behind these."""
    app = falcon.App(middleware=middleware)
    app.add_route("/", Hello())
    app.add_route("/orders", Orders())
    return app


orders_wsgi = orders()
