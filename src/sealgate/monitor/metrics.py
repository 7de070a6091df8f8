"""A snapshot as Prometheus metrics (text format 0.0.4). A registry of its own for each page; no global one.

Label values come from the policy, from closed lists and from what is listened on: a stranger adds none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from sealgate.engines.counts import bound_names
from sealgate.monitor.alerts import Notes
from sealgate.monitor.judge import CODES, Alert
from sealgate.monitor.snapshot import Snapshot

__all__ = ["CONTENT_TYPE", "Watched", "text"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# What engines may count, and by what; anything else is left out.
_COUNTED = {
    "requests": ("Requests that were answered, by class of status.", "class"),
    "handshakes": ("TLS handshakes, by version.", "version"),
    "key_exchanges": ("TLS handshakes, by group.", "group"),
    "handshake_errors": ("TLS handshakes that failed, by reason.", "reason"),
    "denials": ("Requests that Sealgate refused in the app's processes, by problem.", "code"),
}
_MEASURED = {"server_seconds": "server", "worker_seconds": "worker"}


@dataclass(frozen=True, slots=True)
class Watched:
    """What is shown.

    Attributes:
        snapshot: the last one; None: there was none yet.
        fresh: is it from now, or did the keeper fall silent?
        alerts: what is wrong.
        notes: of what is told.
        now: the present.
    """

    snapshot: Snapshot | None
    fresh: bool
    alerts: tuple[Alert, ...]
    notes: Notes
    now: datetime


class _Once(Collector):
    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    def collect(self) -> Iterable[Metric]:
        yield from _always(self._watched)
        if self._watched.snapshot is not None:
            for part in (_certificates, _authorities, _renewals, _processes, _counters, _latencies):
                yield from part(self._watched.snapshot)


def text(watched: Watched) -> bytes:
    """The page for Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(watched))
    return generate_latest(registry)


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"sealgate_{name}", about, value=value)


def _always(watched: Watched) -> Iterator[Metric]:
    snapshot = watched.snapshot
    serves = (
        watched.fresh
        and snapshot is not None
        and snapshot.engine.state != "down"
        and not any(one.problem for one in snapshot.listeners)
    )
    yield _gauge("up", "1: every listener was seen to serve what it shall.", float(serves))
    age = (watched.now - snapshot.at).total_seconds() if snapshot else float("nan")
    yield _gauge("snapshot_age_seconds", "How old the facts on this page are.", age)
    alerts = GaugeMetricFamily("sealgate_alerts", "What is wrong, by code.", labels=["code"])
    for code in CODES:
        alerts.add_metric([code], sum(one.code == code for one in watched.alerts))
    yield alerts
    waiting = len(watched.notes.waiting)
    yield _gauge("alert_deliveries_waiting", "Alerts that a webhook has not taken yet.", waiting)
    yield CounterMetricFamily(
        "sealgate_alert_deliveries_lost",
        "Alerts that no webhook took within a day.",
        value=watched.notes.lost,
    )


def _certificates(snapshot: Snapshot) -> Iterator[Metric]:
    labels = ["site", "source", "listener"]
    family = GaugeMetricFamily(
        "sealgate_certificate_expiry_timestamp_seconds",
        "When a certificate ends: as each listener shows it, and as stored.",
        labels=labels,
    )
    begins = GaugeMetricFamily(
        "sealgate_certificate_start_timestamp_seconds", "When it began.", labels=labels
    )
    name, held = snapshot.site.name, snapshot.certificate
    source = held.source if held else ""
    if held is not None:
        family.add_metric([name, source, "stored"], held.not_after.timestamp())
        begins.add_metric([name, source, "stored"], held.not_before.timestamp())
    if snapshot.second is not None:
        family.add_metric([name, source, "stored-second"], snapshot.second.not_after.timestamp())
        begins.add_metric([name, source, "stored-second"], snapshot.second.not_before.timestamp())
    served = GaugeMetricFamily(
        "sealgate_listener_ok",
        "1: the listener was seen to serve what it shall.",
        labels=["site", "listener"],
    )
    for one in snapshot.listeners:
        served.add_metric([name, one.address], float(not one.problem))
        if one.not_after is not None and one.not_before is not None:
            family.add_metric([name, source, one.address], one.not_after.timestamp())
            begins.add_metric([name, source, one.address], one.not_before.timestamp())
        for kind in one.kinds:
            where = f"{one.address}/{kind.kind}"
            served.add_metric([name, where], float(not kind.problem))
            if kind.not_after is not None and kind.not_before is not None:
                family.add_metric([name, source, where], kind.not_after.timestamp())
                begins.add_metric([name, source, where], kind.not_before.timestamp())
    yield from (family, begins, served)
    yield _gauge(
        "clients_expiring", "Client certificates in the last third of their life.", len(snapshot.clients)
    )


