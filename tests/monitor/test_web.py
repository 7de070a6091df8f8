"""The page, the probes and the server under them, asked by friends and by strangers."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from dataclasses import replace
from html.parser import HTMLParser

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from sealgate.monitor import metrics
from sealgate.monitor.alerts import Notes
from sealgate.monitor.judge import judge
from sealgate.monitor.metrics import Watched
from sealgate.monitor.snapshot import Client, Drift, Snapshot
from sealgate.monitor.web import serving
from sealgate.monitor.web.page import host_is_known, render
from sealgate.monitor.web.probes import is_ready
from sealgate.monitor.words import ago, view
from tests.monitor.made import DAY, NOW, by_kind, everything, held, listener, snapshot
from tests.monitor.web import shown

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202e\x1b[31m"


def watched(one: Snapshot | None, *, fresh: bool = True) -> Watched:
    return Watched(one, fresh, judge(one, NOW) if one else (), Notes(), NOW)


class Tags(HTMLParser):
    """Which tags there are, and which attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes |= {name for name, _ in attrs}


def hostile(text: str) -> Snapshot:
    """This text wherever strangers have a say."""
    certificate = replace(held(2), names=(text, text), issuer=text)
    return snapshot(
        certificate=certificate,
        listeners=(listener(certificate, text),),
        clients=(Client(text, text, NOW - 80 * DAY, NOW + DAY),),
        drift=(Drift(text, text, text),),
    )


@settings(max_examples=40)
@given(st.text(max_size=40) | st.just(HOSTILE))
def test_hostile_names_add_no_tag_and_no_attribute(text: str) -> None:
    plain = Tags(render("page.html", watched(hostile("x"))))
    spoiled = Tags(render("page.html", watched(hostile(text or "x"))))
    assert set(spoiled.seen) == set(plain.seen)
    assert spoiled.attributes == plain.attributes
    assert spoiled.seen.count("script") == 1


def test_the_page_has_no_inline_script_or_style() -> None:
    text = render("page.html", watched(everything()))
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text)
    assert all(
        match.startswith("/static/")
        for match in re.findall(r'(?:src|href)="([^"]+)"', text)
        if "." in match[1:] and "json" not in match
    )


def test_every_table_has_named_columns_and_every_state_a_word() -> None:
    text = render("view.html", watched(everything()))
    assert "<th></th>" not in re.sub(r"\s+", "", text)
    assert re.findall(r'<th scope="col">\s*</th>', text) == []
    for section in view(everything(), judge(everything(), NOW), NOW).sections:
        for row in section.rows:
            assert row.word
            assert len(row.cells) == len(section.columns)


def test_before_the_first_look_and_when_the_keeper_is_silent() -> None:
    assert "Looking" in render("page.html", watched(None))
    assert "these facts are old" in render("page.html", watched(snapshot(), fresh=False))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (7200, "2 hours"),
        (86400, "1 day"),
        (86400 * 400, "400 days"),
        (86400 * 800, "2 years"),
    ],
)
def test_spans_are_words(seconds: int, text: str) -> None:
    assert ago(NOW, NOW + seconds * DAY / 86400) == f"{text} ago"


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True),
        ("LOCALHOST.:99", True),
        ("x.localhost:9443", True),
        ("127.0.0.1:9443", True),
        ("127.9.9.9", True),
        ("[::1]:9443", True),
        ("[::ffff:127.0.0.1]", False),
        ("192.0.2.7:9443", True),  # what is listened on
        ("192.0.2.8", False),
        ("localhost.evil.test", False),
        ("evil.test#localhost", False),
        ("localhost\x00", False),
        ("", False),
        ("[::1", False),
        ("127.0.0.1:9443:1", False),
        ("127.1", False),
        ("0", False),
    ],
)
def test_hosts(host: str, known: bool) -> None:
    assert host_is_known(host, "192.0.2.7:9443") is known


@given(st.text(max_size=60))
def test_no_host_is_a_surprise(host: str) -> None:
    if host_is_known(host, "127.0.0.1:1"):
        assert re.match(r"(?i)(.*\.)?localhost|127\.|\[", host)


