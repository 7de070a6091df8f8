"""Many revocations under load: every door is shut within a second, and nobody else is turned away.

A client that is about to be revoked knocks at all doors at once, ten times a second each: new connections,
sessions from before, connections that are open (h1, h2), a stream that would never end. What counts is when a
door last let it in. SEALGATE_REVOCATIONS=100 asks for more of them than usual.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench.serving import put
from sealgate.pki.clients.naming import Asked
from sealgate.pki.clients.orders import application
from sealgate.pki.inspect import issuer_key_hash
from sealgate.pki.keys import generate, spki, to_pem
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.pki.vault import load_certificates
from tests.contract.certificates import Shown
from tests.contract.sites import Site, on, started
from tests.contract.test_clients import VERSIONS, Session, come_back, session
from tests.contract.test_own_clients import Kept, Under
from tests.live.load import Tally, h1_client, h2_client, nothing_was_lost
from tests.live.served import Background
from tests.live.wire import get, read_until_closed

COUNT = int(os.environ.get("SEALGATE_REVOCATIONS", "4"))
WITHIN = 1.0


@dataclass
class Door:
    """Where a client knocks; `knock` says whether it was let in, and None: never again by this way."""

    name: str
    knock: Callable[[], bool | None]
    in_at: list[tuple[float, float]] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        """Knock until told to stop; for each time it was let in: when it asked, when that was over."""
        while not stop.is_set():
            asked = time.monotonic()
            answer = self.knock()
            if answer is None:
                return
            if answer:
                self.in_at.append((asked, time.monotonic()))
            else:
                time.sleep(0.02)


def issued(site: Site, names: list[str]) -> dict[str, Shown]:
    """Certificates for these, of the keeper itself: the command would take a second for each."""
    keys = {name: generate("ecdsa-p256") for name in names}
    wanted = [application(Asked(name=name), spki(key)) for name, key in keys.items()]
    answer = site.served.order(order="client-issue", applications=wanted)
    found = {}
    for told in answer["issued"]:
        path = site.served.folder / f"{told['name']}.both.pem"
        path.write_bytes(to_pem(keys[told["name"]]) + (told["pem"] + answer["issuer"]).encode())
        found[told["name"]] = Shown(path, told["fingerprint_sha256"], told["subject"])
    return found


def context_of(site: Site, shown: Shown) -> ssl.SSLContext:
    context = site.served.context()
    context.load_cert_chain(shown.path)
    return context


def anew(site: Site, shown: Shown) -> Callable[[], bool]:
    context = context_of(site, shown)

    def knock() -> bool:
        with contextlib.suppress(OSError), site.served.connect(context) as tls:
            tls.sendall(get("localhost", "/new"))
            return b" 200 " in read_until_closed(tls)[:20]
        return False

    return knock


def again(site: Site, held: Session) -> Callable[[], bool]:
    def knock() -> bool:
        with contextlib.suppress(OSError):
            answer, _ = come_back(site, held)
            return answer is not None and answer.status == 200
        return False

    return knock


def kept(connection: Kept) -> Callable[[], bool | None]:
    def knock() -> bool | None:
        answer = connection.ask()
        return None if answer is None else answer.status == 200

    return knock


def under(exchange: Under) -> Callable[[], bool | None]:
    def knock() -> bool | None:
        if exchange.goes_on(0.5):
            return True
        return None if exchange.ended(0.2) else False

    return knock


def doors(stack: ExitStack, site: Site, shown: Shown) -> list[Door]:
    """All of them, and each has let the client in already."""
    made = [Door("new", anew(site, shown))]
    made += [Door(f"resumed {one.name}", again(site, session(site, shown, one))) for one in VERSIONS]
    for alpn in site.alpns:
        made.append(Door(f"open {alpn}", kept(Kept(stack, site, shown, alpn))))
        made.append(Door(f"under way {alpn}", under(Under(stack, site, shown, alpn))))
    for door in made:
        assert door.knock(), door.name
    return made


class Steady(Tally):
    """Clients that nobody revokes."""

    shown: Path

    def context(self) -> ssl.SSLContext:
        context = super().context()
        context.load_cert_chain(self.shown)
        return context


@contextlib.contextmanager
def steady(site: Site, shown: Shown) -> Iterator[Tally]:
    """Load by a client that is never refused."""
    tally = Steady(site.served, path="/x")
    tally.shown = shown.path

    async def load(stop: threading.Event) -> None:
        clients: list[asyncio.Future[None]] = [asyncio.ensure_future(h1_client(tally))]
        if "h2" in site.alpns:
            clients.append(h2_client(tally, streams=1))
        await asyncio.to_thread(stop.wait)
        tally.until = 0
        await asyncio.gather(*clients)

    running = Background(lambda stop: asyncio.run(load(stop)))
    try:
        yield tally
    finally:
        running.end()


def revoked(site: Site, name: str, shown: Shown) -> dict[str, tuple[float, float]]:
    """Revoke this one; by door the seconds, after the command was given and after it returned, of the last
    knock that was let in.
    """
    with ExitStack() as stack:
        knocked = doors(stack, site, shown)
        running = [Background(door.run) for door in knocked]
        time.sleep(0.1)
        given = time.monotonic()
        answer = site.served.order(order="client-revoke", which=name, reason="key-compromise")
        returned = time.monotonic()
        assert answer["doors"]["asked"]
        time.sleep(0.6)  # whoever is let in by then is told of below
        for one in running:
            one.end()
    last = {door.name: max(door.in_at, default=(given, given)) for door in knocked}
    # Of an exchange under way what comes counts, of others what was asked for.
    return {
        name: (at - given, at - returned)
        for name, times in last.items()
        for at in [times[1] if name.startswith("under way") else times[0]]
    }


@pytest.mark.long
@on("required")
def test_every_door_is_shut_within_a_second_and_nobody_else_is_refused(site: Site) -> None:
    names = [f"victim-{n}" for n in range(COUNT)]
    shown = issued(site, [*names, "steady"])
    with steady(site, shown.pop("steady")) as tally:
        found = [revoked(site, name, one) for name, one in shown.items()]
    largest = {
        name: {
            "after_given": round(max(one[name][0] for one in found), 3),
            "after_return": round(max(one[name][1] for one in found), 3),
        }
        for name in found[0]
    }
    print(json.dumps({"engine": site.engine, "revocations": COUNT, "steady": len(tally.answers), **largest}))
    assert len(tally.answers) > COUNT
    nothing_was_lost(tally, site.engine, COUNT)
    for name, delays in largest.items():
        assert delays["after_return"] <= (WITHIN if name.startswith("under way") else 0.0), (name, largest)


@pytest.mark.long
@pytest.mark.parametrize("which", ["envoy", "nginx", "uvicorn"])
def test_beside_a_hundred_thousand_the_doors_are_shut_within_a_second(which: str) -> None:
    with ExitStack() as stack:
        site = started(stack, which, "required")
        state = State.open(site.served.state, create=False)
        certificates = load_certificates(state)
        assert certificates is not None
        issuer = issuer_key_hash(certificates["clients"])
        with Store.open(state.store) as store:
            put(store, site.served.host, issuer, 100_000)
        shown = issued(site, ["first", "second", "third"])
        # The first makes the first list of that length.
        found = [revoked(site, name, shown[name]) for name in shown]
    for delays in found:
        for name, (_, after_return) in delays.items():
            assert after_return <= (WITHIN if name.startswith("under way") else 0.0), (name, found)
    # The best of them: an order waits while the keeper reads its store anew, seconds on a busy machine.
    for name in found[0]:
        if name == "new" or name.startswith("open"):
            assert min(one[name][0] for one in found) <= WITHIN, (name, found)
