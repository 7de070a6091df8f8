"""Watching orders change: Server-Sent Events and the WebSocket of the ASGI example."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import falcon
import pytest
from falcon import testing

from tests.examples.served import ORDER, orders_async, orders_store

LIMIT = 10  # seconds that any of these may take


def conductor() -> testing.ASGIConductor:
    return testing.ASGIConductor(orders_async.create_app(orders_store.OrderStore()))


def changes_of(client: testing.ASGIConductor) -> Any:
    (middleware,) = (part for part in client.app._unprepared_middleware)
    return middleware


def test_events_tell_what_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    # Falcon looks for a caller who left after each event only; the ping is what makes it look.
    monkeypatch.setattr(orders_async, "PING_SECONDS", 0.01)

    async def watch() -> list[tuple[str, Any]]:
        async with conductor() as client, client.simulate_get_stream("/events") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            text = b""
            while not text.endswith(b"\n\n"):
                text += await stream.stream.read()
            made = (await client.simulate_post("/orders", json=ORDER)).json
            await client.simulate_post(f"/orders/{made['id']}/cancel")
            await client.simulate_put(f"/orders/{made['id']}/attachment", body=b"x")
            while text.count(b"event:") < 3 or not text.endswith(b"\n\n"):
                text += await stream.stream.read()
        assert changes_of(client)._queues == set()
        blocks = [block.splitlines() for block in text.decode().split("\n\n") if "event:" in block]
        return [(event[7:], json.loads(data[6:])["status"]) for event, data in blocks]

    told = asyncio.run(asyncio.wait_for(watch(), LIMIT))
    assert told == [("created", "open"), ("cancelled", "cancelled"), ("attached", "cancelled")]


def test_the_feed_tells_what_changes() -> None:
    async def watch() -> Any:
        async with conductor() as client, client.simulate_ws("/feed") as feed:
            await client.simulate_post("/orders", json=ORDER)
            return json.loads(await feed.receive_text())

    told = asyncio.run(asyncio.wait_for(watch(), LIMIT))
    assert told["change"] == "created"
    assert told["order"]["customer"] == "Ada"


def test_who_leaves_is_forgotten() -> None:
    client = conductor()

    async def watch() -> None:
        async with client, client.simulate_ws("/feed"):
            assert len(changes_of(client)._queues) == 1

    asyncio.run(asyncio.wait_for(watch(), LIMIT))
    assert changes_of(client)._queues == set()


def test_there_is_room_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders_async, "MOST_SUBSCRIBERS", 0)
    client = conductor()

    async def watch() -> testing.Result:
        async with client:
            return await client.simulate_get("/events")
        pytest.fail("the app swallowed an error")

    assert asyncio.run(asyncio.wait_for(watch(), LIMIT)).status_code == 503


def test_one_that_does_not_keep_up_is_dropped_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders_async, "MOST_UNREAD", 2)

    async def watch() -> tuple[list[Any], int]:
        changes = orders_async.Changes()
        order = orders_store.OrderStore().create(ORDER)
        with changes.subscribe() as slow, changes.subscribe() as quick:
            told = []
            for number in range(4):
                changes.tell(str(number), order)
                change = await quick.get()
                assert change is not None
                told.append(change["change"])
            assert await slow.get() is None
            return told, len(changes._queues)

    assert asyncio.run(asyncio.wait_for(watch(), LIMIT)) == (["0", "1", "2", "3"], 1)


def test_a_stopping_server_ends_the_feed() -> None:
    async def watch() -> Any:
        async with conductor() as client, client.simulate_ws("/feed") as feed:
            await changes_of(client).process_shutdown({}, {})
            with pytest.raises(falcon.WebSocketDisconnected):
                await feed.receive_text()
            return feed.close_code

    assert asyncio.run(asyncio.wait_for(watch(), LIMIT)) == 1001