CHANGES = {
    "well": (snapshot(), True, True),
    "old facts": (snapshot(), False, False),
    "nothing seen yet": (None, True, False),
    "engine down": (snapshot(engine=replace(snapshot().engine, state="down")), True, False),
    "wrong certificate": (snapshot(listeners=(listener(held(), "serves another"),)), True, False),
    "no listener": (snapshot(listeners=()), True, False),
    "alone, beside another server": (
        snapshot(engine=replace(snapshot().engine, state="unknown")),
        True,
        True,
    ),
    "a certificate that ends soon is served all the same": (snapshot(certificate=held(1)), True, True),
}


@pytest.mark.parametrize("name", CHANGES)
def test_ready(name: str) -> None:
    one, fresh, ready = CHANGES[name]
    assert is_ready(watched(one, fresh=fresh)) is ready


def test_metrics_parse_and_have_no_label_of_a_stranger() -> None:
    text = metrics.text(watched(hostile(HOSTILE))).decode()
    families = list(text_string_to_metric_families(text))
    assert len(families) > 15
    for family in families:
        assert family.name.startswith("sealgate_")
        assert family.documentation
        for sample in family.samples:
            assert HOSTILE not in sample.labels.values()


def test_a_second_certificate_is_measured_beside_the_first() -> None:
    two = snapshot(second=replace(held(), not_after=NOW))
    (family,) = (
        one
        for one in text_string_to_metric_families(metrics.text(watched(two)).decode())
        if one.name == "sealgate_certificate_expiry_timestamp_seconds"
    )
    stored = {
        one.labels["listener"]: one.value for one in family.samples if "stored" in one.labels["listener"]
    }
    assert stored.keys() == {"stored", "stored-second"}
    assert stored["stored-second"] == NOW.timestamp() != stored["stored"]


def test_each_kind_of_client_is_measured_by_itself() -> None:
    first, second = held(40), held(30)
    seen = listener(first, "x", kinds=by_kind(first, second, "x"))
    text = metrics.text(watched(snapshot(second=second, listeners=(seen,)))).decode()
    samples = {
        (one.name, one.labels["listener"]): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
        if one.labels.keys() >= {"listener"}
    }
    ends = "sealgate_certificate_expiry_timestamp_seconds"
    assert samples[ends, "127.0.0.1:8443/rsa"] == second.not_after.timestamp()
    assert samples[ends, "127.0.0.1:8443/ecdsa"] == samples[ends, "127.0.0.1:8443"]
    kinds = [samples["sealgate_listener_ok", f"127.0.0.1:8443/{kind}"] for kind in ("ecdsa", "rsa")]
    assert kinds == [1.0, 0.0]


def test_metrics_of_one_page_are_not_those_of_another() -> None:
    one, other = metrics.text(watched(snapshot())), metrics.text(watched(None))
    assert b"sealgate_workers 2.0" in one
    assert b"sealgate_workers" not in other
    assert b"sealgate_up 0.0" in other


def test_counters_of_the_engine_are_those_that_are_known() -> None:
    text = metrics.text(watched(snapshot(counters=(("handshakes", "TLSv1.3", 5), ("surprise", "x", 1)))))
    assert b'sealgate_handshakes_total{version="TLSv1.3"} 5.0' in text
    assert b"surprise" not in text


# The server


def test_probes_answer_two_paths_and_two_methods() -> None:
    with shown(snapshot(), what="probes") as one:
        asked = {path: httpx.get(one.url + path).status_code for path in ("/healthz", "/readyz", "/", "/x")}
        assert asked == {"/healthz": 200, "/readyz": 200, "/": 404, "/x": 404}
        assert httpx.head(f"{one.url}/readyz").status_code == 200
        assert httpx.post(f"{one.url}/readyz").status_code == 405
        one.snapshot = None
        assert httpx.get(f"{one.url}/readyz").status_code == 503
        assert httpx.get(f"{one.url}/healthz").text == "ok\n"


