"""What people read, where Sealgate does not serve itself, and of lives, addresses and names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sealgate.monitor.judge import judge
from sealgate.monitor.snapshot import ByKind, Renewal, Snapshot
from sealgate.monitor.words import Row, View, common_name, view
from tests.monitor.made import DAY, NOW, by_kind, held, listener, snapshot


def beside(**changes: Any) -> Snapshot:
    """Nobody's keeper runs."""
    engine = replace(snapshot().engine, version="", state="unknown", ends="")
    return replace(snapshot(), keeper=False, pid=0, started=None, workers=None, engine=engine, **changes)


def shown(one: Snapshot) -> View:
    return view(one, judge(one, NOW), NOW)


def rows(one: View, section: str) -> tuple[Row, ...]:
    return next(found.rows for found in one.sections if found.id == section)


def told(one: View) -> str:
    return " ".join(cell for row in rows(one, "server") for cell in row.cells)


def test_beside_a_server_that_was_applied_to_nothing_is_amber() -> None:
    engine = replace(snapshot().engine, id="nginx", title="nginx", version="1.26.3", state="unknown")
    one = shown(replace(beside(servers=("nginx",), watcher=True), engine=engine))
    assert (one.state, one.verdict) == ("good", "All is well")
    assert "served by nginx; renewed by `sealgate apply`" in told(one)
    assert {row.state for row in rows(one, "server")} <= {"good", "plain"}


def test_when_it_is_down_nobody_is_told_to_start_a_keeper() -> None:
    dead = (listener(held(), "no TLS handshake", fingerprint=""),)
    for one in (beside(listeners=dead, servers=("nginx",)), beside(listeners=dead, watcher=True)):
        assert shown(one).verdict == "1 thing needs a look"
        assert "sealgate serve" not in told(shown(one))
    assert shown(beside(listeners=dead)).verdict == "No keeper runs"
    assert "sealgate serve" in told(shown(beside(listeners=dead)))


def test_who_serves_is_not_known_by_a_policy_s_word() -> None:
    one = shown(beside())
    assert "who serves is not known" in told(one)
    assert ("server", "not known") in one.facts


def test_a_share_is_what_is_left() -> None:
    assert rows(shown(snapshot(certificate=held(47, 47))), "certificates")[0].share == 1
    assert rows(shown(snapshot(certificate=held(-1, 47))), "certificates")[0].share == 0


def test_columns_in_which_nothing_stands_are_left_out() -> None:
    (columns,) = [one.columns for one in shown(snapshot()).sections if one.id == "renewals"]
    assert columns == ("when", "what")
    failed = Renewal("server", NOW - DAY, ok=False, code="x", fact="f", about="a.test", source="ACME")
    (section,) = [one for one in shown(snapshot(renewals=(failed,))).sections if one.id == "renewals"]
    assert section.columns == ("when", "what", "for", "detail")
    assert section.rows[0].cells == ("1 day ago", "server certificate (ACME)", "a.test", "x: f")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:8443", "https://127.0.0.1:8443"),
        ("0.0.0.0:5001", "every IPv4 address, port 5001 (https)"),
        ("[::]:5001", "every address, port 5001 (https)"),
    ],
)
def test_addresses(address: str, said: str) -> None:
    one = snapshot(listeners=(listener(held(), address=address),))
    assert rows(shown(one), "listeners")[0].cells[0] == said


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("CN=Sealgate root 30e6,O=Sealgate", "Sealgate root 30e6"),
        ("CN=a\\,b,O=x", "a\\,b"),
        ("O=x", "O=x"),
        ("CN=", "CN="),
    ],
)
def test_common_names(subject: str, said: str) -> None:
    assert common_name(subject) == said


def test_the_worst_first_only_where_there_are_several() -> None:
    one = snapshot(engine=replace(snapshot().engine, state="down"))
    assert "worst" not in shown(one).detail


def test_two_certificates_have_a_row_and_a_state_each() -> None:
    two = snapshot(certificate=replace(held(40), key="ECDSA P-256"), second=replace(held(7), key="RSA 3072"))
    first, second = rows(shown(two), "certificates")[:2]
    assert ("ECDSA P-256" in first.cells[1], first.state) == (True, "good")
    assert ("RSA 3072" in second.cells[1], second.state) == (True, "bad")
    assert dict(shown(two).facts)["certificate"] == second.word


def test_of_two_certificates_each_is_shown_as_clients_of_its_kind_see_it() -> None:
    first, second = held(40), replace(held(30), key="RSA 3072")
    well = listener(first, kinds=by_kind(first, second))
    main, ecdsa, rsa, _ = rows(shown(snapshot(second=second, listeners=(well, well))), "listeners")[:4]
    assert [row.cells[0] for row in (main, ecdsa, rsa)] == [
        "https://127.0.0.1:8443",
        "https://127.0.0.1:8443, ECDSA",
        "https://127.0.0.1:8443, RSA",
    ]
    assert rsa.cells[1] == f"until {second.not_after:%Y-%m-%d}"
    assert rsa.state == "good"
    assert rsa.share == pytest.approx(30 / 47)
    problem = "serves no certificate to clients that take RSA signatures alone"
    unseen = ByKind("rsa", problem)
    bad = snapshot(second=second, listeners=(listener(first, problem, kinds=(well.kinds[0], unseen)),))
    _, ecdsa, rsa = rows(shown(bad), "listeners")
    assert (ecdsa.word, rsa.word, rsa.state, rsa.cells[1]) == ("as meant", "wrong", "bad", problem)
    # What a listener shows instead is no word on what is stored.
    stale = snapshot(listeners=(listener(held(2), "serves another"),), certificate=held(40))
    assert rows(shown(stale), "certificates")[0].state == "good"
