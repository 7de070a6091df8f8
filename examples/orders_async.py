"""The same orders API in plain Falcon (ASGI), with two ways to watch orders change.

Serve it with HTTPS, from this folder::

    sealgate serve orders_async:app
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Any, NoReturn

import falcon
import falcon.asgi
from orders_store import (
    AlreadyCancelledError,
    Attachment,
    FullError,
    InvalidError,
    NotFoundError,
    OrderStore,
)
from orders_store import Order as StoredOrder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from uuid import UUID

    from falcon.asgi import Request, Response, SSEvent, WebSocket

PING_SECONDS = 15
MOST_SUBSCRIBERS = 1000
MOST_UNREAD = 100

Change = dict[str, Any]


class Changes:
    """Tells subscribers what changes. One that does not keep up is dropped, so that none waits for it."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[Change | None]] = set()

    def tell(self, kind: str, order: StoredOrder) -> None:
        """One change, to everybody."""
        for queue in list(self._queues):
            try:
                queue.put_nowait({"change": kind, "order": order.as_dict()})
            except asyncio.QueueFull:
                self._end(queue)

    def check_room(self) -> None:
        """Is there room for one more subscriber?"""
        if len(self._queues) >= MOST_SUBSCRIBERS:
            raise FullError

    @contextlib.contextmanager
    def subscribe(self) -> Iterator[asyncio.Queue[Change | None]]:
        """A queue of changes for as long as the context lasts; None in it is the end."""
        self.check_room()
        queue: asyncio.Queue[Change | None] = asyncio.Queue(MOST_UNREAD)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    async def process_shutdown(self, scope: object, event: object) -> None:
        """Falcon calls this when the server stops: let everybody go home."""
        for queue in list(self._queues):
            self._end(queue)

    def _end(self, queue: asyncio.Queue[Change | None]) -> None:
        self._queues.discard(queue)
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)


class Health:
    """Is the app there?"""

    async def on_get(self, req: Request, resp: Response) -> None:
        """GET /health."""
        resp.media = {"status": "ok"}


class Orders:
    """The collection."""

    def __init__(self, store: OrderStore, changes: Changes) -> None:
        self._store = store
        self._changes = changes

    async def on_get(self, req: Request, resp: Response) -> None:
        """GET /orders: one page."""
        orders, after = self._store.page(
            after=req.get_param_as_int("after", min_value=0, default=0),
            limit=req.get_param_as_int("limit", min_value=1, max_value=100, default=20),
            status=one_of(req, "status", ("open", "cancelled")),
        )
        resp.media = {"orders": [order.as_dict() for order in orders], "next_after": after}

    async def on_post(self, req: Request, resp: Response) -> None:
        """POST /orders: a new order."""
        order = self._store.create(await req.get_media())
        self._changes.tell("created", order)
        resp.status = falcon.HTTP_201
        resp.location = f"/orders/{order.id}"
        resp.media = order.as_dict()


class Order:
    """One order."""

    def __init__(self, store: OrderStore, changes: Changes) -> None:
        self._store = store
        self._changes = changes

    async def on_get(self, req: Request, resp: Response, order_id: UUID) -> None:
        """GET /orders/{order_id}."""
        resp.media = self._store.get(str(order_id)).as_dict()

    async def on_post_cancel(self, req: Request, resp: Response, order_id: UUID) -> None:
        """POST /orders/{order_id}/cancel."""
        order = self._store.cancel(str(order_id))
        self._changes.tell("cancelled", order)
        resp.media = order.as_dict()

    async def on_put_attachment(self, req: Request, resp: Response, order_id: UUID) -> None:
        """PUT /orders/{order_id}/attachment: any file, of any length, read piece by piece."""
        self._store.get(str(order_id))
        digest, size = hashlib.sha256(), 0
        async for piece in req.stream:
            digest.update(piece)
            size += len(piece)
        attachment = Attachment(size, digest.hexdigest())
        self._changes.tell("attached", self._store.attach(str(order_id), attachment))
        resp.media = {"size": attachment.size, "sha256": attachment.sha256}


