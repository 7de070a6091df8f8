from __future__ import annotations

import pytest

from bench.load import parse_h2load, parse_look, parse_wrk, quantile
from bench.machine import BenchError

WRK = """\
Running 2s test @ https://127.70.1.1:40001/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.06ms    1.20ms  19.96ms   88.36%
    Req/Sec    12.03k     2.20k   15.20k    70.00%
  Latency Distribution
     50%    1.79ms
     75%    2.38ms
     90%    3.20ms
     99%    6.78ms
  24012 requests in 2.01s, 3.66MB read
Requests/sec:  11946.27
Transfer/sec:      1.82MB
"""
S_CLIENT = """\
CONNECTED(00000003)
---
Peer signature type: ECDSA
Server Temp Key: X25519, 253 bits
---
New, TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256
Server public key is 256 bit
---
Post-Handshake New Session Ticket arrived:
---
Post-Handshake New Session Ticket arrived:
"""


def test_wrk_is_read() -> None:
    found = parse_wrk(WRK, 32)
    assert (found.count, found.connections, found.seconds) == (24012, 32, 2.01)
    assert found.p50 == pytest.approx(0.00179)
    assert found.p99 == pytest.approx(0.00678)


@pytest.mark.parametrize(
    "line",
    ("  Socket errors: connect 0, read 3, write 0, timeout 0", "  Non-2xx or 3xx responses: 7"),
)
def test_errors_are_not_numbers(line: str) -> None:
    with pytest.raises(BenchError, match="wrk saw errors"):
        parse_wrk(WRK.replace("Requests/sec", line + "\nRequests/sec"), 32)


@pytest.mark.parametrize("said", ("", "unable to connect", WRK.replace("24012", "0")))
def test_nothing_counted_is_an_error(said: str) -> None:
    with pytest.raises(BenchError, match="nothing to count"):
        parse_wrk(said, 32)


H2LOAD = """\
finished in 187.34ms, 533.79 req/s, 94.87KB/s
requests: 100 total, 100 started, 100 done, 100 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 100 2xx, 0 3xx, 0 4xx, 0 5xx
"""


def test_h2load_is_read() -> None:
    assert parse_h2load(H2LOAD) == 100


@pytest.mark.parametrize(
    "said",
    (
        "",
        H2LOAD.replace("100 succeeded, 0 failed", "99 succeeded, 1 failed"),
        H2LOAD.replace("100 2xx, 0 3xx, 0 4xx", "99 2xx, 0 3xx, 1 4xx"),
        H2LOAD.replace("100", "0"),
    ),
)
def test_failed_handshakes_are_not_numbers(said: str) -> None:
    with pytest.raises(BenchError, match="h2load saw errors"):
        parse_h2load(said)


def test_what_openssl_says_is_read() -> None:
    found = parse_look(S_CLIENT)
    assert (found.version, found.group, found.tickets) == ("TLSv1.3", "X25519", 2)
    assert (found.cipher, found.key) == ("TLS_AES_128_GCM_SHA256", "ECDSA 256")


@pytest.mark.parametrize(("share", "value"), ((0.0, 1.0), (0.5, 3.0), (0.99, 4.0), (1.0, 4.0)))
def test_quantiles_are_values_that_occurred(share: float, value: float) -> None:
    assert quantile([1.0, 2.0, 3.0, 4.0], share) == value
