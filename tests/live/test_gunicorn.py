"""What is Gunicorn's alone: a poller before few threads, reloads that fail, other people's command lines."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from sealgate.engines.challenges import Challenges
from sealgate.engines.redirect import answer_exactly
from tests.live.served import APPS, Served, free_port, loopback, serve, write_policy

TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ"
QUICK = 2.0
"""Seconds in which a request must be answered, whatever others do; alone it takes a hundredth of that."""


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One worker, two threads."""
    folder = tmp_path_factory.mktemp("few")
    with serve(folder, app="echo:app", site={"engine": "gunicorn", "threads": 2}) as served:
        yield served


def answered(served: Served) -> float:
    """Seconds of a request on a connection of its own."""
    began = time.monotonic()
    with httpx.Client(verify=served.context(), timeout=20) as client:
        assert client.get(f"{served.url}/pid").status_code == 200
    return time.monotonic() - began


@pytest.mark.long
@pytest.mark.parametrize(
    ("tls", "sent"),
    [
        (False, b""),
        (False, b"\x16\x03\x01"),
        (True, b""),
        (True, b"GET / HTTP/1.1\r\nHo"),
        (True, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1"),
        (True, b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n1"),
    ],
)
def test_two_hundred_that_stall_are_in_nobodys_way(few: Served, *, tls: bool, sent: bytes) -> None:
    with ExitStack() as open_:
        for _ in range(200):
            sock: socket.socket = few.connect() if tls else socket.create_connection((few.host, few.https))
            open_.enter_context(sock)
            sock.sendall(sent)
        assert answered(few) < QUICK


def test_slow_readers_are_in_nobodys_way(few: Served) -> None:
    """An answer larger than what the kernel takes for who does not read: the poller keeps the rest."""
    with ExitStack() as open_:
        stalled = []
        for _ in range(6):
            raw = socket.socket()
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.connect((few.host, few.https))
            tls = open_.enter_context(few.context().wrap_socket(raw, server_hostname=few.host))
            tls.sendall(b"GET /stream?400 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            stalled.append(tls)
        assert answered(few) < QUICK
        received = b""
        while not received.endswith(b"\r\n0\r\n\r\n"):
            received += stalled[0].recv(65536)
        assert received.count(b"x") >= 400 * 1024


@pytest.mark.parametrize("target", ["/stream?8000", "/big?8000000"])
def test_readers_that_stop_or_trickle_hold_up_nobody(few: Served, target: str) -> None:
    """More than anything keeps for them, and five times as many as there are threads."""
    with ExitStack() as open_:
        slow = [open_.enter_context(slow_reader(few, target)) for _ in range(10)]
        for tls in slow:
            assert tls.recv(17) == b"HTTP/1.1 200 OK\r\n"
        for _ in range(2):
            for tls in slow[:5]:
                assert tls.recv(1000)
            assert answered(few) < QUICK
        received = b"HTTP/1.1 200 OK\r\n"
        slow[9].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        while piece := slow[9].recv(1 << 20):  # who goes on reading gets all of it
            received += piece
            if received.endswith(b"0\r\n\r\n"):
                break
        assert received.count(b"x") >= 8_000_000
    assert answered(few) < QUICK


def test_a_reader_that_stops_is_ended_by_idle(tmp_path: Path) -> None:
    site = {"engine": "gunicorn", "threads": 1}
    with serve(tmp_path, app="echo:app", site=site, timeouts={"idle": "2s"}) as served:
        with slow_reader(served, "/stream?8000") as stalled:
            assert stalled.recv(17) == b"HTTP/1.1 200 OK\r\n"
            served.wait_for(lambda: '"path": "/stream"' in served.out)
        assert answered(served) < QUICK


def slow_reader(served: Served, target: str) -> ssl.SSLSocket:
    """Has asked; reads what the test reads."""
    raw = socket.socket()
    raw.settimeout(30)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect((served.host, served.https))
    tls = served.context().wrap_socket(raw, server_hostname=served.host)
    tls.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return tls


def test_pipelined_requests_have_their_answers_in_order(few: Served) -> None:
    request = "POST /{} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{}"
    sent = "".join(request.format(n, n, "x" * n) for n in range(1, 6)) + (
        "GET /6 HTTP/1.1\r\nHost: localhost\r\nConnection: foo, close\r\n\r\n"
    )
    answers = few.raw(sent.encode())
    paths = [answers.find(f'"PATH_INFO": "/{n}"'.encode()) for n in range(1, 7)]
    assert -1 not in paths
    assert paths == sorted(paths)
    assert answers.count(b"HTTP/1.1 200 OK") == 6


def test_large_bodies_leave_nothing_behind(few: Served) -> None:
    body = os.urandom(900 * 1024)
    with few.client() as client:
        for _ in range(3):
            assert client.post("/", content=body).json()["size"] == len(body)
            assert client.post("/", content=iter([body[:500_000], body[500_000:]])).json()["size"] == len(
                body
            )
    left = [path.name for path in (few.state / "run" / "engine").iterdir()]
    assert all(name.startswith("wgunicorn-") for name in left), left


def test_key_exchange_is_the_profiles(few: Served) -> None:
    """P-521 is among OpenSSL's own groups."""
    context = few.context()
    context.set_ecdh_curve("secp521r1")
    with pytest.raises(ssl.SSLError):
        few.connect(context)
    context = few.context()
    context.set_ecdh_curve("prime256v1")
    few.connect(context).close()


def test_workers_that_cannot_start_leave_the_old_ones(tmp_path: Path) -> None:
    """The keeper's own trial sees nothing wrong; inside of Gunicorn the new app fails."""
    app = tmp_path / "app"
    app.mkdir()
    good = (APPS / "echo.py").read_text()
    (app / "mine.py").write_text(good)
    with serve(tmp_path, app="mine:app", app_folder=app, site={"engine": "gunicorn", "workers": 2}) as served:
        orders = served.state / "engines" / "gunicorn" / "gunicorn.json"
        before = orders.read_bytes()
        client = served.client()
        (app / "mine.py").write_text(good + "\nimport sys\nassert 'gunicorn' not in sys.modules\n")
        served.rewrite(limits={"body": "10B"})
        served.reload()
        assert "not reloaded" in served.err
        assert "a new worker could not start" in served.err
        assert orders.read_bytes() == before
        assert client.post("/", content=b"x" * 100).status_code == 200, "the old policy, the old workers"
        (app / "mine.py").write_text(good)
        served.reload()
        client.close()  # the one it has is an old worker's, which may take further ones before it hears of it

        def refused() -> bool:
            return served.client().post("/", content=b"x" * 100).status_code == 413

        served.wait_for(refused, 30.0)


ODD = """
import sys

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/exit":
        sys.exit(3)
    if path == "/silent":
        return [b"x"]
    length = [("Content-Length", "10")] if path == "/short" else []
    start_response("200 OK", [("Strict-Transport-Security", "max-age=0"), *length])
    return late() if path == "/late" else [b"abc"]

def late():
    yield b"abc"
    raise RuntimeError("as asked")
"""


def test_apps_that_break_their_word(tmp_path: Path) -> None:
    """An answer that is not whole is never taken for one, and nobody waits for the rest."""
    app = tmp_path / "app"
    app.mkdir()
    (app / "odd.py").write_text(ODD)
    with serve(tmp_path, app="odd:app", app_folder=app, site={"engine": "gunicorn"}) as served:
        client = served.client()
        for path in ("/exit", "/silent"):
            answer = client.get(path)
            assert answer.status_code == 500
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers.get_list("strict-transport-security") == ["max-age=300"]
        for path in ("/short", "/late"):
            with pytest.raises(httpx.RemoteProtocolError):
                client.get(path)
        answer = client.get("/fine")
        assert (answer.status_code, answer.text) == (200, "abc")
        assert answer.headers.get_list("strict-transport-security") == ["max-age=300"]
        assert "as asked" in served.err


def test_its_helper_for_plain_http_comes_back(few: Served) -> None:
    answers = few.state / "engines" / "gunicorn" / "challenges"
    answer_exactly(answers, Challenges(http=((TOKEN, f"{TOKEN}.thumbprint"),)))
    (helper,) = few.children("inside.redirect")
    os.kill(helper, signal.SIGKILL)
    few.wait_for(lambda: few.children("inside.redirect") not in ([], [helper]))
    assert httpx.get(f"{few.plain}/x").status_code == 308
    challenge = f"{few.plain}/.well-known/acme-challenge/{TOKEN}"
    assert httpx.get(challenge).text == f"{TOKEN}.thumbprint"
    answer_exactly(answers, Challenges())
    assert httpx.get(challenge).status_code == 404


class Own:
    """`gunicorn -c python:sealgate.gunicorn`, as somebody types it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.host = folder, loopback()
        self.https, self.http = free_port(self.host), free_port(self.host)
        self.tables = {
            "listen": {"https": [f"{self.host}:{self.https}"], "http": [f"{self.host}:{self.http}"]}
        }
        self.write()

    def write(self, **tables: dict[str, object]) -> None:
        write_policy(self.folder / "sealgate.toml", {**self.tables, **tables})

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "gunicorn", "-c", "python:sealgate.gunicorn", *arguments, "echo:app"]

    @property
    def environ(self) -> dict[str, str]:
        own = {"SEALGATE_STATE": str(self.folder / "state"), "PYTHONPATH": str(APPS)}
        return {**os.environ, **own}

    def refused(self, *arguments: str) -> str:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    def sealgate(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "sealgate", *arguments]
        subprocess.run(
            command, cwd=self.folder, env=self.environ, check=True, timeout=60, capture_output=True
        )

    @property
    def url(self) -> str:
        return f"https://localhost:{self.https}"

    def ask(self, path: str = "/", **options: object) -> httpx.Response:
        root = self.folder / "state" / "authorities" / "root" / "root.pem"
        context = ssl.create_default_context(cafile=str(root))
        context.check_hostname = False
        fields = {"Host": f"localhost:{self.https}"}
        with httpx.Client(verify=context, headers=fields, timeout=20) as client:
            url = f"https://{self.host}:{self.https}{path}"
            return client.request(str(options.pop("method", "GET")), url, **options)  # type: ignore[arg-type]

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        with (self.folder / "err.log").open("wb") as err:
            process = subprocess.Popen(
                self.command(*arguments), cwd=self.folder, env=self.environ, stderr=err, stdout=err
            )
        try:
            self.until("Booting worker")
            yield process
        finally:
            process.terminate()
            # A worker that is told to end before it listens for signals ends by Gunicorn's own limit, 30 s.
            assert process.wait(60) == 0

    def until(self, text: str, count: int = 1) -> None:
        end = time.monotonic() + 30
        while self.log.count(text) < count:
            assert time.monotonic() < end, self.log
            time.sleep(0.02)

    @property
    def log(self) -> str:
        return (self.folder / "err.log").read_text()


def test_what_is_missing_is_a_sentence(tmp_path: Path) -> None:
    own = Own(tmp_path)
    assert "state-missing" in own.refused()
    own.sealgate("cert", "renew")
    own.write(listen={**own.tables["listen"], "proxy_protocol": True})
    assert "engine-cannot" in own.refused()
    own.write(clients={"mode": "optional"}, access={"default": "none"})
    said = own.refused()
    assert "engine-cannot" in said
    assert "a revoked certificate would count" in said
    own.write()
    assert "worker_class is Sealgate's" in own.refused("-k", "sync")
    assert "bind is decided by sealgate.toml" in own.refused("-b", "127.0.0.1:1")
    own.write(nonsense={"x": 1})
    assert "policy-invalid" in own.refused()
    own.write()
    with socket.create_server((own.host, own.http)):
        assert "cannot listen on" in own.refused()


def test_a_configuration_file_of_ones_own(tmp_path: Path) -> None:
    own = Own(tmp_path)
    own.sealgate("cert", "renew")
    mine = tmp_path / "gunicorn.conf.py"
    mine.write_text("from sealgate.gunicorn import *\nworkers = 2\nproc_name = 'mine'\n")
    with own.running("-c", str(mine)):
        own.until("Booting worker", 2)
        assert own.ask().headers["strict-transport-security"] == "max-age=300"
    mine.write_text("from sealgate.gunicorn import *\nheader_map = 'dangerous'\n")
    assert "header_map is decided by sealgate.toml" in own.refused("-c", str(mine))


def test_a_command_line_of_ones_own(tmp_path: Path) -> None:
    own = Own(tmp_path)
    own.sealgate("cert", "renew")
    with own.running("-w", "2", "--threads", "2"):
        answer = own.ask("/x?y")
        assert answer.status_code == 200
        assert answer.headers["strict-transport-security"] == "max-age=300"
        assert answer.json()["environ"]["wsgi.url_scheme"] == "https"
        assert own.ask("/../x").status_code == 200, "httpx itself takes the dots out"
        assert own.ask("/x//y").status_code == 400
        plain = httpx.get(f"http://{own.host}:{own.http}/x", headers={"Host": f"localhost:{own.http}"})
        assert (plain.status_code, plain.headers["location"]) == (308, f"{own.url}/x")


def test_what_answers_plain_http_beside_it_comes_back(tmp_path: Path) -> None:
    """Nobody of ours watches here: the arbiter does, and says so."""
    own = Own(tmp_path)
    own.sealgate("cert", "renew")
    with own.running() as process:
        (helper,) = plain_of(process.pid)
        os.kill(helper, signal.SIGKILL)
        own.until("the process for plain HTTP ended")
        answer = httpx.get(
            f"http://{own.host}:{own.http}/x", headers={"Host": f"localhost:{own.http}"}, timeout=30
        )
        assert answer.status_code == 308
        (another,) = plain_of(process.pid)
        assert another != helper
        process.send_signal(signal.SIGHUP)  # the same policy: nothing is started twice
        own.until("Worker exiting")
        assert plain_of(process.pid) == [another]


def plain_of(arbiter: int) -> list[int]:
    """Its children that answer plain HTTP."""
    children = Path(f"/proc/{arbiter}/task/{arbiter}/children").read_text().split()
    return [int(pid) for pid in children if b"inside.redirect" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_hup_takes_the_policy_up_anew_or_leaves_it(tmp_path: Path) -> None:
    own = Own(tmp_path)
    own.sealgate("cert", "renew")
    with own.running() as process:
        assert own.ask(method="POST", content=b"x" * 100).status_code == 200
        own.write(limits={"body": "10B"})
        process.send_signal(signal.SIGHUP)
        own.until("Worker exiting")
        assert own.ask(method="POST", content=b"x" * 100).status_code == 413
        own.write(nonsense={"x": 1})
        process.send_signal(signal.SIGHUP)
        own.until("the policy before stays in force")
        own.until("Worker exiting", 2)
        assert own.ask(method="POST", content=b"x" * 100).status_code == 413
        own.write(network={"deny": ["127.0.0.1"]})
        process.send_signal(signal.SIGHUP)
        own.until("Worker exiting", 3)
        assert own.ask().json()["type"].endswith(":address-refused")
        plain = httpx.get(f"http://{own.host}:{own.http}/x", headers={"Host": f"localhost:{own.http}"})
        assert plain.json()["type"].endswith(":address-refused")


def test_a_renewal_needs_nobody_to_tell_it(tmp_path: Path) -> None:
    own = Own(tmp_path)
    own.sealgate("cert", "renew")

    def served() -> bytes:
        pem = ssl.get_server_certificate((own.host, own.https))
        return ssl.PEM_cert_to_DER_cert(pem)

    with own.running():
        before = served()
        own.sealgate("cert", "renew")
        end = time.monotonic() + 2
        while served() == before:
            assert time.monotonic() < end
