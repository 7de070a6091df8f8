"""HTTP/3 on the same ports, when the policy says so."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent

from sealgate.engines import quic
from sealgate.policy.model import Endpoint
from tests.live.served import Served, free_port, loopback, start_process, write_policy
from tests.live.wire import Answer, witnessed

LIE = "192.0.2.66"


class Client(QuicConnectionProtocol):
    """One request at a time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._http = H3Connection(self._quic)
        self._events: list[H3Event] = []
        self._done = asyncio.Event()

    def quic_event_received(self, event: QuicEvent) -> None:
        for found in self._http.handle_event(event):
            self._events.append(found)
            if isinstance(found, (HeadersReceived, DataReceived)) and found.stream_ended:
                self._done.set()

    async def ask(self, path: str, host: str, *fields: tuple[bytes, bytes], body: bytes = b"") -> Answer:
        self._events.clear()
        self._done.clear()
        stream = self._quic.get_next_available_stream_id()
        method = b"POST" if body else b"GET"
        pseudo = [
            (b":method", method),
            (b":scheme", b"https"),
            (b":authority", host.encode()),
            (b":path", path.encode()),
        ]
        self._http.send_headers(stream, [*pseudo, *fields], end_stream=not body)
        if body:
            self._http.send_data(stream, body, end_stream=True)
        self.transmit()
        await asyncio.wait_for(self._done.wait(), 20)
        answer = Answer(0, [])
        for event in self._events:
            if isinstance(event, HeadersReceived):
                answer.fields += [(name.decode(), value.decode()) for name, value in event.headers]
            elif isinstance(event, DataReceived):
                answer.body += event.data
        answer.status = int(answer.one(":status"))
        return answer


async def talk(served: Served, *requests: dict[str, Any]) -> list[Answer]:
    settings = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, cafile=str(served.root))
    settings.server_name = "localhost"
    async with connect(served.host, served.https, configuration=settings, create_protocol=Client) as client:
        assert isinstance(client, Client)
        return [await client.ask(**request) for request in requests]


def test_http3_is_served_and_judged_like_the_rest(tmp_path: Path) -> None:
    with witnessed(tmp_path, listen={"http3": True}, limits={"body": "64KiB"}) as (served, witness):
        port = served.https
        fine, posted, odd, unknown, large = asyncio.run(
            talk(
                served,
                {"path": "/three?a=b", "host": f"localhost:{port}"},
                {"path": "/up", "host": "localhost", "body": b"x" * 65536},
                {"path": "/a/../b", "host": "localhost"},
                {"path": "/x", "host": "evil.example"},
                {"path": "/up", "host": "localhost", "body": b"x" * 65537},
            )
        )
        assert fine.status == 200
        assert fine.one("strict-transport-security") == "max-age=300"
        assert fine.all("server") == []
        first, second = witness.lines()
        assert (first["path"], first["query"], first["scheme"]) == ("/three", "a=b", "https")
        assert (first["address"], first["client"]) == ("127.0.0.1", "127.0.0.1")
        assert posted.status == 200
        assert second["size"] == 65536
        assert (odd.slug, unknown.slug, large.slug) == (
            "path-not-canonical",
            "unknown-host",
            "body-too-large",
        )
        over_tcp = served.client().get("/x")
        assert over_tcp.headers["alt-svc"] == f'h3=":{port}"; ma=86400'


def test_a_renewal_is_seen_over_quic_too(tmp_path: Path) -> None:
    """And by whoever watches: what TCP shows says nothing about the UDP listener."""
    with witnessed(tmp_path, listen={"http3": True}) as (served, _):
        endpoint = Endpoint(served.host, served.https)
        before = quic.handshake(endpoint, "localhost", timeout=20).fingerprint
        renewed = served.order(order="renew")["fingerprint"]
        assert quic.handshake(endpoint, "localhost", timeout=20).fingerprint == renewed != before
        listeners = served.order(order="status")["snapshot"]["listeners"]
        (over_udp,) = [one for one in listeners if one["scheme"] == "h3"]
        assert over_udp["address"] == f"{endpoint}/udp"
        assert (over_udp["fingerprint"], over_udp["problem"]) == (renewed, "")


def test_lies_over_http3(tmp_path: Path) -> None:
    lies = (
        (b"x-forwarded-for", LIE.encode()),
        (b"sealgate-address", f"{LIE}:1".encode()),
        (b"forwarded", LIE.encode()),
    )

    async def lie(served: Served) -> Answer:
        settings = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, cafile=str(served.root))
        settings.server_name = "localhost"
        async with connect(
            served.host, served.https, configuration=settings, create_protocol=Client
        ) as client:
            assert isinstance(client, Client)
            return await client.ask("/x", "localhost", *lies)

    with witnessed(tmp_path, listen={"http3": True}) as (served, witness):
        assert asyncio.run(lie(served)).status == 200
        assert LIE not in str(witness.lines())


def test_who_may_not_come_in_may_not_by_http3(tmp_path: Path) -> None:
    """Nor does Sealgate's own look from that address take the refusal for a server that does not serve."""
    rules = {"deny": ["127.0.0.1"]}
    with witnessed(tmp_path, listen={"http3": True}, network=rules) as (served, witness):
        refused, odd = asyncio.run(
            talk(served, {"path": "/x", "host": "localhost"}, {"path": "//", "host": "evil.example"})
        )
        assert (refused.status, refused.slug) == (403, "address-refused")
        assert (odd.status, odd.slug) == (403, "address-refused")
        assert witness.lines() == []
        served.rewrite(network={"deny": [], "allow": ["127.0.0.1"]})
        served.reload()
        (fine,) = asyncio.run(talk(served, {"path": "/x", "host": "localhost"}))
        assert fine.status == 200


def test_without_it_no_udp_port_is_open(tmp_path: Path) -> None:
    with witnessed(tmp_path) as (served, _):
        assert "alt-svc" not in served.client().get("/x").headers
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((served.host, served.https))


def test_it_is_refused_together_with_client_certificates(tmp_path: Path) -> None:
    host = loopback()
    policy = tmp_path / "sealgate.toml"
    listen = {"https": [f"{host}:{free_port(host)}"], "http": [], "http3": True}
    write_policy(policy, {"site": {"app": "witness:app"}, "listen": listen, "clients": {"mode": "required"}})
    process = start_process(tmp_path, "serve", "-c", str(policy), "--state", str(tmp_path / "state"))
    assert process.wait(30) == 2
    assert "listen.http3" in (tmp_path / "err.log").read_text()
