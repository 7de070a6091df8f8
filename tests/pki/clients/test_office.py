"""Issuing, revoking, and the list: what the store holds is what counts."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from sealgate._system.clock import Clock
from sealgate.errors import CertificateError, UsageError
from sealgate.pki.client_trust import ensure_client_trust
from sealgate.pki.clients import office
from sealgate.pki.clients.listing import membership_keys, revocation_keys, write_list
from sealgate.pki.clients.naming import Asked
from sealgate.pki.clients.office import Application, Issued, issue, release, renew, revoke
from sealgate.pki.clients.orders import carry_out
from sealgate.pki.clients.register import REASONS, Register
from sealgate.pki.crl import number_of
from sealgate.pki.keys import generate, spki
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.policy.identity import membership_key, revocation_key
from sealgate.policy.model import Clients, Policy
from tests.pki.making import DAY, NOW, openssl, write

POLICY = Policy(clients=Clients(groups={"ops": (), "night": ()}))


def at(now: datetime) -> Clock:
    return lambda: now


def application(name: str, **asked: object) -> Application:
    return Application(Asked(name=name, **asked), spki(generate("ecdsa-p256")))  # type: ignore[arg-type]


def one(state: State, name: str, clock, **asked: object) -> Issued:
    (issued,) = issue(state, POLICY, [application(name, **asked)], clock)
    assert issued is not None
    return issued


def the_list(state: State) -> x509.CertificateRevocationList:
    return x509.load_pem_x509_crl((state.live_clients / "crl.pem").read_bytes())


def listed(state: State) -> dict[int, object]:
    found: dict[int, object] = {}
    for entry in the_list(state):
        reasons = [e.value.reason for e in entry.extensions if isinstance(e.value, x509.CRLReason)]
        found[entry.serial_number] = reasons[0] if reasons else None
    return found


def verified(state: State, folder: Path, pem: str, now=NOW) -> bytes:
    """What openssl says of a leaf, against what the engines are given, list and all."""
    ensure_client_trust(state, POLICY, lambda: now)
    words = ["-x509_strict", "-purpose", "sslclient", "-attime", int(now.timestamp()), "-crl_check_all"]
    trust, crl = state.live_clients / "trust.pem", state.live_clients / "crl.pem"
    words += ["-CAfile", trust, "-CRLfile", crl, write(folder / "leaf.pem", pem.encode())]
    done = openssl("verify", *words)
    return done.stdout + done.stderr


def test_what_was_issued_is_in_the_store_and_openssl_takes_it(state: State, clock, tmp_path: Path) -> None:
    names = {"dns": ("a.example.org",), "uris": ("spiffe://example.org/a",), "emails": ("a@example.org",)}
    issued = one(state, "alice", clock, groups=("ops",), days=30, **names)
    leaf = x509.load_pem_x509_certificate(issued.held.pem.encode())
    assert leaf.not_valid_after_utc - NOW == 30 * DAY - timedelta(hours=1, seconds=1)
    assert leaf.serial_number.bit_length() > 64
    with Store.open(state.store, read_only=True) as store:
        assert Register(store).named("alice") == [issued.held]
        assert store.certificates(kind="client")[0].pem == issued.held.pem
    assert issued.held.groups == ("ops",)
    write_list(state, POLICY, clock)
    assert verified(state, tmp_path, issued.chain).endswith(b": OK\n")


def test_nobody_is_issued_where_one_is_wrong(state: State, clock) -> None:
    for wrong in (application("a\nb"), application("alice")):
        with pytest.raises(UsageError):
            issue(state, POLICY, [application("alice"), wrong], clock)
    weak = Application(Asked(name="bob"), b"\x30\x00")
    with pytest.raises(CertificateError):
        issue(state, POLICY, [application("alice"), weak], clock)
    with Store.open(state.store) as store:
        assert Register(store).all() == []


def test_more_than_can_be_judged_at_once(state: State, clock) -> None:
    with pytest.raises(UsageError):
        issue(state, POLICY, [application("alice")] * 1001, clock)


def test_a_name_once_until_it_ended_or_was_revoked(state: State, clock) -> None:
    one(state, "Alice", clock)
    for name in ("Alice", "alice", "\uff21lice"):
        with pytest.raises(UsageError, match="client renew") as caught:
            one(state, name, clock)
        assert caught.value.code == "client-exists"
    assert issue(state, POLICY, [application("alice")], clock, skipping=True) == [None]
    revoke(state, "alice", "superseded", clock)
    one(state, "alice", clock)
    one(state, "alice", lambda: NOW + 91 * DAY)


def test_a_group_that_the_policy_does_not_name_is_refused(state: State, clock) -> None:
    for group, remedy in (("nigth", 'did you mean "night"?'), ("all", "put `all = []`")):
        with pytest.raises(UsageError) as caught:
            one(state, "alice", clock, groups=("ops", group))
        assert caught.value.code == "client-group"
        assert remedy in str(caught.value)
    one(state, "alice", clock, groups=("ops",))
    key = spki(generate("ecdsa-p256"))
    assert renew(state, Policy(), "alice", key, clock).held.groups == ("ops",), "it says nothing, and is kept"


def test_who_is_in_a_group_is_told_until_its_end(state: State, clock) -> None:
    assert membership_keys(state, clock) == []
    ann = one(state, "ann", clock, groups=("ops", "night"), days=30).held
    one(state, "ben", clock)
    by = revocation_key(bytes.fromhex(ann.issuer_key), int(ann.serial, 16))
    assert set(membership_keys(state, clock)) == {membership_key(by, "ops"), membership_key(by, "night")}
    assert membership_keys(state, lambda: NOW + 31 * DAY) == []


def test_renewing_keeps_names_groups_and_days(state: State, clock) -> None:
    first = one(state, "alice", clock, common_name="Alice", groups=("ops",), days=7, uris=("urn:x:y",))
    key = spki(generate("ecdsa-p256"))
    second = renew(state, POLICY, "alice", key, lambda: NOW + 5 * DAY, own_key=False)
    assert second.held.asked == first.held.asked
    assert second.held.serial != first.held.serial
    assert not second.held.own_key
    chosen = revoke(state, "alice", "key-compromise", lambda: NOW + 5 * DAY)
    assert {each.serial for each in chosen} == {first.held.serial, second.held.serial}
    with pytest.raises(UsageError) as caught:
        renew(state, POLICY, "alice", key, lambda: NOW + 6 * DAY)
    assert caught.value.code == "client-revoked"
    with pytest.raises(UsageError) as caught:
        renew(state, POLICY, "alcie", key, clock)
    assert (caught.value.code, caught.value.details["nearest"]) == ("client-unknown", "alice")


def test_revoking(state: State, clock, tmp_path: Path) -> None:
    alice, bob = one(state, "alice", clock), one(state, "bob", clock)
    assert write_list(state, POLICY, clock)
    assert not write_list(state, POLICY, clock), "nothing is due"
    assert listed(state) == {}
    (chosen,) = revoke(state, alice.held.serial[:8].lower(), "key-compromise", clock)
    assert chosen.name == "alice"
    assert write_list(state, POLICY, clock, anew=True)
    serial = int(alice.held.serial, 16)
    assert listed(state) == {serial: x509.ReasonFlags.key_compromise}
    assert b"certificate revoked" in verified(state, tmp_path, alice.held.pem)
    assert verified(state, tmp_path, bob.held.pem).endswith(b": OK\n")
    with pytest.raises(UsageError, match=r"was revoked on 2030-03-01 12:00 UTC \(key-compromise\)"):
        revoke(state, "alice", "superseded", lambda: NOW + DAY)


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason(state: State, clock, reason: str) -> None:
    alice = one(state, "alice", clock)
    revoke(state, "alice", reason, clock)
    write_list(state, POLICY, clock, anew=True)
    assert listed(state) == {int(alice.held.serial, 16): REASONS[reason]}


def test_what_cannot_be_revoked(state: State, clock) -> None:
    one(state, "alice", clock)
    cases = (
        ("alice", "superceded", NOW, "client-reason"),
        ("alice", "ca-compromise", NOW, "client-reason"),
        ("bob", "superseded", NOW, "client-unknown"),
        ("alice", "superseded", NOW + 100 * DAY, "client-expired"),
    )
    for which, reason, now, code in cases:
        with pytest.raises(UsageError) as caught:
            revoke(state, which, reason, at(now))
        assert caught.value.code == code


def test_hold_and_release(state: State, clock) -> None:
    alice = one(state, "alice", clock)
    serial = int(alice.held.serial, 16)
    with pytest.raises(UsageError) as caught:
        release(state, "alice", clock)
    assert caught.value.code == "client-not-held"
    revoke(state, "alice", "certificate-hold", clock)
    write_list(state, POLICY, clock, anew=True)
    assert listed(state) == {serial: x509.ReasonFlags.certificate_hold}
    with pytest.raises(UsageError, match="was put on hold on"):
        revoke(state, "alice", "certificate-hold", clock)
    with pytest.raises(UsageError, match="has a certificate until"):
        one(state, "alice", clock)
    release(state, "alice", clock)
    write_list(state, POLICY, clock, anew=True)
    assert listed(state) == {}
    revoke(state, "alice", "certificate-hold", clock)
    revoke(state, "alice", "key-compromise", clock)
    with pytest.raises(UsageError):
        release(state, "alice", clock)
    write_list(state, POLICY, clock, anew=True)
    assert listed(state) == {serial: x509.ReasonFlags.key_compromise}


def test_numbers_rise_whatever_becomes_of_the_file_and_the_clock(state: State, clock) -> None:
    numbers = []
    path = state.live_clients / "crl.pem"
    for step, now in enumerate((NOW, NOW, NOW - timedelta(minutes=30), NOW)):
        write_list(state, POLICY, at(now), anew=True)
        numbers.append(number_of(the_list(state)))
        if step % 2:
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:100])
    assert numbers == sorted(set(numbers))


def test_it_is_made_anew_at_half_of_its_life(state: State, clock) -> None:
    write_list(state, POLICY, clock)
    assert not write_list(state, POLICY, lambda: NOW + timedelta(hours=11))
    assert write_list(state, POLICY, lambda: NOW + timedelta(hours=13))


def test_a_store_from_a_backup_takes_over_who_was_revoked_since(state: State, clock) -> None:
    """Known ones, some issued since, and one on hold; nobody comes back, and a hold can be released."""
    ann, ben = (one(state, name, clock).held for name in ("ann", "ben"))
    write_list(state, POLICY, clock, anew=True)
    with closing(sqlite3.connect(state.store)) as store, closing(sqlite3.connect(state.path / "b")) as backup:
        store.backup(backup)
    eve = one(state, "eve", clock).held
    for name, reason in (("ann", "key-compromise"), ("eve", "superseded"), ("ben", "certificate-hold")):
        revoke(state, name, reason, clock)
    write_list(state, POLICY, clock, anew=True)
    before, number = listed(state), number_of(the_list(state))
    assert len(before) == 3
    with closing(sqlite3.connect(state.store)) as store, closing(sqlite3.connect(state.path / "b")) as backup:
        backup.backup(store)
    said: list[str] = []
    assert write_list(state, POLICY, clock, anew=True, say=said.append)
    assert listed(state) == before
    assert number_of(the_list(state)) > number
    (told,) = said
    assert "3 more were taken over as revoked" in told
    assert "not known here" in told
    keys = {revocation_key(bytes.fromhex(held.issuer_key), int(held.serial, 16)) for held in (ann, ben, eve)}
    assert set(revocation_keys(state, clock)) == keys
    with Store.open(state.store, read_only=True) as again:
        assert [held.reason for held in Register(again).named("ann")] == ["key-compromise"]
        assert Register(again).named("eve") == []
    release(state, "ben", clock)
    write_list(state, POLICY, clock, anew=True, say=said.append)
    assert set(listed(state)) == {int(ann.serial, 16), int(eve.serial, 16)}
    assert len(said) == 1


@pytest.mark.parametrize("what", ("crlf", "text", "renew"))
def test_a_list_that_went_through_an_editor_counts_and_nobody_is_renewed_first(
    state: State, clock, what: str
) -> None:
    one(state, "ann", clock)
    write_list(state, POLICY, clock, anew=True)
    old = state.store.read_bytes()
    revoke(state, "ann", "key-compromise", clock)
    write_list(state, POLICY, clock, anew=True)
    path = state.live_clients / "crl.pem"
    state.store.write_bytes(old)
    if what == "renew":
        with pytest.raises(UsageError) as caught:
            renew(state, POLICY, "ann", spki(generate("ecdsa-p256")), clock)
        assert caught.value.code == "client-revoked"
        return
    pem = path.read_bytes()
    path.write_bytes(pem.replace(b"\n", b"\r\n") if what == "crlf" else b"of a backup\n" + pem + b"\n")
    said: list[str] = []
    write_list(state, POLICY, clock, anew=True, say=said.append)
    assert "1 more were taken over" in said[0]
    assert len(listed(state)) == 1


def test_a_damaged_list_is_told(state: State, clock) -> None:
    one(state, "ann", clock)
    write_list(state, POLICY, clock, anew=True)
    path = state.live_clients / "crl.pem"
    path.write_bytes(path.read_bytes()[:-40])
    said: list[str] = []
    write_list(state, POLICY, clock, anew=True, say=said.append)
    assert "is damaged and is made anew" in said[0]
    assert listed(state) == {}


def test_a_list_of_an_earlier_day_takes_nobody_over(state: State, clock) -> None:
    one(state, "ann", clock)
    revoke(state, "ann", "certificate-hold", clock)
    write_list(state, POLICY, clock, anew=True)
    old = (state.live_clients / "crl.pem").read_bytes()
    release(state, "ann", clock)
    write_list(state, POLICY, clock, anew=True)
    (state.live_clients / "crl.pem").write_bytes(old)
    said: list[str] = []
    write_list(state, POLICY, clock, anew=True, say=said.append)
    assert (listed(state), said) == ({}, [])


def test_who_ended_stays_for_one_more_list(state: State, clock) -> None:
    alice = one(state, "alice", clock, days=1)
    serial = int(alice.held.serial, 16)
    revoke(state, "alice", "superseded", clock)
    write_list(state, POLICY, clock, anew=True)
    later = NOW + 2 * DAY
    write_list(state, POLICY, lambda: later, anew=True)
    assert serial in listed(state), "RFC 5280 3.3: once after its end"
    write_list(state, POLICY, lambda: later + timedelta(hours=13))
    assert listed(state) == {}


def test_a_serial_that_several_have(state: State, clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(office, "_SERIAL_LEAST", 0)
    one(state, "alice", clock)
    one(state, "bob", clock)
    with Store.open(state.store) as store, pytest.raises(UsageError) as caught:
        office.found(Register(store), "")
    assert caught.value.code == "client-ambiguous"


@pytest.mark.parametrize("what", ["serial", "fingerprint"])
def test_a_name_like_the_beginning_of_anothers_serial(state: State, clock, what: str) -> None:
    """Whoever chose the name would be revoked in the other's place."""
    alice = one(state, "alice", clock).held
    text = getattr(alice, what)
    one(state, text[:12], clock)
    for order in (office.revoke, office.release):
        words = ("unspecified", clock) if order is office.revoke else (clock,)
        with pytest.raises(UsageError) as caught:
            order(state, text[:12], *words)
        assert caught.value.code == "client-ambiguous"
    assert [held.name for held in office.revoke(state, text, "unspecified", clock)] == ["alice"]


