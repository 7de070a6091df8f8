"""Nobody tells the app who calls but the engine: spoofed fields never arrive as anybody's word."""

from __future__ import annotations

import contextlib
import json
import socket

import pytest

from sealgate.guard.headers import is_spoofable
from sealgate.policy import claims
from tests.contract.sites import Site, on
from tests.live import hello
from tests.live.wire import Answer, get, h2_connection, parse, read_until_closed

NAMES = (
    *("Sealgate-Address", "Sealgate-Path", "Sealgate-Proof", "Sealgate-Verified", "Sealgate-Certificate"),
    *("Sealgate-Client", "Sealgate-Anything"),
    *("Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port"),
    *("X-Forwarded-Client-Cert", "X-Real-IP", "True-Client-IP", "X-Client-IP", "Client-IP"),
    *("Client-Cert", "Client-Cert-Chain", "X-Client-Cert", "X-SSL-Client-Cert", "X-SSL-Client-Verify"),
    *("SSL-Client-Cert", "Remote-User", "X-Remote-User", "X-Original-URL", "X-Rewrite-URL", "Proxy"),
)
UNKNOWN = [family + "no-such" for family in (*claims.OWN, *claims.FAMILIES)]
ADDRESS, WORD = "203.0.113.77", "spoofed"
VALUES = {
    "Sealgate-Address": f"{ADDRESS}:1",
    "Sealgate-Path": f"/{WORD}",
    "Sealgate-Verified": "SUCCESS",
    "X-Forwarded-For": ADDRESS,
    "X-Real-IP": ADDRESS,
    "Forwarded": f"for={ADDRESS}",
}


def value(name: str) -> str:
    return VALUES.get(name, WORD)


def no_trace(site: Site, mark: int, address: str) -> None:
    """Of all that was said, in all that the app was told."""
    for line in site.witness.since(mark):
        text = json.dumps({**line, "variables": _fields(line.get("variables", {}))})
        assert WORD not in text
        assert ADDRESS not in text
        assert line["path"] == "/x"
        assert (line["client"], line["address"], line["scheme"]) == (address, address, "https")
        assert line["certificate"] is None
        assert "sealgate" not in text.lower().replace('"client"', "")


def _fields(variables: dict[str, str]) -> dict[str, str]:
    """Without the server's own folders, which may be called anything."""
    return {name: value for name, value in variables.items() if name.startswith(("HTTP_", "SSL_", "REMOTE_"))}


def h1(site: Site, *lines: str) -> list[int]:
    """One request with these fields; true for an answer from the app."""
    mark = site.witness.mark
    with site.served.connect() as tls:
        address = tls.getsockname()[0]
        tls.sendall(get("localhost", "/x", *lines))
        statuses = [answer.status for answer in parse(read_until_closed(tls))]
    no_trace(site, mark, address)
    return statuses


@on("usual")
def test_all_at_once_and_twice(site: Site) -> None:
    lines = [f"{name}: {value(name)}" for name in NAMES]
    assert h1(site, *lines) in ([200], [400])
    assert h1(site, *lines, *lines) in ([200], [400])


@on("optional")
@pytest.mark.parametrize("name", [*NAMES[:7], "X-Forwarded-For", "X-SSL-Client-Verify", "Client-Cert"])
def test_alone_and_in_other_spellings(site: Site, name: str) -> None:
    """Without a certificate of one's own, so that a claimed one would be seen."""
    spellings = [name.upper(), name.replace("-", "_"), name.lower().replace("-", "_", 1)]
    for spelling in spellings:
        assert h1(site, f"{spelling}: {value(name)}") in ([200], [400])


@on("usual", "asgi")
def test_no_member_of_a_family_arrives_or_breaks_anything(site: Site) -> None:
    """Not those that nobody has heard of either: once, twice, behind empty ones, with underscores."""
    for joint in "-_":
        names = [name.replace("-", joint) for name in UNKNOWN]
        once = [f"{name}: {WORD}" for name in names]
        empty = [f"{name}-after:" for name in names]
        for lines in (once, [*once, *once], [*once, *empty, "a_b:"], once[:1], once[:1] * 2):
            mark = site.witness.mark
            assert h1(site, *lines) in ([200], [400])
            for line in site.witness.since(mark):
                assert not [name for name in _names(line) if is_spoofable(name)]


