"""Plain HTTP: judged by a pure function, and by the real process on a real socket."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.engines.challenges import PATH, Challenges
from sealgate.engines.published import FOLDER
from sealgate.engines.published import PATH as LIST
from sealgate.engines.redirect import Redirect, answer_exactly, command
from sealgate.errors import EngineRefused
from sealgate.policy.load import loads
from sealgate.policy.model import Policy
from sealgate.runtime.inside.plain import Answer, Opened, judge, site_of
from sealgate.runtime.inside.redirect import kept_in
from sealgate.runtime.inside.sending import opened

NAMES = '["localhost", "127.0.0.1", "::1", "api.test", "*.wild.test"]'


def policy(text: str = "") -> Policy:
    whole = f'site.names = {NAMES}\nlisten.http = ["127.0.0.1:8080"]\n{text}'
    return loads(whole, path=Path("/p/sealgate.toml"), environ={}).policy


ORDERS = Redirect.of(policy(), listeners=(), parent=0)


def ask(
    target: str = "/",
    host: str = "localhost",
    *fields: str,
    method: str = "GET",
    version: str = "HTTP/1.1",
    orders: Redirect = ORDERS,
    **others: Any,
) -> Answer:
    lines = [f"{method} {target} {version}", f"Host: {host}", *fields]
    return judge("\r\n".join(lines).encode("latin-1"), orders, site_of(orders), **others)


def slug(answer: Answer) -> str:
    return str(json.loads(answer.body)["type"].rpartition(":")[2])


def location(answer: Answer) -> str:
    assert answer.status == 308
    return dict(answer.headers)["location"]


@pytest.mark.parametrize(
    ("host", "target", "wanted"),
    [
        ("localhost", "/a/b?c=d&e=%2F", "https://localhost:8443/a/b?c=d&e=%2F"),
        ("localhost:8080", "/a%20b/..;/c?d=/../e", "https://localhost:8443/a%20b/..;/c?d=/../e"),
        ("localhost:80", "/", "https://localhost:8443/"),
        ("[::1]:8080", "/x", "https://[::1]:8443/x"),
        ("[::1]", "/x", "https://[::1]:8443/x"),
        ("A.Wild.Test", "//evil.example/x", "https://A.Wild.Test:8443//evil.example/x"),
        ("localhost", "http://api.test/x?y", "https://api.test:8443/x?y"),
        ("localhost", "HTTP://api.test", "https://api.test:8443/"),
    ],
)
def test_path_and_query_are_kept_and_the_name_is_the_sites(host: str, target: str, wanted: str) -> None:
    assert location(ask(target, host)) == wanted


def test_the_usual_port_is_left_out_where_the_client_left_it_out() -> None:
    usual = Redirect.of(policy('site.url = "https://api.test"'), listeners=(), parent=0)
    assert location(ask("/x?y", "localhost", orders=usual)) == "https://localhost/x?y"
    assert location(ask("/x", "[::1]", orders=usual)) == "https://[::1]/x"
    assert location(ask("/x", "api.test:8080", orders=usual)) == "https://api.test:443/x"


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "localhost:8443",
            "localhost:1",
            "wild.test",
            "a.b.wild.test",
            "",
            "localhost,evil",
        ),
        *("user@localhost", "%6cocalhost", "localhost.", "[::1", "localhost:8080:8080", "[fe80::1%25lo]"),
    ],
)
def test_another_host_is_421_and_no_redirect(host: str) -> None:
    answer = ask("/", host)
    assert (answer.status, slug(answer)) == (421, "unknown-host")
    assert "location" not in dict(answer.headers)


@pytest.mark.parametrize("mode", ["redirect", "refuse"])
def test_a_host_that_an_absolute_target_names_counts(mode: str) -> None:
    orders = replace(ORDERS, mode=mode)  # type: ignore[arg-type]  # a table of cases
    assert ask("http://evil.example/x", orders=orders).status == 421


RULED = 'network = {allow = ["127.0.0.0/8"], deny = ["127.5.0.0/16"]}\n'


PUBLISHING = Redirect.of(policy('clients.mode = "optional"'), listeners=(), parent=0)


def a_list(content: bytes) -> Callable[[], Opened]:
    def published() -> Opened:
        descriptor = os.memfd_create("list")
        os.write(descriptor, content)
        return Opened(descriptor, len(content))

    return published


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_list_is_for_everybody_by_its_path_alone(method: str) -> None:
    for host in ("localhost", "evil.example"):
        answer = ask(LIST, host, method=method, orders=PUBLISHING, published=a_list(b"1234"), admitted=False)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers == (
            ("content-type", "application/pkix-crl"),
            ("content-length", "4"),
            ("cache-control", "max-age=300"),
            ("x-content-type-options", "nosniff"),
        )
        assert answer.file is not None
        os.close(answer.file.descriptor)


def test_what_is_not_the_list() -> None:
    def never() -> Opened | None:
        raise AssertionError("asked for")

    for target in (f"{LIST}/", f"{LIST}?", FOLDER, f"{FOLDER}crl.pem", f"{FOLDER}../sealgate/clients.crl"):
        for method in ("GET", "POST"):
            answer = ask(target, orders=PUBLISHING, published=never, method=method)
            assert (answer.status, slug(answer)) == (404, "list-unknown"), target
    for method in ("POST", "PUT", "get"):
        answer = ask(LIST, orders=PUBLISHING, published=never, method=method)
        assert (answer.status, dict(answer.headers)["allow"]) == (405, "GET, HEAD")
    assert slug(ask(LIST, orders=PUBLISHING)) == "list-unknown", "there is none"
    assert location(ask(LIST, published=never)).endswith(LIST), "none is published"


def test_a_list_is_opened_where_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "clients.crl"
    for content, fine in (
        (b"\x30\x00", True),
        (b"\x30\x02ab", True),
        (b"\x30\x81\x80" + bytes(128), True),
        (b"\x30\x84\x00\x00\x01\x00" + bytes(256), True),
        (b"\x30\x84\x00\x00\x01\x00" + bytes(255), False),
        (b"\x30\x84\x00\x00\x01\x00" + bytes(257), False),
        *((content, False) for content in (b"", b"\x30", b"\x30\x80", b"\x30\x85\0\0\0\0\0", b"-----BEGIN")),
    ):
        path.write_bytes(content)
        file = opened(str(path))
        assert (file is not None) is fine, content
        if file is not None:
            assert os.read(file.descriptor, 1000) == content
            assert file.size == len(content)
            os.close(file.descriptor)
    path.unlink()
    for make in (lambda: None, path.mkdir, lambda: os.mkfifo(path), lambda: path.symlink_to(__file__)):
        make()
        assert opened(str(path)) is None
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)


def test_strangers_are_led_nowhere_but_prove_names() -> None:
    def known(token: str) -> bytes | None:
        return b"text" if token == TOKEN else None

    for host in ("localhost", "evil.example"):
        answer = ask("/x", host, admitted=False)
        assert (answer.status, slug(answer)) == (403, "address-refused")
        assert "location" not in dict(answer.headers)
    assert ask(PATH + TOKEN, challenge=known, admitted=False).body == b"text"


def test_orders_say_who_is_led_on() -> None:
    orders = Redirect.of(policy(RULED), listeners=(), parent=0)
    assert orders.admitted == policy(RULED).network.admitted()
    assert Redirect.from_json(orders.to_json()) == orders
    assert Redirect.of(policy(RULED + 'http.mode = "refuse"'), listeners=(), parent=0).admitted is None
    assert ORDERS.admitted is None


def test_refusing() -> None:
    orders = Redirect.of(policy('http.mode = "refuse"'), listeners=(), parent=0)
    answer = ask("/x", orders=orders)
    assert (answer.status, slug(answer)) == (403, "plain-http-refused")
    head = ask("/x", orders=orders, method="HEAD")
    assert head.body == b""
    assert dict(head.headers)["content-length"] == dict(answer.headers)["content-length"] != "0"


@pytest.mark.parametrize(
    ("head", "wanted"),
    [
        (b"nonsense", "bad-request"),
        (b"GET /meant", "http-version-unsupported"),
        (b"GET / HTTP/1.0\r\nHost: localhost", "http-version-unsupported"),
        (b"GET / HTTP/2.0\r\nHost: localhost", "http-version-unsupported"),
        (b"GET / HTTP/1.1", "bad-request"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost", "bad-request"),
        (b"GET / HTTP/1.1\r\nHost : localhost", "bad-request"),
        (b"GET / HTTP/1.1\r\n Host: localhost", "bad-request"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b", "bad-request"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\x00b", "bad-request"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\rb", "bad-request"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n: b", "bad-request"),
        (b"GET  / HTTP/1.1\r\nHost: localhost", "bad-request"),
        (b"GET /\x00 HTTP/1.1\r\nHost: localhost", "bad-request"),
        (b"GET /\xff HTTP/1.1\r\nHost: localhost", "bad-request"),
        (b"GET * HTTP/1.1\r\nHost: localhost", "bad-request"),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost", "bad-request"),
        (b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost", "bad-request"),
        (b"G\x00T / HTTP/1.1\r\nHost: localhost", "bad-request"),
    ],
)
def test_what_is_no_clear_request_is_refused(head: bytes, wanted: str) -> None:
    answer = judge(head, ORDERS, site_of(ORDERS))
    assert slug(answer) == wanted


@given(st.binary(max_size=200))
def test_nothing_is_raised_and_no_line_is_broken(head: bytes) -> None:
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + head
    for given_head in (head, request, b"GET /" + head + b" HTTP/1.1\r\nHost: localhost"):
        answer = judge(given_head, ORDERS, site_of(ORDERS))
        raw = answer.to_bytes("now")
        assert raw.partition(b"\r\n\r\n")[0].count(b"\n") == len(answer.headers) + 2
        if answer.status == 308:
            assert location(answer).startswith("https://localhost:8443/")


TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr_oA"
OTHER = "another-token-of-it"
TEXT = f"{TOKEN}.nP1qzpXGymHBrUEepNY9HCsQk7K8KhOypzEt62jcerQ"


@pytest.mark.parametrize("mode", ["redirect", "refuse"])
def test_a_challenge_is_answered_where_somebody_waits_for_it(mode: str) -> None:
    orders = replace(ORDERS, mode=mode)  # type: ignore[arg-type]  # a table of cases
    waiting = {TOKEN: TEXT.encode()}

    def tell(target: str, **others: Any) -> Answer:
        return ask(target, orders=orders, challenge=waiting.get, **others)

    said = tell(PATH + TOKEN)
    assert (said.status, said.body) == (200, TEXT.encode())
    fields = dict(said.headers)
    assert fields["content-type"] == "application/octet-stream"
    assert not {"location", "strict-transport-security"} & fields.keys()
    head = tell(PATH + TOKEN, method="HEAD")
    assert (head.status, head.headers, head.body) == (200, said.headers, b"")
    assert tell(f"http://localhost{PATH}{TOKEN}").body == TEXT.encode()
    for method in ("POST", "PUT", "OPTIONS", "get"):
        refused = tell(PATH + TOKEN, method=method)
        assert (refused.status, slug(refused)) == (405, "method-not-allowed")
        assert dict(refused.headers)["allow"] == "GET, HEAD"
    assert tell(PATH + TOKEN, host="elsewhere.example:5002").body == TEXT.encode()
    assert tell("/", host="elsewhere.example:5002").status == 421


@pytest.mark.parametrize(
    "token",
    [
        *("", "nobody", TOKEN + "=", TOKEN + "/", TOKEN + "?x", "../" + TOKEN, "%65" + TOKEN[1:], TOKEN[:-1]),
        *(".", "..", "a.b", TOKEN.upper(), TOKEN + "%00", "a" * 201),
    ],
)
@pytest.mark.parametrize("mode", ["redirect", "refuse"])
def test_what_is_not_exactly_a_token_that_is_waited_for_does_not_exist(token: str, mode: str) -> None:
    waiting = {TOKEN: b"x", "": b"x", "../" + TOKEN: b"x", ".": b"x", "a" * 201: b"x"}
    orders = replace(ORDERS, mode=mode)  # type: ignore[arg-type]  # a table of cases
    answer = ask(PATH + token, orders=orders, challenge=waiting.get)
    assert (answer.status, slug(answer)) == (404, "challenge-unknown")


def test_what_only_looks_like_the_path_of_challenges_is_redirected() -> None:
    for target in (
        "/.well-known/acme-challenge",
        "/.well-known//acme-challenge/x",
        "/.WELL-KNOWN/acme-challenge/x",
    ):
        assert ask(target, challenge=lambda _: b"x").status == 308


def test_answers_are_exactly_those(tmp_path: Path) -> None:
    folder = tmp_path / "answers"
    read = kept_in(str(folder))
    assert read(TOKEN) is None
    answer_exactly(folder, Challenges(http=((TOKEN, TEXT), (OTHER, f"{OTHER}.x"))))
    assert (read(TOKEN), read(OTHER), read("nobody")) == (TEXT.encode(), f"{OTHER}.x".encode(), None)
    answer_exactly(folder, Challenges(http=((TOKEN, TEXT),)))
    assert (read(TOKEN), read(OTHER)) == (TEXT.encode(), None)
    answer_exactly(folder, Challenges())
    assert list(folder.iterdir()) == []
    assert kept_in("")(TOKEN) is None


@pytest.mark.parametrize("token", ["", "../x", "a/b", "a.b", "x" * 201, "\n"])
def test_a_token_that_is_none_becomes_no_file(tmp_path: Path, token: str) -> None:
    folder = tmp_path / "answers"
    answer_exactly(folder, Challenges(http=((TOKEN, TEXT),)))
    with pytest.raises(EngineRefused):
        answer_exactly(folder, Challenges(http=(("good", "x"), (token, "x"))))
    assert [path.name for path in folder.iterdir()] == [TOKEN]


def test_an_answer_that_cannot_be_written_leaves_those_before(tmp_path: Path) -> None:
    folder = tmp_path / "answers"
    answer_exactly(folder, Challenges(http=((TOKEN, TEXT),)))
    (folder / "taken").mkdir()
    with pytest.raises(EngineRefused):
        answer_exactly(folder, Challenges(http=(("new", "x"), ("taken", "x"))))
    assert sorted(path.name for path in folder.iterdir()) == sorted([TOKEN, "taken"])


def test_only_a_small_regular_file_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "large").write_bytes(b"x" * 5000)
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "link", "large", "empty", "pipe"):
        assert kept_in(str(tmp_path))(name) is None


def test_orders_survive_their_journey() -> None:
    assert Redirect.from_json(ORDERS.to_json()) == ORDERS
    assert command("/p/python") == ("/p/python", "-P", "-m", "sealgate.runtime.inside.redirect")


class Process:
    """The real one."""

    def __init__(self, process: subprocess.Popen[bytes], address: tuple[str, int]) -> None:
        self.process, self.address = process, address

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=10)

    def tell(self, data: bytes) -> bytes:
        with self.connect() as sock:
            sock.sendall(data)
            return everything(sock)

    def stop(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=15)
        assert self.process.returncode == 0, err
        assert err == b""
        return out.decode()


def everything(sock: socket.socket) -> bytes:
    found = b""
    while True:
        try:
            data = sock.recv(65536)
        except ConnectionResetError:
            return found
        if not data:
            return found
        found += data


Start = Callable[..., Process]


@pytest.fixture
def start() -> Iterator[Start]:
    @contextmanager
    def running(**changes: Any) -> Iterator[Process]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            orders = Redirect.of(policy(), listeners=(listener.fileno(),), parent=os.getpid())
            orders = replace(orders, **changes)
            process = subprocess.Popen(
                command(sys.executable),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=orders.descriptors,
            )
            assert process.stdin is not None
            process.stdin.write(orders.to_json().encode())
            process.stdin.close()
            process.stdin = None
            address = listener.getsockname()
        try:
            yield Process(process, address)
        finally:
            process.kill()
            process.communicate()

    with ExitStack() as stack:
        yield lambda **changes: stack.enter_context(running(**changes))


def request(*fields: str, target: str = "/", method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *fields, "", ""]).encode()


def test_a_request_byte_by_byte(start: Start) -> None:
    redirect = start()
    with redirect.connect() as sock:
        for byte in b"\r\n" + request(target="/a?b"):
            sock.sendall(bytes((byte,)))
        answer = everything(sock).decode()
    assert answer.startswith("HTTP/1.1 308 Permanent Redirect\r\n")
    assert "location: https://localhost:8443/a?b\r\n" in answer
    assert len(re.findall(r"(?m)^date: ", answer)) == 1
    assert "server" not in answer


def test_a_body_is_not_read_and_the_answer_arrives(start: Start) -> None:
    redirect = start()
    with redirect.connect() as sock:
        sock.sendall(request("Content-Length: 100000000", method="POST") + b"x" * 100_000)
        assert everything(sock).startswith(b"HTTP/1.1 308 ")
    with redirect.connect() as sock:  # more than is thrown away: cut off
        sock.sendall(request("Content-Length: 100000000", method="POST"))
        with pytest.raises(OSError):  # noqa: PT012 - any of the many
            while True:
                sock.sendall(b"x" * 65536)


def test_a_challenge_on_the_wire_as_the_files_are_at_the_moment(start: Start, tmp_path: Path) -> None:
    answer_exactly(tmp_path, Challenges(http=((TOKEN, TEXT),)))
    redirect = start(answers=str(tmp_path))
    asked = request(target=PATH + TOKEN)
    said = redirect.tell(asked)
    assert said.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n")
    assert said.endswith(b"\r\n\r\n" + TEXT.encode())
    answer_exactly(tmp_path, Challenges())
    assert redirect.tell(asked).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x00\x05hello", b"400"),
        (b"GET / HTTP/1.1\nHost: localhost\n\n", b"400"),
        (request("X: " + "a" * 20_000), b"431"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000, b"431"),
    ],
)
def test_what_never_becomes_a_request_is_answered_at_once(start: Start, data: bytes, status: bytes) -> None:
    assert start().tell(data)[9:12] == status


def test_slow_headers_and_idle_connections_end(start: Start) -> None:
    redirect = start(header_seconds=0.3, idle_seconds=0.3)
    with redirect.connect() as idle, redirect.connect() as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: local")
        assert everything(slow).startswith(b"HTTP/1.1 408 ")
        assert everything(idle) == b""


def test_no_more_connections_than_allowed(start: Start) -> None:
    redirect = start(connections=2)
    with redirect.connect() as first, redirect.connect() as second:
        first.sendall(b"GET")
        second.sendall(b"GET")
        with redirect.connect() as third:
            assert everything(third) == b""
        second.sendall(request()[3:])
        assert everything(second).startswith(b"HTTP/1.1 308 ")
    assert redirect.tell(request()).startswith(b"HTTP/1.1 308 ")


def test_a_stop_finishes_what_is_under_way_and_says_no_secret(start: Start) -> None:
    redirect = start()
    with redirect.connect() as sock, redirect.connect() as idle:
        redirect.tell(request("Authorization: Bearer s3cret", "Cookie: a=s3cret", target="/x?t=s3cret"))
        sock.sendall(b"GET / HTTP/1.1\r\n")
        assert (
            redirect.tell(b'GET /"{} HTTP/1.1\r\nHost: a"b\r\nUser-Agent: \xff\x1b\r\n\r\n')[9:12] == b"400"
        )
        redirect.process.send_signal(signal.SIGTERM)
        assert everything(idle) == b""
        sock.sendall(b"Host: localhost\r\n\r\n")
        assert everything(sock).startswith(b"HTTP/1.1 308 ")
    out = redirect.stop()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["status"] for line in lines] == [308, 400, 308]
    assert lines[0]["path"] == "/x"
    assert "s3cret" not in out
    assert {"time", "address", "method", "host", "protocol", "milliseconds", "sent"} <= lines[0].keys()


def test_the_process_asks_each_connection_where_it_comes_from(start: Start) -> None:
    admitted = Redirect.of(policy(RULED), listeners=(), parent=0).admitted
    process = start(admitted=admitted)
    for source, status in (("127.0.0.1", 308), ("127.5.0.1", 403), ("127.4.255.255", 308)):
        with socket.create_connection(process.address, timeout=20, source_address=(source, 0)) as sock:
            sock.sendall(request())
            assert sock.makefile("rb").read().startswith(f"HTTP/1.1 {status} ".encode())
