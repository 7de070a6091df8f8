"""Renewals from an ACME authority under load: no request is lost, on the plain listener neither."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from sealgate.engines.observe import handshake
from sealgate.engines.registry import engine, engine_ids
from sealgate.policy.model import Endpoint
from tests.acme.pebble import pebble
from tests.live.load import Tally, h1_client, h2_client, nothing_was_lost
from tests.live.served import Served
from tests.live.test_acme import COMES, GOT, NAME, acme

_RENEWALS = 5
_PATIENCE = 20.0


@dataclass
class Public(Tally):
    """Clients that trust the authority's root and no other; and who is redirected, counted apart."""

    root: str = ""
    redirected: int = 0

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.root)


async def plain_client(tally: Public) -> None:
    """Where the authority asks, others are redirected meanwhile: one connection for each request."""
    host = tally.served.host
    request = f"GET /x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    while not tally.stopped():
        try:
            async with asyncio.timeout(_PATIENCE):
                reader, writer = await asyncio.open_connection(host, tally.served.http)
                writer.write(request)
                answer = await reader.read()
                writer.close()
        except (OSError, TimeoutError) as error:
            tally.failures.append(f"plain: {error!r}")
            continue
        if answer.startswith(b"HTTP/1.1 308 "):
            tally.redirected += 1
        else:
            tally.failures.append(f"plain: {answer[:60]!r}")
        await asyncio.sleep(0.01)


def seen_after(served: Served, before: str) -> float:
    """Seconds from a certificate's coming into live/ to the first handshake that shows it."""
    endpoint, end = Endpoint(served.host, served.https), time.monotonic() + 120
    while handshake(endpoint, NAME).fingerprint == before:
        assert time.monotonic() < end, served.err[-3000:]
        time.sleep(0.02)
    now = time.time()
    return now - (served.state / "live/server" / NAME / "current").lstat().st_mtime


async def _renewals(tally: Public, *, h2: bool) -> list[float]:
    served, taken = tally.served, []
    endpoint = Endpoint(served.host, served.https)
    three = (h1_client(tally), h1_client(tally), plain_client(tally))
    clients: list[asyncio.Future[None]] = [asyncio.ensure_future(one) for one in three]
    if h2:
        clients.append(h2_client(tally))
    for _ in range(_RENEWALS):
        before = (await asyncio.to_thread(handshake, endpoint, NAME)).fingerprint
        seen = asyncio.ensure_future(asyncio.to_thread(seen_after, served, before))
        renewed = await asyncio.to_thread(served.order, order="renew", force=True)
        taken.append(await seen)
        shown = {(await asyncio.to_thread(handshake, endpoint, NAME)).fingerprint for _ in range(12)}
        assert shown == {renewed["fingerprint"]} != {before}
    tally.until = 0
    await asyncio.gather(*clients)
    return taken


@pytest.mark.long
@pytest.mark.parametrize("which", engine_ids())
def test_renewals_from_an_authority_under_load(tmp_path: Path, which: str) -> None:
    """Its questions come through the very listeners that are under load."""
    (tmp_path / "pebble").mkdir()
    with pebble(tmp_path / "pebble", bad_nonces=20) as authority:
        site = {"names": [NAME, authority.host], "workers": 2}
        with acme(tmp_path, authority, engine=which, site=site) as served:
            served.wait_for(lambda: GOT in served.err, COMES)
            tally = Public(served, root=authority.get("/roots/0").decode())
            taken = asyncio.run(_renewals(tally, h2=engine(which).identity != "inside"))
            assert served.stop() == 0
    nothing_was_lost(tally, which, _RENEWALS)
    assert len(tally.answers) > 50
    assert tally.redirected > 5
    assert max(taken) < 2
