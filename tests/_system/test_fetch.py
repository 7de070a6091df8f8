"""What strangers' servers may answer: who is slow, endless, elsewhere or lies does not hold us."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import trustme

from sealgate._system.fetch import Bounds, Failed, Fetched, Posted, Tag, Unchanged, Why, fetch
from tests._system.publishing import Answer, Call, Publisher, publishing

HERE = (ipaddress.ip_network("127.0.0.0/8"),)
QUICK = Bounds(size=1 << 20, seconds=30, connect=10, window=1, least=100)
LIST = b"0" * 5000


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with publishing() as found:
        found.answers["/"] = lambda call: call.answer(200, LIST, ETag='"1"')
        yield found


def asked(url: str, **options: Any) -> Fetched | Unchanged | Failed:
    return asyncio.run(fetch(url, **{"allowed": HERE, "bounds": QUICK, **options}))


def failed(url: str, **options: Any) -> Why:
    found = asked(url, **options)
    assert isinstance(found, Failed), found
    assert found.said.isascii()
    return found.why


def test_what_is_there_comes(publisher: Publisher) -> None:
    assert asked(publisher.url()) == Fetched(LIST, Tag('"1"', ""))
    (call,) = publisher.calls
    assert call.fields == {
        "host": f"127.0.0.1:{publisher.port}",
        "user-agent": "sealgate",
        "accept": "*/*",
        "accept-encoding": "identity",
        "connection": "close",
    }


def test_nothing_of_the_environment_counts(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert isinstance(asked(publisher.url()), Fetched)


def test_ourselves_only_where_listed(publisher: Publisher) -> None:
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"):
        assert failed(publisher.url(host=host), allowed=()) is Why.PLACE
        assert isinstance(asked(publisher.url(host=host)), Fetched), host
    assert len(publisher.calls) == 5


def test_the_address_that_was_checked_is_asked(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is another address at the second look (DNS rebinding): nobody looks twice."""
    names, real = [], socket.getaddrinfo

    def rebinding(host: str, port: int, *further: Any, **named: Any) -> Any:
        names.append(host)
        return real("127.0.0.1" if len(names) == 1 else "127.0.0.2", port, *further, **named)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    only = (ipaddress.ip_network("127.0.0.1"),)
    assert isinstance(asked(publisher.url(host="rebinding.test"), allowed=only), Fetched)
    assert names == ["rebinding.test"]
    assert publisher.calls[0].fields["host"] == f"rebinding.test:{publisher.port}"


