"""What an ACME authority is answered, on the real servers: each engine's driver as the keeper drives it."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sealgate._system.clock import system_clock
from sealgate._system.files import write_atomic
from sealgate.engines.challenges import ALPN, CHALLENGES, MOST, PATH, AlpnAnswer, Challenges
from sealgate.engines.contract import Driver
from sealgate.engines.facts import RenderFacts
from sealgate.engines.registry import engine
from sealgate.errors import EngineRefused
from sealgate.pki.client_trust import ensure_client_trust
from sealgate.pki.server import ensure_server_certificate
from sealgate.pki.state import State
from sealgate.policy.model import Policy
from sealgate.policy.profiles import load_profile
from tests.live.backend import Backend, backend
from tests.live.installed import installed
from tests.live.served import free_port, loopback, temporary
from tests.live.wire import Answer, get, parse, read_until_closed

TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
OTHER = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"
THUMBPRINT = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
LIMIT = 30.0


class Running:
    """A driver on a loop of its own thread."""

    def __init__(self, kind: str, other: Backend, **tables: dict[str, Any]) -> None:
        self.kind = engine(kind)
        self.folder = temporary()
        self.host = loopback()
        self.https, self.http = free_port(self.host), free_port(self.host)
        self.state = State.open(self.folder / "state")
        site = {"names": ["api.internal", self.host], "upstream": other.url, "engine": kind}
        listen = {"https": [f"{self.host}:{self.https}"], "http": [f"{self.host}:{self.http}"]}
        self.policy = Policy.model_validate({"site": site, "listen": listen, **tables})
        live = ensure_server_certificate(self.state, self.policy, system_clock)
        trust = ensure_client_trust(self.state, self.policy, system_clock)
        program = self.kind.program(os.environ, False)
        here = self.state.path
        asked = self.policy.clients.mode != "off"
        self.facts = RenderFacts(
            policy=self.policy,
            profile=load_profile(self.policy.tls.profile),
            backend="upstream",
            chain=os.path.relpath(live.chain_path, here),
            key=os.path.relpath(live.key_path, here),
            certificate_folder=os.path.relpath(live.chain_path.parent, here),
            trust=os.path.relpath(trust, here) if asked else "",
            trust_folder=os.path.relpath(trust.parent, here) if asked else "",
            version=program.version,
        )
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.driver: Driver = self.kind.drive(here, program, lambda: None, uid=-1)

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(LIMIT)

    def answering(self, challenges: Challenges) -> RenderFacts:
        """As the keeper does: the files first, then the engine, then files that are over."""
        folder = self.state.path / CHALLENGES
        wanted = dict(challenges.http)
        for token, text in wanted.items():
            write_atomic(folder / token, text.encode(), 0o644)
        facts = replace(self.facts, challenges=challenges)
        self.do(self.driver.challenge(facts))
        for path in folder.iterdir():
            if path.is_file() and path.name not in wanted:
                path.unlink()
        return facts

    def plain(self, data: bytes) -> list[Answer]:
        with socket.create_connection((self.host, self.http), timeout=20) as sock:
            sock.sendall(data)
            return parse(read_until_closed(sock))

    def ask(self, path: str, *fields: str, host: str = "", method: str = "GET") -> Answer:
        (answer,) = self.plain(get(host or self.host, path, *fields, method=method))
        return answer

    def end(self) -> None:
        self.do(self.driver.stop())
        self.driver.remove()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(LIMIT)
        self.loop.close()
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module")
def other() -> Iterator[Backend]:
    with backend() as found:
        yield found


@pytest.fixture(scope="module", params=["envoy", "nginx", "apache"])
def running(request: pytest.FixtureRequest, other: Backend) -> Iterator[Running]:
    found = Running(request.param, other)
    try:
        found.do(found.driver.start(found.facts))
        yield found
    finally:
        found.end()


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "running" in request.fixturenames:
        request.getfixturevalue("running").answering(Challenges())


def text(token: str) -> str:
    return f"{token}.{THUMBPRINT}"


def http(*tokens: str) -> Challenges:
    return Challenges(http=tuple(sorted((token, text(token)) for token in tokens)))


def is_unknown(answer: Answer) -> bool:
    return (answer.status, answer.slug) == (404, "challenge-unknown")


def test_an_answer_comes_and_goes(running: Running) -> None:
    assert is_unknown(running.ask(PATH + TOKEN))
    running.answering(http(TOKEN, OTHER))
    for token in (TOKEN, OTHER):
        answer = running.ask(PATH + token)
        assert (answer.status, answer.body) == (200, text(token).encode())
        assert answer.one("content-type") == "application/octet-stream"
        assert answer.one("cache-control") == "no-store"
    running.answering(http(OTHER))
    assert is_unknown(running.ask(PATH + TOKEN))
    assert running.ask(PATH + OTHER).status == 200
    running.answering(Challenges())
    assert is_unknown(running.ask(PATH + OTHER))


@pytest.mark.parametrize(
    "host", ["api.internal", "elsewhere.example", "192.0.2.7", "api.internal:80", "[::1]"]
)
def test_whatever_the_host_and_nothing_else_for_strangers(running: Running, host: str) -> None:
    running.answering(http(TOKEN))
    assert running.ask(PATH + TOKEN, host=host).body == text(TOKEN).encode()
    ours = host.startswith("api.internal")
    assert running.ask("/", host=host).status == (308 if ours else 421)
    assert is_unknown(running.ask(PATH + OTHER, host=host))


def test_head_has_no_body_and_the_length(running: Running) -> None:
    running.answering(http(TOKEN))
    with socket.create_connection((running.host, running.http), timeout=20) as sock:
        sock.sendall(get(running.host, PATH + TOKEN, method="HEAD"))
        head, _, rest = read_until_closed(sock).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert f"content-length: {len(text(TOKEN))}".encode() in head.lower()
    assert rest == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"])
@pytest.mark.parametrize("token", [TOKEN, OTHER])
def test_other_methods(running: Running, method: str, token: str) -> None:
    running.answering(http(TOKEN))
    answer = running.ask(PATH + token, "Content-Length: 0", method=method)
    if token == TOKEN or answer.status != 404:
        assert (answer.status, answer.slug) == (405, "method-not-allowed")
        assert answer.one("allow") == "GET, HEAD"
    else:  # nginx looks for the file first
        assert is_unknown(answer)


ODD = (
    PATH + "../acme-challenge/" + TOKEN,
    PATH + "%2e%2e/acme-challenge/" + TOKEN,
    PATH + "./" + TOKEN,
    PATH + TOKEN + "/",
    PATH + TOKEN + "/x",
    PATH + TOKEN + "?x",
    PATH + TOKEN + "?",
    PATH + TOKEN + ";x",
    PATH + TOKEN + "%00",
    PATH + "%65" + TOKEN[1:],
    PATH + "/" + TOKEN,
    "/.well-known//acme-challenge/" + TOKEN,
    "//.well-known/acme-challenge/" + TOKEN,
    "/x/../.well-known/acme-challenge/" + TOKEN,
    "/%2ewell-known/acme-challenge/" + TOKEN,
    "/.well-known%2facme-challenge/" + TOKEN,
    "/.well-known/ACME-challenge/" + TOKEN,
    PATH + TOKEN[:-1],
    PATH + TOKEN.swapcase(),
    PATH,
    PATH + "alpn",
    PATH + "alpn/api.internal/key.pem",
    PATH + ".",
    PATH + "..%2f..%2f..%2fauthorities/root/root.pem",
    PATH + "../server/api.internal/key.pem",
    PATH + "../../store.db",
)


@pytest.mark.parametrize("path", ODD)
def test_only_the_path_itself_spelled_exactly(running: Running, path: str) -> None:
    running.answering(http(TOKEN))
    folder = running.state.path / CHALLENGES / "alpn" / "api.internal"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "key.pem").write_text("a key")
    answer = running.ask(path)
    assert answer.status in {308, 400, 404}, answer
    assert THUMBPRINT.encode() not in answer.body
    assert b"a key" not in answer.body
    # A redirect leads to HTTPS, where nothing of this is served.
    assert answer.status != 308 or answer.one("location").startswith("https://")


def test_an_absolute_target_is_the_same(running: Running) -> None:
    running.answering(http(TOKEN))
    assert running.ask(f"http://api.internal{PATH}{TOKEN}").body == text(TOKEN).encode()


def test_links_lead_nowhere(running: Running) -> None:
    """Who could write there could not have others' files served."""
    running.answering(Challenges())
    link = running.state.path / CHALLENGES / TOKEN
    secret = running.state.path / "secret"
    secret.write_text("secret")
    link.symlink_to(secret)
    try:
        answer = running.ask(PATH + TOKEN)
        assert (answer.status, answer.slug) in {(404, "challenge-unknown"), (403, "plain-http-refused")}
    finally:
        link.unlink()


