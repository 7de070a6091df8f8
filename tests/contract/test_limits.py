"""Sizes: exactly to the limit, and not beyond."""

from __future__ import annotations

import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from sealgate.engines.contract import enforced
from sealgate.engines.promises import EARLY, UNANSWERED
from sealgate.engines.registry import engine
from sealgate.policy.load import loads
from tests.contract.sites import POLICIES, Site, on
from tests.live.wire import Answer, get, h2_connection, tell

BODY, HEADERS = 64 * 1024, 8 * 1024
WINDOWS = 512 * 1024  # more than any engine takes in before somebody reads
assert POLICIES["tight"]["limits"] == POLICIES["asgi"]["limits"] == {"body": "64KiB", "headers": "8KiB"}


def sent(site: Site, how: str, body: bytes) -> Answer:
    """The answer to a POST of this body: with its length or in chunks; over HTTP/2 with or without one."""
    if how.startswith("h2"):
        fields = [("content-length", str(len(body)))] if how == "h2 length" else []
        connection = h2_connection(site.served)
        with connection.sock:
            found = connection.ask("/up", "localhost", *fields, method="POST", body=body)
        assert found is not None
        return found
    size = f"Content-Length: {len(body)}" if how == "length" else "Transfer-Encoding: chunked"
    head = f"POST /up HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{size}\r\n\r\n".encode()
    if how == "chunks":
        pieces = [body[at : at + 60_000] for at in range(0, len(body), 60_000)]
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    return tell(site.served, head + body, settle=10)[0]


@on("tight", "asgi")
@pytest.mark.parametrize("how", ["length", "chunks", "h2", "h2 length"])
def test_a_body_up_to_the_limit_and_not_a_byte_more(site: Site, how: str) -> None:
    if how.startswith("h2") and "h2" not in site.alpns:
        return
    mark = site.witness.mark
    assert sent(site, how, b"x" * BODY).status == 200
    assert [line["size"] for line in site.witness.since(mark)] == [BODY]
    answer = sent(site, how, b"x" * (BODY + 1))
    assert (answer.status, answer.slug) == (413, "body-too-large")
    assert answer.one("strict-transport-security")
    assert len(site.witness.since(mark)) == 1


def promised(site: Site, key: str) -> str:
    """What this engine says of a key of this site's policy."""
    where = site.served.policy
    policy = loads(where.read_text(), path=where, environ={}).policy
    return " ".join(row.promise for row in enforced(engine(site.engine), policy) if row.key == key)


def curl(site: Site, *words: str) -> tuple[int, int]:
    """Its exit status, and the answer's status or 0."""
    told = ("--silent", "--max-time", "60", "--cacert", str(site.served.root), "--output", "/dev/null")
    line = ["curl", *told, "--header", "Host: localhost", "--write-out", "%{http_code}", *words]
    done = subprocess.run(line, capture_output=True, check=False)
    return done.returncode, int(done.stdout)


@on("tight", "asgi")
@pytest.mark.parametrize("how", ["h2", "h2 length"])
def test_more_than_fits_into_a_window_over_http2(site: Site, how: str) -> None:
    if "h2" not in site.alpns:
        return
    mark = site.witness.mark
    answer = sent(site, how, b"x" * (BODY + WINDOWS))
    assert (answer.status, answer.slug) == (413, "body-too-large")
    assert site.witness.since(mark) == []


@on("tight", "asgi")
@pytest.mark.parametrize("fields", [(), ("--header", "Content-Length:")], ids=["length", "none"])
def test_curl_over_http2_is_told_what_is_promised(
    site: Site, fields: tuple[str, ...], tmp_path: Path
) -> None:
    early = EARLY in promised(site, "limits.body")
    assert early == ("h2" in site.alpns)
    if not early:
        return
    mark = site.witness.mark
    for size in (BODY + 1, BODY + WINDOWS):
        (tmp_path / "body").write_bytes(b"x" * size)
        body = ("--data-binary", f"@{tmp_path / 'body'}")
        found = curl(site, "--http2", *fields, *body, f"{site.served.url}/up")
        # RFC 9113 §8.1: the answer counts, but this client may see the reset (its 92) before it.
        assert found in {(0, 413), (92, 413), (92, 0)}
    assert site.witness.since(mark) == []


@on("tight", "asgi")
def test_a_length_beyond_the_limit_is_refused_before_the_body_is_sent(site: Site) -> None:
    head = f"POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY * 1000}\r\n\r\nx"
    (answer,) = tell(site.served, head.encode())
    assert (answer.status, answer.slug) == (413, "body-too-large")


@on("tight", "asgi")
def test_headers_up_to_the_limit(site: Site) -> None:
    mark = site.witness.mark
    fits, exceeds = "a" * (HEADERS - 1000), "a" * (HEADERS + 100)
    (answer,) = tell(site.served, get("localhost", "/x", f"X-A: {fits}"))
    assert answer.status == 200
    for lines in ([f"X-A: {exceeds}"], [f"X-{n}: {'a' * 1000}" for n in range(9)]):
        (answer,) = tell(site.served, get("localhost", "/x", *lines))
        assert (answer.status, answer.slug) == (431, "headers-too-large")
        assert answer.one("strict-transport-security")
    assert len(site.witness.since(mark)) == 1


@on("tight", "asgi")
def test_a_target_beyond_the_limit(site: Site) -> None:
    mark = site.witness.mark
    (answer,) = tell(site.served, get("localhost", "/" + "a" * (HEADERS + 100)))
    assert answer.status in {400, 414, 431}
    assert answer.problem
    assert site.witness.since(mark) == []


@on("tight", "asgi")
def test_headers_beyond_the_limit_over_http2(site: Site) -> None:
    if "h2" not in site.alpns:
        return
    mark = site.witness.mark
    connection = h2_connection(site.served)
    with connection.sock:
        answer = connection.ask("/x", "localhost", ("x-a", "a" * (HEADERS + 100)))
    if UNANSWERED in promised(site, "limits.headers"):
        assert answer is None
    else:
        assert answer is not None
        assert (answer.status, answer.slug) == (431, "headers-too-large")
    assert site.witness.since(mark) == []


@on("usual")
@pytest.mark.parametrize("how", ["length", "chunks", "h2"])
def test_twenty_megabytes_under_a_limit_that_allows_them(site: Site, how: str) -> None:
    if how == "h2" and how not in site.alpns:
        return
    body = bytes(range(256)) * (20 * 1024**2 // 256)
    mark = site.witness.mark
    assert sent(site, how, body).status == 200
    (line,) = site.witness.since(mark)
    assert (line["size"], line["sha256"]) == (len(body), sha256(body).hexdigest())
