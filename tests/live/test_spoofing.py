"""Nothing from outside speaks for a proxy, a certificate or another path, in any spelling."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from sealgate._system.sockets import connect_unix
from tests.live.backend import Backend, backend
from tests.live.served import Served, serve
from tests.live.wire import H2, Answer, Witness, get, h2_connection, tell, witnessed

Site = tuple[Served, Witness]

LIE = "192.0.2.66"
FIELDS = (
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Scheme",
    "X-Forwarded-Ssl",
    "X-Forwarded-Client-Cert",
    "X-Forwarded-User",
    "Forwarded",
    "X-Real-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "Fastly-Client-IP",
    "Client-Cert",
    "Client-Cert-Chain",
    "ssl-client-verify",
    "ssl-client-subject-dn",
    "SSL-Client-Cert",
    "X-SSL-Client-CN",
    "X-SSL-Client-Verify",
    "X-Original-URL",
    "X-Original-Host",
    "X-Rewrite-URL",
    "X-Host",
    "X-Scheme",
    "X-Remote-User",
    "Remote-User",
    "Proxy",
    "sealgate-address",
    "sealgate-path",
    "sealgate-proof",
    "Sealgate-Client",
    "x-envoy-original-path",
    "x-envoy-external-address",
    "x-envoy-internal",
    "x-envoy-peer-metadata",
)


@pytest.fixture(scope="module", params=["witness:app", pytest.param("witness:asgi", marks=pytest.mark.long)])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with witnessed(tmp_path_factory.mktemp("site"), app=request.param) as pair:
        yield pair


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Backend]]:
    """Another backend, without a guard: the engine alone."""
    folder = tmp_path_factory.mktemp("behind")
    with backend() as other, serve(folder, site={"upstream": other.url}) as served:
        yield served, other


def facts(line: dict[str, Any]) -> tuple[str, str, str, str]:
    return line["address"], line["client"], line["scheme"], line["path"]


def spellings(name: str) -> tuple[str, ...]:
    return name, name.lower(), name.upper(), name.title()


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_in_any_case_and_twice_reaches_no_app(site: Site, name: str) -> None:
    served, witness = site
    mark = witness.mark
    lies = [f"{spelling}: {LIE}" for spelling in spellings(name)]
    assert [answer.status for answer in tell(served, get("localhost", "/x", *lies))] == [200]
    (line,) = witness.since(mark)
    assert LIE not in json.dumps(line)
    assert facts(line) == ("127.0.0.1", "127.0.0.1", "https", "/x")


def test_the_same_over_http2(site: Site) -> None:
    served, witness = site
    mark = witness.mark
    connection = h2_connection(served)
    with connection.sock:
        for name in FIELDS:
            answer = connection.ask("/x", "localhost", (name.lower(), LIE), (name.lower(), LIE))
            assert answer is not None
            assert answer.status == 200
    lines = witness.since(mark)
    assert len(lines) == len(FIELDS)
    assert LIE not in json.dumps(lines)
    assert {facts(line) for line in lines} == {("127.0.0.1", "127.0.0.1", "https", "/x")}


def _asked_at(socket_path: Path, *fields: tuple[str, str]) -> Answer | None:
    """A worker's own socket, by another process of the same user."""
    connection = H2(connect_unix(socket_path, timeout=20))
    told = (("sealgate-address", f"{LIE}:4444"), ("sealgate-path", "/x"), *fields)
    with connection.sock:
        return connection.ask("/x", "localhost", *told)


def test_who_reaches_a_worker_s_socket_is_not_the_engine(site: Site) -> None:
    served, witness = site
    mark = witness.mark
    paths = list((served.state / "run").glob("app-*.sock"))
    assert paths
    assert all(len(path.name) == len("app-.sock") + 32 for path in paths), "128 bits"
    for path in paths:
        for shown in ((), (("sealgate-proof", ""),), (("sealgate-proof", "x" * 43),)):
            answer = _asked_at(path, *shown)
            assert answer is not None
            assert (answer.status, answer.slug) == (500, "internal-error")
    assert witness.since(mark) == []
    rendered = served.state / "engines/envoy/lds.json"
    assert rendered.stat().st_mode & 0o077 == 0
    assert '"sealgate-proof"' in rendered.read_text()


UNDERSCORED = [name.replace("-", "_") for name in FIELDS if "-" in name]
UNDERSCORED += [name.replace("-", "_", 1).upper() for name in FIELDS if name.count("-") > 1]


def test_underscores_are_refused(site: Site) -> None:
    served, witness = site
    mark = witness.mark
    for name in UNDERSCORED[::5]:
        (answer,) = tell(served, get("localhost", "/x", f"{name}: {LIE}"))
        assert answer.slug == "bad-request", name
    assert witness.since(mark) == []


def test_what_is_no_proxys_word_stays(site: Site) -> None:
    served, witness = site
    mark = witness.mark
    kept = ["X-HTTP-Method-Override: PATCH", "Authorization: Bearer abc", "Cookie: a=b", "X-Api-Key: k"]
    (answer,) = tell(served, get("localhost", "/x", *kept))
    assert answer.status == 200
    text = json.dumps(witness.since(mark)[0])
    assert all(line.partition(": ")[2] in text for line in kept)


