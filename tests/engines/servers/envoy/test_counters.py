"""What Envoy's names of counters come to."""

from __future__ import annotations

import contextlib
import re

import pytest

from sealgate.engines.counts import BOUNDS, bound_names
from sealgate.engines.servers.envoy.counters import PATTERN, counted, timed

STATS = {
    "http.https.downstream_rq_2xx": 7,
    "http.http.downstream_rq_2xx": 1,
    "http.https.downstream_rq_3xx": 0,
    "http.https.downstream_rq_5xx": 2,
    "listener.https_0.ssl.versions.TLSv1.3": 4,
    "listener.https_1.ssl.versions.TLSv1.3": 1,
    "listener.https_0.ssl.versions.TLSv1.2": 1,
    "listener.https_0.ssl.curves.X25519MLKEM768": 5,
    "listener.https_0.ssl.fail_verify_no_cert": 3,
    "listener.https_0.ssl.fail_verify_error": 2,
    "listener.https_0.ssl.connection_error": 1,
    "listener.https_0.ssl.ciphers.TLS_AES_128_GCM_SHA256": 5,
    "listener.https_0.ssl.handshake": 6,
}


def test_listeners_are_added_up_and_what_never_was_is_left_out() -> None:
    assert counted(STATS) == (
        ("handshake_errors", "certificate", 2),
        ("handshake_errors", "no certificate", 3),
        ("handshake_errors", "protocol", 1),
        ("handshakes", "TLSv1.2", 1),
        ("handshakes", "TLSv1.3", 5),
        ("key_exchanges", "X25519MLKEM768", 5),
        ("requests", "2xx", 8),
        ("requests", "5xx", 2),
    )


def test_all_of_them_are_asked_for() -> None:
    assert all(re.fullmatch(PATTERN, name) for name in STATS)
    assert "+" not in PATTERN  # a query's blank


def prometheus(prefix: str, cumulative: dict[float, int], total: int, milliseconds: float) -> str:
    """As Envoy 1.40 writes it."""
    name, label = "envoy_http_downstream_rq_time", f'envoy_http_conn_manager_prefix="{prefix}"'
    lines = [f"# TYPE {name} histogram"]
    lines += [f'{name}_bucket{{{label},le="{bound:g}"}} {count}' for bound, count in cumulative.items()]
    lines += [f'{name}_bucket{{{label},le="+Inf"}} {total}', f"{name}_sum{{{label}}} {milliseconds}"]
    return "\n".join([*lines, f"{name}_count{{{label}}} {total}", ""])


def test_latencies_of_all_listeners_are_added_up() -> None:
    upto = {bound * 1000: 3 if bound < 0.01 else 5 for bound in BOUNDS}
    page = prometheus("https", upto, 6, 41.5) + prometheus("http3", dict.fromkeys(upto, 1), 1, 1)
    found = {label: value for _, label, value in timed(page)}
    assert found == {
        **dict.fromkeys(bound_names(), 0),
        "0.001": 4,
        "0.01": 2,
        "+Inf": 1,
        "nanoseconds": 42_500_000,
    }
    assert {name for name, _, _ in timed(page)} == {"server_seconds"}


@pytest.mark.parametrize(
    "page",
    [
        "",
        "# no\n",
        prometheus("https", {0.5: 1, 1.0: 2}, 3, 1.0),
        'envoy_http_downstream_rq_time_bucket{le="x"} 1\n',
        'envoy_http_downstream_rq_time_bucket{le="1"} 1.2.3\n',
    ],
)
def test_other_bounds_than_ours_are_left_out(page: str) -> None:
    with contextlib.suppress(ValueError):  # as good: `runtime/counting.py` takes it for no answer
        assert timed(page) == ()
