"""A handshake that fails says why, on both event loops."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable

import pytest
import trustme
import uvloop

from sealgate.engines.tls_alert import AlertingObject


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = AlertingObject
    trustme.CA().issue_cert("localhost").configure_cert(context)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _client(address: tuple[str, int], said: list[object]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        with socket.create_connection(address, timeout=10) as raw, context.wrap_socket(raw):
            said.append("a handshake")
    except ssl.SSLError as error:
        said.append(error.reason)


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_alert_arrives(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    said: list[object] = []

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=_context())
        client = threading.Thread(target=_client, args=(server.sockets[0].getsockname(), said))
        client.start()
        await asyncio.to_thread(client.join, 10)
        server.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve())
    assert said == ["TLSV1_ALERT_PROTOCOL_VERSION"]


def test_what_is_no_tls_fails_at_once() -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = _context().wrap_bio(incoming, outgoing, server_side=True)
    with pytest.raises(ssl.SSLWantReadError):
        server.do_handshake()
    incoming.write(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(ssl.SSLError) as caught:
        server.do_handshake()
    assert caught.value.reason == "HTTP_REQUEST"


def test_the_second_try_fails_with_the_first_reason() -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = _context().wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(b"\x16\x03\x01\x00\x05hello")
    with pytest.raises(ssl.SSLWantReadError):
        server.do_handshake()
    with pytest.raises(ssl.SSLError) as caught:
        server.do_handshake()
    assert not isinstance(caught.value, ssl.SSLWantReadError)
