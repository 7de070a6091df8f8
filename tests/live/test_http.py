"""Host, ports, redirects, HSTS, and what the engine answers itself."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from sealgate.policy.problems import PROBLEMS
from tests.live.served import Served, free_port, loopback, serve
from tests.live.wire import (
    Answer,
    Witness,
    get,
    h2_connection,
    read_until_closed,
    tell,
    tell_plain,
    witnessed,
)

Site = tuple[Served, Witness]

NAMES = ["localhost", "api.internal", "*.wild.internal", "::1", "127.0.0.1"]
PUBLIC = "max-age=63072000"
LOCAL = "max-age=300"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Names of all kinds; limits small enough to reach; IPv6 beside IPv4."""
    port = free_port("127.0.0.1")
    host = loopback()
    https, http = free_port(host), free_port(host)
    with witnessed(
        tmp_path_factory.mktemp("site"),
        site={"names": [*NAMES, host]},
        listen={"https": [f"{host}:{https}", f"[::1]:{port}"], "http": [f"{host}:{http}"]},
        limits={"body": "1KiB", "headers": "4KiB"},
        timeouts={"headers": "1s", "request": "1s", "idle": "3s"},
    ) as (served, witness):
        served.host, served.https, served.http = host, https, http
        yield served, witness


def over_tls(served: Served, host: str, *more: str, path: str = "/x", method: str = "GET") -> Answer:
    (answer,) = tell(served, get(host, path, *more, method=method))
    return answer


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "api.internal.evil.example",
        "xapi.internal",
        "a.b.wild.internal",
        "wild.internal",
        ".wild.internal",
        "*.wild.internal",
        "localhost.",
        "localhost:1",
        "localhost:0",
        "localhost:65536",
        "localhost:",
        "[::1",
        "::1",
        "[::2]",
        "127.0.0.2",
        "127.1",
        "0x7f.1",
    ],
)
def test_an_unknown_host_is_421(site: Site, host: str) -> None:
    served, witness = site
    mark = witness.mark
    answer = over_tls(served, host)
    assert (answer.status, answer.slug) == (421, "unknown-host")
    connection = h2_connection(served)
    with connection.sock:
        second = connection.ask("/x", host)
        assert second is None or second.slug == "unknown-host"
    (plain,) = tell_plain(served, get(host, "/x"))
    assert (plain.status, plain.slug) == (421, "unknown-host")
    assert "location" not in dict(plain.fields)
    assert witness.since(mark) == []


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "api.internal", "a.wild.internal", "A.Wild.Internal", "[::1]", "127.0.0.1"],
)
def test_a_name_counts_with_its_port_and_without(site: Site, host: str) -> None:
    served, _ = site
    assert over_tls(served, host).status == 200
    assert over_tls(served, f"{host}:{served.https}").status == 200
    assert over_tls(served, f"{host}:{served.http}").status == 421
    for plain in (host, f"{host}:{served.http}", f"{host}:80"):
        (answer,) = tell_plain(served, get(plain, "/a/b?c=d&e=%2F"))
        assert answer.status == 308
        assert (
            answer.one("location").lower()
            == f"https://{host}:{served.https}".lower() + "/a/b?c=d&e=%2F".lower()
        )
    (answer,) = tell_plain(served, get(f"{host}:{served.https}", "/"))
    assert answer.status == 421


def test_ipv6_is_served(site: Site) -> None:
    served, witness = site
    mark = witness.mark
    port = int(str(served.tables["listen"]["https"][1]).rpartition(":")[2])
    answer = httpx.get(f"https://[::1]:{port}/six", verify=served.context())
    assert answer.status_code == 200
    (line,) = witness.since(mark)
    assert (line["address"], line["client"]) == ("::1", "::1")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_redirects_keep_method_path_and_query(site: Site, method: str) -> None:
    served, witness = site
    mark = witness.mark
    with socket.create_connection((served.host, served.http), timeout=20) as sock:
        sock.sendall(get("localhost", "/a%20b/..;/c?d=/../e&f=%00", method=method))
        head = read_until_closed(sock).split(b"\r\n\r\n")[0].decode().lower()
    assert head.startswith("http/1.1 308 ")
    assert f"location: https://localhost:{served.https}/a%20b/..;/c?d=/../e&f=%00" in head.split("\r\n")
    assert "strict-transport-security" not in head
    assert witness.since(mark) == []


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example/x",
        "/\\evil.example",
        "/@evil.example",
        "http://evil.example/x",
        "https://evil.example/",
    ],
)
def test_redirects_lead_nowhere_else(site: Site, target: str) -> None:
    served, _ = site
    (answer,) = tell_plain(served, get("localhost", target))
    for location in answer.all("location"):
        assert urlsplit(location).netloc == f"localhost:{served.https}"
    assert answer.status in {308, 400, 403, 421}


def test_spoofed_fields_turn_no_redirect(site: Site) -> None:
    served, _ = site
    lies = [
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Proto: https",
        "Forwarded: host=evil.example;proto=https",
    ]
    (answer,) = tell_plain(served, get("localhost", "/x", *lies, "x-envoy-original-path: /evil"))
    assert answer.one("location") == f"https://localhost:{served.https}/x"


