"""Years of a site's renewals in a second: a world of authorities, outages and clocks, and a keeper in it.

Nothing sleeps: the keeper asks for a plan, does it, and the time jumps to the plan's ``at``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random

from sealgate.acme.ari import Window, absent
from sealgate.acme.authority import Authority
from sealgate.acme.held import Held, spread_of
from sealgate.acme.history import Attempt, History, Outcome, noted, subject_of
from sealgate.acme.order import Wanted
from sealgate.acme.renewal import Act, Plan, plan

BORN = datetime(2026, 11, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
WANTED = Wanted(("a.test",), "ecdsa-p256", "http-01")
WISH = subject_of(WANTED)

Span = tuple[datetime, datetime]


@dataclass
class Service:
    """An ACME authority of the world.

    Attributes:
        life: of its certificates.
        down: spans in which nothing can be had of it.
        refuses: how long it says to stay away while it is down; None: it says nothing.
        window: its renewal window, from the certificate and the present; None: it offers none.
        asked_again: the Retry-After of a window.
    """

    name: str
    life: timedelta
    down: Sequence[Span] = ()
    refuses: Callable[[Random], timedelta | None] = lambda _: None
    window: Callable[[Held, datetime], Span] | None = None
    asked_again: timedelta = 6 * HOUR

    @property
    def authority(self) -> Authority:
        return Authority(f"https://{self.name}.test/dir")

    def up(self, now: datetime) -> bool:
        return not any(start <= now < end for start, end in self.down)


@dataclass
class World:
    services: Sequence[Service]
    days: float
    seed: int = 0
    offset: Callable[[datetime], timedelta] = lambda _: timedelta()
    """How far the machine's clock is ahead of the truth."""
    killed: float = 0.0
    """How probably the keeper is killed in an attempt, to start again."""
    longest_sleep: timedelta = 40 * DAY
    takes: timedelta = timedelta(seconds=20)
    """How long an attempt takes."""


@dataclass(frozen=True)
class Try:
    at: datetime
    authority: int
    ok: bool
    held: Held | None
    retry_at: datetime | None = None


@dataclass
class Log:
    """What an observer with a good clock saw."""

    tries: list[Try] = field(default_factory=list)
    certificates: list[Held] = field(default_factory=list)
    came: list[datetime] = field(default_factory=list)
    asks: list[datetime] = field(default_factory=list)
    loudness: list[tuple[int, int]] = field(default_factory=list)
    plans: list[tuple[datetime, Plan]] = field(default_factory=list)
    end: datetime = BORN

    @property
    def gaps(self) -> timedelta:
        """Time without a valid certificate, after the first one."""
        pairs = zip(self.certificates, [*self.came[1:], self.end], strict=True)
        return sum((max(came - held.not_after, timedelta()) for held, came in pairs), timedelta())


def run(world: World) -> Log:  # noqa: PLR0915 - one loop, read from top to bottom
    random, log = Random(world.seed), Log()
    authorities = tuple(s.authority for s in world.services)
    history, held, window = History(), None, None
    true, end = BORN, BORN + timedelta(days=world.days)
    spread = random.random()
    log.end = end
    while true < end:
        now = true + world.offset(true)
        found = plan(held, WANTED, history, window, authorities, now=now, spread=spread)
        log.plans.append((true, found))
        log.loudness.append((len(log.certificates), found.loudness))
        if found.act is Act.WAIT:
            assert found.at > now, found
            true += max(min(found.at - now, world.longest_sleep), timedelta(seconds=1))
            continue
        service = world.services[found.authority]
        if found.act is Act.ASK_WINDOW:
            assert held is not None
            log.asks.append(true)
            window = _answer(service, held, true, now, window)
            true += timedelta(seconds=1)
            continue
        attempt = Attempt(now, authorities[found.authority].directory, WISH, Outcome.BEGUN)
        history = noted(history, attempt)
        true += world.takes
        now = true + world.offset(true)
        ok = service.up(true) and random.random() >= world.killed
        again = service.refuses(random) if not service.up(true) else None
        retry_at = now + again if again is not None else None
        log.tries.append(Try(true, found.authority, ok, held, retry_at))
        if ok:
            number = f"{len(log.certificates):064x}"
            held = Held(
                true - HOUR,
                true - HOUR + service.life,
                frozenset(WANTED.names),
                WANTED.key_type,
                attempt.authority,
                ari=number,
                obtained=now,
            )
            history = noted(history, replace(attempt, at=now, outcome=Outcome.OBTAINED, certificate=number))
            log.certificates.append(held)
            log.came.append(true)
            spread = spread_of(f"{random.getrandbits(256):064x}")
        elif service.up(true):
            true += 5 * timedelta(seconds=1)  # killed: nothing is noted; started again
        else:
            failure = replace(attempt, at=now, outcome=Outcome.FAILED, code="acme-x", retry_at=retry_at)
            history = noted(history, failure)
    return log


def _answer(service: Service, held: Held, true: datetime, now: datetime, before: Window | None) -> Window:
    if service.window is None:
        return absent(held.ari, now=now)
    if not service.up(true):
        known = before is not None and before.certificate == held.ari
        return replace(before, again=now + 6 * HOUR) if known and before else Window(held.ari, now + 6 * HOUR)
    start, end = service.window(held, true)
    return Window(held.ari, now + service.asked_again, start, end)


def usual_window(held: Held, _now: datetime) -> Span:
    """Around two thirds of the life, a fiftieth of it wide."""
    life = held.not_after - held.not_before
    start = held.not_before + life * 0.64
    return start, start + life / 50


def revoked_at(instant: datetime) -> Callable[[Held, datetime], Span]:
    """As usual, but from an instant on all certificates from before it are to be renewed now."""

    def window(held: Held, now: datetime) -> Span:
        if held.not_before < instant <= now:
            return instant - DAY, instant - HOUR
        return usual_window(held, now)

    return window
