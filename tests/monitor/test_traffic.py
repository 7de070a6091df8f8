"""Requests in words and numbers."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sealgate.engines.counts import BOUNDS, Counters, bound_names
from sealgate.monitor import metrics
from sealgate.monitor.alerts import Notes
from sealgate.monitor.metrics import Watched
from sealgate.monitor.traffic import lines, within
from tests.monitor.made import NOW, snapshot


def latencies(name: str, **counts: int) -> Counters:
    every = {**dict.fromkeys(bound_names(), 0), **{key.lstrip("_"): value for key, value in counts.items()}}
    return (*((name, bound, value) for bound, value in every.items()), (name, "nanoseconds", 1_500_000_000))


def test_nothing_is_said_before_the_first_request() -> None:
    assert lines(()) == ()
    assert lines((("requests", "2xx", 0), ("denials", "unknown-host", 0), *latencies("server_seconds"))) == ()


def test_requests_refusals_and_times() -> None:
    counters: Counters = (
        ("requests", "2xx", 12345),
        ("requests", "4xx", 3),
        ("denials", "unknown-host", 1),
        ("denials", "bad-request", 2),
        *latencies("worker_seconds", **{"_0.001": 50, "_0.0025": 40, "_1": 9, "_+Inf": 1}),
    )
    assert lines(counters) == (
        ("12,348", ("answered", "2xx 12,345, 4xx 3")),
        ("3", ("refused", "bad-request 2, unknown-host 1")),
        (
            "half within 1 ms",
            ("time, as the app's workers see it", "95 of 100 within 1 s, 99 of 100 within 1 s"),
        ),
    )


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("0.0025", "within 2.5 ms"),
        ("1", "within 1 s"),
        ("30", "within 30 s"),
        ("+Inf", "within more than 30 s"),
    ],
)
def test_bounds_as_people_say_them(at: str, said: str) -> None:
    counts = {**dict.fromkeys(bound_names(), 0), at: 4}
    assert within(counts, 0.5) == said


def page(counters: Counters) -> dict[tuple[str, tuple[str, ...]], float]:
    text = metrics.text(Watched(snapshot(counters=counters), True, (), Notes(), NOW)).decode()
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items(), reverse=True))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_histogram_as_prometheus_has_them() -> None:
    found = page(latencies("server_seconds", **{"_0.001": 5, "_0.5": 2, "_+Inf": 1}))
    name = "sealgate_request_seconds"
    assert found[f"{name}_bucket", ("server", "0.001")] == 5
    assert found[f"{name}_bucket", ("server", "0.25")] == 5
    assert found[f"{name}_bucket", ("server", "0.5")] == 7
    assert found[f"{name}_bucket", ("server", "+Inf")] == found[f"{name}_count", ("server",)] == 8
    assert found[f"{name}_sum", ("server",)] == 1.5
    bounds = [labels[1] for one, labels in found if one == f"{name}_bucket"]
    assert [float(bound) for bound in bounds] == [*BOUNDS, float("inf")]


def test_half_a_histogram_is_none() -> None:
    half = latencies("server_seconds")[3:]
    assert not any(name.startswith("sealgate_request_seconds") for name, _ in page(half))


def test_refusals_by_problem() -> None:
    found = page((("denials", "unknown-host", 4),))
    assert found["sealgate_denials_total", ("unknown-host",)] == 4
