"""Listeners of HTTP/3 as the watcher sees them, and as people read of them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from sealgate.engines import quic
from sealgate.engines.observe import Seen
from sealgate.errors import NotObserved
from sealgate.monitor import gather
from sealgate.monitor.judge import judge
from sealgate.monitor.snapshot import Snapshot, from_json, to_json
from sealgate.monitor.web.probes import is_ready
from sealgate.monitor.words import view
from sealgate.policy.load import loads
from sealgate.policy.model import Endpoint, Policy
from tests.live.served import free_port, loopback
from tests.monitor.made import NOW, held, listener, snapshot
from tests.monitor.test_web import watched


def policy(*, http3: bool) -> Policy:
    host = loopback()
    lines = ("version = 1", "[listen]", f'https = ["{host}:{free_port(host)}"]', "http = []")
    text = "\n".join((*lines, f"http3 = {str(http3).lower()}", ""))
    return loads(text, path=Path(os.sep, "sealgate.toml"), environ={}).policy


def test_each_udp_socket_is_looked_at_by_itself() -> None:
    one = policy(http3=True)
    tcp, udp = gather.look(one, {"ecdsa": "ab" * 32}, NOW)
    assert (tcp.scheme, udp.scheme) == ("https", "h3")
    assert udp.address == f"{tcp.address}/udp"
    assert "no TLS handshake" in tcp.problem
    assert "no QUIC handshake" in udp.problem
    assert len(gather.look(policy(http3=False), {}, NOW)) == 1


def test_a_certificate_that_cannot_be_read_is_a_problem_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quic, "handshake", lambda *_: Seen("ab", "TLSv1.3", "", b"\x30\x00"))
    _, udp = gather.look(policy(http3=True), {}, NOW)
    assert "cannot be read" in udp.problem


def test_a_stale_one_is_an_alert_of_its_own_and_the_site_is_not_ready() -> None:
    good = listener(held())
    stale = replace(good, address="127.0.0.1:8443/udp", scheme="h3", problem="serves certificate x, not y")
    whole = snapshot(listeners=(good, stale))
    assert from_json(Snapshot, to_json(whole)) == whole
    (alert,) = judge(whole, NOW)
    assert "127.0.0.1:8443/udp" in alert.key
    assert not is_ready(watched(whole))
    rows = next(one.rows for one in view(whole, (alert,), NOW).sections if one.id == "listeners")
    assert [row.cells[0] for row in rows] == ["https://127.0.0.1:8443", "127.0.0.1:8443/udp (HTTP/3)"]
    assert [row.word for row in rows] == ["as meant", "wrong"]


def test_after_a_renewal_a_stale_one_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from sealgate.runtime import observation

    site = SimpleNamespace(policy=policy(http3=True), certificate=SimpleNamespace(shown={"ecdsa": "ab" * 32}))
    monkeypatch.setattr(quic, "handshake", lambda *_: Seen("cd" * 32, "TLSv1.3", ""))
    with pytest.raises(NotObserved, match=r"/udp serves certificate cdcd.*, not abab"):
        observation._certificate_seen_over_quic(Endpoint("127.0.0.1", 1), site)  # type: ignore[arg-type]