def test_over_https_it_is_the_apps(running: Running, other: Backend) -> None:
    running.answering(http(TOKEN))
    context = ssl.create_default_context(cafile=str(running.state.root_pem))
    with (
        socket.create_connection((running.host, running.https), timeout=20) as raw,
        context.wrap_socket(raw, server_hostname=running.host) as tls,
    ):
        tls.sendall(get(running.host, PATH + TOKEN))
        (answer,) = parse(read_until_closed(tls))
    assert answer.status == 200
    assert THUMBPRINT.encode() not in answer.body
    assert other.seen[-1]["path"] == PATH + TOKEN


def test_as_many_as_a_certificate_has_names(running: Running) -> None:
    tokens = [f"{number:03}{TOKEN[3:]}" for number in range(MOST)]
    running.answering(http(*tokens))
    for token in (tokens[0], tokens[57], tokens[-1]):
        assert running.ask(PATH + token).body == text(token).encode()
    with pytest.raises(EngineRefused, match=f"{MOST + 1} answers at a time"):
        running.do(running.driver.challenge(replace(running.facts, challenges=http(*tokens, OTHER))))
    assert running.ask(PATH + tokens[5]).body == text(tokens[5]).encode()


@pytest.mark.parametrize(
    ("token", "said"),
    [("../../x" * 4, ""), (TOKEN + "\n", ""), (TOKEN, "other." + THUMBPRINT), (TOKEN, TOKEN + ".a b")],
)
def test_what_is_no_answer_is_refused(running: Running, token: str, said: str) -> None:
    wrong = Challenges(http=((token, said or text(token)),))
    with pytest.raises(EngineRefused, match="no answer to a challenge"):
        running.do(running.driver.challenge(replace(running.facts, challenges=wrong)))


