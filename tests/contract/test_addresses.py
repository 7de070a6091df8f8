"""Who may come in, by address: on every listener, whatever is asked for, with whatever credentials."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import time
from contextlib import ExitStack
from typing import Any

import pytest
import websockets.exceptions
import websockets.sync.client

from sealgate.engines.challenges import PATH
from sealgate.policy.problems import problem
from tests.contract.certificates import make
from tests.contract.sites import Site, askable, every_engine, on, started
from tests.contract.test_challenges import TEXT, TOKEN, answered
from tests.contract.test_own_clients import added, client
from tests.contract.test_spoofing import behind
from tests.live.served import free_port
from tests.live.wire import H2, Answer, get, parse, read_until_closed

KNOWN = ("127.0.0.1", "127.64.0.1", "127.127.255.255")
STRANGERS = {"of no network": "127.63.255.255", "shut out": "127.66.0.1", "shut out by itself": "127.64.0.9"}
MARKS = ("sealgate.address: yes", "Judged: yes", "SEALGATE-ADMITTED: 1", "X-Envoy-Internal: true")
HEADERS = ("X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1")

every_stranger = pytest.mark.parametrize("source", STRANGERS.values(), ids=STRANGERS)


def come(site: Site, source: str, port: int) -> socket.socket:
    return socket.create_connection((site.served.host, port), timeout=20, source_address=(source, 0))


def secure(site: Site, source: str, request: bytes, context: ssl.SSLContext | None = None) -> list[Answer]:
    context = context or site.served.context()
    with (
        come(site, source, site.served.https) as raw,
        context.wrap_socket(raw, server_hostname=site.served.host) as tls,
    ):
        tls.sendall(request)
        return parse(read_until_closed(tls))


def over_h2(site: Site, source: str, path: str) -> Answer | None:
    context = site.served.context()
    context.set_alpn_protocols(["h2"])
    with (
        come(site, source, site.served.https) as raw,
        context.wrap_socket(raw, server_hostname=site.served.host) as tls,
    ):
        return H2(tls).ask(path, "localhost")


def plain(site: Site, source: str, request: bytes, before: bytes = b"") -> Answer:
    with come(site, source, site.served.http) as sock:
        sock.sendall(before + request)
        (answer,) = parse(read_until_closed(sock))
    return answer


def turned_away(answer: Answer | None) -> None:
    assert answer is not None
    assert (answer.status, answer.slug) == (403, "address-refused")
    assert "127." not in answer.body.decode(), "nothing of the rules is told"


@on("optional")
@pytest.mark.parametrize("source", KNOWN)
def test_who_may_come_in_is_served(site: Site, source: str) -> None:
    mark = site.witness.mark
    (answer,) = secure(site, source, get("localhost", "/x"))
    assert answer.status == 200
    if "h2" in site.alpns:
        found = over_h2(site, source, "/x")
        assert found is not None
        assert found.status == 200
    assert [line["address"] for line in site.witness.since(mark)] == [source] * len(site.alpns)
    assert plain(site, source, get(site.served.host, "/x")).status == 308


@on("optional")
@every_stranger
def test_who_may_not_is_told_so_and_no_more(site: Site, source: str) -> None:
    mark = site.witness.mark
    for host, path in (
        ("localhost", "/x"),
        ("evil.example", "/x"),
        ("localhost", "//"),
        ("localhost", "/?a=b"),
    ):
        (answer,) = secure(site, source, get(host, path, *HEADERS))
        turned_away(answer)
        assert answer.one("strict-transport-security")
    if "h2" in site.alpns:
        turned_away(over_h2(site, source, "/x"))
    assert site.witness.since(mark) == []


@on("optional")
@every_stranger
def test_no_certificate_helps(site: Site, source: str) -> None:
    context = site.served.context()
    context.load_cert_chain(make(site.served, "good").path)
    mark = site.witness.mark
    (answer,) = secure(site, source, get("localhost", "/x"), context)
    turned_away(answer)
    assert site.witness.since(mark) == []


@on("optional")
@every_stranger
def test_each_request_of_a_connection_is_turned_away(site: Site, source: str) -> None:
    answers = secure(site, source, get("localhost", "/x", close=False) + get("localhost", "/y"))
    assert answers
    for answer in answers:
        turned_away(answer)


@on("optional")
@every_stranger
def test_plain_http_leads_them_nowhere(site: Site, source: str) -> None:
    for host in (site.served.host, "evil.example"):
        answer = plain(site, source, get(host, "/x", *HEADERS))
        turned_away(answer)
        assert answer.all("location") == []


@on("optional")
def test_whoever_asks_for_an_authority_is_answered(site: Site) -> None:
    """Nobody knows from which address one asks (RFC 8555 §10.2)."""
    for source in STRANGERS.values():
        answer = plain(site, source, get("localhost", PATH + TOKEN))
        assert (answer.status, answer.slug) == (404, "challenge-unknown")
    with answered(site):
        for source in STRANGERS.values():
            assert plain(site, source, get("localhost", PATH + TOKEN)).body == TEXT.encode()


@on("optional")
def test_another_refusal_is_not_taken_for_this_one(site: Site) -> None:
    for request in (
        get("localhost", "/x", "Upgrade: websocket", "Connection: upgrade", close=False),
        get("evil.example", "/x"),
        get("localhost", "//"),
    ):
        for answer in secure(site, KNOWN[0], request):
            assert answer.status == 200 or answer.slug != "address-refused"


@on("optional")
@pytest.mark.parametrize("status", [403, 441, 451])
def test_an_apps_own_refusal_stays_its_own(site: Site, status: int) -> None:
    """The numbers too by which servers tell themselves apart who refused."""
    (answer,) = secure(site, KNOWN[0], get("localhost", f"/status?{status}"))
    assert answer.status == status
    assert b"address-refused" not in answer.body


@on("optional")
def test_the_answer_is_whole_for_each_method_and_stands_in_the_log(site: Site) -> None:
    """One answer, as the reference has it; its status in the log is the one that was sent."""
    meant, source, path = problem("address-refused"), STRANGERS["shut out"], f"/log-{time.monotonic_ns()}"
    for method in ("GET", "HEAD", "DELETE", "OPTIONS"):
        request = get("localhost", path, *MARKS, method=method)
        for answer in (*secure(site, source, request), plain(site, source, request)):
            assert answer.status == 403
            assert answer.one("content-type") == "application/problem+json"
            assert answer.one("cache-control") == "no-store"
            if method != "HEAD":
                said = answer.problem
                assert (said["type"], said["title"], said["detail"]) == (
                    meant.type,
                    meant.title,
                    meant.detail,
                )
    body = b"x" * 2000
    posted = get("localhost", path, f"Content-Length: {len(body)}", method="POST") + body
    (answer,) = secure(site, source, posted)
    turned_away(answer)
    if site.inside:  # plain HTTP of these is a process without a log
        return

    def lines() -> list[dict[str, Any]]:
        return [line for line in site.served.access() if line.get("path") == path]  # of garbage there is none

    site.served.wait_for(lambda: len(lines()) >= 9)
    assert {(line["address"], line["status"]) for line in lines()} == {(source, 403)}
    assert sorted(line["method"] for line in lines()) == sorted(
        ["GET", "HEAD", "DELETE", "OPTIONS"] * 2 + ["POST"]
    )


BALANCED = {
    "TCP4 203.0.113.9": 200,
    "TCP4 203.0.113.66": 403,
    "TCP6 2001:db8::1": 200,
    "TCP6 2001:db8:bad::1": 403,
    "TCP6 ::2": 403,
    "TCP6 ::ffff:203.0.113.9": 200,
    "TCP6 ::ffff:203.0.113.66": 403,
}


@on("proxied")
@pytest.mark.parametrize("said", BALANCED)
def test_the_address_that_the_balancer_names_is_judged(site: Site, said: str) -> None:
    """Of IPv6 in which IPv4 is dressed, the IPv4 rules count: ``::/8`` is none of theirs."""
    to = "127.0.0.1" if said.startswith("TCP4") else "::1"
    words = f"PROXY {said} {to} 4711 443\r\n".encode()
    mark = site.witness.mark
    (answer,) = behind(site, words)
    assert answer.status == BALANCED[said]
    assert len(site.witness.since(mark)) == (answer.status == 200)
    redirected = plain(site, KNOWN[0], get("localhost", "/x"), words)
    assert redirected.status == (308 if answer.status == 200 else 403)
    if BALANCED[said] == 403:
        turned_away(answer)
        turned_away(redirected)


@pytest.mark.long
@every_engine
def test_where_this_machine_may_not_come_in_all_is_still_observed(which: str) -> None:
    """Ready, reloaded, a certificate revoked and seen to be: by looks that are turned away themselves."""
    with ExitStack() as stack:
        rules = {"allow": ["127.64.0.0/10"], "deny": ["127.66.0.0/16"]}
        site = started(stack, which, "required", network=rules, http={"mode": "redirect"})
        turned_away(plain(site, KNOWN[0], get(site.served.host, "/x")))
        shown = added(site, "ann")
        context = site.served.context()
        context.load_cert_chain(shown.path)
        (answer,) = secure(site, KNOWN[1], get("localhost", "/x"), context)
        assert answer.status == 200
        done = client(site, "revoke", "ann", "--json")
        assert done.status == 0, done.err
        assert json.loads(done.out)["doors"]["asked"]
        site.served.rewrite(network={"allow": ["127.64.0.0/10"], "deny": ["127.64.0.1"]})
        site.served.reload()
        assert "sealgate: reloaded" in site.served.err
        turned_away(plain(site, KNOWN[1], get(site.served.host, "/x")))
        assert plain(site, "127.66.0.1", get(site.served.host, "/x")).status == 308


@pytest.mark.long
@every_engine
def test_a_reload_counts_for_connections_that_are_open(which: str) -> None:
    """Whoever comes anew is judged anew at once; who is there already has an answer more, and then an end."""
    with ExitStack() as stack:
        site = started(stack, which, "optional", timeouts={"drain": "4s"})
        source, request = KNOWN[1], get("localhost", "/x", close=False)
        tls = stack.enter_context(come(site, source, site.served.https))
        kept = stack.enter_context(site.served.context().wrap_socket(tls, server_hostname=site.served.host))
        kept.settimeout(30)
        kept.sendall(request)
        assert kept.recv(65536).startswith(b"HTTP/1.1 200 ")
        site.served.rewrite(network={"deny": [source]})
        site.served.reload()
        assert "sealgate: reloaded" in site.served.err
        for _ in range(10):
            (answer,) = secure(site, source, get("localhost", "/x"))
            turned_away(answer)
        turned_away(plain(site, source, get(site.served.host, "/x")))
        until = time.monotonic() + 20
        try:
            while data := _asked(kept, request):
                assert time.monotonic() < until, "still served"
                assert data.startswith(b"HTTP/1.1 403 ") or b"connection: close" in data.lower()
        except OSError:  # closed while it was asked
            pass


def _asked(sock: ssl.SSLSocket, request: bytes) -> bytes:
    sock.sendall(request)
    return sock.recv(65536)


@pytest.mark.long
@pytest.mark.parametrize("which", askable("asgi"))
def test_a_websocket_ends_with_the_time_for_it(which: str) -> None:
    """What is under way at a reload may go on for `timeouts.drain`, whoever holds it; not longer."""
    with ExitStack() as stack:
        site = started(stack, which, "asgi", timeouts={"drain": "3s", "idle": "5m", "request": "10s"})
        url = f"wss://{site.served.host}:{site.served.https}/ws"
        socket_ = stack.enter_context(come(site, KNOWN[1], site.served.https))
        ws = stack.enter_context(
            websockets.sync.client.connect(
                url, sock=socket_, ssl=site.served.context(), server_hostname=site.served.host
            )
        )
        ws.recv(20)
        site.served.rewrite(network={"deny": [KNOWN[1]]})
        site.served.reload()
        assert "sealgate: reloaded" in site.served.err
        until = time.monotonic() + 40
        with contextlib.suppress(websockets.exceptions.ConnectionClosed):
            while True:
                ws.send("x")
                ws.recv(20)
                assert time.monotonic() < until, "it goes on"
                time.sleep(0.1)


@pytest.mark.long
@every_engine
def test_ipv6_and_what_comes_by_ipv4_to_its_listeners(which: str) -> None:
    """A server may take IPv4 in IPv6 clothes from the kernel (RFC 3493 §3.7), or none."""
    with ExitStack() as stack:
        https, http = free_port("127.0.0.1"), free_port("127.0.0.1")
        listen = {"https": [f"[::]:{https}"], "http": [f"[::]:{http}"]}
        rules = {"allow": ["127.64.0.0/10"], "deny": []}
        site = started(stack, which, "usual", listen=listen, network=rules)

        def asked(host: str, source: str) -> list[Answer]:
            with (
                socket.create_connection((host, https), timeout=20, source_address=(source, 0)) as raw,
                site.served.context().wrap_socket(raw, server_hostname="localhost") as tls,
            ):
                tls.sendall(get("localhost", "/x"))
                return parse(read_until_closed(tls))

        def four(source: str) -> int:
            try:
                (answer,) = asked("127.0.0.1", source)
            except ConnectionRefusedError:
                return 0
            return answer.status

        (answer,) = asked("::1", "::1")
        turned_away(answer)
        assert four(KNOWN[0]) in {0, 403}
        assert four(KNOWN[1]) in {0, 200}
        site.served.rewrite(network={"allow": ["::1"], "deny": ["127.0.0.0/8"]})
        site.served.reload()
        (answer,) = asked("::1", "::1")
        assert answer.status == 200
        assert four(KNOWN[1]) in {0, 403}