class Export:
    """All orders in one file."""

    def __init__(self, store: OrderStore) -> None:
        self._store = store

    async def on_get(self, req: Request, resp: Response) -> None:
        """GET /exports/orders: streamed, so that its length does not matter."""
        kind = one_of(req, "format", ("csv", "ndjson")) or "csv"
        resp.content_type = "text/csv; charset=utf-8" if kind == "csv" else "application/x-ndjson"
        resp.downloadable_as = f"orders.{kind}"
        resp.stream = self._lines(kind)

    async def _lines(self, kind: str) -> AsyncIterator[bytes]:
        for line in self._store.export(kind):
            yield line


class Report:
    """For those who run the shop."""

    def __init__(self, store: OrderStore) -> None:
        self._store = store

    async def on_get(self, req: Request, resp: Response) -> None:
        """GET /admin/report."""
        resp.media = self._store.report()


class Events:
    """Changes as Server-Sent Events."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def on_get(self, req: Request, resp: Response) -> None:
        """GET /events."""
        self._changes.check_room()
        resp.sse = self._events()

    async def _events(self) -> AsyncIterator[SSEvent | None]:
        with self._changes.subscribe() as queue:
            yield None  # a comment at once, so that the caller knows that it is listening
            while True:
                try:
                    async with asyncio.timeout(PING_SECONDS):
                        change = await queue.get()
                except TimeoutError:
                    yield None
                    continue
                if change is None:
                    return
                yield falcon.asgi.SSEvent(event=change["change"], json=change["order"])


class Feed:
    """Changes over a WebSocket."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def on_websocket(self, req: Request, ws: WebSocket) -> None:
        """WebSocket /feed: one JSON text for each change; what the caller says is not listened to."""
        with self._changes.subscribe() as queue:
            await ws.accept()
            sender = asyncio.create_task(self._send(queue, ws))
            try:
                with contextlib.suppress(falcon.WebSocketDisconnected):
                    while True:
                        await ws.receive_text()
            finally:
                sender.cancel()
                await asyncio.wait([sender])

    async def _send(self, queue: asyncio.Queue[Change | None], ws: WebSocket) -> None:
        with contextlib.suppress(falcon.WebSocketDisconnected):
            while (change := await queue.get()) is not None:
                await ws.send_text(json.dumps(change))
            await ws.close(1001)


def one_of(req: Request, name: str, choices: tuple[str, ...]) -> str | None:
    """A query parameter that has a few values; None where it is absent."""
    value = req.get_param(name)
    if value is not None and value not in choices:
        raise falcon.HTTPInvalidParam(f"It is one of: {', '.join(choices)}.", name)
    return value


async def on_not_found(req: object, resp: object, error: NotFoundError, params: object) -> NoReturn:
    """There is no such order."""
    raise falcon.HTTPNotFound(title="No such order")


async def on_cancelled(req: object, resp: object, error: AlreadyCancelledError, params: object) -> NoReturn:
    """It was cancelled before."""
    raise falcon.HTTPConflict(title="The order is already cancelled")


async def on_invalid(req: object, resp: object, error: InvalidError, params: object) -> NoReturn:
    """Say what to mend."""
    raise falcon.HTTPUnprocessableEntity(title="Not an order", description=str(error))


async def on_full(req: object, resp: object, error: FullError, params: object) -> NoReturn:
    """No room."""
    raise falcon.HTTPServiceUnavailable(title="No room for more", retry_after=60)


def create_app(store: OrderStore) -> falcon.asgi.App:
    """The app over a store."""
    changes = Changes()
    app = falcon.asgi.App(middleware=[changes])
    app.add_error_handler(NotFoundError, on_not_found)
    app.add_error_handler(AlreadyCancelledError, on_cancelled)
    app.add_error_handler(InvalidError, on_invalid)
    app.add_error_handler(FullError, on_full)
    order = Order(store, changes)
    app.add_route("/health", Health())
    app.add_route("/orders", Orders(store, changes))
    app.add_route("/orders/{order_id:uuid}", order)
    app.add_route("/orders/{order_id:uuid}/cancel", order, suffix="cancel")
    app.add_route("/orders/{order_id:uuid}/attachment", order, suffix="attachment")
    app.add_route("/exports/orders", Export(store))
    app.add_route("/admin/report", Report(store))
    app.add_route("/events", Events(changes))
    app.add_route("/feed", Feed(changes))
    return app


app = create_app(OrderStore())