def test_orders_of_a_stranger(state: State, clock) -> None:
    """Whoever speaks to the keeper may send anything; nothing is issued for it."""
    asked = {"name": "alice"}
    key = "MA=="
    for order in (
        *({}, {"order": "client"}, {"order": "client-issue"}, {"order": "client-issue", "applications": [1]}),
        {"order": "client-issue", "applications": [{}]},
        {"order": "client-issue", "applications": [{"asked": asked}]},
        {"order": "client-issue", "applications": [{"asked": asked, "spki": "?"}]},
        {"order": "client-issue", "applications": [{"asked": asked, "spki": key}]},
        {"order": "client-issue", "applications": [{"asked": {"name": 1}, "spki": key}]},
        *({"order": "client-renew", "which": None}, {"order": "client-revoke"}, {"order": "client-release"}),
    ):
        with pytest.raises((UsageError, CertificateError)):
            carry_out(order, state=state, policy=POLICY, clock=clock)


def test_twenty_entries(state: State, clock) -> None:
    """The list is made from the store alone: no certificate is parsed for it."""
    issued = issue(state, POLICY, [application(f"c{n}") for n in range(20)], clock)
    for each in issued:
        assert each is not None
        revoke(state, each.held.serial, "unspecified", clock)
    write_list(state, POLICY, clock, anew=True)
    assert set(listed(state)) == {int(each.held.serial, 16) for each in issued if each}
