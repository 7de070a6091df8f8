"""Passes of a renewal, with an authority that has renewal information: what is asked, when, and noted."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sealgate._system import files
from sealgate._system.clock import system_clock
from sealgate.acme.ari import certificate_id
from sealgate.acme.authority import Authority
from sealgate.acme.history import Outcome, history_path, load
from sealgate.acme.journal import Entry, Journal
from sealgate.acme.order import Answer, Obtained
from sealgate.acme.renewal import Act, Reason
from sealgate.acme.renewer import Renewer, due_of
from sealgate.acme.solvers.http import HttpSolver
from sealgate.errors import AcmeError, StateError
from sealgate.pki.keys import generate
from sealgate.pki.live import LiveCertificate, LiveDirectory
from sealgate.pki.obtained import publish_obtained
from sealgate.pki.state import State
from sealgate.pki.store import REVOKED, Store
from sealgate.policy.model import Policy
from tests.acme.fake import Asked, Fake, Said, fake_authority, problem

HOUR = timedelta(hours=1)
NAME = "a.example.test"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    with fake_authority(tmp_path_factory.mktemp("fake")) as authority:
        yield authority


@dataclass
class World:
    """An authority, a site's state, and a clock that is put forward."""

    fake: Fake
    state: State
    ahead: timedelta = timedelta()
    said: list[str] = field(default_factory=list)
    begins: datetime | None = None
    """Where the window begins; it is an hour long. None: garbage."""
    again: str = "7200"
    second: str = ""
    """Its ``second_key_type``."""

    def clock(self) -> datetime:
        return system_clock() + self.ahead

    def present(self, answers: Sequence[Answer]) -> None:
        pass

    def withdraw(self, answers: Sequence[Answer]) -> None:
        pass

    def publish(self, got: Obtained) -> LiveCertificate:
        return publish_obtained(
            self.state, self.policy, got.chain_pem, got.key_pem, authority=got.authority, clock=self.clock
        )

    @property
    def policy(self) -> Policy:
        acme = {"directory": self.fake.authority().directory}
        certificate = {"source": "acme", "acme": acme, "second_key_type": self.second}
        return Policy.model_validate({"version": 1, "site": {"names": [NAME]}, "certificate": certificate})

    def renewer(self, index: int = 0) -> Renewer:
        return Renewer(
            self.state,
            self.policy,
            (self.fake.authority(),),
            self,
            self.publish,
            self.clock,
            lambda _: None,
            self.said.append,
            index,
        )

    def window(self, _asked: Asked) -> Said:
        if self.begins is None:
            return Said(200, b"<html>", {"Retry-After": self.again})
        dates = {"start": self.begins.isoformat(), "end": (self.begins + HOUR).isoformat()}
        return Said(200, {"suggestedWindow": dates}, {"Retry-After": self.again})

    @property
    def id(self) -> str:
        live = LiveDirectory(self.state.live_server(NAME)).current()
        assert live is not None
        return certificate_id(live.leaf)

    @property
    def asks(self) -> int:
        return self.fake.count("/ari/.*")

    @property
    def orders(self) -> list[dict[str, Any]]:
        return [asked.payload or {} for asked in self.fake.asked if asked.path == "/order"]


@pytest.fixture
def world(running: Fake, tmp_path: Path) -> World:
    found = World(running, State.open(tmp_path / "state"))
    running.asked, running.meta = [], {}
    running.more = {"renewalInfo": f"{running.base}/ari"}
    running.odd = {r"/ari/.*": found.window}
    found.begins = system_clock() + 24 * HOUR
    return found


def test_a_certificate_s_life(world: World) -> None:
    renewer = world.renewer()
    first = renewer.step()
    assert first.live is not None
    assert (first.plan.act, world.asks) == (Act.ASK_WINDOW, 0)
    assert "replaces" not in world.orders[0]
    waits = renewer.step().plan
    assert (waits.act, waits.reason, world.asks) == (Act.WAIT, Reason.FRESH, 1)
    assert timedelta(hours=1.9) < waits.at - world.clock() <= 2 * HOUR  # the authority's Retry-After
    assert world.fake.asked[-1].path == f"/ari/{world.id}"
    assert renewer.step().plan.act is Act.WAIT
    assert world.renewer().step().plan.act is Act.WAIT  # started again: what it said is still known
    assert world.asks == 1
    before, world.ahead = world.id, 3 * HOUR
    world.begins = datetime(2020, 1, 1, tzinfo=UTC)  # it is about to revoke
    second = renewer.step()
    assert second.live is not None
    assert world.asks == 2
    assert world.orders[1]["replaces"] == before
    assert world.id != before
    assert [a.outcome for a in load(history_path(world.state, NAME)).attempts] == [Outcome.OBTAINED] * 2


