"""The pure parts of what measures the guard; that its requests are let in is its own affair."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import jwt
import pytest

from bench.guard import DENIED, LISTED, WHOLE, InProcess, denied, guard_targets, measure_guard
from bench.issuer import AUDIENCE, ISSUER, Issuing
from bench.kept import Answer, complete
from bench.pki import make_credentials
from bench.summary import THEIRS
from bench.today import GET, OURS, Today, today_targets
from bench.validate import Validated, measure_validation, order
from sealgate.policy.network import admitted

ROOT = Path(__file__).parent.parent.parent


def test_the_long_list_is_long_and_shuts_out_no_client_of_the_bench() -> None:
    networks = denied()
    assert len(set(networks)) == len(networks) == DENIED
    assert networks == denied()
    bounds = admitted(tuple(networks), ())
    assert not any(
        map(bounds.admits, ("127.64.0.1", "127.127.255.1", "192.0.2.7", "198.18.0.0", "198.18.78.31"))
    )
    assert bounds.admits(networks[0].replace(".0/24", ".9"))


def test_ratios_are_taken_within_a_round() -> None:
    found = InProcess((1.0, 2.0), {WHOLE: (3.0, 8.0), LISTED: (3.0, 4.0)})
    assert found.in_calls(WHOLE) == (3.0, 4.0)
    assert found.to(LISTED, WHOLE) == (1.0, 0.5)
    assert Validated(1024, (2.0, 4.0), (5.0, 4.0)).ratios == (2.5, 1.0)
    today = Today({GET: {OURS: (1.0, 3.0), THEIRS: (2.0, 4.0)}}, {})
    assert today.ratios(GET, OURS, THEIRS) == (0.5, 0.75)
    assert today.ratios(GET, OURS, "not there") == ()


def test_what_was_not_run_is_neither_met_nor_missed() -> None:
    for targets in (guard_targets(None, None), today_targets(None)):
        assert targets
        assert all(target.met is None for target in targets)
    found = today_targets(Today({GET: {OURS: (1.0,), THEIRS: (2.0,)}}, {}))
    assert [target.met for target in found] == [True, None]


def test_one_round_of_everything_in_process() -> None:
    found = measure_guard(1)
    assert len(found.app) == 1
    assert all(len(values) == 1 for values in found.guard.values())
    assert found.guard[WHOLE][0] > found.guard["Host, path, address"][0]
    assert len(measure_validation(1).ratios) == 1


def test_tokens_are_what_another_library_takes() -> None:
    issuing = Issuing()
    (key,) = jwt.PyJWKSet.from_json(issuing.jwks).keys
    claims = jwt.decode(issuing.token("ann"), key.key, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER)
    assert claims["sub"] == "ann"
    assert 1000 <= len(order()) <= 1100


WHOLE_ANSWER = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 6\r\n\r\nhello\n"


def test_an_answer_is_complete_with_its_last_byte() -> None:
    for cut in range(len(WHOLE_ANSWER)):
        assert complete(WHOLE_ANSWER[:cut]) is None
    assert complete(WHOLE_ANSWER) == complete(WHOLE_ANSWER + b"HT") == Answer(200, len(WHOLE_ANSWER))
    assert complete(b"HTTP/1.1 204 No\r\ncontent-length: 0\r\n\r\n") == Answer(204, 38)
    with pytest.raises(ValueError, match="without a length"):
        complete(b"HTTP/1.1 200 OK\r\n\r\n")


def _answering(listener: socket.socket, context: ssl.SSLContext, answer: bytes, count: int) -> None:
    """So many answers on one connection."""
    with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
        for _ in range(count):
            if not connection.recv(4096):
                return
            connection.sendall(answer)


@pytest.mark.parametrize(
    ("answer", "said"),
    ((WHOLE_ANSWER, "count"), (WHOLE_ANSWER.replace(b"200", b"403"), "the answer was")),
)
def test_the_load_counts_answers_and_takes_no_other_than_200(
    tmp_path: Path, answer: bytes, said: str
) -> None:
    made = make_credentials(tmp_path, "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.chain, made.key)
    shown, request = tmp_path / "shown.pem", tmp_path / "request"
    shown.write_bytes(made.chain.read_bytes() + made.key.read_bytes())
    request.write_bytes(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=_answering, args=(listener, context, answer, 1_000_000), daemon=True)
        server.start()
        call = [sys.executable, "-m", "bench.kept", "127.0.0.1", str(listener.getsockname()[1])]
        call += [str(shown), str(request), "--connections=1"]
        done = subprocess.run(
            call, input="0.05\n", cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        server.join(timeout=30)
    ready, told = done.stdout.splitlines()
    assert ready == "ready"
    assert said in told
    assert done.returncode == (said != "count")
    if said == "count":
        assert json.loads(told)["count"] > 1