def _names(line: dict) -> list[str]:
    """Of the request fields that the app was told."""
    if "fields" in line:
        return [name for name, _ in line["fields"]]
    return [name[5:] for name in line["variables"] if name.startswith("HTTP_")]


@on("optional")
def test_over_http2_too(site: Site) -> None:
    if "h2" not in site.alpns:
        return
    mark = site.witness.mark
    connection = h2_connection(site.served)
    with connection.sock:
        address = connection.sock.getsockname()[0]
        fields = [(name.lower(), value(name)) for name in NAMES]
        answer = connection.ask("/x", "localhost", *fields, *fields)
        assert answer is None or answer.status in {200, 400}
        again = h2_connection(site.served)
        with again.sock:
            for name in NAMES[:7]:
                said = again.ask("/x", "localhost", (name.lower().replace("-", "_"), value(name)))
                assert said is None or said.status in {200, 400}
    no_trace(site, mark, address)


def behind(site: Site, said: bytes) -> list[Answer]:
    """A request through a balancer that begins the connection with these bytes."""
    context = site.served.context()
    context.set_alpn_protocols(["http/1.1"])
    with socket.create_connection((site.served.host, site.served.https), timeout=10) as raw:
        raw.sendall(said)
        with context.wrap_socket(raw, server_hostname="localhost") as tls:
            tls.sendall(get("localhost", "/x", f"X-Forwarded-For: {WORD}"))
            return parse(read_until_closed(tls))


@on("proxied")
def test_the_balancers_word_counts(site: Site) -> None:
    mark = site.witness.mark
    (answer,) = behind(site, b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 443\r\n")
    assert answer.status == 200
    (line,) = site.witness.since(mark)
    assert (line["client"], line["address"]) == ("203.0.113.9", "203.0.113.9")
    assert WORD not in json.dumps(line)


@on("proxied")
@pytest.mark.parametrize("said", [b"", b"PROXY TCP4 nonsense\r\n"], ids=["nothing", "nonsense"])
def test_without_the_balancers_word_nobody_is_served(site: Site, said: bytes) -> None:
    with socket.create_connection((site.served.host, site.served.https), timeout=10) as raw:
        with contextlib.suppress(OSError):  # closed already
            raw.sendall(said)
            raw.sendall(hello.client_hello((0x0304,), hello.TLS13, (hello.GROUPS["X25519"],)))
        assert not read_until_closed(raw).startswith(b"\x16"), "a ServerHello"


@on("usual")
def test_connection_cannot_strip_the_engines_fields(site: Site) -> None:
    """RFC 9110 §7.6.1: fields named in Connection end at the hop; ours do not."""
    names = "close, sealgate-address, sealgate-path, sealgate-proof, sealgate-verified, host"
    mark = site.witness.mark
    with site.served.connect() as tls:
        address = tls.getsockname()[0]
        request = f"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: {names}\r\n\r\n"
        tls.sendall(request.encode())
        statuses = [answer.status for answer in parse(read_until_closed(tls))]
    assert statuses in ([200], [400])
    no_trace(site, mark, address)


@on("usual")
def test_the_request_id_is_the_engines(site: Site) -> None:
    lines = []
    for _ in range(2):
        mark = site.witness.mark
        assert h1(site, f"X-Request-Id: {WORD}") == [200]
        lines += site.witness.since(mark)
    seen = [_request_id(line) for line in lines]
    assert len(set(seen)) == 2
    assert all(seen)


def _request_id(line: dict) -> str:
    fields = dict(line["fields"]) if "fields" in line else line["variables"]
    return fields.get("x-request-id") or fields.get("HTTP_X_REQUEST_ID") or ""