def test_later_changes_and_starts_carry_them(running: Running) -> None:
    facts = running.answering(http(TOKEN))
    policy = running.policy.model_copy(
        update={"http": running.policy.http.model_copy(update={"mode": "refuse"})}
    )
    running.do(running.driver.apply(replace(facts, policy=policy)))
    try:
        assert running.ask("/").status == 403
        assert running.ask(PATH + TOKEN).body == text(TOKEN).encode()
        assert is_unknown(running.ask(PATH + OTHER))
        running.do(running.driver.stop())
        running.do(running.driver.start(facts))
        assert running.ask("/").status == 308
        assert running.ask(PATH + TOKEN).body == text(TOKEN).encode()
    finally:
        running.do(running.driver.apply(facts))


def test_no_connection_ends_for_it(running: Running) -> None:
    context = ssl.create_default_context(cafile=str(running.state.root_pem))
    with (
        socket.create_connection((running.host, running.http), timeout=20) as plain,
        socket.create_connection((running.host, running.https), timeout=20) as raw,
        context.wrap_socket(raw, server_hostname=running.host) as tls,
    ):
        for number in range(6):
            for sock, status in ((plain, 308), (tls, 200)):
                sock.sendall(get(running.host, "/", close=False))
                (answer,) = parse(read_until_closed(sock))
                assert answer.status == status
                assert "close" not in answer.all("connection")
            running.answering(http(TOKEN) if number % 2 else Challenges())


# tls-alpn-01 (RFC 8737), Envoy's alone


@pytest.fixture(scope="module")
def envoy(other: Backend) -> Iterator[Running]:
    """With client certificates required: what proves a name must not be a way around them."""
    acme = {"source": "acme", "acme": {"challenge": "tls-alpn-01"}}
    found = Running("envoy", other, clients={"mode": "required"}, certificate=acme)
    try:
        found.do(found.driver.start(found.facts))
        yield found
    finally:
        found.end()


@dataclass(frozen=True)
class Seen:
    """What a client got before the server closed: nothing at all where `certificate` is empty."""

    certificate: bytes = b""
    protocol: str | None = None
    sent: bytes = b""


