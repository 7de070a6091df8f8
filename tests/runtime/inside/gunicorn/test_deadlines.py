"""When time has run out, by phase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from sealgate.engines.servers.gunicorn.orders import Orders
from sealgate.engines.tls_context import TlsSettings
from sealgate.runtime.inside.gunicorn.connection import Phase
from sealgate.runtime.inside.gunicorn.deadlines import due

TLS = TlsSettings(
    chain="c",
    key="k",
    trust="t",
    clients="off",
    protocols=("TLSv1.3",),
    tls12_suites=(),
    groups=(),
    server_preferred_order=False,
    alpn=(),
)
ORDERS = Orders(
    app="a:b",
    folder="/",
    guard="/g",
    binds=(("127.0.0.1", 1), ("::1", 2)),
    workers=1,
    threads=1,
    tls=TLS,
    hsts="",
    hsts_local="",
    body=1,
    headers=1,
    connections=1,
    handshake_seconds=2,
    header_seconds=3,
    request_seconds=5,
    idle_seconds=7,
    drain_seconds=11,
)


@dataclass
class Fake:
    phase: Phase
    since: float = 100
    began: float = 0
    moved: float = 0
    begun: bool = False
    cut: bool = False


@pytest.mark.parametrize(
    ("phase", "facts", "seconds"),
    [
        (Phase.HANDSHAKE, {}, 2),
        (Phase.HEAD, {}, 7),
        (Phase.HEAD, {"began": 100}, 3),
        (Phase.BODY, {"began": 100, "since": 104}, 5),
        (Phase.ANSWER, {"since": 100}, 5),
        (Phase.ANSWER, {"begun": True, "moved": 100, "since": 90}, 7),
        (Phase.FLUSH, {"moved": 100, "since": 95}, 7),
        (Phase.LINGER, {}, 1),
    ],
)
def test_each_phase_has_its_time(phase: Phase, facts: dict[str, Any], seconds: float) -> None:
    connection: Any = Fake(phase, **facts)
    assert not due(connection, ORDERS, 100 + seconds)
    assert due(connection, ORDERS, 100.01 + seconds)


def test_an_exchange_that_was_cut_waits_for_its_thread() -> None:
    connection: Any = Fake(Phase.ANSWER, cut=True)
    assert not due(connection, ORDERS, 10_000)


def test_while_stopping_an_idle_connection_has_a_second() -> None:
    connection: Any = Fake(Phase.HEAD)
    assert not due(connection, ORDERS, 104, stopping=103.5)
    assert due(connection, ORDERS, 105, stopping=103.5)


def test_orders_survive_json() -> None:
    assert Orders.from_json(ORDERS.to_json()) == ORDERS
