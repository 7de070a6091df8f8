"""What is wrong, by tables of cases and by properties over any share of a life."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.monitor.judge import CODES, Alert, Severity, judge, silent
from sealgate.monitor.snapshot import (
    Authority,
    Client,
    Drift,
    ListFacts,
    Renewal,
    Snapshot,
    Trouble,
    Workers,
)
from tests.monitor.made import DAY, NOW, by_kind, everything, held, listener, snapshot

W, E, C = Severity.WARNING, Severity.ERROR, Severity.CRITICAL


def found(one: Snapshot, now: datetime = NOW) -> dict[str, Severity]:
    """Severity by key."""
    return {alert.key: alert.severity for alert in judge(one, now)}


def test_when_all_is_well_nothing_is_said() -> None:
    assert judge(snapshot(), NOW) == ()


@pytest.mark.parametrize(
    ("left", "severity"),
    [(31.0, None), (15.6, None), (14.6, W), (7.9, W), (7.8, E), (4.8, E), (4.6, C), (0.01, C), (-1.0, C)],
)
def test_a_certificate_gets_louder_at_a_third_a_sixth_and_a_tenth(
    left: float, severity: Severity | None
) -> None:
    alerts = found(snapshot(certificate=held(left)))
    assert alerts.get("certificate-expiring") == severity
    assert set(alerts) <= {"certificate-expiring"}  # not once more for each listener that shows it


@pytest.mark.parametrize("life", [0.25, 6.6, 47, 90, 398])
def test_at_the_time_of_a_renewal_there_is_time_for_it(life: float) -> None:
    """Nobody is told at the very moment at which the keeper renews."""
    assert judge(snapshot(certificate=held(life / 3 - life / 100, life)), NOW) == ()


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.01, 4000))
def test_less_time_is_never_less_bad(one: float, other: float, life: float) -> None:
    near, far = sorted((one, other))
    loud = [found(snapshot(certificate=held(share * life, life))) for share in (near, far)]
    assert loud[0].get("certificate-expiring", 0) >= loud[1].get("certificate-expiring", 0)


def test_a_life_of_no_length_is_over() -> None:
    assert found(snapshot(certificate=held(0, 0))) == {"certificate-expiring": C}


def test_another_certificate_than_the_live_one_is_its_own_alert_and_judged_by_what_is_shown() -> None:
    old = replace(held(2), fingerprint="ee" * 32)
    shown = listener(old, "serves certificate eeeeeeeeeeeeeeee, not abababababababab")
    alerts = found(snapshot(listeners=(shown,)))
    assert alerts == {"certificate-not-served 127.0.0.1:8443": C, "certificate-expiring 127.0.0.1:8443": C}


def test_where_nothing_is_stored_what_is_shown_counts() -> None:
    alerts = found(snapshot(certificate=None, listeners=(listener(held(5)),)))
    assert alerts == {"certificate-expiring 127.0.0.1:8443": E}


CASES: dict[str, tuple[dict[str, Any], dict[str, Severity]]] = {
    "stand-in": ({"certificate": held(1, source="stand-in")}, {"certificate-missing": C}),
    "silent listener": (
        {"listeners": (listener(held(), "no TLS handshake", fingerprint=""),)},
        {"not-served 127.0.0.1:8443": C},
    ),
    "engine down, said once": (
        {
            "engine": replace(snapshot().engine, state="down"),
            "listeners": (listener(held(), "no TLS handshake", fingerprint=""),),
        },
        {"engine-down": C},
    ),
    "untested": ({"engine": replace(snapshot().engine, tested=False)}, {"engine-untested": W}),
    "fixes end soon": ({"engine": replace(snapshot().engine, ends="2027-01-01")}, {"engine-ended": W}),
    "last day of fixes": ({"engine": replace(snapshot().engine, ends="2026-11-22")}, {"engine-ended": W}),
    "fixes ended": ({"engine": replace(snapshot().engine, ends="2026-11-21")}, {"engine-ended": E}),
    "authority, years left": (
        {"authorities": (Authority("root", "CN=r", "a", NOW - 3000 * DAY, NOW + 650 * DAY),)},
        {},
    ),
    "authority, a year left": (
        {"authorities": (Authority("root", "CN=r", "a", NOW - 3290 * DAY, NOW + 360 * DAY),)},
        {"authority-expiring root a": W},
    ),
    "authority ended": (
        {"authorities": (Authority("partners", "CN=p", "b", NOW - 3650 * DAY, NOW - DAY),)},
        {"authority-expiring partners b": C},
    ),
    "fresh list": ({"lists": (ListFacts("p", NOW - DAY, NOW + 6 * DAY, 0),)}, {}),
    "list soon stale": ({"lists": (ListFacts("p", NOW - 6 * DAY, NOW + DAY, 0),)}, {"list-stale p": W}),
    "stale list": ({"lists": (ListFacts("p", NOW - 7 * DAY, NOW - DAY, 0),)}, {"list-stale p": C}),
    "list that never says": ({"lists": (ListFacts("p", NOW - 7 * DAY, None, 0),)}, {}),
    "clients": (
        {"clients": (Client("CN=alice", "1", NOW - 89 * DAY, NOW + DAY),)},
        {"clients-expiring": W},
    ),
    "failed renewal": (
        {"renewals": (Renewal("server", NOW, ok=False, code="state-full", fact="no space"),)},
        {"renewal-failing": W},
    ),
    "failed by force, an hour ago, years left": (
        {
            "certificate": replace(held(4000, 4700), due=NOW + 2000 * DAY),
            "renewals": (Renewal("server", NOW - DAY / 24, ok=False, code="x", fact="f"),),
        },
        {},
    ),
    "failed just now, years left": (
        {
            "certificate": replace(held(4000, 4700), due=NOW + 2000 * DAY),
            "renewals": (Renewal("server", NOW - DAY / 25, ok=False, code="x", fact="f"),),
        },
        {"renewal-failing": W},
    ),
    "failed long ago, and due": (
        {"renewals": (Renewal("server", NOW - 9 * DAY, ok=False, code="x", fact="f"),)},
        {"renewal-failing": W},
    ),
    "failed, then renewed": (
        {"renewals": (Renewal("server", NOW, ok=True), Renewal("server", NOW - DAY, ok=False, code="x"))},
        {},
    ),
    "some workers": ({"workers": Workers(4, 3)}, {"workers-lacking": E}),
    "no workers": ({"workers": Workers(4, 0)}, {"workers-lacking": C}),
    "one more, while rolling": ({"workers": Workers(4, 5)}, {}),
    "policy changed": ({"drift": (Drift("policy-changed", "f", "r"),)}, {"drift policy-changed f": W}),
    "file edited": ({"drift": (Drift("file-edited", "f", "r"),)}, {"drift file-edited f": E}),
    "trouble": ({"troubles": (Trouble("store", "store-locked", "f"),)}, {"not-gathered store": E}),
}


@pytest.mark.parametrize("name", CASES)
def test_cases(name: str) -> None:
    changes, expected = CASES[name]
    assert found(snapshot(**changes)) == expected


def test_every_code_is_known_and_every_sentence_has_a_way_out() -> None:
    seen: dict[str, Alert] = {}
    for changes, _ in CASES.values():
        seen |= {alert.code: alert for alert in judge(snapshot(**changes), NOW)}
    seen |= {alert.code: alert for alert in judge(snapshot(certificate=held(1)), NOW)}
    other = listener(replace(held(2), fingerprint="e"), "serves another")
    seen |= {alert.code: alert for alert in judge(snapshot(listeners=(other,)), NOW)}
    seen["keeper-silent"] = silent(61)
    assert set(seen) == set(CODES)
    for alert in seen.values():
        assert "; " in alert.sentence, alert
        assert not alert.sentence.endswith("."), alert


def test_keys_tell_alerts_apart() -> None:
    keys = [alert.key for alert in judge(everything(), NOW + timedelta(days=45))]
    assert len(keys) == len(set(keys))


def test_a_remedy_is_the_error_s_own_and_no_page_that_nobody_has() -> None:
    failed = Renewal("server", NOW, ok=False, code="state-full", fact="no space", remedy="make room")
    trouble = Trouble("store", "store-locked", "held open", "end the other process")
    alerts = judge(snapshot(renewals=(failed,), troubles=(trouble,)), NOW)
    assert [one.sentence.rpartition("; ")[2] for one in alerts] == ["end the other process", "make room"]
    bare = judge(
        snapshot(renewals=(replace(failed, remedy=""),), troubles=(replace(trouble, remedy=""),)), NOW
    )
    assert not any("docs/errors" in one.sentence for one in bare)


def test_whose_log_it_is() -> None:
    dead = (listener(held(), "no TLS handshake", fingerprint=""),)
    away = replace(snapshot(listeners=dead, keeper=False), engine=replace(snapshot().engine, state="unknown"))
    assert judge(replace(away, servers=("nginx",)), NOW)[0].sentence.endswith("look at nginx's log")
    assert "your own server" in judge(away, NOW)[0].sentence


def test_two_certificates_end_each_by_itself() -> None:
    two = snapshot(second=held(7.0))
    assert found(two) == {"certificate-expiring second": E}
    assert found(replace(two, certificate=held(4.0), second=held(40.0)))["certificate-expiring"] == C
    (alert,) = judge(two, NOW)
    assert "the second certificate for api.example.com ends" in alert.sentence


def test_a_second_one_that_is_not_served_is_told_although_the_first_is() -> None:
    first, second = held(40.0), replace(held(41.0), fingerprint="cd" * 32)
    problem = "serves no certificate to clients that take RSA signatures alone"
    seen = listener(first, problem, kinds=by_kind(first, second, problem))
    (alert,) = judge(snapshot(second=second, listeners=(seen,)), NOW)
    assert (alert.code, alert.severity) == ("certificate-not-served", C)
    assert "RSA" in alert.sentence
    # An older one in its place, which ends soon: its date is told too, and the first's is not.
    older = replace(seen, kinds=by_kind(first, held(2.0), problem))
    assert found(snapshot(second=second, listeners=(older,))) == {
        "certificate-not-served 127.0.0.1:8443": C,
        "certificate-expiring 127.0.0.1:8443/rsa": C,
    }


def test_one_of_two_that_is_missing_is_said_with_patience() -> None:
    (alert,) = judge(snapshot(missing=("rsa-3072",)), NOW)
    assert (alert.key, alert.severity) == ("certificate-missing rsa-3072", E)
    assert alert.patience >= 60
    stands_in = snapshot(certificate=held(source="stand-in"), missing=("rsa-3072",))
    assert found(stands_in) == {"certificate-missing": C}


def test_a_renewal_of_one_that_fails_is_told_although_the_other_is_not_due() -> None:
    failed = Renewal("server", NOW - 0.2 * DAY, ok=False, code="acme-refused", fact="no")
    well = replace(held(40.0), due=NOW + DAY)
    assert found(snapshot(certificate=well, renewals=(failed,))) == {}
    for two in (
        snapshot(certificate=well, second=held(15.6), renewals=(failed,)),
        snapshot(certificate=well, missing=("rsa-3072",), renewals=(failed,)),
    ):
        assert "renewal-failing" in found(two)
