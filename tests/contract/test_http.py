"""Every answer over HTTPS: HSTS, problem details; only the site's names; paths as they came, or refused."""

from __future__ import annotations

import re

import pytest

from tests.contract.sites import Site, on
from tests.live.wire import Answer, get, h2_connection, read_until_closed, tell

HSTS = ["max-age=300"]  # names of loopback
_VERSION = re.compile(r"\d+\.\d+")


def plain_to_see(answer: Answer) -> None:
    """What holds for every answer over HTTPS, whoever gave it."""
    assert answer.all("strict-transport-security") == HSTS
    for name in ("server", "via", "x-powered-by", "x-envoy-upstream-service-time"):
        for value in answer.all(name):
            assert not _VERSION.search(value), f"{name}: {value}"


def asked(site: Site, alpn: str, path: str, host: str = "localhost") -> Answer:
    if alpn == "http/1.1":
        (answer,) = tell(site.served, get(host, path))
        return answer
    connection = h2_connection(site.served)
    with connection.sock:
        found = connection.ask(path, host)
    assert found is not None, "the stream was cut"
    return found


@on("usual")
@pytest.mark.parametrize("status", [200, 204, 301, 401, 404, 500, 503])
def test_answers_of_the_app(site: Site, status: int) -> None:
    for alpn in site.alpns:
        answer = asked(site, alpn, f"/status?{status}")
        assert answer.status == status
        plain_to_see(answer)


@on("usual")
def test_the_apps_own_word_does_not_count(site: Site) -> None:
    if site.kind == "wsgi":
        answer = asked(site, "http/1.1", "/leak")
        assert answer.body == b"leaks"
        plain_to_see(answer)


MALFORMED = {
    "two hosts": b"GET /x HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    "no host": b"GET /x HTTP/1.1\r\n\r\n",
    "two lengths": b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "negative length": b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    "space before colon": b"GET /x HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "a null": b"GET /x HTTP/1.1\r\nHost: localhost\r\nX-A: b\x00c\r\n\r\n",
    "no such version": b"GET /x HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "nonsense": b"\x16\x03\x01\x02\x00\r\n\r\n",
}


@on("usual")
@pytest.mark.parametrize("kind", MALFORMED)
def test_what_is_no_clear_request_is_refused(site: Site, kind: str) -> None:
    mark = site.witness.mark
    answers = tell(site.served, MALFORMED[kind])
    # RFC 9112 §3.2, §6.3, §11.2: 400. Some have a status of its own for one or another.
    assert len(answers) == 1
    assert answers[0].status in {400, 421, 426, 501, 505}
    plain_to_see(answers[0])
    assert answers[0].problem
    assert site.witness.since(mark) == []


CHUNKS_COUNT = {"apache"}
"""Engines that drop a length beside chunks instead of refusing; their promise says so."""


@on("usual", "asgi")
def test_length_and_chunks_at_once_smuggle_nothing(site: Site) -> None:
    """RFC 9112 §6.1: refused; or the chunks count, and no further request is read from the connection."""
    mark = site.witness.mark
    for lengths in (
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
    ):
        head = f"POST /x HTTP/1.1\r\nHost: localhost\r\n{lengths}\r\n\r\n"
        answers = tell(
            site.served, f"{head}0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        )
        assert [answer.status for answer in answers] == [200 if site.engine in CHUNKS_COUNT else 400]
        plain_to_see(answers[0])
        assert answers[0].one("connection") == "close"
    seen = [(line["path"], line["size"]) for line in site.witness.since(mark)]
    assert seen == ([("/x", 0)] * 2 if site.engine in CHUNKS_COUNT else [])


@on("usual")
@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "localhost:1", "xlocalhost", "localhost."],
)
def test_another_host_is_421(site: Site, host: str) -> None:
    mark = site.witness.mark
    for alpn in site.alpns:
        answer = asked(site, alpn, "/x", host)
        assert (answer.status, answer.slug) == (421, "unknown-host")
        plain_to_see(answer)
    assert site.witness.since(mark) == []


LOOPBACK = (
    *("localhost", "localhost.", "LocalHost:1", "foo.localhost", "a.b.localhost.", "localhost.localdomain"),
    *("127.0.0.1", "127.0.0.1:1", "127.9.9.9", "[::1]", "[::1]:1", "[0:0:0:0:0:0:0:1]", "[::ffff:7f00:1]"),
)
ELSEWHERE = ("api.internal", "evil.example", "localhost.evil.example", "xlocalhost", "127.x", "[2001:db8::1]")