def test_what_was_under_way_with_others_is_given_up_once_there_is_a_certificate(world: World) -> None:
    gone = Authority("https://127.0.0.1:9/dir")
    journal = Journal.of(world.state, NAME, gone.id)
    wish = {"directory": gone.directory, "names": [NAME]}
    journal.begin(
        Entry(wish, world.clock().isoformat(), "https://127.0.0.1:9/order/1"), generate("ecdsa-p256")
    )
    renewer = world.renewer()
    renewer.authorities = (world.fake.authority(), gone)
    assert renewer.step().live is not None
    assert any("is left to expire by itself" in text for text in world.said)
    assert journal.read() is None
    assert not list((world.state.path / "acme").rglob("key.pem"))


def test_an_authority_without_renewal_information(world: World) -> None:
    world.fake.more = {}
    renewer = world.renewer()
    renewer.step()
    due = renewer.step().plan
    assert (due.act, world.asks) == (Act.WAIT, 0)
    count = len(world.fake.asked)
    renewer.step()
    assert len(world.fake.asked) == count
    world.ahead = timedelta(days=7)
    assert renewer.step().live is not None
    assert "replaces" not in world.orders[1]


def test_garbage_and_silence_leave_what_is_known(world: World) -> None:
    renewer = world.renewer()
    renewer.step()
    renewer.step()
    known = renewer.history.window
    world.begins, world.ahead = None, 3 * HOUR
    renewer.step()
    after = renewer.history.window
    assert known is not None
    assert after is not None
    assert (after.start, after.note) == (known.start, "the authority answered with no JSON")
    world.ahead = 6 * HOUR
    world.fake.odd["/dir"] = lambda _: Said(500)
    assert renewer.step().plan.act is Act.WAIT
    assert renewer.history.window is not None
    assert renewer.history.window.start == known.start


def test_the_authority_s_own_word_is_kept(world: World) -> None:
    world.fake.odd["/order"] = lambda _: problem("rateLimited", 429, headers={"Retry-After": "36000"})
    renewer = world.renewer()
    found = renewer.step()
    assert isinstance(found.error, AcmeError)
    assert (found.plan.act, found.plan.reason) == (Act.WAIT, Reason.BACKOFF)
    assert timedelta(hours=9.9) < found.plan.at - world.clock() <= 10 * HOUR
    assert "acme-rate-limited" in found.plan.sentence
    count = len(world.fake.asked)
    assert world.renewer().step().plan.act is Act.WAIT
    assert len(world.fake.asked) == count
    del world.fake.odd["/order"]
    world.ahead = 10 * HOUR
    assert renewer.step().live is not None


def test_who_was_killed_waits_a_minute(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object, **__: object) -> Obtained:
        raise KeyboardInterrupt

    monkeypatch.setattr("sealgate.acme.renewer.obtain", killed)
    with pytest.raises(KeyboardInterrupt):
        world.renewer().step()
    found = world.renewer().step().plan
    assert (found.act, found.reason) == (Act.WAIT, Reason.BACKOFF)
    assert found.at - world.clock() <= timedelta(minutes=1)


def test_a_full_disk_does_not_make_it_ask_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StateError("state-full", "no space is left", "free some")

    monkeypatch.setattr("sealgate.acme.renewer.save", full)
    world.fake.odd["/order"] = lambda _: problem("serverInternal", 500)
    renewer = world.renewer()
    renewer.step()
    assert renewer.step().plan.act is Act.WAIT
    assert len(world.orders) == 1
    assert any("cannot be noted" in line for line in world.said)


def test_one_date_by_whomever_it_is_told(world: World) -> None:
    assert due_of(world.state, world.policy) is None
    renewer = world.renewer()
    asks = renewer.step().plan
    waits = renewer.step().plan
    due = due_of(world.state, world.policy)
    assert due is not None
    assert f"{due:%Y-%m-%d %H:%M} UTC" in waits.sentence
    assert "is asked next" in asks.sentence
    assert world.asks == 1


