"""Certificates of our own clients, on every engine: taken once issued, refused once revoked, as was seen."""

from __future__ import annotations

import contextlib
import json
import time
from contextlib import ExitStack

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from h2.exceptions import ProtocolError
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from sealgate.errors import ControlError
from tests.cli.calls import Result, sealgate
from tests.contract.certificates import Shown
from tests.contract.sites import Site, on
from tests.contract.test_answers import PATHS
from tests.contract.test_clients import VERSIONS, refused, refused_to_come_back, seen, session
from tests.live.wire import H2, Answer, get, parse, read_until_closed


def client(site: Site, *words: str) -> Result:
    served = site.served
    place = ("-c", str(served.policy), "--state", str(served.state))
    return sealgate("client", words[0], *place, *words[1:], cwd=served.folder)


def added(site: Site, name: str, *words: str) -> Shown:
    done = client(site, "add", name, "--out", f"out-{name}", *words)
    assert done.status == 0, done.err
    folder = site.served.folder / f"out-{name}"
    pem = (folder / f"{name}.pem").read_bytes()
    both = folder / "both.pem"
    both.write_bytes((folder / f"{name}.key").read_bytes() + pem)
    leaf = x509.load_pem_x509_certificates(pem)[0]
    return Shown(both, leaf.fingerprint(SHA256()).hex(), leaf.subject.rfc4514_string())


def fingerprints(site: Site, shown: Shown) -> set[str]:
    return {told[0] for told in seen(site, shown) if isinstance(told, list)}


class Kept:
    """A connection that stays open between requests."""

    def __init__(self, stack: ExitStack, site: Site, shown: Shown, alpn: str) -> None:
        context = site.served.context()
        context.load_cert_chain(shown.path)
        self._tls = stack.enter_context(site.served.connect(context, alpn=alpn))
        self._h2 = H2(self._tls) if alpn == "h2" else None

    def ask(self) -> Answer | None:
        """The answer to a request; None where the server has ended the connection."""
        with contextlib.suppress(OSError, ProtocolError):
            if self._h2 is not None:
                return None if self._h2.ended else self._h2.ask("/kept", "localhost")
            self._tls.sendall(get("localhost", "/kept", close=False))
            data = read_until_closed(self._tls, settle=0.5)
            return parse(data)[0] if data else None
        return None


def kept(stack: ExitStack, site: Site, shown: Shown) -> list[Kept]:
    """One of each protocol, with a request answered."""
    opened = [Kept(stack, site, shown, alpn) for alpn in site.alpns]
    for one in opened:
        answer = one.ask()
        assert answer is not None
        assert answer.status == 200
    return opened


@on("required", "optional")
def test_an_open_connection_of_a_revoked_client_gets_no_further_answer(site: Site) -> None:
    """Opened before; another client's, beside it, goes on or is ended in peace."""
    names = [f"{name}-open-{site.policy}" for name in ("ann", "ben")]
    ann, ben = (added(site, name) for name in names)
    with ExitStack() as stack:
        of_ann, of_ben = kept(stack, site, ann), kept(stack, site, ben)
        done = client(site, "revoke", names[0])
        assert done.status == 0, done.err
        mark = site.witness.mark
        for one in of_ann:
            answer = one.ask()
            assert answer is None or answer.status == 403, answer
            if answer is not None:
                assert answer.slug == "client-certificate-refused"
        assert site.witness.since(mark) == [], "the app heard of it"
        for one in of_ben:
            answer = one.ask()
            assert answer is None or answer.status == 200, answer


@on("required", "optional", "asgi")
def test_the_app_is_told_the_groups(site: Site) -> None:
    """By patterns, by what the command gave, by both; and nobody by what only looks alike."""
    wanted = {
        "kim": ((), []),
        "ann": (("--cn", "Ann of ops"), ["ops"]),
        "bob": (("--uri", "spiffe://example.org/ops/bob", "--group", "night"), ["ops", "night"]),
        "eve": (("--uri", "spiffe://example.org/ops/a/b", "--cn", "Ann of Ops"), []),
        "w1": (("--dns", "w1.workers.example.org"), ["workers"]),
        "w2": (("--dns", "w2.workers.example.org.evil.example", "--group", "workers"), ["workers"]),
    }
    for name, (words, groups) in wanted.items():
        shown = added(site, f"{name}-groups-{site.policy}", *words)
        mark = site.witness.mark
        assert fingerprints(site, shown) == {shown.fingerprint}
        assert {tuple(line["groups"]) for line in site.witness.since(mark)} == {tuple(groups)}, name
    mark = site.witness.mark
    done = client(site, "add", "mallory", "--out", "out-mallory", "--group", "nigth")
    assert done.status == 2
    assert 'client-group: there is no group "nigth"' in done.err
    assert 'did you mean "night"?' in done.err


