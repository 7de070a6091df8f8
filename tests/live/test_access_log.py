"""One JSON object a line, whatever a client sends; and no secrets in it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.live.served import Served
from tests.live.wire import get, h2_connection, tell, witnessed

FORGED = b'"}\\u000a{"status":200,"forged":true}'
HOSTILE = (
    b'quotes " and \\ backslashes \\" \\\\',
    b"escapes \\n \\u0000 \\u001b[31m %0a %0d",
    b"bytes \xff\xfe\xc0\x80\xed\xa0\x80",
    b"utf-8 \xc3\xa9 \xe2\x80\xa8 \xf0\x9f\x92\xa9",
    b"tab \t inside",
    b"%START_TIME% %REQ(COOKIE)% {{7*7}} ${jndi:ldap://x}",
    b"<script>alert(1)</script>",
    FORGED,
    b"a" * 10_000,
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with witnessed(tmp_path_factory.mktemp("site")) as (served, _):
        yield served


def lines(served: Served, count: int, mark: str) -> list[dict[str, object]]:
    """The access log's lines with this mark, once there are so many; every line of it must be JSON."""

    def found() -> list[dict[str, object]]:
        whole = served.out[: served.out.rfind("\n") + 1]
        parsed = [json.loads(line) for line in whole.split("\n")[:-1] if not line.startswith("sealgate: ")]
        assert all(isinstance(line, dict) and "status" in line for line in parsed)
        assert not any("forged" in line for line in parsed)
        return [line for line in parsed if mark in json.dumps(line)]

    served.wait_for(lambda: len(found()) >= count)
    return found()


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_text_stays_inside_its_value(site: Served, number: int) -> None:
    text = HOSTILE[number]
    mark = f"mark{number}x"
    head = f"GET /{mark} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nUser-Agent: {mark} ".encode()
    tell(site, head + text + b"\r\n\r\n")
    (line,) = lines(site, 1, mark)
    assert line["path"] == f"/{mark}"
    agent = str(line["user_agent"])
    assert agent.startswith(mark)
    assert len(agent) <= 256
    assert len(json.dumps(line)) < 4000


def test_hostile_paths_hosts_and_methods(site: Served) -> None:
    for text in ('/markp"}{"', "/markp\\", "/markp%0a%0d", "/markp<>", "/markp" + "a" * 9000):
        tell(site, get("localhost", text))
    for host in ('markp"', "markp\\x", "markp%0a", "markp,x", "markp" + "a" * 5000):
        tell(site, get(host, "/x"))
    for method in ("MARKP", "MARKP!#$&'*+.^`|~", "MARKP" + "A" * 3000):
        tell(site, get("localhost", "/markp", method=method))
    connection = h2_connection(site)
    with connection.sock:
        connection.ask('/markp2"\\', "localhost")
    for line in lines(site, 4, "markp"):
        assert len(json.dumps(line)) < 16_000


def test_no_secrets(site: Served) -> None:
    secret = "s3cr3t-s3cr3t"
    fields = [f"Authorization: Bearer {secret}", f"Cookie: a={secret}", f"X-Api-Key: {secret}"]
    tell(site, get("localhost", f"/marks?token={secret}", *fields, f"Referer: https://localhost/?t={secret}"))
    tell(site, get("localhost", f"/marks/../x?token={secret}", *fields))
    tell(site, get("evil.example", f"/marks?token={secret}", *fields))
    assert len(lines(site, 3, "/marks")) == 3
    assert secret not in site.out
    assert secret not in site.err


def test_a_line_says_what_happened(site: Served) -> None:
    tell(site, get("localhost", "/markw?x=y"))
    (line,) = lines(site, 1, "/markw")
    assert line["status"] == 200
    assert line["method"] == "GET"
    assert line["host"] == "localhost"
    assert line["address"] == "127.0.0.1"
    assert line["tls"] == "TLSv1.3"
    assert line["protocol"] == "HTTP/1.1"
    assert {"time", "milliseconds", "received", "sent", "request_id"} <= line.keys()