def proving(running: Running, name: str) -> tuple[AlpnAnswer, bytes]:
    """A fresh certificate for a name, where a solver puts it, and its DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    proof = x509.UnrecognizedExtension(
        x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31"), b"\x04\x20" + os.urandom(32)
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(proof, critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = running.state.path / CHALLENGES / "alpn" / name
    folder.mkdir(parents=True, exist_ok=True)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_atomic(folder / "key.pem", pem)
    write_atomic(folder / "chain.pem", certificate.public_bytes(serialization.Encoding.PEM))
    place = f"{CHALLENGES}/alpn/{name}"
    return AlpnAnswer(name, f"{place}/chain.pem", f"{place}/key.pem"), certificate.public_bytes(
        serialization.Encoding.DER
    )


def shown(running: Running, name: str, *alpn: str, send: bytes = b"", **settings: Any) -> Seen:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    for key, value in settings.items():
        setattr(context, key, value)
    got = Seen()
    try:
        with (
            socket.create_connection((running.host, running.https), timeout=20) as raw,
            context.wrap_socket(raw, server_hostname=name) as tls,
        ):
            got = Seen(tls.getpeercert(binary_form=True) or b"", tls.selected_alpn_protocol())
            if send:
                tls.sendall(send)
            while piece := tls.recv(4096):
                got = replace(got, sent=got.sent + piece)
    except TimeoutError:  # the connection was left open
        raise
    except OSError:
        pass
    return got


def alpn(*answers: AlpnAnswer) -> Challenges:
    return Challenges(tls_alpn=tuple(sorted(answers, key=lambda one: one.name)))


def stats(running: Running, pattern: str) -> dict[str, int]:
    found: dict[str, int] = running.driver._envoy.admin.stats(pattern)  # type: ignore[attr-defined]
    return found


def test_a_name_is_proven_and_no_more(envoy: Running) -> None:
    usual = shown(envoy, "api.internal", "http/1.1").certificate
    assert usual
    one, certificate = proving(envoy, "api.internal")
    assert shown(envoy, "api.internal", ALPN).certificate in {usual, b""}
    envoy.answering(alpn(one))
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        # The server closes by itself after the handshake, and has sent nothing.
        seen = shown(envoy, "api.internal", ALPN, minimum_version=version, maximum_version=version)
        assert seen == Seen(certificate, ALPN)
        assert shown(envoy, "API.internal", ALPN).certificate == certificate
    # To nobody else: other protocols, no protocol, another name.
    for name, offered in (
        ("api.internal", ("h2", "http/1.1")),
        ("api.internal", ()),
        ("api.internal", ("acme-tls/2",)),
        ("other.internal", (ALPN,)),
        ("x.api.internal", (ALPN,)),
    ):
        assert shown(envoy, name, *offered).certificate != certificate, (name, offered)
    # Visitors of that very name are served as ever meanwhile.
    for offered in (("h2", "http/1.1"), ("http/1.1",), ()):
        assert shown(envoy, "api.internal", *offered).certificate == usual, offered
    envoy.answering(Challenges())
    assert shown(envoy, "api.internal", ALPN).certificate != certificate
    assert shown(envoy, "api.internal", "http/1.1").certificate == usual


def test_it_is_no_way_in(envoy: Running, other: Backend) -> None:
    """No client certificate is asked for there, so nothing is served there."""
    one, certificate = proving(envoy, "api.internal")
    envoy.answering(alpn(one))
    before = len(other.seen)
    request = get("api.internal", "/")
    for offered in ((ALPN,), (ALPN, "http/1.1"), ("http/1.1", ALPN), ("h2", ALPN)):
        for data in (request, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
            seen = shown(envoy, "api.internal", *offered, send=data)
            assert seen.sent == b""
            assert seen.protocol in {None, ALPN} or seen.certificate != certificate
    assert len(other.seen) == before


def test_the_next_certificate_in_the_same_files(envoy: Running) -> None:
    for _ in range(3):
        one, certificate = proving(envoy, "api.internal")
        envoy.answering(alpn(one))
        assert shown(envoy, "api.internal", ALPN).certificate == certificate


def test_many_names_at_once(envoy: Running) -> None:
    made = dict(proving(envoy, name) for name in ("api.internal", "b.internal", "7.2.0.192.in-addr.arpa"))
    envoy.answering(alpn(*made))
    for one, certificate in made.items():
        assert shown(envoy, one.name, ALPN).certificate == certificate
    (gone, *rest) = made
    envoy.answering(alpn(*rest))
    assert shown(envoy, gone.name, ALPN).certificate != made[gone]
    assert all(shown(envoy, one.name, ALPN).certificate == made[one] for one in rest)


def test_unusable_files_are_refused_and_change_nothing(envoy: Running) -> None:
    one, certificate = proving(envoy, "api.internal")
    envoy.answering(alpn(one))
    broken, _ = proving(envoy, "b.internal")
    (envoy.state.path / broken.key).write_text("no key")
    with pytest.raises(EngineRefused, match="did not accept"):
        envoy.do(envoy.driver.challenge(replace(envoy.facts, challenges=alpn(one, broken))))
    assert shown(envoy, "api.internal", ALPN).certificate == certificate
    for path in ("../../store.db", "/etc/passwd", f"{CHALLENGES}/alpn/../../server/x/key.pem"):
        wrong = replace(one, key=path)
        with pytest.raises(EngineRefused, match="no answer to a challenge"):
            envoy.do(envoy.driver.challenge(replace(envoy.facts, challenges=alpn(wrong))))


@pytest.mark.parametrize("running", ["envoy"], indirect=True)
def test_connections_of_others_stay(running: Running) -> None:
    """Over both protocols; and no chain but those of challenges is drained, as Envoy counts."""
    names = ("listener_(modified|in_place_updated|added|removed)", "total_filter_chains_draining")
    counters = rf"^listener_manager\.({'|'.join(names)})$"
    before = stats(running, counters)
    context = ssl.create_default_context(cafile=str(running.state.root_pem))
    with (
        socket.create_connection((running.host, running.https), timeout=20) as raw,
        context.wrap_socket(raw, server_hostname=running.host) as tls,
        socket.create_connection((running.host, running.http), timeout=20) as plain,
    ):
        for _ in range(4):
            one, certificate = proving(running, "api.internal")
            running.answering(alpn(one))
            assert shown(running, "api.internal", ALPN).certificate == certificate
            running.answering(Challenges())
            for sock, status in ((tls, 200), (plain, 308)):
                sock.sendall(get(running.host, "/", close=False))
                (answer,) = parse(read_until_closed(sock))
                assert answer.status == status
                assert "close" not in answer.all("connection")
    after = stats(running, counters)
    changed = {name.rpartition(".")[2]: after[name] - before[name] for name in after}
    assert changed.pop("listener_in_place_updated") == 8
    assert changed.pop("listener_modified") == 8
    assert changed.pop("total_filter_chains_draining") <= 4
    assert set(changed.values()) == {0}


@pytest.fixture
def reachable() -> Iterator[Path]:
    """Where other users may pass through, as in /var/lib."""
    folder = temporary()
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("kind", ["nginx", "apache"])
def test_an_installed_server_answers_too(kind: str, other: Backend, reachable: Path) -> None:
    """It may run as somebody else, whom the state directory lets pass to the answers and nowhere else."""
    with installed(kind, reachable, other.url) as one:
        done = one.sealgate("apply", "--yes")
        assert done.returncode == 0, done.stderr
        state = State.open(one.state)
        write_atomic(state.challenges / TOKEN, text(TOKEN).encode(), 0o644)
        state.admit_to_challenges()
        status, fields, body = one.get_plain(PATH + TOKEN, Host="whoever.example")
        assert (status, body) == (200, text(TOKEN).encode())
        assert fields["content-type"] == "application/octet-stream"
        for path in (PATH + OTHER, PATH + "x/../" + TOKEN, PATH, PATH + "alpn"):
            status, fields, body = one.get_plain(path)
            assert (status, fields["content-type"]) == (404, "application/problem+json"), path
            assert b"challenge-unknown" in body
        assert one.get_plain("/.well-known//acme-challenge/" + TOKEN)[0] == 308
        assert one.get_plain("/", Host="whoever.example")[0] == 421
        assert one.get(PATH + TOKEN)[0] == 200
        assert other.seen[-1]["path"] == PATH + TOKEN
