"""A small orders API in plain Falcon (WSGI).

Serve it with HTTPS, from this folder::

    sealgate serve orders:app
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NoReturn

import falcon
from orders_store import (
    AlreadyCancelledError,
    Attachment,
    FullError,
    InvalidError,
    NotFoundError,
    OrderStore,
)

if TYPE_CHECKING:
    from uuid import UUID

PIECE = 64 * 1024


class Health:
    """Is the app there?"""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """GET /health."""
        resp.media = {"status": "ok"}


class Orders:
    """The collection."""

    def __init__(self, store: OrderStore) -> None:
        self._store = store

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """GET /orders: one page."""
        orders, after = self._store.page(
            after=req.get_param_as_int("after", min_value=0, default=0),
            limit=req.get_param_as_int("limit", min_value=1, max_value=100, default=20),
            status=one_of(req, "status", ("open", "cancelled")),
        )
        resp.media = {"orders": [order.as_dict() for order in orders], "next_after": after}

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """POST /orders: a new order."""
        order = self._store.create(req.get_media())
        resp.status = falcon.HTTP_201
        resp.location = f"/orders/{order.id}"
        resp.media = order.as_dict()


class Order:
    """One order."""

    def __init__(self, store: OrderStore) -> None:
        self._store = store

    def on_get(self, req: falcon.Request, resp: falcon.Response, order_id: UUID) -> None:
        """GET /orders/{order_id}."""
        resp.media = self._store.get(str(order_id)).as_dict()

    def on_post_cancel(self, req: falcon.Request, resp: falcon.Response, order_id: UUID) -> None:
        """POST /orders/{order_id}/cancel."""
        resp.media = self._store.cancel(str(order_id)).as_dict()

    def on_put_attachment(self, req: falcon.Request, resp: falcon.Response, order_id: UUID) -> None:
        """PUT /orders/{order_id}/attachment: any file, of any length, read piece by piece."""
        self._store.get(str(order_id))
        digest, size = hashlib.sha256(), 0
        while piece := req.bounded_stream.read(PIECE):
            digest.update(piece)
            size += len(piece)
        attachment = Attachment(size, digest.hexdigest())
        self._store.attach(str(order_id), attachment)
        resp.media = {"size": attachment.size, "sha256": attachment.sha256}


class Export:
    """All orders in one file."""

    def __init__(self, store: OrderStore) -> None:
        self._store = store

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """GET /exports/orders: streamed, so that its length does not matter."""
        kind = one_of(req, "format", ("csv", "ndjson")) or "csv"
        resp.content_type = "text/csv; charset=utf-8" if kind == "csv" else "application/x-ndjson"
        resp.downloadable_as = f"orders.{kind}"
        resp.stream = self._store.export(kind)


class Report:
    """For those who run the shop."""

    def __init__(self, store: OrderStore) -> None:
        self._store = store

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """GET /admin/report."""
        resp.media = self._store.report()


def one_of(req: falcon.Request, name: str, choices: tuple[str, ...]) -> str | None:
    """A query parameter that has a few values; None where it is absent."""
    value = req.get_param(name)
    if value is not None and value not in choices:
        raise falcon.HTTPInvalidParam(f"It is one of: {', '.join(choices)}.", name)
    return value


def on_not_found(req: object, resp: object, error: NotFoundError, params: object) -> NoReturn:
    """There is no such order."""
    raise falcon.HTTPNotFound(title="No such order")


def on_cancelled(req: object, resp: object, error: AlreadyCancelledError, params: object) -> NoReturn:
    """It was cancelled before."""
    raise falcon.HTTPConflict(title="The order is already cancelled")


def on_invalid(req: object, resp: object, error: InvalidError, params: object) -> NoReturn:
    """Say what to mend."""
    raise falcon.HTTPUnprocessableEntity(title="Not an order", description=str(error))


def on_full(req: object, resp: object, error: FullError, params: object) -> NoReturn:
    """No room."""
    raise falcon.HTTPServiceUnavailable(title="No room for more orders", retry_after=60)


def create_app(store: OrderStore) -> falcon.App:
    """The app over a store."""
    app = falcon.App()
    app.add_error_handler(NotFoundError, on_not_found)
    app.add_error_handler(AlreadyCancelledError, on_cancelled)
    app.add_error_handler(InvalidError, on_invalid)
    app.add_error_handler(FullError, on_full)
    order = Order(store)
    app.add_route("/health", Health())
    app.add_route("/orders", Orders(store))
    app.add_route("/orders/{order_id:uuid}", order)
    app.add_route("/orders/{order_id:uuid}/cancel", order, suffix="cancel")
    app.add_route("/orders/{order_id:uuid}/attachment", order, suffix="attachment")
    app.add_route("/exports/orders", Export(store))
    app.add_route("/admin/report", Report(store))
    return app


app = create_app(OrderStore())
