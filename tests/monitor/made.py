"""A whole snapshot to begin from, and the moment that it is of."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sealgate.engines.counts import bound_names
from sealgate.monitor.snapshot import (
    Authority,
    ByKind,
    Certificate,
    Client,
    Drift,
    EngineFacts,
    Listener,
    ListFacts,
    Renewal,
    SiteFacts,
    Snapshot,
    Trouble,
    Workers,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def held(left: float = 40.0, life: float = 47.0, *, source: str = "private") -> Certificate:
    """A certificate with so many days left."""
    end = NOW + left * DAY
    begin = end - life * DAY
    return Certificate(source, "ab" * 32, begin, end, ("api.example.com", "*.example.com"), "CN=x", begin)


def listener(certificate: Certificate, problem: str = "", **changes: Any) -> Listener:
    """An HTTPS listener that shows it."""
    made = Listener(
        "127.0.0.1:8443",
        "https",
        problem,
        NOW,
        certificate.fingerprint,
        certificate.not_before,
        certificate.not_after,
        certificate.names,
        "TLSv1.3",
    )
    return replace(made, **changes)


def by_kind(first: Certificate, second: Certificate, problem: str = "") -> tuple[ByKind, ByKind]:
    """What clients of each kind see; ``problem``: with the second one."""
    ecdsa = ByKind("ecdsa", "", first.fingerprint, first.not_before, first.not_after)
    return ecdsa, ByKind("rsa", problem, second.fingerprint, second.not_before, second.not_after)


def snapshot(**changes: Any) -> Snapshot:
    """All is well."""
    certificate = changes.get("certificate", held())
    made = Snapshot(
        at=NOW,
        version="0.1.0",
        site=SiteFacts("api.example.com", "https://api.example.com", "intermediate@6.0", "2026-01-01"),
        engine=EngineFacts("envoy", "Envoy", "1.40.0", "running", ends="2027-10-13", data="2026-10-20"),
        keeper=True,
        pid=4711,
        started=NOW - 3 * DAY,
        generation=7,
        certificate=certificate,
        listeners=(
            *((listener(certificate),) if certificate else ()),
            Listener("127.0.0.1:8080", "http", "", NOW),
        ),
        authorities=(Authority("root", "CN=Sealgate root", "cd" * 32, NOW - DAY, NOW + 3649 * DAY),),
        renewals=(Renewal("server", NOW - DAY, ok=True, fact="certificate-issued"),),
        renewed=2,
        failed=1,
        workers=Workers(2, 2),
        counters=(("handshakes", "TLSv1.3", 9),),
    )
    return replace(made, **changes)


def everything() -> Snapshot:
    """Every part has something in it."""
    second = replace(held(30.0), key="RSA 3072")
    return snapshot(
        listeners=(listener(held(), kinds=by_kind(held(), second)),),
        lists=(ListFacts("partners", NOW - DAY, NOW + DAY, 3),),
        clients=(Client("CN=alice", "01", NOW - 80 * DAY, NOW + 10 * DAY),),
        drift=(Drift("policy-changed", "changed", "reload"),),
        second=second,
        missing=("rsa-3072",),
        servers=("nginx",),
        watcher=True,
        counters=(
            ("handshakes", "TLSv1.3", 9),
            ("requests", "2xx", 12345),
            ("requests", "4xx", 3),
            ("denials", "path-not-canonical", 2),
            *(("server_seconds", bound, 823) for bound in bound_names()),
            ("server_seconds", "nanoseconds", 5_000_000_000),
        ),
        troubles=(Trouble("store", "store-locked", "held open"),),
    )
