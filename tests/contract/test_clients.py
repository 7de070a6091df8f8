"""Client certificates: whose count, what the app is told of them, and no way around them."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
import websockets.sync.client

from tests.contract.certificates import KINDS, Shown, make
from tests.contract.sites import Site, on
from tests.live.wire import H2, Answer, get, parse, read_until_closed

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def ask(site: Site, certificate: Path | None, version: ssl.TLSVersion, alpn: str) -> Answer | None:
    """The answer to a request with that certificate; None where the connection was refused."""
    context = site.served.context(maximum_version=version)
    if certificate is not None:
        context.load_cert_chain(certificate)
    with contextlib.suppress(ssl.SSLError, ConnectionError), site.served.connect(context, alpn=alpn) as tls:
        if alpn == "h2":
            return H2(tls).ask("/x", "localhost")
        tls.sendall(get("localhost", "/x"))
        answers = parse(read_until_closed(tls))
        return answers[0] if answers else None
    return None


def ask_in_all_ways(site: Site, shown: Shown | None) -> list[Answer | None]:
    return [
        ask(site, shown.path if shown else None, version, alpn) for version in VERSIONS for alpn in site.alpns
    ]


def refused(site: Site, shown: Shown | None) -> None:
    """In the handshake, or with a problem; in no case does the app hear of it."""
    mark = site.witness.mark
    for answer in ask_in_all_ways(site, shown):
        if answer is not None:
            assert answer.status in {400, 403}
            assert answer.problem
            assert answer.one("strict-transport-security")
    assert site.witness.since(mark) == []


def seen(site: Site, shown: Shown | None) -> list[object]:
    """What the app is told of the certificate."""
    mark = site.witness.mark
    answers = ask_in_all_ways(site, shown)
    assert [answer.status if answer else 0 for answer in answers] == [200] * len(answers)
    return [line["certificate"] for line in site.witness.since(mark)]


def as_shown(shown: Shown) -> list[str]:
    return [shown.fingerprint, shown.subject, "alice"]


@on("optional")
def test_optional_the_app_knows_who_called_and_who_did_not_say(site: Site) -> None:
    good = make(site.served, "good")
    ways = 2 * len(site.alpns)
    assert seen(site, good) == [as_shown(good)] * ways
    assert seen(site, None) == [None] * ways


@on("required")
def test_required_the_app_knows_who_called(site: Site) -> None:
    good = make(site.served, "good")
    assert seen(site, good) == [as_shown(good)] * 2 * len(site.alpns)
    refused(site, None)


@on("optional")
@pytest.mark.parametrize("kind", KINDS)
def test_optional_what_does_not_count_is_not_taken_for_none(site: Site, kind: str) -> None:
    refused(site, make(site.served, kind))


@on("required")
@pytest.mark.parametrize("kind", KINDS)
def test_required_only_what_counts(site: Site, kind: str) -> None:
    refused(site, make(site.served, kind))


@on("usual")
def test_off_nothing_is_asked_for(site: Site) -> None:
    assert seen(site, make(site.served, "stranger")) == [None] * 2 * len(site.alpns)


@on("optional")
def test_many_certificates_are_not_mixed_up(site: Site) -> None:
    """On connections at the same time, each with a certificate of its own or none."""
    alice = make(site.served, "good")
    context = site.served.context()
    context.load_cert_chain(alice.path)
    mark = site.witness.mark
    with site.served.connect(context) as known, site.served.connect() as stranger:
        for _ in range(3):
            for tls in (known, stranger):
                tls.sendall(get("localhost", "/x", close=False))
                assert b" 200 " in read_until_closed(tls, settle=0.05)
    told = [line["certificate"] for line in site.witness.since(mark)]
    assert told == [as_shown(alice), None] * 3


@dataclass(frozen=True)
class Session:
    """What a client keeps of a connection, to come back by it without a whole handshake."""

    context: ssl.SSLContext
    kept: ssl.SSLSession | None


def session(site: Site, shown: Shown | None, version: ssl.TLSVersion) -> Session:
    """Of a request that is answered."""
    context = site.served.context(maximum_version=version)
    context.minimum_version = version
    if shown is not None:
        context.load_cert_chain(shown.path)
    with site.served.connect(context) as tls:
        tls.sendall(get("localhost", "/x"))
        assert b" 200 " in read_until_closed(tls)  # tickets come before the answer
        return Session(context, tls.session)


def come_back(site: Site, held: Session) -> tuple[Answer | None, bool]:
    """The answer to a request by that session, None where there is none; and was it resumed?"""
    resumed = False
    with (
        contextlib.suppress(ssl.SSLError, ConnectionError),
        socket.create_connection((site.served.host, site.served.https), timeout=20) as raw,
        held.context.wrap_socket(raw, server_hostname=site.served.host, session=held.kept) as tls,
    ):
        resumed = bool(tls.session_reused)
        tls.sendall(get("localhost", "/x"))
        answers = parse(read_until_closed(tls))
        return answers[0] if answers else None, resumed
    return None, resumed


def refused_to_come_back(site: Site, *sessions: Session) -> None:
    """As :func:`refused`, of who was here before."""
    mark = site.witness.mark
    for held in sessions:
        answer, resumed = come_back(site, held)
        assert not resumed
        if answer is not None:
            assert answer.status in {400, 403}
            assert answer.problem
    assert site.witness.since(mark) == []


@on("required", "optional")
@pytest.mark.parametrize("version", VERSIONS)
def test_no_session_is_resumed(site: Site, version: ssl.TLSVersion) -> None:
    """Or a client could come back after its certificate was revoked, without showing it again."""
    good = make(site.served, "good")
    for shown in (good, None) if site.policy == "optional" else (good,):
        held, mark = session(site, shown, version), site.witness.mark
        answer, resumed = come_back(site, held)
        assert answer is not None
        assert (answer.status, resumed) == (200, False)
        (line,) = site.witness.since(mark)
        assert line["certificate"] == (as_shown(shown) if shown else None)


@on("asgi")
def test_a_websocket_knows_who_called(site: Site) -> None:
    good, served = make(site.served, "good"), site.served
    context = served.context()
    context.load_cert_chain(good.path)
    for tls, told in ((context, as_shown(good)), (served.context(), None)):
        with websockets.sync.client.connect(f"wss://{served.host}:{served.https}/ws", ssl=tls) as ws:
            scope = json.loads(ws.recv(10))
            assert scope["certificate"] == told
            assert scope["scheme"] == "wss"
            ws.send("again")
            assert ws.recv(10) == "again"
            ws.send(b"x" * 100_000)
            assert ws.recv(10) == "x" * 100_000