@pytest.mark.parametrize("path", ["/", "/view", "/status.json", "/metrics", "/static/style.css", "/nowhere"])
def test_every_answer_tells_browsers_to_be_careful(path: str) -> None:
    with shown(everything()) as one:
        headers = httpx.get(one.url + path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def test_two_hosts_or_none_are_refused() -> None:
    with shown(snapshot()) as one:
        for hosts in ("", "Host: localhost\r\nHost: localhost\r\n"):
            with socket.create_connection(("127.0.0.1", one.port), 20) as sock:
                sock.sendall(f"GET /status.json HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n".encode())
                assert sock.recv(65536).split()[1] in {b"400", b"421"}


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\nHost: loc", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET"], ids=repr
)
def test_who_is_slow_is_sent_away(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_EXCHANGE", 0.5)
    with shown(snapshot()) as one, socket.create_connection(("127.0.0.1", one.port), 20) as sock:
        sock.sendall(sent)
        began = time.monotonic()
        try:
            while sock.recv(65536):
                assert time.monotonic() - began < 20
        except ConnectionResetError:
            pass


def test_who_does_not_read_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_EXCHANGE", 0.5)
    large = snapshot(drift=tuple(Drift("x", "y" * 1000, "z") for _ in range(4000)))
    with shown(large) as one, socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(20)
        sock.connect(("127.0.0.1", one.port))
        sock.sendall(b"GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert _reset(sock)


def _reset(sock: socket.socket) -> bool:
    """Does the other end give up? Seen by sending alone: nothing is read."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            sock.sendall(b"G")
        except OSError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: loc"])
def test_the_newest_comes_in_and_who_was_idle_longest_goes(sent: bytes) -> None:
    with shown(snapshot(), most=3) as one:
        idle = [socket.create_connection(("127.0.0.1", one.port), 20) for _ in range(8)]
        for sock in idle:
            with contextlib.suppress(OSError):
                sock.sendall(sent)
        assert httpx.get(one.url).status_code == 200
        gone = [_over(sock) for sock in idle[:5]]
        assert gone == [True] * 5, "in the order in which they came"
        for sock in idle:
            sock.close()


def _over(sock: socket.socket) -> bool:
    try:
        return not sock.recv(1)
    except ConnectionResetError:
        return True


class Seat:
    """A connection as `Places` sees it."""

    def __init__(self, *, idle: bool = True) -> None:
        self.idle, self.gone = idle, False

    def drop(self) -> None:
        self.gone = True


def test_who_is_being_answered_stays_while_another_is_idle() -> None:
    places = serving.Places(3, 1.0)
    asked, first, second = Seat(idle=False), Seat(), Seat()
    for seat in (asked, first, second, Seat(idle=False)):
        places.take(seat)
    assert (asked.gone, first.gone, second.gone) == (False, True, False)
    places.renew(first)  # it is over: no way back
    second.idle = False
    places.take(Seat())
    assert (asked.gone, len(places)) == (True, 3), "all at work: still no more than there are places"


def test_who_was_answered_last_goes_last() -> None:
    places = serving.Places(2, 1.0)
    first, second = Seat(), Seat()
    places.take(first)
    places.take(second)
    places.renew(first)
    places.take(Seat())
    assert (first.gone, second.gone) == (False, True)


def test_the_first_request_may_be_due_sooner_than_others() -> None:
    with shown(snapshot(), what="probes", first=0.3) as one:
        with socket.create_connection(("127.0.0.1", one.port), 20) as sock:
            assert _over(sock)  # ten seconds are the others'
        with httpx.Client(timeout=20) as client:
            for _ in range(3):
                assert client.get(one.url + "/healthz").status_code == 200


def test_garbage_does_not_end_it() -> None:
    with shown(snapshot(), what="probes") as one, httpx.Client() as client:

        @settings(max_examples=20)
        @given(st.binary(max_size=200))
        def sent(garbage: bytes) -> None:
            with socket.create_connection(("127.0.0.1", one.port), 20) as sock:
                sock.sendall(garbage + b"\r\n\r\n")
            assert client.get(f"{one.url}/healthz").status_code == 200

        sent()
