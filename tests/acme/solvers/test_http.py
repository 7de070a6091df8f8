"""http-01: files, and a look from outside at whoever answers on the plain listeners."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from sealgate.acme.order import Answer
from sealgate.acme.solvers import looking
from sealgate.acme.solvers.http import HttpSolver
from sealgate.acme.solvers.standalone import Responder
from sealgate.errors import AcmeError, ListenError, StateInsecure
from sealgate.policy.values import Endpoint
from tests.live.served import free_port, loopback

TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
ANSWER = Answer("api.example.test", "http-01", TOKEN, f"{TOKEN}.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI")
OTHER = Answer("www.example.test", "http-01", TOKEN[::-1], f"{TOKEN[::-1]}.9jg46WB3rR_AHD-EBXdN7cBk")


def free() -> Endpoint:
    host = loopback()
    return Endpoint(host, free_port(host))


class Told:
    def __init__(self) -> None:
        self.last: dict[str, str] = {}
        self.times = 0

    def __call__(self, answers: Mapping[str, str]) -> None:
        self.last, self.times = dict(answers), self.times + 1


def test_answers_are_files_that_others_can_read(tmp_path: Path) -> None:
    told, folder = Told(), tmp_path / "challenges"
    folder.mkdir(mode=0o700)
    solver = HttpSolver(folder, told, ())
    solver.present([ANSWER])
    solver.present([OTHER])
    assert told.last == {TOKEN: ANSWER.key_authorization, OTHER.token: OTHER.key_authorization}
    path = folder / TOKEN
    assert path.read_text() == ANSWER.key_authorization
    assert path.stat().st_mode & 0o777 == 0o644
    assert folder.stat().st_mode & 0o777 == 0o711
    solver.withdraw([ANSWER])
    assert not path.exists()
    assert told.last == {OTHER.token: OTHER.key_authorization}
    solver.withdraw([ANSWER, OTHER])
    assert list(folder.iterdir()) == []
    assert told.last == {}


def test_what_a_killed_run_left_is_withdrawn_by_another(tmp_path: Path) -> None:
    HttpSolver(tmp_path / "c", Told(), ()).present([ANSWER])
    told = Told()
    HttpSolver(tmp_path / "c", told, ()).withdraw([ANSWER])
    assert list((tmp_path / "c").iterdir()) == []
    assert (told.last, told.times) == ({}, 1)
    HttpSolver(tmp_path / "missing", told, ()).withdraw([ANSWER])


@pytest.mark.parametrize("token", ("../../live/server", "a/b", "", ".", "alpn/..", "x" * 300, "ä", "a\n"))
def test_a_token_is_no_path(tmp_path: Path, token: str) -> None:
    told, folder = Told(), tmp_path / "c"
    solver = HttpSolver(folder, told, ())
    answer = Answer("api.example.test", "http-01", token, "x")
    with pytest.raises(AcmeError) as caught:
        solver.present([answer])
    assert caught.value.code == "acme-answer-invalid"
    assert told.times == 0
    outside = tmp_path / "live" / "server"
    outside.parent.mkdir()
    outside.write_text("kept")
    solver.withdraw([answer])
    assert outside.read_text() == "kept"
    assert told.times == 0


def test_answers_of_other_kinds_are_not_ours(tmp_path: Path) -> None:
    told = Told()
    solver = HttpSolver(tmp_path / "c", told, ())
    solver.withdraw([Answer("api.example.test", "dns-01", TOKEN, "x")])
    assert told.times == 0


@contextlib.contextmanager
def stranger(serve: Callable[[socket.socket], None]) -> Iterator[Endpoint]:
    """Somebody who has the port: what he does with a connection."""
    with socket.create_server((loopback(), 0)) as listener:
        listener.settimeout(0.1)
        done = threading.Event()

        def run() -> None:
            while not done.is_set():
                with contextlib.suppress(OSError):
                    sock, _ = listener.accept()
                    with sock:
                        sock.settimeout(20)
                        serve(sock)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield Endpoint(*listener.getsockname())
        finally:
            done.set()
            thread.join(20)


def says(text: bytes) -> Callable[[socket.socket], None]:
    def serve(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(text)

    return serve


def refused(listener: Endpoint, tmp_path: Path, *, seconds: float = 0) -> AcmeError:
    solver = HttpSolver(tmp_path / "c", Told(), [listener], seconds=seconds)
    with pytest.raises(AcmeError) as caught:
        solver.present([ANSWER])
    assert str(caught.value).isprintable()
    assert caught.value.details["names"] == ("api.example.test",)
    return caught.value


def test_nobody_listens(tmp_path: Path) -> None:
    error = refused(free(), tmp_path)
    assert error.code == "acme-port-closed"
    assert "refused" in error.fact


def test_somebody_else_has_the_port(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 404 Not Found\r\nServer: ngi\x1bnx/1.22\r\nContent-Length: 0\r\n\r\n"
    with stranger(says(answer)) as listener:
        error = refused(listener, tmp_path)
    assert error.code == "acme-port-taken"
    assert "404" in error.fact
    assert "1.22" in error.fact
    with stranger(says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")) as listener:
        error = refused(listener, tmp_path)
    assert error.code == "acme-port-taken"
    assert "another text" in error.fact
    # Whose process it is stands there, where that can be seen.
    assert "held by" in error.fact


def test_somebody_redirects(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 301 Moved\r\nLocation: https://old.example/\x1b[31m\r\nContent-Length: 0\r\n\r\n"
    with stranger(says(answer)) as listener:
        error = refused(listener, tmp_path)
    assert error.code == "acme-port-redirects"
    assert "https://old.example/" in error.fact


@pytest.mark.parametrize(
    "text", (b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"\x15\x03\x01\x00\x02\x02\x0a", b"HTTP/1.1 2")
)
def test_somebody_does_not_speak_http(tmp_path: Path, text: bytes) -> None:
    with stranger(says(text)) as listener:
        assert refused(listener, tmp_path).code == "acme-port-taken"


def test_somebody_hangs_or_drips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = looking.look
    monkeypatch.setattr("sealgate.acme.solvers.http.look", lambda *what: real(*what, seconds=0.3))
    ends = threading.Event()

    def drip(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\n")
        while not ends.wait(0.05):
            sock.sendall(b"X: y\r\n")

    def hang(_sock: socket.socket) -> None:
        ends.wait(20)

    with stranger(hang) as listener:
        assert refused(listener, tmp_path).code == "acme-port-silent"
        ends.set()
    ends.clear()
    with stranger(drip) as listener:
        assert refused(listener, tmp_path).code == "acme-port-silent"
        ends.set()


def test_a_listener_that_is_just_opening_is_waited_for(tmp_path: Path) -> None:
    endpoint, opened = free(), []

    def tell(answers: Mapping[str, str]) -> None:
        def later() -> None:
            with Responder([endpoint]) as responder:
                responder.tell(answers)
                opened.append(True)
                done.wait(20)

        threading.Timer(0.4, later).start()

    done = threading.Event()
    solver = HttpSolver(tmp_path / "c", tell, [endpoint], seconds=20)
    try:
        solver.present([ANSWER])
    finally:
        done.set()
    assert opened


def _ask(endpoint: Endpoint, request: bytes) -> bytes:
    with socket.create_connection((endpoint.host, endpoint.port), timeout=20) as sock:
        sock.sendall(request)
        answer = b""
        while data := sock.recv(4096):
            answer += data
    return answer


PATH = f"/.well-known/acme-challenge/{TOKEN}".encode()


@pytest.mark.parametrize(
    ("request_", "status"),
    (
        (b"GET " + PATH + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"200"),
        (b"GET " + PATH + b" HTTP/1.0\r\n\r\n", b"200"),
        (b"HEAD " + PATH + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"200"),
        (b"GET http://a" + PATH + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"200"),
        (b"POST " + PATH + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"404"),
        (b"GET " + PATH + b"x HTTP/1.1\r\nHost: a\r\n\r\n", b"404"),
        (b"GET /" + PATH + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"404"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"404"),
        (b"GET /.well-known/acme-challenge/../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", b"404"),
        (b"\x16\x03\x01\r\n\r\n", b"404"),
    ),
)
def test_the_responder_serves_answers_and_nothing_else(request_: bytes, status: bytes) -> None:
    with Responder([free()]) as responder:
        responder.tell({TOKEN: ANSWER.key_authorization})
        answer = _ask(responder._endpoints[0], request_)
        assert answer.split(b" ")[1] == status
        body = answer.partition(b"\r\n\r\n")[2]
        expected = ANSWER.key_authorization.encode() if status == b"200" and request_[:4] == b"GET " else b""
        assert body == expected
        responder.tell({})
        assert b" 404 " in _ask(responder._endpoints[0], request_)


def test_the_responder_is_held_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealgate.acme.solvers.standalone._SECONDS", 0.3)
    with contextlib.ExitStack() as stack, Responder([free()]) as responder:
        endpoint = responder._endpoints[0]
        responder.tell({TOKEN: ANSWER.key_authorization})
        idle = [
            stack.enter_context(socket.create_connection((endpoint.host, endpoint.port), timeout=20))
            for _ in range(30)
        ]
        assert b" 200 " in _ask(endpoint, b"GET " + PATH + b" HTTP/1.1\r\n\r\n")
        for sock in idle:
            assert sock.recv(1) == b""
        # More than its limit before the head's end.
        with contextlib.suppress(ConnectionError):
            assert _ask(endpoint, b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000) == b""
        assert b" 200 " in _ask(endpoint, b"GET " + PATH + b" HTTP/1.1\r\n\r\n")


def test_the_responder_says_who_has_the_port() -> None:
    endpoint = free()
    with Responder([endpoint]):
        with pytest.raises(ListenError) as caught, Responder([free(), endpoint]):
            pass
        assert caught.value.code == "port-taken"
    with Responder([endpoint]):
        pass


def test_ipv6_names_stand_in_brackets(tmp_path: Path) -> None:
    seen = []

    def note(sock: socket.socket) -> None:
        seen.append(sock.recv(4096))
        text = ANSWER.key_authorization.encode()
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))

    with stranger(note) as listener:
        solver = HttpSolver(tmp_path / "c", Told(), [listener], seconds=5)
        solver.present([Answer("2001:db8::1", "http-01", TOKEN, ANSWER.key_authorization)])
    assert b"\r\nHost: [2001:db8::1]\r\n" in seen[0]


def test_nothing_is_removed_through_a_link(tmp_path: Path) -> None:
    """Somebody put a link in the directory's place meanwhile."""
    theirs, folder = tmp_path / "theirs", tmp_path / "challenges"
    theirs.mkdir()
    solver = HttpSolver(folder, Told(), ())
    solver.present([ANSWER])
    folder.rename(tmp_path / "away")
    folder.symlink_to(theirs)
    (theirs / TOKEN).write_text("theirs")
    for work in (solver.withdraw, solver.present):
        with pytest.raises(StateInsecure):
            work([ANSWER])
    assert (theirs / TOKEN).read_text() == "theirs"


def test_the_responder_that_cannot_serve_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or whoever enters it would wait for ever."""

    async def full(*_what: object, **_more: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("asyncio.start_server", full)
    endpoint = free()
    with pytest.raises(OSError, match="Too many"), Responder([endpoint]):
        pass
    monkeypatch.undo()
    with Responder([endpoint]):
        pass
