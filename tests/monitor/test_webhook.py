"""One try: signed right, bounded, and every kind of answer but a plain yes is a no."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from sealgate._system import post as module
from sealgate._system.clock import system_clock
from sealgate._system.post import Target
from sealgate.monitor import webhook
from sealgate.monitor.alerts import Event
from sealgate.monitor.webhook import body_of, deliver, headers_of, signature, target_of
from tests.monitor.made import NOW
from tests.monitor.receiver import SECRET, receiver

EVENT = Event("e1", "firing", "drift", "drift x", "error", "it differs; mend it", NOW, NOW)


def told(url: str, event: Event = EVENT, context: ssl.SSLContext | None = None) -> str:
    target = target_of(url, context or ssl.create_default_context())
    return asyncio.run(deliver(target, event, site="s.test", secret=SECRET, now=system_clock()))


@contextmanager
def raw(answer: bytes, *, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that says these bytes to one client, and no more; none: it says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def serve() -> None:
            client, _ = listener.accept()
            try:
                if context is not None:
                    client = context.wrap_socket(client, server_side=True)
                client.recv(65536)
                client.sendall(answer)
                if not answer:
                    over.wait(20)
            except OSError:
                pass
            finally:
                client.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        over.set()
        thread.join()


def test_a_receiver_can_check_it_by_what_the_guide_says() -> None:
    with receiver() as found:
        assert told(found.url + "/hook?team=a") == ""
    assert found.bad == []
    assert found.got[0]["code"] == "drift"
    assert found.got[0]["site"] == "s.test"
    assert found.tries == ["e1"]


def test_the_signature_is_the_one_in_the_guide() -> None:
    """Known answer: whoever writes a receiver can compare."""
    expected = "v1=f89434e416dac3c903801a9c9dda162fb31e86709bf2c34235f2fb896785ff4b"
    assert signature(b"secret", "1795351200", b"{}") == expected
    headers = headers_of(EVENT, b"{}", b"secret", NOW)
    assert headers["Sealgate-Timestamp"] == "1795348800"
    assert headers["Sealgate-Signature"] == signature(b"secret", "1795348800", b"{}")


@pytest.mark.parametrize("status", [301, 307, 308, 400, 401, 404, 410, 429, 500, 503])
def test_everything_but_a_yes_is_a_no(status: int) -> None:
    with receiver("127.0.0.1", status) as found:
        assert told(found.url) == f"it answered {status}"
    assert len(found.tries) == 1  # and no redirect was followed
    assert found.got == []


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20\r\n",
        b"HTTP/1.1 abc x\r\n",
        b"x" * 100_000,
        b"\n",
    ],
    ids=repr,
)
def test_what_is_no_http_is_a_no(answer: bytes) -> None:
    with raw(answer) as where:
        assert "no HTTP answer" in told(f"http://{where}/")


def test_nobody_there_is_a_no() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert told(f"http://127.0.0.1:{port}/") != ""


def test_one_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "SECONDS", 0.3)
    with raw(b"") as where:
        assert "no answer within" in told(f"http://{where}/")


def test_one_that_answers_a_byte_at_a_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is for everything together, not for each byte."""
    monkeypatch.setattr(webhook, "SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def drip() -> None:
            client, _ = listener.accept()
            with client:
                try:
                    while not over.wait(0.05):
                        client.sendall(b"H")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        assert "no answer within" in told(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        over.set()
        thread.join()


def test_its_certificate_is_verified() -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with raw(b"HTTP/1.1 204 x\r\n\r\n", context=server) as where:
        assert told(f"https://{where}/", context=trusting) == ""
    with raw(b"HTTP/1.1 204 x\r\n\r\n", context=server) as where:
        assert "CERTIFICATE_VERIFY_FAILED" in told(f"https://{where}/")


@given(st.text(), st.text())
def test_hostile_text_stays_inside_of_the_json(sentence: str, key: str) -> None:
    event = Event("e", "firing", "drift", key, "error", sentence, NOW, NOW)
    body = body_of(event, "s")
    assert b"\n" not in body
    assert json.loads(body)["sentence"] == sentence


@given(st.text(max_size=20))
def test_no_header_field_ends_early(value: str) -> None:
    target = Target("127.0.0.1", 1, "/", None)
    if "\n" in value:
        with pytest.raises(ValueError, match="line end"):
            asyncio.run(module.post(target, b"", {"X": value}, seconds=1))


def test_where_a_webhook_is() -> None:
    context = ssl.create_default_context()
    assert target_of("https://a.test", context) == Target("a.test", 443, "/", context)
    assert target_of("https://a.test:444/x?y=z", context) == Target("a.test", 444, "/x?y=z", context)
    assert target_of("http://[::1]:81/x", context).authority == "[::1]:81"
    assert target_of("http://localhost/x", context).authority == "localhost"