def _authorities(snapshot: Snapshot) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "sealgate_authority_expiry_timestamp_seconds", "When an authority ends.", labels=["authority"]
    )
    ends: dict[str, float] = {}
    for one in snapshot.authorities:  # of several in one file the first to end
        ends[one.name] = min(ends.get(one.name, float("inf")), one.not_after.timestamp())
    for name, end in ends.items():
        family.add_metric([name], end)
    age = GaugeMetricFamily(
        "sealgate_revocation_list_age_seconds", "How old a revocation list is.", labels=["authority"]
    )
    upto = GaugeMetricFamily(
        "sealgate_revocation_list_next_update_timestamp_seconds",
        "When it is to be replaced.",
        labels=["authority"],
    )
    made: dict[str, datetime] = {}
    ends_of: dict[str, datetime] = {}
    for each in snapshot.lists:  # of several the oldest, and the first to end
        if each.this_update is not None:
            made[each.authority] = min(each.this_update, made.get(each.authority, each.this_update))
        if each.next_update is not None:
            ends_of[each.authority] = min(each.next_update, ends_of.get(each.authority, each.next_update))
    for authority, begun in made.items():
        age.add_metric([authority], (snapshot.at - begun).total_seconds())
    for authority, until in ends_of.items():
        upto.add_metric([authority], until.timestamp())
    yield from (family, age, upto)


def _renewals(snapshot: Snapshot) -> Iterator[Metric]:
    family = CounterMetricFamily(
        "sealgate_renewals", "Renewals since the keeper started, by how they went.", labels=["result"]
    )
    family.add_metric(["renewed"], snapshot.renewed)
    family.add_metric(["failed"], snapshot.failed)
    yield family


def _processes(snapshot: Snapshot) -> Iterator[Metric]:
    engine, workers = snapshot.engine, snapshot.workers
    yield _gauge("state_generation", "Of what the guard decides by.", snapshot.generation)
    if snapshot.keeper:
        yield _gauge("engine_running", "1: the server's process is there.", float(engine.state == "running"))
        yield CounterMetricFamily(
            "sealgate_engine_restarts", "Starts after it had ended.", value=engine.starts
        )
    if snapshot.started is not None:
        started = snapshot.started.timestamp()
        yield _gauge("start_timestamp_seconds", "When the keeper started.", started)
    if workers is not None:
        yield _gauge("workers", "App workers that serve.", workers.serving)
        yield _gauge("workers_wanted", "App workers that shall serve.", workers.wanted)
    build = GaugeMetricFamily(
        "sealgate_build_info", "Versions.", labels=["version", "engine", "engine_version", "profile"]
    )
    build.add_metric([snapshot.version, engine.id, engine.version, snapshot.site.profile], 1)
    yield build


def _counters(snapshot: Snapshot) -> Iterator[Metric]:
    """What the engine counts, under its own name and one label."""
    families: dict[str, CounterMetricFamily] = {}
    for name, label, value in snapshot.counters:
        about, label_name = _COUNTED.get(name, ("", ""))
        if about:
            family = families.setdefault(
                name, CounterMetricFamily(f"sealgate_{name}", about, labels=[label_name])
            )
            family.add_metric([label], value)
    yield from families.values()


def _latencies(snapshot: Snapshot) -> Iterator[Metric]:
    """How long answers take: seen by the server from outside, by a worker behind it, or both."""
    family = HistogramMetricFamily(
        "sealgate_request_seconds",
        "From a request to the end of its answer, as the server measures it (not nginx, not Apache),"
        " or a worker behind it.",
        labels=["measured"],
    )
    for name, where in _MEASURED.items():
        counts = {label: value for one, label, value in snapshot.counters if one == name}
        if counts.keys() != {*bound_names(), "nanoseconds"}:
            continue
        buckets, upto = [], 0
        for bound in bound_names():
            upto += counts[bound]
            buckets.append((bound, float(upto)))
        family.add_metric([where], buckets, counts["nanoseconds"] / 1e9)
    if family.samples:
        yield family
