"""Ninety days of a certificate of 160 hours, by the real renewer: directory, order, keys, files, live/.

The worlds are those of ``simulation.py``, and so are the properties; here nothing of ours is modelled.
Authorities are real HTTPS servers whose answers and clocks are values; each answer takes two seconds of the
world. Each pass is made by a new renewer, which knows nothing but what is on disk, as the keeper's are; and
the time jumps to the plan's ``at``.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sealgate.acme.authority import Authority
from sealgate.acme.history import Outcome, history_path, load
from sealgate.acme.order import Answer, Obtained
from sealgate.acme.renewer import Pass, Renewer
from sealgate.errors import AcmeError
from sealgate.pki.live import LiveCertificate, LiveDirectory
from sealgate.pki.obtained import publish_obtained
from sealgate.pki.state import State
from sealgate.policy.model import Policy
from tests.acme.fake import Asked, Fake, Odd, Said, fake_authority, problem
from tests.acme.simulation import BORN, DAY, HOUR, Log, Service, Try, World, revoked_at, usual_window
from tests.acme.test_simulation import EVER, SHORT, bounded, in_time, louder_only, patient, span

NAME = "a.test"
DAYS = 90
ANSWER = timedelta(seconds=2)
NEEDED = SHORT / 12 + HOUR
"""As in the simulation: an authority that is there for so long in the last third is asked in it."""


class Killed(BaseException):
    """The process ends here: nothing that stands behind this is done."""


def _hangs_up(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def _of_an_order(said: Said) -> Odd:
    """Of an order that is there already, nothing is to be had either."""
    return lambda asked: said if asked.path in {"/order", "/order/1", "/finalize"} else None


def _for_ever(asked: Asked) -> Said | None:
    """It processes, and processes."""
    if asked.path not in {"/order/1", "/finalize"}:
        return None
    return Said(200, {"status": "processing", "identifiers": [], "authorizations": []})


AWAY: tuple[Odd, ...] = (
    lambda _asked: Said(503, b"<html>"),
    lambda _asked: Said(raw=_hangs_up),
    _of_an_order(problem("serverInternal", 500)),
    _of_an_order(problem("caa", 403, detail="CAA forbids")),
    lambda asked: Said(200, b"[]") if asked.path == "/dir" else None,
    _for_ever,
)
"""Ways of an authority not to be had."""


@dataclass
class Running:
    """A world that runs: authorities, one site's state, and the true time."""

    world: World
    fakes: Sequence[Fake]
    state: State
    now: datetime = BORN
    log: Log = field(default_factory=Log)
    shown: int = 0
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = Random(self.world.seed)
        for service, fake in zip(self.world.services, self.fakes, strict=True):
            fake.clock, fake.life = lambda: self.now, service.life - HOUR
            fake.asked, fake.meta, fake.odd = [], {}, {".*": self._odd(service, fake)}
            fake.more = {"renewalInfo": f"{fake.base}/ari"} if service.window else {}

    def _odd(self, service: Service, fake: Fake) -> Odd:
        refused = service.refuses(Random(0))
        ways = (
            AWAY
            if refused is None
            else (
                _of_an_order(
                    problem("rateLimited", 429, headers={"Retry-After": f"{refused.total_seconds():.0f}"})
                ),
            )
        )

        def answer(asked: Asked) -> Said | None:
            self.now += ANSWER
            if not service.up(self.now) and (said := ways[len(self.log.tries) % len(ways)](asked)):
                return said
            return self._window(service) if asked.path.startswith("/ari/") else None

        return answer

    def _window(self, service: Service) -> Said:
        self.log.asks.append(self.now)
        assert service.window is not None
        start, end = service.window(self.log.certificates[-1], self.now)
        window = {"suggestedWindow": {"start": start.isoformat(), "end": end.isoformat()}}
        return Said(200, window, {"Retry-After": f"{service.asked_again.total_seconds():.0f}"})

    # What the keeper has around a renewer

    def clock(self) -> datetime:
        return self.now + self.world.offset(self.now)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def present(self, answers: Sequence[Answer]) -> None:
        self.shown += len(answers)
        self._perhaps_killed()

    def withdraw(self, answers: Sequence[Answer]) -> None:
        self.shown = 0

    def publish(self, got: Obtained) -> LiveCertificate:
        self._perhaps_killed()
        return publish_obtained(
            self.state, self.policy, got.chain_pem, got.key_pem, authority=got.authority, clock=self.clock
        )

    def _perhaps_killed(self) -> None:
        if self.random.random() < self.world.killed:
            raise Killed

    @property
    def authorities(self) -> tuple[Authority, ...]:
        return tuple(fake.authority() for fake in self.fakes)

    @property
    def policy(self) -> Policy:
        acme = {"directory": self.authorities[0].directory}
        certificate = {"source": "acme", "acme": acme}
        return Policy.model_validate({"version": 1, "site": {"names": [NAME]}, "certificate": certificate})

    def renewer(self) -> Renewer:
        return Renewer(
            self.state,
            self.policy,
            self.authorities,
            self,
            self.publish,
            self.clock,
            self.wait,
            self.said.append,
        )

    # What happens

    def run(self) -> Log:
        self.log.end = end = BORN + timedelta(days=self.world.days)
        while self.now < end:
            begun, before = self.now, self._attempts()
            try:
                passed = self.renewer().step()
            except Killed:
                self._tried(begun, ok=False)
                self.now += timedelta(seconds=5)
                continue
            if passed.live is not None or passed.error is not None or self._attempts() != before:
                self._tried(begun, ok=passed.live is not None, error=passed.error)
            self._came(passed)
            self.log.plans.append((self.now, passed.plan))
            self.log.loudness.append((len(self.log.certificates), passed.plan.loudness))
            self.now += max(passed.plan.at - self.clock(), timedelta(seconds=1))
        return self.log

    def _attempts(self) -> tuple[Any, ...]:
        return load(history_path(self.state, NAME)).attempts

    def _tried(self, at: datetime, *, ok: bool, error: Any = None) -> None:
        last = self._attempts()[-1]
        directories = [one.directory for one in self.authorities]
        held = self.log.certificates[-1] if self.log.certificates else None
        self.log.tries.append(Try(at, directories.index(last.authority), ok, held, last.retry_at))
        if error is not None:
            assert isinstance(error, AcmeError), error
            assert (last.outcome, last.code) == (Outcome.FAILED, error.code)

    def _came(self, passed: Pass) -> None:
        if passed.live is None:
            return
        assert passed.live.fingerprint == LiveDirectory(self.state.live_server(NAME)).fingerprint()
        held, _ = self.renewer()._held()
        assert held is not None
        self.log.certificates.append(held)
        self.log.came.append(self.now)

    @property
    def lies_about(self) -> list[Path]:
        return [
            path for path in (self.state.path / "acme").rglob("*") if path.name in {"order.json", "key.pem"}
        ]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Fake]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(fake_authority(tmp_path_factory.mktemp(name))) for name in ("first", "second")
        ]