def test_the_callers_request_id_is_replaced(site: Site) -> None:
    served, witness = site
    mark = witness.mark
    mine = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
    tell(served, get("localhost", "/x", f"X-Request-Id: {mine}"))
    line = json.dumps(witness.since(mark)[0])
    assert "request" in line.lower()
    assert mine not in line


@pytest.fixture(scope="module")
def asgi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with witnessed(tmp_path_factory.mktemp("asgi"), app="witness:asgi") as pair:
        yield pair


def test_a_websocket_carries_no_lies(asgi: Site) -> None:
    served, _ = asgi
    lies = [(spelling, LIE) for name in FIELDS for spelling in (name, name.lower())]
    url = f"wss://{served.host}:{served.https}/x"
    with connect(url, ssl=served.context(), additional_headers=lies, proxy=None) as socket:
        seen = json.loads(socket.recv(timeout=10))
    assert LIE not in json.dumps(seen)
    assert facts(seen) == ("127.0.0.1", "127.0.0.1", "wss", "/x")


EFFECTS = (
    "x-envoy-upstream-rq-timeout-ms: 1",
    "x-envoy-expected-rq-timeout-ms: 1",
    "x-envoy-upstream-rq-per-try-timeout-ms: 1",
    "x-envoy-upstream-alt-stat-name: x",
    "x-envoy-upstream-stream-duration-ms: 1",
    "x-envoy-retry-on: 5xx,gateway-error,retriable-4xx",
    "x-envoy-max-retries: 5",
    "x-envoy-retriable-status-codes: 500,200,418",
    "x-envoy-hedge-on-per-try-timeout: true",
    "x-envoy-decorator-operation: x",
    "x-envoy-force-trace: x",
    "x-envoy-ip-tags: x",
    "grpc-timeout: 1m",
)


def test_no_field_steers_the_engine(site: Site) -> None:
    served, witness = site
    mark, began = witness.mark, time.monotonic()
    (answer,) = tell(served, get("localhost", "/sleep?0.3", *EFFECTS))
    assert answer.status == 200
    assert time.monotonic() - began >= 0.3
    assert len(witness.since(mark)) == 1, "not tried again"


@pytest.mark.long
def test_no_field_makes_a_failed_request_be_repeated(tmp_path_factory: pytest.TempPathFactory) -> None:
    with witnessed(tmp_path_factory.mktemp("status")) as (served, witness):
        (answer,) = tell(served, get("localhost", "/status?503", *EFFECTS))
        assert answer.status == 503
        assert answer.body == b"as asked"
        assert len(witness.lines()) == 1


# What the engine itself must say to a backend that no guard stands before.
TOLD = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"}


@pytest.mark.parametrize("name", FIELDS)
def test_a_backend_hears_only_the_engine(behind: tuple[Served, Backend], name: str) -> None:
    served, other = behind
    before = len(other.seen)
    lies = [f"{spelling}: {LIE}" for spelling in spellings(name)]
    assert [answer.status for answer in tell(served, get("localhost", "/x", *lies))] == [200]
    (seen,) = other.seen[before:]
    assert LIE not in json.dumps(seen)
    if name.lower() not in TOLD:
        assert name.lower() not in dict(seen["fields"])


def test_a_backend_is_told_who_calls(behind: tuple[Served, Backend]) -> None:
    served, other = behind
    tell(served, get(f"localhost:{served.https}", "/x?y=z"))
    seen = other.seen[-1]
    assert [pair for pair in sorted(seen["fields"]) if pair[0].startswith("x-forwarded")] == [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", f"localhost:{served.https}"),
        ("x-forwarded-port", str(served.https)),
        ("x-forwarded-proto", "https"),
    ]
    assert dict(seen["fields"])["host"] == f"localhost:{served.https}"
    assert seen["path"] == "/x?y=z"


@pytest.mark.parametrize(
    "path",
    [
        "/a/../b",
        "/a//b",
        "/a/./b",
        "/a%2fb",
        "/a%2e%2e/b",
        "/a\\b",
        "/a%5cb",
        "/a%00b",
        "/%ff",
        "/..;x/b",
        "/%zz",
    ],
)
def test_a_backend_gets_canonical_paths_only(behind: tuple[Served, Backend], path: str) -> None:
    served, other = behind
    before = len(other.seen)
    (answer,) = tell(served, get("localhost", path))
    assert answer.slug == "path-not-canonical"
    assert other.seen[before:] == []


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost:1", "127.0.0.1", "localhost.evil.example", "xlocalhost"]
)
def test_a_backend_gets_known_hosts_only(behind: tuple[Served, Backend], host: str) -> None:
    served, other = behind
    before = len(other.seen)
    (answer,) = tell(served, get(host, "/x"))
    assert answer.slug == "unknown-host"
    assert other.seen[before:] == []


def test_a_backend_gets_no_underscores(behind: tuple[Served, Backend]) -> None:
    served, other = behind
    before = len(other.seen)
    for name in UNDERSCORED[::5]:
        (answer,) = tell(served, get("localhost", "/x", f"{name}: {LIE}"))
        assert answer.slug == "bad-request", name
    assert other.seen[before:] == []