def test_a_forced_one_that_fails_is_not_tried_again_before_one_is_due(world: World) -> None:
    renewer = world.renewer()
    assert renewer.step().live is not None
    renewer.step()
    world.fake.odd["/order"] = lambda _asked: problem("serverInternal", 500)
    error = renewer.step(force=True).error
    assert error is not None
    assert "by itself" not in error.remedy
    assert "nothing more is tried" in error.remedy
    assert renewer.step().plan.act is Act.WAIT


def test_an_account_that_the_authority_lost_on_the_way_is_made_anew_at_once_and_once(world: World) -> None:
    lost = [True]

    def finalise(_asked: Asked) -> Said | None:
        return problem("accountDoesNotExist", 400) if lost and lost.pop() else None

    world.fake.odd["/finalize"] = finalise
    assert world.renewer().step().live is not None
    assert not lost
    world.fake.odd["/order"] = lambda _asked: problem("accountDoesNotExist", 400)
    before = len(world.orders)
    error = world.renewer().step(force=True).error
    assert error is not None
    assert error.code == "acme-account-missing"
    assert len(world.orders) - before <= 4


class TestTwoKeys:
    """A second certificate: a plan, a window, an order and a `replaces` of its own."""

    @pytest.fixture
    def both(self, world: World) -> World:
        world.second = "rsa-3072"
        for index in (0, 1):
            assert world.renewer(index).step().live is not None
        return world

    @staticmethod
    def live(world: World) -> LiveCertificate:
        found = LiveDirectory(world.state.live_server(NAME)).current()
        assert found is not None
        return found

    def test_each_is_had_once_and_kept(self, both: World) -> None:
        assert list(self.live(both).shown) == ["ecdsa", "rsa"]
        assert len(both.orders) == 2
        assert [both.renewer(index).step().plan.act for index in (0, 1)] == [Act.WAIT, Act.WAIT]
        assert both.renewer(1).look().sentence.startswith("rsa-3072: the certificate is good")
        assert len(both.orders) == 2

    def test_each_has_its_own_window_and_asks_for_it(self, both: World) -> None:
        for index in (0, 1):
            both.renewer(index).step()
        history = load(history_path(both.state, NAME))
        ids = [certificate_id(one.leaf) for one in self.live(both).both]
        windows = [history.window_of(index) for index in (0, 1)]
        assert [window.certificate for window in windows if window] == ids
        assert both.asks == 2
        assert load(history_path(both.state, NAME)) == history

    def test_a_renewal_replaces_its_own_and_leaves_the_other(self, both: World) -> None:
        before = self.live(both)
        assert before.second is not None
        for index in (0, 1):
            both.renewer(index).step()
        assert both.renewer(1).step(force=True).live is not None
        after = self.live(both)
        assert after.fingerprint == before.fingerprint
        assert after.fingerprints[1] != before.fingerprints[1]
        assert both.orders[-1]["replaces"] == certificate_id(before.second.leaf)
        assert both.renewer(0).look().act is Act.WAIT
        due = [due_of(both.state, both.policy, index=index) for index in (0, 1)]
        assert None not in due

    def test_one_that_fails_keeps_the_other_from_nothing(self, both: World) -> None:
        def no_rsa(asked: Asked) -> Said | None:
            return problem("badCSR", 400) if failing else None

        failing, before = [True], self.live(both)
        both.fake.odd["/finalize"] = no_rsa
        failed = both.renewer(1).step(force=True)
        assert failed.error is not None
        failing.clear()
        assert both.renewer(0).step(force=True).live is not None
        after = self.live(both)
        assert after.fingerprint != before.fingerprint
        assert after.fingerprints[1] == before.fingerprints[1]

    def test_an_order_of_one_is_not_taken_for_that_of_the_other(self, world: World) -> None:
        """The first is left half done; the second makes its own, and the first goes on with its key."""
        world.second = "rsa-3072"
        failing = [True]
        world.fake.odd["/finalize"] = lambda _asked: problem("serverInternal", 500) if failing else None
        assert world.renewer(0).step().error is not None
        authority = world.fake.authority().id
        assert Journal.of(world.state, NAME, authority).read() is not None
        failing.clear()
        assert world.renewer(1).step().live is not None
        assert Journal.of(world.state, NAME, authority, 1).read() is None
        assert Journal.of(world.state, NAME, authority).read() is not None
        world.ahead = 2 * HOUR
        assert world.renewer(0).step().live is not None
        assert list(self.live(world).shown) == ["ecdsa", "rsa"]
        assert not list((world.state.path / "acme").rglob("order.json"))


