"""Messages and descriptors between two processes of ours."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from sealgate.engines.channel import Channel


def test_messages_arrive_whole_and_in_order_with_their_descriptors() -> None:
    async def talk() -> None:
        ours, theirs = Channel.pair()
        other = Channel(theirs)
        reading, writing = os.pipe()
        ours.send({"order": "a", "text": "x" * 60_000}, [writing])
        ours.send({"order": "b"})
        os.close(writing)
        first = await other.receive()
        assert first is not None
        assert len(first[0]["text"]) == 60_000
        (copy,) = first[1]
        os.write(copy, b"hello")
        os.close(copy)
        assert os.read(reading, 10) == b"hello"
        os.close(reading)
        assert await other.receive() == ({"order": "b"}, [])
        waiting = asyncio.create_task(other.receive())
        await asyncio.sleep(0)
        ours.send({"late": True})
        assert await waiting == ({"late": True}, [])
        ours.close()
        assert await other.receive() is None
        with pytest.raises(OSError):
            other.send({"nobody": "there"})
        other.close()

    asyncio.run(talk())


def test_a_receiver_may_give_up() -> None:
    async def talk() -> None:
        ours, theirs = Channel.pair()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ours.receive(), 0.01)
        theirs.send(b'{"x": 1}')
        assert await ours.receive() == ({"x": 1}, [])
        ours.close()
        theirs.close()

    asyncio.run(talk())


def test_it_is_a_socket_that_keeps_messages_apart() -> None:
    ours, theirs = Channel.pair()
    assert theirs.type == socket.SOCK_SEQPACKET
    ours.close()
    theirs.close()