@on("required", "optional")
def test_issued_revoked_held_and_released(site: Site) -> None:
    names = [f"{name}-{site.policy}" for name in ("ann", "ben")]
    ann = added(site, names[0], "--dns", "ann.example.org", "--uri", "spiffe://example.org/ann")
    ben = added(site, names[1])
    for shown in (ann, ben):
        assert fingerprints(site, shown) == {shown.fingerprint}
    before = [session(site, ann, version) for version in VERSIONS]
    mark = site.witness.mark
    done = client(site, "revoke", names[0], "--reason", "key-compromise", "--json")
    assert done.status == 0, done.err
    doors = json.loads(done.out)["doors"]
    assert doors["asked"]
    assert doors["open_connections"]
    assert doors["listeners"] == [f"{site.served.host}:{site.served.https}"]
    assert site.witness.since(mark) == [], "the app never saw a canary"
    refused(site, ann)
    refused_to_come_back(site, *before)
    assert fingerprints(site, ben) == {ben.fingerprint}
    assert client(site, "revoke", names[1], "--reason", "certificate-hold").status == 0
    refused(site, ben)
    assert client(site, "release", names[1]).status == 0
    assert fingerprints(site, ben) == {ben.fingerprint}
    refused(site, ann)


@on("required")
def test_what_the_keeper_says_no_to(site: Site) -> None:
    for order in (
        {"order": "client-revoke", "which": "nobody"},
        {"order": "client-revoke", "which": "nobody", "reason": "superceded"},
        {"order": "client-issue", "applications": [{"asked": {"name": "a/b"}, "spki": "MA=="}]},
    ):
        with pytest.raises(ControlError) as caught:
            site.served.order(**order)
        assert caught.value.code.startswith(("client-", "key-"))


@on("required")
def test_after_a_reload_a_new_list_leads_to_the_workers_that_there_are_now(site: Site) -> None:
    """A server that reads its files again must not go back to those it was started with."""
    ann, ben = (added(site, f"{name}-again-{site.policy}") for name in ("ann", "ben"))
    site.served.reload()
    site.served.wait_for(lambda: fingerprints(site, ben) == {ben.fingerprint}, 60.0)
    done = client(site, "revoke", f"ann-again-{site.policy}")
    assert done.status == 0, done.err
    refused(site, ann)
    assert fingerprints(site, ben) == {ben.fingerprint}


class Under:
    """An exchange that goes on for as long as its client likes."""

    def __init__(self, stack: ExitStack, site: Site, shown: Shown, alpn: str) -> None:
        context = site.served.context()
        context.load_cert_chain(shown.path)
        self._tls = stack.enter_context(site.served.connect(context, alpn=alpn))
        path = PATHS[site.kind]
        if alpn == "h2":
            self._h2: H2 | None = H2(self._tls)
            fields = ((":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", path))
            self._stream = self._h2.headers(fields)
        else:
            self._h2 = None
            self._tls.sendall(get("localhost", path, close=False))

    def goes_on(self, seconds: float) -> bool:
        """Did anything more of it come within that time?"""
        if self._h2 is None:
            self._tls.settimeout(seconds)
            with contextlib.suppress(OSError):
                return bool(self._tls.recv(65536))
            return False
        before, end = self._size, time.monotonic() + seconds
        while not self._h2.over(self._stream) and time.monotonic() < end:
            self._h2.step(0.2)
            if self._size > before:
                return True
        return False

    @property
    def _size(self) -> int:
        assert self._h2 is not None
        answer = self._h2.answers.get(self._stream)
        return len(answer.body) if answer else 0

    def ended(self, seconds: float) -> bool:
        """Does it come to its end within that time?"""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._h2 is not None:
                if self._h2.over(self._stream):
                    return True
                self._h2.step(0.2)
                continue
            self._tls.settimeout(end - time.monotonic())
            try:
                if not (data := self._tls.recv(65536)) or data.endswith(b"0\r\n\r\n"):
                    return True
            except TimeoutError:
                return False
            except OSError:
                return True
        return False


@on("required", "asgi")
def test_an_exchange_of_a_revoked_client_that_is_under_way_is_ended(site: Site) -> None:
    """A stream that would never end, over each protocol; another client's goes on."""
    names = [f"{name}-under-{site.policy}" for name in ("ann", "ben")]
    ann, ben = (added(site, name) for name in names)
    with ExitStack() as stack:
        of_ann, of_ben = ([Under(stack, site, who, alpn) for alpn in site.alpns] for who in (ann, ben))
        assert all(one.goes_on(20) for one in (*of_ann, *of_ben))
        done = client(site, "revoke", names[0])
        assert done.status == 0, done.err
        assert [one.ended(5) for one in of_ann] == [True] * len(of_ann)
        assert [one.goes_on(20) for one in of_ben] == [True] * len(of_ben)


@on("asgi")
def test_a_websocket_of_a_revoked_client_is_ended(site: Site) -> None:
    names = [f"{name}-socket-{site.policy}" for name in ("ann", "ben")]
    ann, ben = (added(site, name) for name in names)
    with ExitStack() as stack:
        sockets = []
        for shown in (ann, ben):
            context = site.served.context()
            context.load_cert_chain(shown.path)
            made = connect(f"wss://{site.served.host}:{site.served.https}/ws", ssl=context)
            socket = stack.enter_context(made)
            socket.recv(20)
            sockets.append(socket)
        assert client(site, "revoke", names[0]).status == 0
        with pytest.raises(ConnectionClosed):
            sockets[0].recv(5)
        sockets[1].send("still here")
        assert sockets[1].recv(20) == "still here"
