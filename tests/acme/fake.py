"""An authority that behaves, until a test says where it does not: for what Pebble never does."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sealgate._system.clock import Clock, system_clock
from sealgate.acme.authority import Authority
from tests.acme.pebble import own_https
from tests.live.served import free_port, loopback

Odd = Callable[["Asked"], "Said | None"]


@dataclass
class Asked:
    """A request: its method, path, and a JWS's protected header and payload."""

    method: str
    path: str
    header: dict[str, Any]
    payload: dict[str, Any] | None
    headers: dict[str, str]


@dataclass
class Said:
    """An answer; ``raw`` instead of it: bytes, and the connection closed."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: Callable[[Any], None] | None = None


def problem(kind: str, status: int = 403, *, headers: dict[str, str] | None = None, **more: Any) -> Said:
    """A problem document of ACME."""
    return Said(status, {"type": f"urn:ietf:params:acme:error:{kind}", **more}, headers or {})


@dataclass
class Fake:
    """The authority.

    Attributes:
        odd: path (a regular expression) to what is answered instead; None from it: the usual.
        asked: all requests, in their order.
        order: the last order, as the authority keeps it.
        clock: its own.
        life: of what it issues.
    """

    host: str
    port: int
    ca_file: Path
    odd: dict[str, Odd] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    order: dict[str, Any] = field(default_factory=dict)
    authorizations: list[dict[str, Any]] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    chain: bytes = b""
    nonces: int = 0
    clock: Clock = system_clock
    life: timedelta = timedelta(days=10)

    def __post_init__(self) -> None:
        self.root_key = ec.generate_private_key(ec.SECP256R1())
        self.root = self._issue("Fake Root", self.root_key.public_key(), ())

    @property
    def base(self) -> str:
        return f"https://{self.host}:{self.port}"

    def authority(self, **settings: Any) -> Authority:
        return Authority(f"{self.base}/dir", ca_file=self.ca_file, **settings)

    def count(self, path: str) -> int:
        """How often was this asked for?"""
        return sum(1 for asked in self.asked if re.fullmatch(path, asked.path))

    def answer(self, asked: Asked) -> Said:
        self.asked.append(asked)
        for pattern, odd in self.odd.items():
            if re.fullmatch(pattern, asked.path) and (said := odd(asked)) is not None:
                return said
        return self._usual(asked)

    def _usual(self, asked: Asked) -> Said:
        path, payload = asked.path, asked.payload or {}
        fixed: dict[str, Callable[[], Said]] = {
            "/dir": self._directory,
            "/nonce": lambda: Said(200),
            "/account": lambda: Said(201, {"status": "valid"}, {"Location": f"{self.base}/account/1"}),
            "/account/1": lambda: Said(200, {"status": payload.get("status", "valid")}),
            "/order": lambda: self._new_order(payload),
            "/order/1": lambda: Said(200, self.order),
            "/finalize": lambda: self._finalize(payload),
            "/revoke": lambda: Said(200, b""),
            "/cert": lambda: Said(200, self.chain),
        }
        if path in fixed:
            return fixed[path]()
        if match := re.fullmatch(r"/authz/(\d+)", path):
            return self._authorization(int(match[1]), payload)
        if match := re.fullmatch(r"/chall/(\d+)", path):
            return self._prove(int(match[1]))
        return problem("malformed", 404)

    def _directory(self) -> Said:
        names = {"newNonce": "nonce", "newAccount": "account", "newOrder": "order", "revokeCert": "revoke"}
        table = {key: f"{self.base}/{value}" for key, value in names.items()}
        return Said(200, {**table, "meta": self.meta, **self.more})

    def _authorization(self, number: int, payload: dict[str, Any]) -> Said:
        if payload.get("status") == "deactivated":
            self.authorizations[number]["status"] = "deactivated"
            self.order["status"] = "invalid"
        return Said(200, self.authorizations[number])

    def _new_order(self, payload: dict[str, Any]) -> Said:
        self.authorizations = [
            {
                "identifier": {"type": one["type"], "value": one["value"].removeprefix("*.")},
                "status": "pending",
                "wildcard": one["value"].startswith("*."),
                "challenges": [
                    {
                        "type": kind,
                        "url": f"{self.base}/chall/{number}",
                        "token": "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJPCt92wr" + str(number),
                        "status": "pending",
                    }
                    for kind in ("dns-01", "http-01", "odd-99")
                ],
            }
            for number, one in enumerate(payload["identifiers"])
        ]
        self.order = {
            "status": "pending",
            "identifiers": payload["identifiers"],
            "authorizations": [f"{self.base}/authz/{n}" for n in range(len(self.authorizations))],
            "finalize": f"{self.base}/finalize",
        }
        return Said(201, self.order, {"Location": f"{self.base}/order/1"})

    def _prove(self, number: int) -> Said:
        self.authorizations[number]["status"] = "valid"
        if all(one["status"] == "valid" for one in self.authorizations):
            self.order["status"] = "ready"
        return Said(200, self.authorizations[number]["challenges"][0])

    def _finalize(self, payload: dict[str, Any]) -> Said:
        text = payload["csr"]
        request = x509.load_der_x509_csr(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        leaf = self._issue("", request.public_key(), tuple(names))
        self.chain = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (leaf, self.root))
        self.order |= {"status": "valid", "certificate": f"{self.base}/cert"}
        return Said(200, self.order)

    def _issue(self, name: str, key: Any, names: tuple[x509.GeneralName, ...]) -> x509.Certificate:
        now = self.clock()
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Fake Root")])
        builder = (
            x509.CertificateBuilder()
            .issuer_name(issuer)
            .subject_name(issuer if name else x509.Name([]))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + (timedelta(days=3650) if name else self.life))
            .add_extension(x509.BasicConstraints(ca=bool(name), path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.root_key.public_key()), critical=False
            )
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
        return builder.sign(self.root_key, hashes.SHA256())


def _handler(fake: Fake) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # head and body together, and not after the handshake is acknowledged: no waiting
        disable_nagle_algorithm = True

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(timestamp or int(fake.clock().timestamp()))

        def log_message(self, *_what: Any) -> None:
            pass

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            header, payload = _opened(body)
            asked = Asked(self.command, self.path, header, payload, dict(self.headers.items()))
            said = fake.answer(asked)
            if said.raw is not None:
                with contextlib.suppress(OSError):
                    said.raw(self.connection)
                self.close_connection = True
                return
            data = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
            self.send_response(said.status)
            fake.nonces += 1
            fields = {
                "Replay-Nonce": f"nonce{fake.nonces:011}",
                "Content-Length": str(len(data)),
                **said.headers,
            }
            for name, value in fields.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                with contextlib.suppress(OSError):
                    self.wfile.write(data)

        do_GET = do_POST = do_HEAD = _do  # noqa: N815 - their names

    return Handler


def _opened(body: bytes) -> tuple[dict[str, Any], dict[str, Any] | None]:
    if not body:
        return {}, None
    table = json.loads(body)
    parts = [base64.urlsafe_b64decode(table[name] + "==") for name in ("protected", "payload")]
    return json.loads(parts[0]), json.loads(parts[1]) if parts[1] else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


@contextlib.contextmanager
def fake_authority(folder: Path) -> Iterator[Fake]:
    """It runs."""
    host = loopback()
    fake = Fake(host, free_port(host), own_https(folder, host))
    server = _Server((host, fake.port), _handler(fake))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "own.pem", folder / "own.key")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join(20)
