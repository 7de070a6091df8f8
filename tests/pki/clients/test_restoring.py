"""A state directory that came from a backup, as a whole: nobody who was revoked since is let in."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from sealgate._system.caches import cache_folder
from sealgate.errors import CertificateError, UsageError
from sealgate.pki.clients.listing import write_list
from sealgate.pki.clients.naming import LONGEST_DAYS
from sealgate.pki.clients.office import found, release, revoke
from sealgate.pki.clients.orders import carry_out
from sealgate.pki.clients.register import Register
from sealgate.pki.clients.restoring import listed as entries_of
from sealgate.pki.clients.restoring import own_list_of
from sealgate.pki.crl import HIGHEST, number_of
from sealgate.pki.inspect import issuer_key_hash
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.pki.vault import load_certificates
from sealgate.pki.witness import Witness
from tests.pki.clients.test_office import POLICY, at, listed, one, the_list
from tests.pki.making import DAY, NOW


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of its own."""
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    monkeypatch.setenv("SEALGATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def state(cache: Path, tmp_path: Path) -> State:
    return State.open(tmp_path / "state")


def backed_up(state: State) -> Path:
    return Path(shutil.copytree(state.path, state.path.with_name("backup"), symlinks=True))


def restored(state: State, *, process: bool = True) -> State:
    """The whole directory as it was; by another process, or under one that goes on."""
    shutil.rmtree(state.path)
    shutil.copytree(state.path.with_name("backup"), state.path, symlinks=True)
    return State.open(state.path) if process else state


def held(state: State, name: str):
    with Store.open(state.store) as store:
        return Register(store).named(name)


def test_whoever_was_revoked_since_stays_out(state: State, clock) -> None:
    ann, ben = (one(state, name, clock).held for name in ("ann", "ben"))
    write_list(state, POLICY, clock, anew=True)
    backed_up(state)
    eve = one(state, "eve", clock).held
    for name, reason in (("ann", "key-compromise"), ("eve", "superseded")):
        revoke(state, name, reason, clock)
    write_list(state, POLICY, clock, anew=True)
    before, number = listed(state), number_of(the_list(state))
    again = restored(state)
    said: list[str] = []
    # The clock was turned back with it: numbers rise all the same.
    assert write_list(again, POLICY, lambda: NOW - timedelta(minutes=30), anew=True, say=said.append)
    (told,) = said
    assert told.startswith("state-restored: ")
    assert f"list {number} " in told
    assert "2 more were taken over as revoked" in told
    assert set(listed(again)) == set(before) == {int(ann.serial, 16), int(eve.serial, 16)}
    assert number < number_of(the_list(again)) < 2**159, "RFC 5280 5.2.3: 20 octets"
    assert [each.reason for each in held(again, "ann")] == ["key-compromise"]
    assert held(again, "ben") == [ben]
    write_list(again, POLICY, clock, anew=True, say=said.append)
    assert len(said) == 1


def test_a_process_that_goes_on_does_not_wait_until_the_list_is_due(state: State, clock) -> None:
    for files in (("store.db",), ("live/clients/crl.pem",), ("store.db", "live/clients/crl.pem")):
        name = f"ann-{len(files)}-{files[0][0]}"
        serial = int(one(state, name, clock).held.serial, 16)
        write_list(state, POLICY, clock, anew=True)
        shutil.rmtree(state.path.with_name("backup"), ignore_errors=True)
        backup = backed_up(state)
        revoke(state, name, "unspecified", clock)
        write_list(state, POLICY, clock, anew=True)
        for file in files:
            shutil.copy(backup / file, state.path / file)
        assert write_list(state, POLICY, clock)
        assert serial in listed(state)
        assert held(state, name)[0].revoked_at is not None
        assert not write_list(state, POLICY, clock), "and then it is at rest"


def test_a_hold_that_became_a_revocation_since_cannot_be_released(state: State, clock) -> None:
    one(state, "ann", clock)
    revoke(state, "ann", "certificate-hold", clock)
    write_list(state, POLICY, clock, anew=True)
    backed_up(state)
    revoke(state, "ann", "key-compromise", clock)
    write_list(state, POLICY, clock, anew=True)
    again = restored(state)
    with pytest.raises(UsageError) as caught:
        release(again, "ann", clock)
    assert caught.value.code == "client-not-held"


def test_two_copies_of_one_directory_come_to_rest(state: State, clock) -> None:
    """They learn of each other's revocations; neither makes a list only because the other did."""
    one(state, "ann", clock)
    one(state, "ben", clock)
    write_list(state, POLICY, clock, anew=True)
    other = State.open(backed_up(state))
    revoke(state, "ann", "unspecified", clock)
    write_list(state, POLICY, clock, anew=True)
    revoke(other, "ben", "unspecified", clock)
    write_list(other, POLICY, clock, anew=True)
    assert len(listed(other)) == 2
    write_list(state, POLICY, clock, anew=True)
    assert len(listed(state)) == 2
    assert not write_list(other, POLICY, clock)
    assert not write_list(state, POLICY, clock)


# What nothing can tell


def test_a_machine_that_has_never_seen_it_says_so_once(state: State, clock, cache: Path) -> None:
    one(state, "ann", clock)
    write_list(state, POLICY, clock, anew=True)
    shutil.rmtree(cache)
    for now, lapsed in ((NOW, False), (NOW + 30 * DAY, True)):
        said: list[str] = []
        moved = State.open(state.path)
        for _ in range(2):
            write_list(moved, POLICY, at(now), anew=True, say=said.append)
        (told,) = said
        assert told.startswith("state-unwitnessed: ")
        assert "sealgate crl take-over" in told
        assert ("and ended on 20" in told) is lapsed
        shutil.rmtree(cache)


def test_a_laptop_that_was_off_is_told_nothing(state: State, clock) -> None:
    one(state, "ann", clock)
    write_list(state, POLICY, clock, anew=True)
    said: list[str] = []
    write_list(State.open(state.path), POLICY, lambda: NOW + 90 * DAY, anew=True, say=said.append)
    assert said == []


def test_a_state_directory_that_begins_says_nothing(state: State, clock) -> None:
    said: list[str] = []
    write_list(state, POLICY, clock, anew=True, say=said.append)
    assert said == []


def test_what_cannot_be_kept_outside_is_said_and_kept_in_memory(state: State, clock, cache: Path) -> None:
    cache.write_text("not a directory")
    said: list[str] = []
    one(state, "ann", clock)
    for _ in range(2):
        write_list(state, POLICY, clock, anew=True, say=said.append)
    (told,) = said
    assert told.startswith("no copy of the list is kept outside of the state directory: ")
    backed_up(state)
    revoke(state, "ann", "unspecified", clock)
    write_list(state, POLICY, clock, anew=True)
    restored(state, process=False)
    assert write_list(state, POLICY, clock, say=said.append)
    assert "1 more were taken over" in said[1]
    assert len(listed(state)) == 1


# Whoever else may write there


@pytest.mark.parametrize("what", ("garbage", "cut off", "another", "fifo", "link", "folder"))
def test_what_lies_there_counts_only_if_we_signed_it(state: State, clock, cache: Path, what: str) -> None:
    """Nobody is locked out by it, and nothing waits for ever."""
    one(state, "ann", clock)
    write_list(state, POLICY, clock, anew=True)
    (copy,) = (cache / "lists").iterdir()
    der = copy.read_bytes()
    other = State.open(state.path.with_name("other"))
    one(other, "ben", clock)
    revoke(other, "ben", "unspecified", clock)
    write_list(other, POLICY, lambda: NOW + 400 * DAY, anew=True)
    copy.unlink()
    match what:
        case "garbage":
            copy.write_bytes(b"\x30\x84\xff\xff\xff\xff")
        case "cut off":
            copy.write_bytes(der[:-1])
        case "another":
            copy.write_bytes(the_list(other).public_bytes(Encoding.DER))
        case "fifo":
            os.mkfifo(copy)
        case "link":
            copy.symlink_to("/dev/zero")
        case _:
            copy.mkdir()
    again = State.open(state.path)
    assert write_list(again, POLICY, clock, anew=True)
    assert listed(again) == {}
    if what != "folder":
        assert copy.read_bytes() == the_list(again).public_bytes(Encoding.DER)


def test_without_any_place_it_is_said(state: State, clock, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SEALGATE_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    homeless = Witness.of(state.path)
    monkeypatch.undo()
    said: list[str] = []
    again = State(state.path, state.lock(), homeless)
    for _ in range(2):
        write_list(again, POLICY, clock, anew=True, say=said.append)
    (told,) = said
    assert "neither HOME nor SEALGATE_CACHE is set" in told


def test_others_may_not_write_where_we_do(state: State, clock, cache: Path) -> None:
    cache.mkdir(mode=0o700)
    cache.chmod(0o777)
    write_list(state, POLICY, clock, anew=True)
    assert "can be written by other users" in state.witness.trouble
    assert list(cache.iterdir()) == []


def test_a_cache_within_the_state_directory_is_none(tmp_path: Path) -> None:
    for folder in (tmp_path / "state" / "cache", tmp_path / "x" / ".." / "state" / "cache"):
        assert Witness(tmp_path / "state", folder).folder is None
    assert Witness(tmp_path / "state", tmp_path / "state-cache").folder is not None


@pytest.mark.parametrize(
    ("environ", "root", "folder"),
    (
        ({"SEALGATE_CACHE": "/a", "CACHE_DIRECTORY": "/b", "XDG_CACHE_HOME": "/c", "HOME": "/d"}, True, "/a"),
        ({"CACHE_DIRECTORY": "/b:/e", "XDG_CACHE_HOME": "/c", "HOME": "/d"}, False, "/b"),
        ({"XDG_CACHE_HOME": "/c", "HOME": "/d"}, False, "/c/sealgate"),
        ({"XDG_CACHE_HOME": "c", "HOME": "/d"}, False, "/d/.cache/sealgate"),
        ({"HOME": "/d"}, True, "/var/cache/sealgate"),
        ({"HOME": "d"}, False, None),
        ({}, False, None),
    ),
)
def test_where_it_is(environ: dict[str, str], root: bool, folder: str | None) -> None:
    assert cache_folder(environ, root=root) == (Path(folder) if folder else None)


# A list that somebody brings


def brought(state: State, crl, clock, **order: object) -> dict[str, object]:
    certificates = load_certificates(state)
    assert certificates
    told = [[serial, at.isoformat(), reason] for serial, at, reason in entries_of(crl)]
    words = {"order": "client-take-over", "number": number_of(crl), "entries": told, "more": False}
    words["issuer_key"] = issuer_key_hash(certificates["clients"])
    return carry_out(words | order, state=state, policy=POLICY, clock=clock)


def test_an_older_one_adds_and_what_was_released_stays(state: State, clock, cache: Path) -> None:
    """After the restored directory has served for a while its numbers are above those before."""
    ann, ben, _ = (one(state, name, clock).held for name in ("ann", "ben", "cat"))
    revoke(state, "ben", "certificate-hold", clock)
    write_list(state, POLICY, clock, anew=True)
    backed_up(state)
    eve, fay = (one(state, name, clock).held for name in ("eve", "fay"))
    for name, reason in (("ann", "superseded"), ("eve", "unspecified"), ("fay", "certificate-hold")):
        revoke(state, name, reason, clock)
    write_list(state, POLICY, clock, anew=True)
    crl = the_list(state)
    shutil.rmtree(cache)
    again = restored(state)
    later = NOW + timedelta(hours=2)
    release(again, "ben", lambda: later)
    write_list(again, POLICY, lambda: later, anew=True)
    assert number_of(crl) < number_of(the_list(again))
    taken = brought(again, crl, lambda: later)["taken"]
    serials = {one_["serial"] for one_ in taken}  # type: ignore[attr-defined]
    assert serials == {ann.serial, eve.serial, fay.serial}
    write_list(again, POLICY, lambda: later, anew=True)
    assert set(listed(again)) == {int(text, 16) for text in serials}
    assert held(again, "ben")[0].revoked_at is None, "it was released here since"
    assert brought(again, crl, lambda: later)["taken"] == []
    # A hold on a certificate that is not known here is taken back by its serial, and stays so.
    with pytest.raises(UsageError) as caught:
        release(again, eve.serial, lambda: later)
    assert caught.value.code == "client-revoked"
    (stranger,) = release(again, fay.serial.lower(), lambda: later)
    assert stranger.serial == fay.serial
    brought(again, crl, lambda: later)
    write_list(again, POLICY, lambda: later, anew=True)
    assert int(fay.serial, 16) not in listed(again)
    assert ben.serial != fay.serial


def test_one_that_the_store_does_not_know_leaves_the_list_when_it_must_have_ended(
    state: State, clock
) -> None:
    ann = one(state, "ann", clock).held
    entry = ["0123456789ABCDEF", NOW.isoformat(), "superseded"]
    order = {"order": "client-take-over", "issuer_key": ann.issuer_key, "number": 1, "entries": [entry]}
    carry_out(order, state=state, policy=POLICY, clock=clock)
    for days, count in ((0, 1), (LONGEST_DAYS - 1, 1), (LONGEST_DAYS + 3, 0)):
        now = NOW + days * DAY
        write_list(state, POLICY, at(now), anew=True)
        write_list(state, POLICY, at(now), anew=True)
        assert len(listed(state)) == count


def looked_for(state: State, which: str) -> None:
    with Store.open(state.store) as store:
        found(Register(store), which)


def test_a_stranger_is_told_from_who_was_never_there(state: State, clock) -> None:
    ann = one(state, "ann", clock).held
    key, serial = ann.issuer_key, "0123456789ABCDEF"
    entry = [serial.lower(), NOW.isoformat(), "certificate-hold"]
    order = {"order": "client-take-over", "issuer_key": key, "number": 1, "entries": [entry]}
    carry_out(order, state=state, policy=POLICY, clock=clock)
    for ask in (looked_for, lambda state, which: revoke(state, which, "unspecified", clock)):
        with pytest.raises(UsageError) as caught:
            ask(state, serial[:10])
        assert caught.value.code == "client-revoked"
        assert "put on hold on 20" in caught.value.fact
        assert f"sealgate client release {serial}" in caught.value.remedy
    twin = [serial[:-1] + "E", NOW.isoformat(), "certificate-hold"]
    carry_out(order | {"entries": [twin]}, state=state, policy=POLICY, clock=clock)
    with pytest.raises(UsageError) as caught:
        release(state, serial[:10], clock)
    assert caught.value.code == "client-ambiguous"
    third = ["FEDCBA9876543210", NOW.isoformat(), "certificate-hold"]
    carry_out(order | {"entries": [third]}, state=state, policy=POLICY, clock=clock)
    one(state, "FEDCBA987654", clock)
    with pytest.raises(UsageError) as caught:  # whoever chooses a name must not choose who is let in
        release(state, "FEDCBA987654", clock)
    assert caught.value.code == "client-ambiguous"


def test_lists_that_are_not_ours(state: State, clock) -> None:
    one(state, "ann", clock)
    write_list(state, POLICY, clock, anew=True)
    other = State.open(state.path.with_name("other"))
    one(other, "ann", clock)
    write_list(other, POLICY, clock, anew=True)
    certificates = load_certificates(state)
    assert certificates
    issuer = certificates["clients"]
    ours, theirs = ((each.live_clients / "crl.pem").read_bytes() for each in (state, other))
    der = the_list(state).public_bytes(Encoding.DER)
    for data in (ours, der, b"a note\n" + ours.replace(b"\n", b"\r\n")):
        assert number_of(own_list_of(data, issuer, "x")) == number_of(the_list(state))
    flipped = bytes((*der[:-1], der[-1] ^ 1))
    for data, code in (
        (theirs, "crl-not-ours"),
        (flipped, "crl-not-ours"),
        (b"", "crl-unreadable"),
        (der[:-9], "crl-unreadable"),
        (ours[:-80], "crl-unreadable"),
        (certificates["clients"].public_bytes(Encoding.PEM), "crl-unreadable"),
    ):
        with pytest.raises(CertificateError) as caught:
            own_list_of(data, issuer, "x\x1b[2J")
        assert caught.value.code == code
        assert "\x1b" not in str(caught.value)
    with pytest.raises(CertificateError):
        brought(state, the_list(other), clock, issuer_key="00" * 32)


@pytest.mark.parametrize(
    "wrong",
    (
        *({"entries": each} for each in (None, 7, [7], [["1"]], [["x", NOW.isoformat(), "superseded"]])),
        {"entries": [["1", "never", "superseded"]]},
        {"entries": [["1", NOW.isoformat(), "ca-compromise"]]},
        {"entries": [["-1", NOW.isoformat(), "superseded"]]},
        {"entries": [["F" * 41, NOW.isoformat(), "superseded"]]},
        *({"number": each} for each in (None, -1, HIGHEST + 1, "7")),
    ),
)
def test_orders_that_are_none(state: State, clock, wrong: dict[str, object]) -> None:
    one(state, "ann", clock)
    write_list(state, POLICY, clock, anew=True)
    with pytest.raises(UsageError) as caught:
        brought(state, the_list(state), clock, **wrong)
    assert caught.value.code == "order-unknown"
