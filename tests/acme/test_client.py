"""What an authority may send, and what becomes of it: over real TLS, from a server that lies."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sealgate
from sealgate._system.clock import system_clock
from sealgate.acme import answers, network
from sealgate.acme.authority import Authority
from sealgate.acme.client import Client, Signer
from sealgate.acme.network import Reply
from sealgate.acme.order import identifiers
from sealgate.errors import AcmeError, SealgateError
from sealgate.pki.keys import generate
from tests.acme.fake import Asked, Fake, Said, fake_authority, problem
from tests.live.served import free_port, loopback


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    with fake_authority(tmp_path_factory.mktemp("fake")) as authority:
        yield authority


@pytest.fixture
def fake(running: Fake) -> Fake:
    running.odd, running.asked, running.meta, running.more = {}, [], {}, {}
    return running


def opened(fake: Fake) -> Client:
    return Client.open(fake.authority(), clock=system_clock)


SIGNER = Signer(generate("ecdsa-p256"))


def code_of(work: Callable[[], object]) -> str:
    with pytest.raises(AcmeError) as caught:
        work()
    assert len(str(caught.value)) < 2000
    assert str(caught.value).isprintable()
    return caught.value.code


def test_a_directory_is_read_and_who_asks_is_said(fake: Fake) -> None:
    fake.meta = {"termsOfService": "https://ca.example/terms", "profiles": {"shortlived": "6 days"}}
    with opened(fake) as client:
        assert client.directory.new_order == f"{fake.base}/order"
        assert client.directory.profiles == {"shortlived": "6 days"}
    assert fake.asked[0].headers["User-Agent"] == f"sealgate/{sealgate.__version__}"


REDIRECT = {"Location": "http://ca.example/dir"}


@pytest.mark.parametrize(
    ("said", "code"),
    (
        (
            Said(200, {"newNonce": "http://x/n", "newAccount": "https://x/a", "newOrder": "https://x/o"}),
            "insecure",
        ),
        (Said(302, b"", REDIRECT), "insecure"),
        (Said(302, b"", {"Location": "ftp://ca.example/"}), "invalid"),
        (Said(302, b""), "invalid"),
        (Said(200, b"<html>"), "invalid"),
        (Said(200, b"[1]"), "invalid"),
        (Said(200, b"\xff\xfe"), "invalid"),
        (Said(200, b"{" * 100_000), "invalid"),
        (Said(200, b"[" * 200_000), "invalid"),
        (Said(200, b"9" * 10_000), "invalid"),
        (Said(200, {}), "invalid"),
        (Said(200, {"newNonce": 7}), "invalid"),
        (Said(200, {"newNonce": ["https://x"]}), "invalid"),
        (Said(200, {"newNonce": "https://x/\x1b[31m"}), "invalid"),
        (Said(200, b" " * 1_100_000), "invalid"),
        (Said(404, b"not here"), "refused"),
        (Said(500, b""), "failed"),
        (Said(503, b"", {"Retry-After": "60"}), "failed"),
    ),
)
def test_what_is_no_directory(fake: Fake, said: Said, code: str) -> None:
    fake.odd = {"/dir": lambda _asked: said}
    names = {"insecure": "acme-directory-insecure", "invalid": "acme-answer-invalid"}
    names |= {"refused": "acme-refused", "failed": "acme-authority-failed"}
    assert code_of(lambda: opened(fake)) == names[code]


def test_a_directory_that_is_right_and_endless(fake: Fake) -> None:
    whole = json.dumps(fake._directory().body).encode()
    fake.odd = {"/dir": lambda _asked: Said(200, whole + b" " * 1_000_000)}
    opened(fake).close()
    fake.odd = {"/dir": lambda _asked: Said(200, whole + b" " * 1_100_000)}
    assert code_of(lambda: opened(fake)) == "acme-answer-invalid"


def test_a_directory_may_move_to_https_and_not_for_ever(fake: Fake) -> None:
    fake.odd = {
        "/dir": lambda _asked: Said(301, b"", {"Location": "moved"}),
        "/moved": lambda _asked: Fake._usual(fake, Asked("GET", "/dir", {}, None, {})),
    }
    opened(fake).close()
    fake.odd["/moved"] = fake.odd["/dir"]
    assert code_of(lambda: opened(fake)) == "acme-answer-invalid"


def test_only_whom_the_roots_vouch_for_is_asked(fake: Fake, tmp_path: Path) -> None:
    authority = Authority(f"{fake.base}/dir")
    assert code_of(lambda: Client.open(authority, clock=system_clock)) == "acme-untrusted"
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    for path in (empty, tmp_path / "missing.pem"):
        other = Authority(f"{fake.base}/dir", ca_file=path)
        assert code_of(partial(Client.open, other, clock=system_clock)) == "acme-ca-file"
    assert fake.asked == []
    authority = Authority("http://127.0.0.1/dir")
    assert code_of(lambda: Client.open(authority, clock=system_clock)) == "acme-directory-insecure"


def test_nobody_there(fake: Fake) -> None:
    host = loopback()
    authority = Authority(f"https://{host}:{free_port(host)}/dir", ca_file=fake.ca_file)
    with pytest.raises(AcmeError) as caught:
        Client.open(authority, clock=system_clock)
    assert caught.value.code == "acme-unreachable"
    assert "refused" in caught.value.fact
    authority = Authority("https://nobody.invalid/dir", ca_file=fake.ca_file)
    assert code_of(lambda: Client.open(authority, clock=system_clock)) == "acme-unreachable"


def test_who_accepts_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "CONNECT", 0.2)
    with socket.create_server((loopback(), 0)) as listener:
        host, port = listener.getsockname()
        authority = Authority(f"https://{host}:{port}/dir")
        assert code_of(lambda: Client.open(authority, clock=system_clock)) == "acme-unreachable"


def test_the_way_out_may_go_through_a_proxy(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """CONNECT, as HTTPS_PROXY names it; the authority is verified all the same."""
    asked: list[str] = []

    def relay(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)

    def serve() -> None:
        sock, _ = listener.accept()
        head = sock.recv(4096)
        asked.append(head.split(b"\r\n")[0].decode())
        with sock, socket.create_connection((fake.host, fake.port), timeout=20) as there:
            sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=relay, args=(there, sock))
            back.start()
            relay(sock, there)
            back.join(20)

    with socket.create_server((loopback(), 0)) as listener:
        host, port = listener.getsockname()
        for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTPS_PROXY", f"http://{host}:{port}")
        thread = threading.Thread(target=serve)
        thread.start()
        opened(fake).close()
        thread.join(20)
    assert asked[0].startswith(f"CONNECT {fake.host}:{fake.port} ")


def _drip(parts: Iterator[bytes]) -> Callable[[Any], None]:
    def drip(sock: Any) -> None:
        for part in parts:
            sock.sendall(part)
            time.sleep(0.05)

    return drip


def _endless(first: bytes, part: bytes) -> Iterator[bytes]:
    yield first
    for _ in range(400):
        yield part


@pytest.mark.parametrize(
    "parts",
    (
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"", b"H"),
    ),
)
def test_who_answers_one_byte_at_a_time_does_not_hold_us(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, parts: tuple[bytes, bytes]
) -> None:
    monkeypatch.setattr(network, "WHOLE", 0.6)
    fake.odd = {"/dir": lambda _asked: Said(raw=_drip(_endless(*parts)))}
    began = time.monotonic()
    assert code_of(lambda: opened(fake)) == "acme-unreachable"
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    "raw",
    (
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\n" + b"A" * 70_000,
    ),
)
def test_who_does_not_speak_http(fake: Fake, raw: bytes) -> None:
    fake.odd = {"/dir": lambda _asked: Said(raw=lambda sock: sock.sendall(raw))}
    assert code_of(lambda: opened(fake)) == "acme-unreachable"


def test_a_nonce_that_is_refused_is_tried_again_and_not_for_ever(fake: Fake) -> None:
    refused = iter([True] * 7)
    fake.odd = {"/account": lambda _asked: problem("badNonce", 400) if next(refused, False) else None}
    with opened(fake) as client:
        account = client.account(SIGNER)
        assert account.url == f"{fake.base}/account/1"
        assert fake.count("/account") == 8
        nonces = [asked.header["nonce"] for asked in fake.asked if asked.path == "/account"]
        assert len(set(nonces)) == 8
        fake.odd = {"/account": lambda _asked: problem("badNonce", 400)}
        assert code_of(lambda: client.account(SIGNER)) == "acme-nonces-refused"


@pytest.mark.parametrize("nonce", ("", "not base64!", "a", "ab=="))
def test_a_nonce_that_is_none_is_passed_over(fake: Fake, nonce: str) -> None:
    fake.odd = {"/nonce": lambda _asked: Said(200, b"", {"Replay-Nonce": nonce})}
    fake.odd["/dir"] = lambda asked: Said(200, Fake._usual(fake, asked).body, {"Replay-Nonce": nonce})
    with opened(fake) as client:
        assert code_of(lambda: client.account(SIGNER)) == "acme-answer-invalid"


def test_a_connection_that_breaks_is_made_again_once(fake: Fake) -> None:
    broken = iter([True])
    fake.odd = {"/account": lambda _asked: Said(raw=lambda _sock: None) if next(broken, False) else None}
    with opened(fake) as client:
        client.account(SIGNER)
        fake.odd = {"/account": lambda _asked: Said(raw=lambda _sock: None)}
        assert code_of(lambda: client.account(SIGNER)) == "acme-unreachable"
    assert fake.count("/account") == 4


def test_a_signed_request_is_never_sent_to_another_place(fake: Fake) -> None:
    fake.odd = {"/account": lambda _asked: Said(307, b"", {"Location": f"{fake.base}/elsewhere"})}
    with opened(fake) as client:
        assert code_of(lambda: client.account(SIGNER)) == "acme-answer-invalid"
    assert fake.count("/elsewhere") == 0


def test_when_to_ask_again_is_the_authoritys_word(fake: Fake) -> None:
    fake.odd = {
        "/order": lambda _asked: problem(
            "rateLimited", 429, headers={"Retry-After": "3600"}, detail="\x1b[2Jtoo many"
        )
    }
    with opened(fake) as client, pytest.raises(AcmeError) as caught:
        client.new_order(Signer(SIGNER.key, "https://x/1"), identifiers(("a.example",)))
    error = caught.value
    assert error.code == "acme-rate-limited"
    retry = datetime.fromisoformat(str(error.details["retry_at"]))
    assert timedelta(minutes=59) < retry - system_clock() < timedelta(minutes=61)
    assert "\x1b" not in str(error)


@pytest.mark.parametrize(
    ("fields", "seconds"),
    (
        ({"retry-after": "120"}, 120),
        ({"retry-after": " 0 "}, 0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
        ({"retry-after": "9" * 400}, 366 * 86400),
        ({"retry-after": "Wed, 21 Oct 2015 07:30:00 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 120),
        ({"retry-after": "Wed, 21 Oct 2015 07:00:00 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"retry-after": "Wed, 21 Oct 99999 07:28:00 GMT"}, None),
        ({"retry-after": "²"}, None),
    ),
)
def test_retry_after(fields: dict[str, str], seconds: int | None) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    again = Reply("https://x", 200, fields, b"").retry_after(now)
    assert (again and (again - now).total_seconds()) == seconds


def test_retry_after_by_our_clock_where_the_authority_has_none() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    later = format_datetime(now + timedelta(seconds=90), usegmt=True)
    assert Reply("https://x", 200, {"retry-after": later}, b"").retry_after(now) == now + timedelta(
        seconds=90
    )


def test_links_of_other_relations_and_broken_ones_are_passed_over() -> None:
    good, bad = ("https://x/1", "cert/2", "//y/4"), ("", "http://x/3", "https://[", "ftp://x")
    links = [f'<{url}>;rel="alternate"' for url in (*bad, *good)] + ['<https://x/up>;rel="up"', "garbage"]
    link = ", ".join(links)
    found = Reply("https://x/", 200, {"link": link}, b"").links("alternate")
    assert found == ("https://x/1", "https://x/cert/2", "https://y/4")


FIELDS = [
    "status",
    "identifiers",
    "type",
    "value",
    "authorizations",
    "finalize",
    "challenges",
    "url",
    "token",
    "error",
    "subproblems",
    "identifier",
    "detail",
    "certificate",
    "expires",
    "contact",
    "orders",
    "meta",
    "newNonce",
    "newAccount",
    "newOrder",
    "profiles",
    "wildcard",
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from(["https://x/1", "http://x", "valid"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=8,
        )
    ),
    max_leaves=20,
)
BODY = JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60)


@given(BODY, st.sampled_from([{}, {"location": "https://x/2"}, {"location": "http://x/2"}]))
def test_whatever_is_sent_is_read_or_refused_with_a_sentence(body: bytes, fields: dict[str, str]) -> None:
    reply = Reply("https://x/1", 200, fields, body)
    readers: tuple[Callable[[Reply, str], object], ...] = (
        answers.read_directory,
        answers.read_account,
        answers.read_order,
        answers.read_orders,
        answers.read_authorization,
    )
    said: list[SealgateError] = []
    for reader in readers:
        try:
            reader(reply, "x")
        except SealgateError as error:
            said.append(error)
    assert {error.code for error in said} <= {"acme-answer-invalid", "acme-directory-insecure"}
    assert all(str(error).isprintable() for error in said)
    answers.read_problem(reply)