# Status -> the bytes that bring it about.
BODY = b"x" * 2000
OWN_ANSWERS = {
    "bad-request": b"GET /x HTTP/1.1\r\nHost: localhost\r\nA : b\r\n\r\n",
    "path-not-canonical": get("localhost", "/a/../b"),
    "request-timeout": b"GET /x HTTP/1.1\r\nHost: local",
    "body-too-large": b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\n\r\n" + BODY,
    "unknown-host": get("evil.example", "/x"),
    "http-version-unsupported": b"GET /x HTTP/1.0\r\nHost: localhost\r\n\r\n",
    "headers-too-large": get("localhost", "/x", "X-A: " + "a" * 5000),
    "upgrade-refused": get("localhost", "/x", "Upgrade: websocket", "Connection: upgrade"),
}


@pytest.mark.parametrize("slug", OWN_ANSWERS)
def test_every_refusal_is_a_problem_with_hsts_and_says_nothing_of_us(site: Site, slug: str) -> None:
    served, _ = site
    (answer,) = tell(served, OWN_ANSWERS[slug])
    problem = PROBLEMS[slug]
    shown = {key: value for key, value in answer.problem.items() if key != "instance"}
    assert shown == problem.as_dict()
    assert answer.status == problem.status
    assert answer.one("strict-transport-security") in {PUBLIC, LOCAL}
    assert answer.one("cache-control") == "no-store"
    assert_quiet(answer)


def assert_quiet(answer: Answer) -> None:
    names = {name for name, _ in answer.fields}
    assert not {"server", "x-powered-by", "via"} & names
    assert not [name for name in names if name.startswith("x-envoy")]
    assert len(answer.all("date")) == 1
    assert b"envoy" not in answer.body.lower()


@pytest.mark.parametrize("status", [200, 204, 301, 304, 400, 401, 404, 405, 418, 500, 503])
def test_hsts_is_on_whatever_the_app_answers_once(site: Site, status: int) -> None:
    served, _ = site
    answer = over_tls(served, "localhost", path=f"/status?{status}")
    assert answer.status == status
    assert answer.one("strict-transport-security") == LOCAL
    assert_quiet(answer)


@pytest.mark.parametrize(
    ("host", "value"),
    [
        ("api.internal", PUBLIC),
        ("API.internal", PUBLIC),
        ("x.wild.internal", PUBLIC),
        ("localhost", LOCAL),
        ("127.0.0.1", LOCAL),
        ("[::1]", LOCAL),
    ],
)
@pytest.mark.parametrize("path", ["/leak", "/a/../b"])
def test_hsts_is_short_on_loopback_names_only(site: Site, host: str, value: str, path: str) -> None:
    served, _ = site
    for name in (host, f"{host}:{served.https}"):
        answer = over_tls(served, name, path=path)
        assert answer.one("strict-transport-security") == value
        assert_quiet(answer)


def test_plain_answers_have_no_hsts(site: Site) -> None:
    served, _ = site
    for data in (
        get("localhost", "/"),
        get("evil.example", "/"),
        b"GET / HTTP/1.0\r\n\r\n",
        b"nonsense\r\n\r\n",
    ):
        (answer,) = tell_plain(served, data)
        assert answer.all("strict-transport-security") == []
        assert_quiet(answer)


def test_tls_on_the_plain_port_is_no_handshake(site: Site) -> None:
    served, _ = site
    with socket.create_connection((served.host, served.http), timeout=20) as sock:
        sock.sendall(b"\x16\x03\x01\x00\x05hello\r\n\r\n")
        assert b"400" in read_until_closed(sock)[:20]


def test_plain_http_on_the_tls_port_gets_nothing(site: Site) -> None:
    served, witness = site
    mark = witness.mark
    with socket.create_connection((served.host, served.https), timeout=20) as sock:
        sock.sendall(get("localhost", "/x"))
        assert b"200" not in read_until_closed(sock)
    assert witness.since(mark) == []


def test_refusing_plain_http(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("refuse")
    hsts = {"max_age": 31536000, "include_subdomains": True, "preload": True}
    with witnessed(folder, http={"mode": "refuse", "hsts": hsts}, site={"names": ["api.internal"]}) as (
        served,
        _,
    ):
        (answer,) = tell_plain(served, get("api.internal", "/x"))
        assert (answer.status, answer.slug) == (403, "plain-http-refused")
        (other,) = tell_plain(served, get("evil.example", "/x"))
        assert other.status == 421
        context = served.context()
        context.check_hostname = False
        with served.connect(context) as tls:
            tls.sendall(get("api.internal", "/x"))
            head = read_until_closed(tls).split(b"\r\n\r\n")[0].decode().lower()
        expected = "strict-transport-security: max-age=31536000; includesubdomains; preload"
        assert [line for line in head.split("\r\n") if line.startswith("strict")] == [expected]


def test_no_plain_port_at_all(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serve(
        tmp_path_factory.mktemp("closed"),
        app="witness:app",
        env={"WITNESS": "/dev/null"},
        listen={"http": []},
    ) as s:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((s.host, s.http), timeout=5)
        assert s.client().get("/x").status_code == 200


def test_redirects_lead_to_the_public_url(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where ports are mapped, clients type another one than is listened on."""
    site = {"names": ["localhost", "api.internal"], "url": "https://api.internal"}
    with witnessed(tmp_path_factory.mktemp("mapped"), site=site) as (served, _):
        (answer,) = tell_plain(served, get("localhost", "/x?y"))
        assert answer.one("location") == "https://localhost/x?y"
        for port in (80, served.http):
            (answer,) = tell_plain(served, get(f"api.internal:{port}", "/x?y"))
            assert answer.one("location") == "https://api.internal:443/x?y"