@on("tight")
def test_hsts_is_short_for_every_name_of_loopback_served_or_refused(site: Site) -> None:
    """The site has another name too: a browser must not keep its refusals for years on localhost."""
    meant = dict.fromkeys(LOOPBACK, "max-age=300") | dict.fromkeys(ELSEWHERE, "max-age=63072000")
    for alpn in site.alpns:
        said = {host: asked(site, alpn, "/x", host) for host in meant}
        assert {host: answer.one("strict-transport-security") for host, answer in said.items()} == meant
        assert {host for host in said if said[host].status == 200} == {"localhost", "api.internal"}


@on("usual")
def test_the_host_in_an_absolute_target_counts(site: Site) -> None:
    """RFC 9112 §3.2.2: it outranks the field. Never must one of the two be judged, and the other served."""
    mark = site.witness.mark
    (answer,) = tell(site.served, get("localhost", "https://evil.example/x"))
    assert answer.status in {400, 421}
    plain_to_see(answer)
    assert site.witness.since(mark) == []


@on("usual")
@pytest.mark.parametrize("case", ["localhost", "LOCALHOST", "localhost:{port}", "{host}", "{host}:{port}"])
def test_the_sites_names_are_served(site: Site, case: str) -> None:
    host = case.format(host=site.served.host, port=site.served.https)
    for alpn in site.alpns:
        assert asked(site, alpn, "/x", host).status == 200


CANONICAL = {
    "/": ("/", ""),
    "/a/b": ("/a/b", ""),
    "/a/b/": ("/a/b/", ""),
    "/a/b?x=%2F..%2f&y=//": ("/a/b", "x=%2F..%2f&y=//"),
    "/caf%C3%A9?%C3%A9": ("/café", "%C3%A9"),
    "/a%20b": ("/a b", ""),
    "/a;b=c": ("/a;b=c", ""),
    "/a+b": ("/a+b", ""),
    "/%2541": ("/%41", ""),
    "/...": ("/...", ""),
    "/x?": ("/x", ""),
}


@on("usual")
@pytest.mark.parametrize("target", CANONICAL)
def test_a_path_reaches_the_app_as_it_came(site: Site, target: str) -> None:
    for alpn in site.alpns:
        mark = site.witness.mark
        answer = asked(site, alpn, target)
        assert answer.status == 200
        (line,) = site.witness.since(mark)
        path = line["path"].encode("latin-1").decode() if site.kind == "wsgi" else line["path"]
        assert (path, line["query"]) == CANONICAL[target]


ODD = [
    *("/a/../b", "/..", "/../etc/passwd", "/a/./b", "/.", "/a/.."),
    *("/%2e%2e/b", "/a/%2E%2e/b", "/%2e", "/.%2e/x"),
    *("//", "//a", "/a//b", "/a//"),
    *("/a%2Fb", "/a%2fb", "/..%2fb", "/a%5Cb", "/a\\b", "/..\\b"),
    *("/a%00", "/a%0Ab", "/a%0d%0ab", "/a%7F", "/a%zz", "/a%", "/%C0%AF", "/%FF", "/a/..;/b", "/;/b"),
]


@on("usual")
@pytest.mark.parametrize("target", ODD)
def test_a_path_that_could_be_read_in_two_ways_is_400(site: Site, target: str) -> None:
    mark = site.witness.mark
    for alpn in site.alpns:
        answer = asked(site, alpn, target)
        assert (answer.status, answer.slug) in {(400, "path-not-canonical"), (400, "bad-request")}
        plain_to_see(answer)
    assert site.witness.since(mark) == []


@on("usual")
@pytest.mark.parametrize(("target", "status"), [("/x", 200), ("//", 400)])
def test_an_answer_to_head_has_no_body(site: Site, target: str, status: int) -> None:
    with site.served.connect() as tls:
        tls.sendall(get("localhost", target, method="HEAD"))
        data = read_until_closed(tls)
    assert data.startswith(f"HTTP/1.1 {status} ".encode())
    assert data.endswith(b"\r\n\r\n")
    assert data.count(b"\r\n\r\n") == 1