def lived(two: list[Fake], folder: Path, world: World) -> Running:
    """A world's whole time; what holds of each is looked at."""
    running = Running(world, two[: len(world.services)], State.open(folder / "state"))
    log = running.run()
    in_time(world, log, NEEDED)
    patient(log)
    louder_only(log)
    bounded(world, log)
    assert running.shown == 0, "an answer is shown no longer than it is asked for"
    left = [(h.not_after - c) / h.life.length for h, c in zip(log.certificates, log.came[1:], strict=False)]
    print(
        f"\n{len(log.certificates)} certificates, {len(log.tries)} tries, {len(log.asks)} windows,"
        f" least life left {min(left, default=1):.0%}, loudest {max(loud for _, loud in log.loudness)},"
        f" without {log.gaps / HOUR:.1f} h"
    )
    return running


NAMED: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "all is well": ({"window": usual_window, "asked_again": DAY}, None),
    "away for 6 hours, often": ({"down": [span(n * 1.3, 0.25) for n in range(70)]}, None),
    "away for 2 days at a time": (
        {"window": usual_window, "asked_again": DAY, "down": [span(n * 7, 2) for n in range(13)]},
        None,
    ),
    "away for ever, and another": ({"down": [EVER]}, {}),
    "says: come back in 3 days, and another": ({"down": [span(3, 40)], "refuses": lambda _: 3 * DAY}, {}),
    "mass revocation": ({"window": revoked_at(BORN + 20 * DAY), "asked_again": 12 * HOUR}, None),
}


