"""A renewal is seen at each of a server's processes, or it is not done."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import trustme

from sealgate.engines.observe import handshake
from sealgate.errors import NotObserved
from sealgate.policy.model import Policy
from sealgate.policy.values import Endpoint
from sealgate.runtime import observation
from sealgate.runtime.observation import looks, observe
from tests.live.served import free_port, loopback

if TYPE_CHECKING:
    from sealgate.runtime.site import Site


@pytest.mark.parametrize("processes", (2, 3, 4, 8))
def test_so_many_looks_miss_none(processes: int) -> None:
    chance = random.Random(processes)
    missed = sum(
        len({chance.randrange(processes) for _ in range(looks(processes))}) < processes for _ in range(2000)
    )
    assert missed <= 40
    assert looks(1) == 1
    assert looks(10_000) == 64


@contextlib.contextmanager
def process(endpoint: Endpoint, folder: Path, pem: bytes = b"") -> Iterator[None]:
    """One of several that share an address, as the processes of a server do; `pem`: another for each."""
    folder.mkdir()
    if not pem:
        pem = trustme.CA().issue_cert("a.test").private_key_and_cert_chain_pem.bytes()
    (folder / "all.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "all.pem")
    ends = threading.Event()
    with socket.create_server((endpoint.host, endpoint.port), reuse_port=True) as listener:
        listener.settimeout(0.05)

        def serve() -> None:
            while not ends.is_set():
                with contextlib.suppress(OSError):
                    raw, _ = listener.accept()
                    raw.settimeout(20)
                    with raw, context.wrap_socket(raw, server_side=True):
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            ends.set()
            thread.join(20)


def site(endpoint: Endpoint, fingerprint: str) -> Any:
    listen = SimpleNamespace(https=(endpoint,), http=(), proxy_protocol=False, http3=False)
    policy = SimpleNamespace(listen=listen, first_name="a.test")
    return SimpleNamespace(policy=policy, certificate=SimpleNamespace(shown={"ecdsa": fingerprint}))


def test_one_process_that_remembers_the_old_one_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = loopback()
    endpoint = Endpoint(host, free_port(host))
    with process(endpoint, tmp_path / "new"):
        wanted = site(endpoint, handshake(endpoint, "a.test").fingerprint)
        asyncio.run(observe(wanted, processes=8))
        with process(endpoint, tmp_path / "old"):
            monkeypatch.setattr(observation, "_SEEN", 0.5)
            with pytest.raises(NotObserved, match="one of its processes"):
                asyncio.run(observe(wanted, processes=8))


def test_one_that_is_late_is_waited_for() -> None:
    left = [20]

    def look() -> str:
        left[0] -= 1
        return "an old one" if left[0] > 0 else ""

    asyncio.run(observation._seen_everywhere(look, 4, float("inf")))
    assert left[0] <= 0


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ({}, 308),
        ({"http": {"mode": "refuse"}}, 403),
        ({"network": {"allow": ["10.0.0.0/8"]}}, 403),
        ({"network": {"deny": ["127.0.0.0/24"]}}, 403),
        ({"network": {"deny": ["127.0.1.0/24"]}}, 308),
        ({"network": {"allow": ["127.0.0.1"]}}, 308),
    ],
)
def test_a_look_at_plain_http_is_turned_away_where_the_rules_say_so(
    tables: dict[str, Any], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = cast("Site", SimpleNamespace(policy=Policy.model_validate(tables)))
    for status in (308, 403, 421):
        monkeypatch.setattr(observation, "plain_status", lambda *_, status=status, **__: status)
        if status == expected:
            observation._plain_seen(Endpoint("127.9.9.9", 80), site)
        else:
            with pytest.raises(NotObserved, match=f"answers {status}, not {expected}"):
                observation._plain_seen(Endpoint("127.9.9.9", 80), site)