def test_what_was_revoked_is_replaced_at_the_next_look(world: World) -> None:
    renewer = world.renewer()
    first = renewer.step().live
    assert first is not None
    renewer.step()
    assert renewer.look().act is Act.WAIT
    with Store.open(world.state.store) as store:
        store.add_event(REVOKED, first.fingerprint, now=world.clock())
    told = due_of(world.state, world.policy)
    assert told is not None
    assert told < world.clock()
    assert renewer.look().reason is Reason.REVOKED
    second = world.renewer().step().live
    assert second is not None
    assert second.fingerprint != first.fingerprint
    assert world.renewer().look().reason is Reason.FRESH


def test_what_is_served_is_no_failure_because_its_order_is_still_noted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> None:
        raise StateError("state-read-only", "it cannot be written", "make it writable")

    monkeypatch.setattr("sealgate.acme.renewer.settle", read_only)
    found = world.renewer().step()
    assert found.error is None
    assert found.live is not None
    assert any("cannot be removed yet" in line for line in world.said)


def test_a_disk_that_is_full_at_any_write(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was live is, nothing is shown any more, and the next pass comes to its end."""
    usual, live = files._create_beside, LiveDirectory(world.state.live_server(NAME))
    challenges = world.state.live / "challenges"
    for full_at in range(60):
        writes = 0

        def create(path: Path, mode: int) -> tuple[int, Path]:
            nonlocal writes
            writes += 1
            if writes == full_at + 1:  # noqa: B023 - asked in this turn only
                raise OSError(errno.ENOSPC, "No space left on device")
            return usual(path, mode)

        monkeypatch.setattr(files, "_create_beside", create)
        before = live.fingerprint()
        renewer = world.renewer()
        renewer.solver = HttpSolver(challenges, lambda _: None, ())
        found = renewer.step(force=True)
        assert not [path for path in challenges.glob("*") if path.name != "alpn"]
        if found.error is not None:
            assert (found.error.code, live.fingerprint()) == ("state-full", before)
        if writes <= full_at:
            break
        monkeypatch.setattr(files, "_create_beside", usual)
        assert world.renewer().step(force=True).live is not None
    assert 8 < full_at < 59
    assert found.live is not None


class TestForced:
    """Somebody asks for another one: the authorities are asked in their order, each once."""

    @staticmethod
    def renewer(world: World, *first: Authority) -> Renewer:
        return replace(world.renewer(), authorities=(*first, world.fake.authority()))

    @staticmethod
    def gone() -> Authority:
        """Nobody listens there."""
        return Authority("https://127.0.0.1:1/dir")

    def test_the_next_one_is_asked_where_the_first_cannot_be_had(self, world: World) -> None:
        passed = self.renewer(world, self.gone(), self.gone()).step(force=True)
        assert passed.error is None
        assert passed.live is not None
        assert [text for text in world.said if "gives none now (acme-unreachable" in text]
        again = self.renewer(world, self.gone()).step(force=True)
        assert again.live is not None
        assert again.live.fingerprint != passed.live.fingerprint

    def test_where_all_fail_the_first_one_is_told(self, world: World) -> None:
        world.fake.odd["/order"] = lambda _asked: problem("serverInternal", 500)
        error = self.renewer(world, self.gone()).step(force=True).error
        assert error is not None
        assert error.code == "acme-unreachable"
        assert len(world.orders) == 1

    def test_what_no_other_could_mend_ends_it(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        def present(answers: Sequence[Answer]) -> None:
            raise AcmeError("acme-hook-failed", "the hook failed", "mend it")

        monkeypatch.setattr(world, "present", present)
        other = replace(world.fake.authority(), directory=world.fake.authority().directory + "?other")
        error = replace(world.renewer(), authorities=(world.fake.authority(), other)).step(force=True).error
        assert error is not None
        assert error.code == "acme-hook-failed"
        assert not [text for text in world.said if "is asked" in text]
