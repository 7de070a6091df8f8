"""``sealgate.protect``: somebody's own Gunicorn and uvicorn, with ``sealgate watch`` beside them, or not."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.calls import Result, environment, sealgate
from tests.guard.tokens.issuing import AUDIENCE, ISSUER, jwk, token
from tests.live.served import free_port, loopback, write_policy

WSGI = """
import json
import sealgate

def app(environ, start_response):
    client = environ["sealgate.client"]
    start_response("200 OK", [("content-type", "application/json")])
    if environ["PATH_INFO"] == "/slow":
        import time
        return (time.sleep(0.1) or b"x" * 10 for _ in range(300))
    found = client.certificate.subject if client.certificate else ""
    return [json.dumps({"address": client.address, "groups": client.groups, "subject": found,
        "token": client.token.subject if client.token else ""}).encode()]

app = sealgate.protect(app, policy="sealgate.toml")
"""
ASGI = """
import json
import sealgate

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    client = scope["sealgate"]["client"]
    said = {"address": client.address, "token": client.token.subject if client.token else ""}
    body = json.dumps(said).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})

app = sealgate.protect(app, policy="sealgate.toml")
"""
PATIENCE = 30.0


class Own:
    """A folder with a policy, an app, and servers that somebody starts himself."""

    def __init__(self, stack: ExitStack, folder: Path, **tables: Mapping[str, Any]) -> None:
        self.stack, self.folder, self.state = stack, folder, folder / "state"
        self.host = loopback()
        self.port = free_port(self.host)
        self.url = f"https://{self.host}:{self.port}"
        self.policy = folder / "sealgate.toml"
        self.write(**tables)
        done = self.sealgate("cert", "renew")
        assert done.status == 0, done.err
        self.live = self.state / "live" / "server" / "localhost"
        self.server: subprocess.Popen[bytes] | None = None

    def write(self, **tables: Mapping[str, Any]) -> None:
        site = {"app": "own:app", "names": ["localhost", self.host]}
        listen = {"https": [f"{self.host}:{self.port}"], "http": []}
        write_policy(self.policy, {"site": site, "listen": listen, **tables})

    def sealgate(self, *words: str) -> Result:
        place = ("-c", str(self.policy), "--state", str(self.state))
        names = 2 if words[0] in {"cert", "client", "token"} else 1
        return sealgate(*words[:names], *place, *words[names:], cwd=self.folder)

    @contextmanager
    def watching(self) -> Iterator[subprocess.Popen[bytes]]:
        command = [
            sys.executable,
            "-m",
            "sealgate",
            "watch",
            "-c",
            str(self.policy),
            "--state",
            str(self.state),
        ]
        with (self.folder / "watch.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment()
            )
        try:
            yield process
        finally:
            _ended(process)

    def serve(self, *command: str) -> None:
        log = self.stack.enter_context((self.folder / "server.log").open("ab"))
        env = environment(SEALGATE_STATE=str(self.state))
        self.server = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=self.folder, stdout=log, stderr=log, env=env
        )
        self.stack.callback(_ended, self.server)

    def gunicorn(self, *words: str) -> None:
        (self.folder / "own.py").write_text(WSGI)
        certificate = ("--certfile", f"{self.live}/chain.pem", "--keyfile", f"{self.live}/key.pem")
        place = ("-b", f"{self.host}:{self.port}", "-w", "2", "-k", "gthread", "--threads", "4")
        self.serve("gunicorn", *certificate, *place, *words, "own:app")

    def uvicorn(self, *words: str, tls: bool = True) -> None:
        (self.folder / "own.py").write_text(ASGI)
        files = ("--ssl-certfile", f"{self.live}/chain.pem", "--ssl-keyfile", f"{self.live}/key.pem")
        place = ("--host", self.host, "--port", str(self.port))
        self.serve("uvicorn", *(files if tls else ()), *place, *words, "own:app")

    def context(self, client: Path | None = None) -> ssl.SSLContext:
        root = self.state / "live" / "server" / "root.pem"
        context = ssl.create_default_context(cafile=str(root) if root.exists() else None)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if client is not None:
            context.load_cert_chain(client / f"{client.name}.pem", client / f"{client.name}.key")
        return context

    def ask(
        self, path: str = "/x", *, client: Path | None = None, url: str = "", **fields: str
    ) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        with httpx.Client(verify=self.context(client), timeout=20) as http:
            return http.get((url or self.url) + path, headers=named)

    def until(self, wanted: Callable[[httpx.Response], bool], **asked: Any) -> httpx.Response:
        end, answer = time.monotonic() + PATIENCE, None
        while time.monotonic() < end:
            with suppress(httpx.HTTPError):
                answer = self.ask(**asked)
                if wanted(answer):
                    return answer
            time.sleep(0.05)
        raise AssertionError((answer, answer and answer.text, self.said()))

    def said(self) -> str:
        logs = [self.folder / name for name in ("server.log", "watch.log")]
        return "".join(log.read_text() for log in logs if log.exists())


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(20)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def slug(answer: httpx.Response) -> str:
    return str(answer.json()["type"]).rpartition(":")[2]


def test_nobody_is_let_in_unless_somebody_watches(stack: ExitStack, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [jwk("ES256", "one")]}))
    keys.chmod(0o644)
    issuer = {"issuer": ISSUER, "audience": [AUDIENCE], "jwks_file": "keys.json"}
    rules = [{"path": "/free/**", "require": "none"}]
    tables: dict[str, Any] = {
        "tokens": {"issuers": [issuer]},
        "limits": {"rates": [{"by": "address", "rate": "90/min"}]},
    }
    own = Own(stack, tmp_path, access={"rules": rules}, **tables)
    own.gunicorn()
    moment = time.time()
    bearer = f"Bearer {token(header={'kid': 'one'}, exp=moment + 600, iat=moment)}"
    answer = own.until(lambda answer: answer.status_code == 503)
    assert slug(answer) == "app-unavailable"
    assert "run sealgate watch" in own.said()
    with own.watching() as watch:
        own.until(lambda answer: answer.status_code == 200, Authorization=bearer)
        assert own.ask(Authorization=bearer).json()["token"] == "ann"
        assert own.ask(Authorization=bearer).json()["address"].startswith("127.")
        assert slug(own.ask()) == "authentication-required"
        assert own.ask("/free/x").status_code == 200
        # What others say of themselves makes no caller, and a path means one thing.
        assert (
            own.ask(Sealgate_Address="192.0.2.1:1", Authorization=bearer).json()["address"].startswith("127.")
        )
        assert own.ask("/free/%2e%2e/x").status_code == 400
        assert own.ask(url=f"https://localhost:{own.port}".replace("localhost", own.host)).status_code == 401
        # One process that answers nobody for a moment: nothing is let in that nobody vouches for.
        watch.send_signal(signal.SIGSTOP)
        own.until(lambda answer: answer.status_code == 503, Authorization=bearer)
        watch.send_signal(signal.SIGCONT)
        own.until(lambda answer: answer.status_code == 200, Authorization=bearer)
        # Another policy, in every worker, without a restart.
        own.write(access={"rules": [*rules, {"path": "/x", "deny": True}]}, **tables)
        watch.send_signal(signal.SIGHUP)
        own.until(lambda answer: answer.status_code == 403, Authorization=bearer)
    own.until(lambda answer: answer.status_code == 503, path="/free/x")
    with own.watching():  # with a table of budgets of its own
        own.until(lambda answer: answer.status_code == 200, path="/free/x")
        seen = [own.ask("/free/x").status_code for _ in range(100)]
        assert 85 <= seen.count(200) <= 95
        assert set(seen) == {200, 429}


def test_a_revoked_client_is_out_within_a_second(stack: ExitStack, tmp_path: Path) -> None:
    own = Own(stack, tmp_path, clients={"mode": "required"})
    for name in ("ann", "bob"):
        done = own.sealgate("client", "add", name, "--out", str(tmp_path / name))
        assert done.status == 0, done.err
    trust = own.state / "live" / "clients" / "trust.pem"
    own.gunicorn("--ca-certs", str(trust), "--cert-reqs", "1")
    ann, bob = tmp_path / "ann", tmp_path / "bob"
    with own.watching(), ExitStack() as open_:
        own.until(lambda answer: answer.status_code == 200, client=ann)
        assert "ann" in own.ask(client=ann).json()["subject"]
        assert own.ask().status_code == 403
        http = open_.enter_context(httpx.Client(verify=own.context(ann), timeout=20))
        assert http.get(own.url).status_code == 200
        slow = open_.enter_context(http.stream("GET", f"{own.url}/slow"))
        pieces = slow.iter_raw()
        assert next(pieces)
        assert own.sealgate("client", "revoke", "ann").status == 0
        time.sleep(1.0)
        assert slug(own.ask(client=ann)) == "client-certificate-refused"
        assert own.ask(client=bob).status_code == 200
        began = time.monotonic()
        with suppress(httpx.HTTPError):
            assert list(pieces)
        assert time.monotonic() - began < 10  # it would have gone on for half a minute


def test_uvicorn_alone_and_behind_a_proxy(stack: ExitStack, tmp_path: Path) -> None:
    own = Own(stack, tmp_path, network={"trusted_proxies": ["127.0.0.0/8"]}, tokens={"api_keys": True})
    done = own.sealgate("token", "add", "billing", "--json")
    assert done.status == 0, done.err
    key, mark = json.loads(done.out)["key"], json.loads(done.out)["id"]
    own.uvicorn("--no-proxy-headers", tls=False)
    plain = own.url.replace("https", "http")
    bearer: dict[str, Any] = {"url": plain, "Authorization": f"Bearer {key}"}
    with own.watching():
        proxied: dict[str, Any] = {**bearer, "X_Forwarded_For": "192.0.2.7", "X_Forwarded_Proto": "https"}
        answer = own.until(lambda answer: answer.status_code == 200, **proxied)
        assert answer.json() == {"address": "192.0.2.7", "token": "billing"}
        assert slug(own.ask(**bearer)) == "credentials-in-the-clear"
        assert slug(own.ask(**{**proxied, "X_Forwarded_Proto": "https, http"})) == "credentials-in-the-clear"
        assert slug(own.ask(url=plain)) == "plain-http-refused"
        assert slug(own.ask(**{**proxied, "X_Forwarded_For": "nonsense"})) == "forwarding-header-invalid"
        assert own.sealgate("token", "revoke", mark).status == 0
        time.sleep(1.0)
        assert slug(own.ask(**proxied)) == "token-refused"
    assert key not in own.said()


@pytest.mark.parametrize(
    ("tables", "words", "fields", "reason"),
    [
        ({}, ("--no-proxy-headers",), {"X_Forwarded_For": "192.0.2.7"}, "proxy-not-in-trusted-proxies"),
        ({}, (), {"X_Forwarded_For": "192.0.2.7"}, "address-by-header"),
        ({"clients": {"mode": "optional"}}, ("--no-proxy-headers",), {}, "server-tells-no-certificates"),
    ],
)
def test_a_server_that_is_no_source_gets_nobody_in(
    stack: ExitStack,
    tmp_path: Path,
    tables: dict[str, Any],
    words: tuple[str, ...],
    fields: dict[str, Any],
    reason: str,
) -> None:
    own = Own(stack, tmp_path, **tables)
    own.uvicorn(*words)
    with own.watching():
        own.until(lambda answer: answer.status_code == 500, **fields)
        assert f'"rule": "{reason}"' in own.said()


def test_what_nobody_would_see_to_is_refused_at_import(stack: ExitStack, tmp_path: Path) -> None:
    own = Own(stack, tmp_path)
    (tmp_path / "partners.pem").write_bytes(
        (own.state / "live" / "server" / "localhost" / "chain.pem").read_bytes()
    )
    partners = {"name": "partners", "file": "partners.pem", "crl": "http://crl.example.com/partners.crl"}
    own.write(clients={"mode": "required", "authorities": [partners]})
    (tmp_path / "own.py").write_text(WSGI)
    done = subprocess.run(
        [sys.executable, "-c", "import own"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=environment(SEALGATE_STATE=str(own.state), PYTHONPATH=str(tmp_path)),
    )
    assert done.returncode != 0
    assert "engine-cannot: sealgate.protect has nobody who fetches the lists of partners" in done.stderr


def test_behind_a_guard_of_ours_it_steps_aside(stack: ExitStack, tmp_path: Path) -> None:
    own = Own(stack, tmp_path)
    (tmp_path / "own.py").write_text(WSGI)
    code = (
        "import own\n"
        "from types import SimpleNamespace\n"
        "client = SimpleNamespace(certificate=None, token=None, address='::1', groups=())\n"
        "print(b''.join(own.app({'sealgate.client': client, 'PATH_INFO': '/'}, lambda *_: None)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=environment(SEALGATE_STATE=str(own.state), PYTHONPATH=str(tmp_path)),
    )
    assert "::1" in done.stdout, done.stderr
