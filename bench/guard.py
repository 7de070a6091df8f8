"""What the guard costs in one process, in calls of the app behind it: ``python -m bench.guard``.

The guard is a worker's: the WSGI adapter, facts as Envoy sends them, the shared tables of budgets, keys and
the revoked. What it remembers is remembered (a token that was verified, a certificate that was read), as from
a client's second request on. Each request is made of new texts, as a server makes it: one that was used
before has its hash in it. What making them costs is measured as well, and taken off.

All take turns, so that a slow moment hits all; ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import base64
import gc
import io
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import quote

import falcon
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from rich.console import Console

from bench.apps import Hello, hello_wsgi
from bench.issuer import AUDIENCE, ISSUER, SCOPE, Issuing
from bench.machine import BenchError
from bench.pki import make_credentials
from bench.report import show_guard, show_targets, show_today
from bench.summary import Target, spread
from bench.validate import Validated, measure_validation
from sealgate._system.board import Board
from sealgate._system.rate_table import RateTable
from sealgate.engines.counts import Row, shared
from sealgate.guard.compiled import Authority, compile_policy
from sealgate.guard.sources import EnvoySource
from sealgate.guard.wsgi import Guard
from sealgate.pki.revocations import Revocations, Revoked
from sealgate.policy.model import Policy
from sealgate.runtime.means import means_of

__all__ = [
    "DENIED",
    "FRESH",
    "LISTED",
    "WHOLE",
    "InProcess",
    "denied",
    "guard_targets",
    "main",
    "measure_guard",
]

DENIED = 100_000
"""Networks of the long list."""
WHOLE, LISTED = "the whole guard", "and 100,000 networks denied"
STRANGE, STRANGE_LISTED = "the whole, from addresses never seen", "and 100,000 networks denied, never seen"
FRESH = "the whole, for paths never seen"

_GUARD_AT_MOST = 3.0
_LIST_AT_MOST = 1.1
_VALIDATION_AT_MOST = 2.0
_ROUNDS = 31
_SERVED_ROUNDS = 5
_CALLS = 300
_STRANGERS = 20_000  # more than any memory of the guard holds
_RULES = 100
_PROOF = "of-the-bench-and-of-nobody-else-0"

Environ = dict[str, Any]
Requests = Callable[[], Environ]


@dataclass(frozen=True, slots=True)
class InProcess:
    """CPU seconds of one call, by round, without what making the request takes.

    Attributes:
        app: Falcon's own call of the responder.
        guard: what a guard adds to it, by what its policy asks for.
    """

    app: tuple[float, ...]
    guard: Mapping[str, tuple[float, ...]]

    def in_calls(self, name: str) -> tuple[float, ...]:
        """What this guard adds, in calls of the app."""
        return tuple(one / app for one, app in zip(self.guard[name], self.app, strict=True))

    def to(self, name: str, other: str) -> tuple[float, ...]:
        """What one adds, to what the other does."""
        pairs = zip(self.guard[name], self.guard[other], strict=True)
        return tuple(one / two for one, two in pairs)


def guard_targets(found: InProcess | None, validated: Validated | None) -> tuple[Target, ...]:
    """What was promised of the guard in one process; None: not run."""
    promises = (
        ("in process, the whole guard / Falcon's own call", _GUARD_AT_MOST, found and found.in_calls(WHOLE)),
        (
            "in process, validating 1 KiB of JSON / json.loads",
            _VALIDATION_AT_MOST,
            validated and validated.ratios,
        ),
        ("in process, 100,000 networks denied / none", _LIST_AT_MOST, found and found.to(LISTED, WHOLE)),
        (
            "in process, 100,000 networks denied / none, from addresses never seen",
            _LIST_AT_MOST,
            found and found.to(STRANGE_LISTED, STRANGE),
        ),
    )
    return tuple(Target(what, limit, spread(values) if values else None) for what, limit, values in promises)


def denied(number: int = DENIED) -> list[str]:
    """So many networks somewhere in IPv4, but where requests of the bench come from; always the same ones."""
    draw, found = random.Random(1), dict[str, None]()
    while len(found) < number:
        first, second, third = draw.randrange(1, 224), draw.randrange(256), draw.randrange(256)
        if first not in (127, 192, 198):
            found[f"{first}.{second}.{third}.0/24"] = None
    return list(found)


def measure_guard(rounds: int = _ROUNDS) -> InProcess:
    """Every policy in every round.

    Raises:
        BenchError: one of the guards does not let the request in.
    """
    with tempfile.TemporaryDirectory(prefix="bench-guard-") as folder:
        made = make_credentials(Path(folder), "127.0.0.1")
        leaf, authority = x509.load_pem_x509_certificates(made.chain.read_bytes())
    issuing = Issuing()
    fields = _fields(leaf, issuing.token())
    usual = _requests(fields, ["/"], ["192.0.2.7:50007"])
    strange = _requests(fields, ["/"], _addresses())
    fresh = _requests(fields, [f"/{number}" for number in range(_STRANGERS)], ["192.0.2.7:50007"])
    named = falcon.App()
    named.add_route("/{name}", _Named())
    guarding = _Guarding(authority, issuing)
    parts = {name: guarding(policy) for name, policy in _policies().items()}
    listed = guarding(_policies()[WHOLE] | {"network": {"deny": denied()}})
    calls: dict[str, tuple[Any, Any, Requests]] = {
        **{name: (guard, hello_wsgi, usual) for name, guard in parts.items()},
        LISTED: (listed, hello_wsgi, usual),
        STRANGE: (parts[WHOLE], hello_wsgi, strange),
        STRANGE_LISTED: (listed, hello_wsgi, strange),
        FRESH: (guarding(_policies()[WHOLE], named), named, fresh),
    }
    return _taken_turns(calls, rounds)


def _taken_turns(calls: Mapping[str, tuple[Any, Any, Requests]], rounds: int) -> InProcess:
    """Each guard, and the app alone with the same requests, right after one another."""
    own: list[float] = []
    added: dict[str, list[float]] = {name: [] for name in calls}
    for guard, app, requests in calls.values():
        _cost(guard, requests)
        _cost(app, requests)
    gc.collect()
    gc.freeze()  # a worker has no lists of the bench's to look through
    for _ in range(rounds):
        for name, (guard, app, requests) in calls.items():
            alone, made, whole = _cost(app, requests), _cost(_nothing, requests), _cost(guard, requests)
            added[name].append(whole - alone)
            if name == WHOLE:
                own.append(alone - made)
    gc.unfreeze()
    return InProcess(tuple(own), {name: tuple(values) for name, values in added.items()})


def _cost(app: Any, requests: Requests) -> float:  # noqa: ANN401 - WSGI
    """CPU seconds of one call.

    Raises:
        BenchError: the last one was not let in.
    """
    said: list[str] = []

    def start(status: str, headers: object, exc_info: object = None) -> None:
        del headers, exc_info
        said[:] = [status]

    begun = time.process_time()
    for _ in range(_CALLS):
        for _ in app(requests(), start):
            pass
    spent = time.process_time() - begun
    if said and not said[0].startswith("200"):
        raise BenchError(f"the guard did not let in whom it should: {said[0]}")
    return spent / _CALLS


def _nothing(environ: Environ, start: object) -> Sequence[bytes]:
    del environ, start
    return ()


class _Named(Hello):
    """The same responder under a name."""

    def on_get(self, request: falcon.Request, response: falcon.Response, name: str = "") -> None:
        del name
        super().on_get(request, response)


def _policies() -> dict[str, dict[str, Any]]:
    """What a policy asks for, more and more of it; the last is all."""
    rules = [{"path": f"/place-{number}/**", "require": "authenticated"} for number in range(1, _RULES)]
    needs = {"group": ["ops"], "authority": ["private"], "scope": [SCOPE]}
    site = {"site": {"names": ["localhost"]}}
    clients = {
        "mode": "required",
        "groups": {"ops": [{"authority": "private", "cn": "localhost"}]},
    }
    issuer = {"issuer": ISSUER, "jwks_file": "jwks.json", "audience": [AUDIENCE]}
    rates = [{"by": by, "rate": "1000000/s", "burst": 1_000_000} for by in ("address", "client")]
    certified = site | {"clients": clients, "access": {"default": "none"}}
    tokens = certified | {"tokens": {"issuers": [issuer]}}
    access = {"default": "deny", "rules": [*rules, {"path": "/**", "require": needs}]}
    return {
        "Host, path, address": site,
        "and client certificate": certified,
        "and token": tokens,
        "and 100 access rules": tokens | {"access": access},
        WHOLE: tokens | {"access": access, "limits": {"rates": rates}},
    }


class _Guarding:
    """Guards as workers make them."""

    def __init__(self, authority: x509.Certificate, issuing: Issuing) -> None:
        issuer = base64.b64encode(authority.public_bytes(Encoding.DER)).decode()
        self._authority = Authority("private", (issuer,), own=True, listed=False)
        self._board, self._rates, self._revocations = Board("keys"), RateTable(), Revocations()
        self._board.write(json.dumps({"issuers": {ISSUER: [issuing.jwk]}, "api_keys": []}).encode())

    def __call__(self, policy: Mapping[str, Any], app: Any = hello_wsgi) -> Guard:  # noqa: ANN401 - WSGI
        """A guard of this policy; the list of networks is judged here, as inside of Gunicorn."""
        read = Policy.model_validate(policy)
        clients = read.clients.mode != "off"
        authorities = (self._authority,) if clients else ()
        compiled = compile_policy(read, 1, guards={"network.allow"}, authorities=authorities)
        counts, revoked = Row(shared()), Revoked(self._revocations.fd)
        source = EnvoySource(_PROOF, clients=clients, given=revoked)
        source.use(compiled)
        means = means_of(self._board.fd, self._rates.fd, counts)
        return Guard(app, compiled, source, revoked=revoked, means=means, told=counts)


def _fields(leaf: x509.Certificate, token: str) -> dict[str, str]:
    """What a worker is told of a request, all but whence and for what."""
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "REMOTE_ADDR": "",
        "SERVER_NAME": "worker.sock",
        "SERVER_PORT": "0",
        "SERVER_PROTOCOL": "HTTP/2",
        "SERVER_SOFTWARE": "Granian",
        "HTTP_HOST": "localhost:8443",
        "HTTP_ACCEPT": "*/*",
        "HTTP_USER_AGENT": "bench/1",
        "HTTP_AUTHORIZATION": f"Bearer {token}",
        "HTTP_X_REQUEST_ID": "0d9a1c2e-0000-4000-8000-00000000c0de",
        "HTTP_X_FORWARDED_PROTO": "https",
        "wsgi.url_scheme": "http",
        "HTTP_SEALGATE_PROOF": _PROOF,
        "HTTP_SEALGATE_CERTIFICATE": quote(leaf.public_bytes(Encoding.PEM).decode(), safe=""),
    }


def _addresses() -> list[str]:
    """Connections of so many addresses (RFC 2544's own)."""
    return [f"198.18.{number >> 8}.{number & 255}:50007" for number in range(_STRANGERS)]


def _requests(fields: Mapping[str, str], paths: Sequence[str], addresses: Sequence[str]) -> Requests:
    """Environs, one after the other, each of texts that nobody has seen."""
    given = [(name.encode(), value.encode()) for name, value in fields.items()]
    path, address = cycle([one.encode() for one in paths]), cycle([one.encode() for one in addresses])
    objects = {"wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr, "wsgi.version": (1, 0)}
    flags = {"wsgi.input_terminated": True, "wsgi.multithread": True, "wsgi.multiprocess": True}

    def made() -> Environ:
        target = next(path)
        environ: Environ = {name.decode(): value.decode() for name, value in given}
        environ["PATH_INFO"] = target.decode()
        environ["HTTP_SEALGATE_PATH"] = target.decode()
        environ["HTTP_SEALGATE_ADDRESS"] = next(address).decode()
        environ.update(objects)
        environ.update(flags)
        return environ

    return made


def main(argv: list[str] | None = None) -> int:
    """Measure, print; exit status 1 where a target is missed, 3 where something failed on the way."""
    from bench.today import measure_today, today_targets

    parser = argparse.ArgumentParser(prog="bench.guard", description="What the guard costs.")
    parser.add_argument("--rounds", type=int, default=_SERVED_ROUNDS, help="of servers under load")
    parser.add_argument("--in-process", action="store_true", help="no servers")
    parser.add_argument("--json", type=Path, help="write everything there too")
    call = parser.parse_args(argv)
    try:
        found, validated = measure_guard(), measure_validation()
        served = None if call.in_process else measure_today(call.rounds, lambda _text: None)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 3
    results = (*guard_targets(found, validated), *today_targets(served))
    console = Console() if sys.stdout.isatty() else Console(width=160)
    show_guard(console, found.app, found.guard)
    if served is not None:
        show_today(console, served)
    show_targets(console, results)
    if call.json:
        everything: dict[str, object] = {"guard": asdict(found), "validation": asdict(validated)}
        everything["today"] = asdict(served) if served else None
        call.json.write_text(json.dumps(everything, indent=1) + "\n")
    return 1 if any(target.met is False for target in results) else 0


if __name__ == "__main__":
    sys.exit(main())
