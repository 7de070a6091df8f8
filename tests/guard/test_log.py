"""One line per denial, whatever comes in, and no secret in it."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.guard.client import Client
from sealgate.guard.decision import Deny
from sealgate.guard.log import denial, to_stderr
from sealgate.policy.problems import problem
from tests.guard.test_certificate import certificate, make, ways

DENY = Deny(problem("path-not-canonical"), "dot-segment")


def test_whose_certificate_it_was_is_told() -> None:
    alice = replace(certificate(ways(make("alice"))["der"]), authority="partners")
    client = Client("192.0.2.1", alice)
    event = denial(DENY, address="", method="GET", target="/", request_id="", client=client)
    assert event["client"] == alice.fingerprint
    assert event["authority"] == "partners"
    nobody = denial(DENY, address="", method="GET", target="/", request_id="", client=Client("192.0.2.1"))
    assert "client" not in nobody


def test_what_a_line_says(capsys: pytest.CaptureFixture[str]) -> None:
    to_stderr(denial(DENY, address="192.0.2.1", method="GET", target="/a/../b?token=secret", request_id="r"))
    out = capsys.readouterr().err
    assert json.loads(out) == {
        "event": "denied",
        "code": "path-not-canonical",
        "rule": "dot-segment",
        "status": 400,
        "address": "192.0.2.1",
        "method": "GET",
        "path": "/a/../b",
        "request_id": "r",
    }
    assert "secret" not in out


@given(st.text(max_size=400), st.text(max_size=400), st.text(max_size=400))
def test_hostile_text_stays_in_one_short_line(method: str, target: str, request_id: str) -> None:
    event = denial(DENY, address="192.0.2.1", method=method, target=target, request_id=request_id)
    with pytest.MonkeyPatch.context() as patch:
        stderr = io.StringIO()
        patch.setattr(sys, "stderr", stderr)
        to_stderr(event)
        line = stderr.getvalue()
    assert line.isascii()
    assert line[:-1].isprintable()
    assert line.endswith("\n")
    assert len(line) < 6000
    assert json.loads(line) == event


def test_a_long_path_is_cut() -> None:
    event = denial(DENY, address="", method="GET", target="/" + "a" * 5000, request_id="")
    assert event["path"] == "/" + "a" * 255 + "…"


@pytest.mark.parametrize("broken", (OSError("gone"), ValueError("closed")))
def test_a_closed_stderr_is_no_crash(broken: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise broken

    monkeypatch.setattr(sys, "stderr", Gone())
    to_stderr({"event": "denied"})