_QUICK = {"all is well"}


@pytest.mark.parametrize(
    "name", [name if name in _QUICK else pytest.param(name, marks=pytest.mark.long) for name in NAMED]
)
def test_no_hour_without_a_certificate(two: list[Fake], tmp_path: Path, name: str) -> None:
    first, second = NAMED[name]
    services = [
        Service("first", SHORT, **first),
        *([Service("second", SHORT, **second)] if second is not None else []),
    ]
    running = lived(two, tmp_path, World(services, DAYS, seed=7))
    log = running.log
    assert log.gaps == timedelta()
    assert log.came[-1] > BORN + timedelta(days=DAYS) - SHORT
    assert len(log.certificates) >= 19
    assert len({one.authority for one in log.certificates}) == len(services)
    assert log.loudness[-1][1] == 0


@pytest.mark.long
def test_away_for_ever_is_loud_and_asked_ever_less(two: list[Fake], tmp_path: Path) -> None:
    """What was live stays live, nobody gives up, and one that is back after weeks is found within hours."""
    services = [Service("first", SHORT, down=[span(10, 30)])]
    running = lived(two, tmp_path, World(services, 50))
    log = running.log
    assert {loud for _, loud in log.loudness} == {0, 1, 2, 3}
    back = BORN + 40 * DAY
    came = next(at for at in log.came if at > back)
    assert came - back < 7 * HOUR
    assert log.loudness[-1][1] == 0
    away = [one for one in log.tries if BORN + 20 * DAY < one.at < back]
    assert 20 * 4 - 10 <= len(away) <= 20 * 6


@pytest.mark.long
def test_killed_in_the_middle_again_and_again(two: list[Fake], tmp_path: Path) -> None:
    """One that came and was not put to use is had again, and no order is left behind."""
    running = lived(two, tmp_path, World([Service("first", SHORT)], DAYS, seed=3, killed=0.4))
    assert running.log.gaps == timedelta()
    assert sum(not one.ok for one in running.log.tries) > 10
    assert any("gone on with the order" in text for text in running.said)
    if running.log.tries[-1].ok:
        assert not running.lies_about


@pytest.mark.long
@pytest.mark.parametrize("off", [-DAY, DAY], ids=["behind", "ahead"])
def test_a_clock_that_is_a_day_off_for_a_week(two: list[Fake], tmp_path: Path, off: timedelta) -> None:
    """It is said. Ahead nothing is lost; behind, what was just issued is not taken until it is set right."""
    begin, end = BORN + 30 * DAY, BORN + 37 * DAY
    world = World(
        [Service("first", SHORT)], 60, offset=lambda true: off if begin <= true < end else timedelta()
    )
    running = Running(world, two[:1], State.open(tmp_path / "state"))
    log = running.run()
    assert any(text.startswith("acme-clock") for text in running.said)
    refused = [one for one in log.tries if not one.ok]
    assert all(begin <= one.at < end for one in refused)
    assert bool(refused) == (off < timedelta())
    assert len(refused) < 7 * 24, "less than once an hour"
    for held, following in zip(log.certificates, [*log.came[1:], log.end], strict=True):
        lost = following > held.not_after
        assert not lost or (off < timedelta() and begin < held.not_after and following < end + 7 * HOUR)
    assert log.loudness[-1][1] == 0