def test_of_several_addresses_those_that_may_be_asked_are(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def several(_host: str, port: int, *further: Any, **named: Any) -> Any:
        return [one for text in ("10.0.0.1", "127.0.0.9", "127.0.0.1") for one in real(text, port, *further)]

    monkeypatch.setattr(socket, "getaddrinfo", several)
    assert isinstance(asked(publisher.url(host="several.test")), Fetched)


def test_a_name_without_address() -> None:
    assert failed("http://nobody.invalid/") is Why.NAME
    assert failed(f"http://{'a' * 80}.test/") is Why.NAME


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert failed(f"http://127.0.0.1:{free.getsockname()[1]}/") is Why.CONNECTION


def test_no_address_that_is_asked() -> None:
    assert failed("ldap://127.0.0.1/") is Why.ADDRESS
    assert failed("http://user:word@127.0.0.1/") is Why.ADDRESS


# Redirects.


def led(location: str, status: int = 302) -> Answer:
    return lambda call: call.answer(status, Location=location)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_three_redirects_are_followed(publisher: Publisher, status: int) -> None:
    publisher.answers |= {"/a": led("/b", status), "/b": led(publisher.url("/c"), status), "/c": led("/")}
    assert isinstance(asked(publisher.url("/a")), Fetched)
    publisher.answers["/before"] = led("/a")
    assert failed(publisher.url("/before")) is Why.REDIRECTS


def test_a_redirect_loop(publisher: Publisher) -> None:
    publisher.answers["/loop"] = led("/loop")
    assert failed(publisher.url("/loop")) is Why.REDIRECTS
    assert len(publisher.calls) == 4


def test_each_redirect_is_checked(publisher: Publisher) -> None:
    only = (ipaddress.ip_network("127.0.0.1"),)
    with publishing("127.0.0.2") as inside:
        inside.answers["/"] = lambda call: call.answer(200, b"secret")
        publisher.answers["/a"] = led(inside.url())
        assert failed(publisher.url("/a"), allowed=only) is Why.PLACE
        assert inside.calls == []
        assert isinstance(asked(publisher.url("/a")), Fetched)
    for location in ("http://169.254.169.254/latest/", "http://[::1]:1/", "http://0.0.0.0/"):
        publisher.answers["/a"] = led(location)
        assert failed(publisher.url("/a")) is Why.PLACE
    for location in ("file:///etc/passwd", "", "http://a@127.0.0.1/", "gopher://127.0.0.1/"):
        publisher.answers["/a"] = led(location)
        assert failed(publisher.url("/a")) is Why.ADDRESS


# Time, size and speed.


def test_nothing_at_all(publisher: Publisher) -> None:
    publisher.answers["/"] = lambda call: call.gone.wait(60)
    assert failed(publisher.url()) is Why.SLOW


def test_a_byte_a_second(publisher: Publisher) -> None:
    def drip(call: Call) -> None:
        call.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        call.endlessly(b"0", pause=1)

    publisher.answers["/"] = drip
    begun = time.monotonic()
    assert failed(publisher.url(), bounds=replace(QUICK, window=2, least=500)) is Why.SLOW
    assert time.monotonic() - begun < 25  # not the 5000 s that it would take


def test_fast_enough_but_without_end(publisher: Publisher) -> None:
    def drip(call: Call) -> None:
        call.say(b"HTTP/1.1 200 OK\r\n\r\n")
        call.endlessly(b"0" * 1000, pause=0.05)

    publisher.answers["/"] = drip
    assert failed(publisher.url(), bounds=replace(QUICK, seconds=2, window=1, least=1)) is Why.TIME


def endless(head: bytes, piece: bytes) -> Answer:
    def answer(call: Call) -> None:
        call.say(head)
        call.endlessly(piece)

    return answer


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "said": (endless(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", b"0" * 65536), Why.LARGE),
    "unsaid": (endless(b"HTTP/1.1 200 OK\r\n\r\n", b"0" * 65536), Why.LARGE),
    "chunked": (endless(CHUNKED, b"10000\r\n" + b"0" * 65536 + b"\r\n"), Why.LARGE),
    "tiny chunks": (endless(CHUNKED, b"1\r\n0\r\n" * 10000), Why.ANSWER),
    "chunk extension": (endless(CHUNKED + b"1;", b"0" * 65536), Why.ANSWER),
    "field": (endless(b"HTTP/1.1 200 OK\r\nA: ", b"a" * 65536), Why.ANSWER),
    "fields": (endless(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 1000), Why.ANSWER),
    "first line": (endless(b"HTTP/1.1 200 ", b"O" * 65536), Why.ANSWER),
    "hints": (endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10), Why.ANSWER),
    "trailers": (endless(CHUNKED + b"0\r\n", b"A: b\r\n" * 1000), Why.ANSWER),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_without_end(publisher: Publisher, kind: str) -> None:
    publisher.answers["/"], why = ENDLESS[kind]
    assert failed(publisher.url()) is why


def test_a_bomb_is_not_unpacked(publisher: Publisher) -> None:
    bomb = gzip.compress(b"0" * 100_000_000)
    publisher.answers["/"] = lambda call: call.answer(200, bomb, Content_Encoding="gzip")
    assert failed(publisher.url()) is Why.ENCODED


def test_another_length_than_was_said(publisher: Publisher) -> None:
    publisher.answers["/"] = lambda call: call.answer(200, LIST, Content_Length=len(LIST) + 1)
    assert failed(publisher.url()) is Why.ANSWER
    publisher.answers["/"] = lambda call: call.answer(200, LIST + b"more", Content_Length=len(LIST))
    assert asked(publisher.url()) == Fetched(LIST, Tag())
    both = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n00"
    publisher.answers["/"] = lambda call: call.say(both)
    assert failed(publisher.url()) is Why.ANSWER


def test_exactly_as_much_as_is_taken(publisher: Publisher) -> None:
    bounds = replace(QUICK, size=len(LIST))
    assert isinstance(asked(publisher.url(), bounds=bounds), Fetched)
    assert failed(publisher.url(), bounds=replace(bounds, size=len(LIST) - 1)) is Why.LARGE


@pytest.mark.parametrize(
    "data", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200", b"\x00" * 100, b"HTTP/2 200\r\n\r\n"]
)
def test_no_http(publisher: Publisher, data: bytes) -> None:
    publisher.answers["/"] = lambda call: call.say(data)
    assert failed(publisher.url()) is Why.ANSWER


# Posted.

QUESTION = Posted(b"\x00question\r\n", "application/ocsp-request")


def test_what_is_posted_arrives(publisher: Publisher) -> None:
    assert asked(publisher.url(), post=QUESTION, tag=Tag('"1"')) == Fetched(LIST, Tag('"1"', ""))
    (call,) = publisher.calls
    assert (call.method, call.body) == ("POST", QUESTION.body)
    assert call.fields == {
        "host": f"127.0.0.1:{publisher.port}",
        "user-agent": "sealgate",
        "accept": "*/*",
        "accept-encoding": "identity",
        "connection": "close",
        "content-type": "application/ocsp-request",
        "content-length": "11",
    }
    assert failed(publisher.url(), post=QUESTION, allowed=()) is Why.PLACE


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_of_a_post_is_followed(publisher: Publisher, status: int) -> None:
    publisher.answers["/a"] = led("/", status)
    assert failed(publisher.url("/a"), post=QUESTION) is Why.REDIRECTS
    assert [call.path for call in publisher.calls] == ["/a"]
    publisher.answers["/a"] = lambda call: call.answer(304)
    assert failed(publisher.url("/a"), post=QUESTION, tag=Tag('"1"')) is Why.UNASKED


# Versions.


def test_asking_for_something_newer(publisher: Publisher) -> None:
    tag = Tag('W/"1"', "Fri, 01 Mar 2030 12:00:00 GMT")

    def answer(call: Call) -> None:
        if call.fields.get("if-none-match") == tag.etag:
            call.answer(304, ETag=tag.etag)
        else:
            call.answer(200, LIST, ETag=tag.etag, Last_Modified=tag.modified)

    publisher.answers["/"] = answer
    found = asked(publisher.url())
    assert found == Fetched(LIST, tag)
    assert asked(publisher.url(), tag=tag) == Unchanged()
    assert publisher.calls[1].fields["if-modified-since"] == tag.modified
    assert asked(publisher.url(), tag=Tag('"other"')) == found


def test_304_that_nobody_asked_for(publisher: Publisher) -> None:
    publisher.answers["/"] = lambda call: call.answer(304)
    assert failed(publisher.url()) is Why.UNASKED
    assert failed(publisher.url(), tag=Tag("no tag", "\r\nHost: b")) is Why.UNASKED
    assert "if-none-match" not in publisher.calls[1].fields


@pytest.mark.parametrize("status", [201, 204, 206, 300, 400, 404, 500])
def test_other_answers(publisher: Publisher, status: int) -> None:
    publisher.answers["/"] = lambda call: call.answer(status)
    assert failed(publisher.url()) is Why.STATUS


NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.mark.parametrize(
    ("fields", "wait"),
    [
        ({}, None),
        ({"Retry_After": "120"}, timedelta(minutes=2)),
        ({"Retry_After": "9" * 40}, timedelta(days=366)),
        ({"Retry_After": "-1"}, None),
        ({"Retry_After": "soon"}, None),
        (
            {
                "Retry_After": format_datetime(NOW + timedelta(hours=3), usegmt=True),
                "Date": format_datetime(NOW + timedelta(hours=1), usegmt=True),
            },
            timedelta(hours=2),
        ),
        ({"Retry_After": "Fri, 01 Mar 1999 12:00:00 GMT"}, timedelta()),
    ],
)
def test_the_servers_word(publisher: Publisher, fields: dict[str, Any], wait: timedelta | None) -> None:
    publisher.answers["/"] = lambda call: call.answer(503, **fields)
    found = asked(publisher.url())
    assert isinstance(found, Failed)
    assert found.retry_after == wait


# https.


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[Publisher]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with publishing(context=context) as found:
        found.answers["/"] = lambda call: call.answer(200, LIST)
        yield found


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


def test_https_is_verified_against_the_name(secure: Publisher, authority: trustme.CA) -> None:
    context = trusting(authority)
    assert isinstance(asked(secure.url(host="localhost"), context=context), Fetched)
    assert failed(secure.url(), context=context) is Why.TLS  # the address is not its name
    assert failed(secure.url(host="localhost")) is Why.TLS  # the system does not know this authority


def test_never_from_https_to_http(secure: Publisher, authority: trustme.CA, publisher: Publisher) -> None:
    secure.answers["/"] = led(publisher.url())
    assert failed(secure.url(host="localhost"), context=trusting(authority)) is Why.ADDRESS
    assert publisher.calls == []
    publisher.answers["/a"] = led(secure.url("/b", host="localhost"))
    secure.answers["/b"] = lambda call: call.answer(200, LIST)
    assert isinstance(asked(publisher.url("/a"), context=trusting(authority)), Fetched)


def test_a_handshake_without_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        assert failed(url, bounds=replace(QUICK, connect=0.5)) is Why.CONNECTION
        assert failed(url, bounds=replace(QUICK, seconds=0.5)) is Why.TIME
