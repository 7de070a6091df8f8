"""Lists of the revoked that others publish: found in clients' certificates, fetched in time, judged.

Theory: the guard knows a certificate whose lists are fetched only while a list that could name it is in
force; else it answers 503 and asks. What it asks is a certificate: believed is its issuer's signature alone,
and the distribution points that the issuer wrote into it. Each point has a list and a time at which it is
asked again (``pki/lists/schedule.py``); a process without keys asks, and the keeper judges what it brings.
What does not count changes nothing but the time of the next try.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from sealgate._system.clock import system_clock
from sealgate._system.fetch import Failed, Fetched, Tag, Unchanged, Why
from sealgate.errors import SealgateError
from sealgate.pki.client_trust import Trusted, standing_authorities
from sealgate.pki.inspect import issuer_key_hash
from sealgate.pki.lists.judging import Accepted, judge
from sealgate.pki.lists.schedule import due
from sealgate.pki.lists.shelf import Fetched as InForce
from sealgate.pki.lists.shelf import Place, Shelf
from sealgate.policy.identity import listed_key
from sealgate.policy.points import Point, points_of
from sealgate.policy.quoting import printable
from sealgate.runtime.fetching import fetched_apart
from sealgate.runtime.responders import Responders
from sealgate.runtime.site import Site
from sealgate.runtime.standing import Standing

__all__ = ["Foreign"]

_LOOK, _EVERY = 0.2, 1.0
_AT_ONCE, _OF_ONE = 4, 2
"""Lists that are fetched at once, of those in force and of the others each; and of them of one authority: a
publisher that hangs keeps nobody else's list from being had in time."""
_MOST_ENTRIES = 3_000_000
"""On all lists that are fetched: the table of the revoked has room for more (``pki/revocations.py``), so that
nobody's list keeps anybody else from being revoked."""
_LONGEST = 120.0
"""Seconds after which no further address of a list is tried in one go."""
_QUESTIONS = 64
_OURS = "; is it a network of your own, list it in network.fetch"
_SPREAD = 1 << 32


@dataclass(frozen=True, slots=True)
class _Of:
    """One authority whose lists are fetched."""

    trusted: Trusted
    keys: tuple[bytes, ...]

    @property
    def grace(self) -> timedelta:
        return timedelta(seconds=self.trusted.authority.grace)

    def issuer_of(self, certificate: x509.Certificate) -> bytes | None:
        """The key that signed it, where it is one of these."""
        for anchor, key in zip(self.trusted.anchors, self.keys, strict=True):
            with contextlib.suppress(ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
                certificate.verify_directly_issued_by(anchor)
                return key
        return None


class Foreign:
    """Keeps the lists that are fetched.

    Args:
        standing: what stands.
        confine: run in a fetcher's process before it becomes one.
        say: one line for people.
    """

    def __init__(self, standing: Standing, confine: Callable[[], None], say: Callable[[str], None]) -> None:
        self._standing, self._confine, self._say = standing, confine, say
        self._shelf = Shelf(standing.state.fetched_lists)
        self._authorities: dict[str, _Of] = {}
        self._responders = Responders(
            standing.state.fetched_lists, lambda: standing.site.policy.network.fetch, confine, say
        )
        self._wanted = asyncio.Event()
        self._busy: dict[bytes, asyncio.Task[None]] = {}
        self._judging = asyncio.Lock()
        self._next = 0.0
        self._spread: dict[bytes, float] = {}
        self._told: dict[bytes, str] = {}

    # What there is

    async def adopt(self, site: Site) -> None:
        """The authorities of this site are those whose lists are fetched; what was kept of them counts."""
        policy = site.policy
        if not policy.fetched_lists:
            if self._authorities:
                self._authorities = {}
                self._responders.adopt({})
                self._shelf.forget(lambda _: False)
                await self._publish(site)
            return
        await asyncio.to_thread(self._adopt, site)
        await self._publish(site)

    def _adopt(self, site: Site) -> None:
        found = standing_authorities(self._standing.state, site.policy, system_clock)
        authorities = {
            one.name: _Of(one, tuple(bytes.fromhex(issuer_key_hash(anchor)) for anchor in one.anchors))
            for one in found
            if one.authority.fetched
        }
        issuers = {name: (one.trusted.anchors, one.grace) for name, one in authorities.items()}
        self._shelf.load(issuers, now=system_clock(), say=self._say)
        self._authorities = authorities
        self._responders.adopt(
            {
                name: (dict(zip(one.keys, one.trusted.anchors, strict=True)), one.grace)
                for name, one in authorities.items()
                if one.trusted.authority.ocsp == "fallback"
            }
        )
        self._shelf.forget(self._belongs)
        self._shelf.anew()
        for name, one in authorities.items():
            for issuer, point in _named(one):
                self._shelf.learn(name, issuer, point)

    def _belongs(self, place: Place) -> bool:
        one = self._authorities.get(place.authority)
        if one is None or place.issuer not in one.keys:
            return False
        url = one.trusted.authority.url
        return not url or place.point.mark == Point.at(url).mark

    async def _publish(self, site: Site) -> None:
        await asyncio.to_thread(self._standing.publication.fetched, site.loaded, self._lists())

    def _lists(self) -> tuple[InForce, ...]:
        return (*self._shelf.fetched.values(), *self._responders.standing())

    def poke(self) -> None:
        """Other authorities may count now."""
        self._wanted.set()

    # Time

    async def keep(self) -> None:
        """Ask for what is due, and for what the guard asks, until cancelled."""
        try:
            while True:
                try:
                    await self._look()
                except Exception as error:  # noqa: BLE001 - the next look must still be made
                    self._once(b"", f"lists of others: {type(error).__name__}: {error}")
                await asyncio.sleep(_LOOK)
        finally:
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)
            await self._responders.close()

    async def _look(self) -> None:
        if self._wanted.is_set():
            self._wanted.clear()
            try:
                async with self._standing.changing:
                    await self.adopt(self._standing.site)
            except BaseException:
                self._wanted.set()
                raise
        if not self._authorities:
            return
        for der in self._standing.questions.certificates()[:_QUESTIONS]:
            self._learn(der)
        moment = time.monotonic()
        if moment >= self._next:
            self._next = moment + _EVERY
            for place in self._due(system_clock()):
                self._busy[place.key] = self._start(place)
        self._responders.look(moment)
        if self._responders.changed:
            async with self._standing.changing:
                self._responders.changed, added = False, self._responders.added
                self._responders.added = []
                self._standing.publication.answered(self._lists(), added)

    def _due(self, now: datetime) -> Iterator[Place]:
        """Who waits the longest first; lists in force, and those that never were, have their own places."""
        waiting = [(self._when(one, now), one) for one in self._shelf.places.values()]
        waiting = [(at, one) for at, one in waiting if at <= now and one.key not in self._busy]
        under_way = [one for key in self._busy if (one := self._shelf.places.get(key)) is not None]
        for _, one in sorted(waiting, key=lambda pair: pair[0]):
            alike = [other for other in under_way if bool(other.file) == bool(one.file)]
            own = sum(other.authority == one.authority for other in alike)
            if len(alike) < _AT_ONCE and own < _OF_ONE:
                under_way.append(one)
                yield one

    def _when(self, one: Place, now: datetime) -> datetime:
        spread = self._spread.setdefault(one.key, secrets.randbelow(_SPREAD) / _SPREAD)
        return due(one.facts, now=now, spread=spread)

    def _learn(self, der: bytes) -> None:
        """What a guard asked: anybody's bytes, until an authority's signature is found on them."""
        try:
            certificate = x509.load_der_x509_certificate(der)
            for name, one in self._authorities.items():
                if not one.trusted.authority.url and (issuer := one.issuer_of(certificate)) is not None:
                    self._named(name, issuer, certificate, der)
        except Exception:  # noqa: BLE001 - hostile bytes; whatever the parser says of them
            return

    def _named(self, name: str, issuer: bytes, certificate: x509.Certificate, der: bytes) -> None:
        """What a certificate names, which this issuer signed."""
        points = points_of(certificate)
        if not (points.usable or points.left_out):
            self._responders.learn(name, issuer, certificate, der)
        for point in points.usable:
            if self._shelf.learn(name, issuer, point):
                self._say(f"a list of {name} is fetched: a client's certificate names {_where(point)}")
            elif listed_key(issuer, point.mark) not in self._shelf.places:
                self._once(name.encode(), f"{name} has too many lists: {_where(point)} is not asked")

    def _start(self, place: Place, gate: asyncio.Semaphore | None = None) -> asyncio.Task[None]:
        async def task() -> None:
            try:
                async with gate or contextlib.nullcontext():
                    await self.ask(place.key)
            except Exception as error:  # noqa: BLE001 - the next try must still be made
                text = str(error) if isinstance(error, SealgateError) else f"{type(error).__name__}: {error}"
                self._once(place.key, text)
                if place.key in self._shelf.places:  # else it were due again at once
                    self._shelf.failed(place.key, text, at=system_clock())
            finally:
                self._busy.pop(place.key, None)

        return asyncio.create_task(task())

    # One list

    async def ask(self, key: bytes) -> bool:
        """Ask for one list, at each of its addresses until one counts; True: it does.

        Raises:
            SealgateError: what counts could not be kept.
        """
        place = self._shelf.places.get(key)
        if place is None:  # the policy changed meanwhile
            return False
        problems: list[str] = []
        again: list[timedelta] = []
        self._spread.pop(key, None)
        end = time.monotonic() + _LONGEST
        for number, url in enumerate(place.point.urls):
            if time.monotonic() > end:
                problems.append("there is no more time for further addresses")
                break
            # Of a list that is not in force nothing is kept that could be called unchanged.
            tag = place.tag if number == 0 and key in self._shelf.fetched else Tag()
            allowed = self._standing.site.policy.network.fetch
            answer = await fetched_apart(url, tag, allowed=allowed, confine=self._confine)
            if isinstance(answer, Failed):
                problem = answer.said + (_OURS if answer.why is Why.PLACE else "")
                again += [answer.retry_after] if answer.retry_after else []
            else:
                problem = await self._judged(place, answer, first=number == 0)
            if not problem:
                return True
            problems.append(f"{printable(url)}: {problem}")
        said = "; ".join(problems) or "it has no address that could be asked"
        async with self._standing.changing:
            if key in self._shelf.places:
                self._shelf.failed(key, said, at=system_clock(), retry_after=max(again, default=None))
                await asyncio.to_thread(self._shelf.keep)
        self._once(key, f"a list of {place.authority} could not be had: {said}")
        return False

    async def _judged(self, place: Place, answer: Fetched | Unchanged, *, first: bool) -> str:
        """In force; else why not. ``first``: it is the first address's, whose tag counts the next time."""
        of = self._authorities.get(place.authority)
        if of is None:
            return "its authority counts no more"
        verdict: Accepted | None = None
        if isinstance(answer, Fetched):
            anchors = zip(of.trusted.anchors, of.keys, strict=True)
            look = partial(
                judge,
                answer.body,
                [anchor for anchor, key in anchors if key == place.issuer],
                point=place.point,
                before=place.before,
                now=system_clock(),
                grace=of.grace,
            )
            async with self._judging:  # one large list in memory is enough
                found = await asyncio.to_thread(look)
            if not isinstance(found, Accepted):
                return found.said
            verdict = found
        async with self._standing.changing:  # in one go: whoever changes the policy sees all of it or nothing
            tag = answer.tag if isinstance(answer, Fetched) and first else Tag()
            return await self._taken(place.key, verdict, tag)

    async def _taken(self, key: bytes, verdict: Accepted | None, tag: Tag) -> str:
        shelf = self._shelf
        place = shelf.places.get(key)
        of = self._authorities.get(place.authority) if place else None
        if place is None or of is None:
            return "its authority counts no more"
        if verdict is None:
            shelf.unchanged(key, at=system_clock())
        elif shelf.is_older(key, verdict):
            return "it is older than the list before"
        else:
            others = sum(len(one) for at, one in shelf.fetched.items() if at != key)
            if others + len(verdict.serials) > _MOST_ENTRIES:
                return f"with its {len(verdict.serials)} entries all have more than {_MOST_ENTRIES}"
            take = partial(shelf.took, key, verdict, tag, of.grace, at=system_clock())
            await asyncio.to_thread(take)
        await asyncio.to_thread(shelf.keep)
        await self._publish(self._standing.site)
        if self._told.pop(key, ""):
            self._say(f"a list of {place.authority} is in force again")
        return ""

    def _once(self, key: bytes, line: str) -> None:
        if self._told.get(key) != line:
            self._say(line)
        self._told[key] = line

    # Orders

    async def order(self, _order: Mapping[str, Any]) -> dict[str, Any]:
        """All lists at once, whether they are due or not.

        Returns:
            `lists`: of each what became of it; `responders`: of each authority how many are known.
        """
        began = time.monotonic()
        under_way, gate = set(self._busy.values()), asyncio.Semaphore(2 * _AT_ONCE)
        if under_way:  # it may have begun before what the caller knows of was published
            await asyncio.wait(under_way)
        places = list(self._shelf.places.values())
        for one in places:
            if one.key not in self._busy:
                self._busy[one.key] = self._start(one, gate)
        await asyncio.gather(*(self._busy[one.key] for one in places if one.key in self._busy))
        responders = await self._responders.refresh()
        async with self._standing.changing:
            await self._publish(self._standing.site)
        return {
            "lists": [described(one) for one in self._shelf.places.values()],
            "responders": responders,
            "seconds": round(time.monotonic() - began, 3),
        }


def described(one: Place) -> dict[str, Any]:
    """A list for programs."""
    before, facts = one.before, one.facts
    return {
        "authority": one.authority,
        "addresses": list(one.point.urls),
        "number": before.number if before else None,
        "this_update": before.this_update.isoformat() if before else None,
        "next_update": facts.next_update.isoformat() if facts.next_update else None,
        "entries": one.count if one.file else None,
        "asked": facts.asked.isoformat() if facts.asked else None,
        "failures": facts.failures,
        "problem": one.problem,
    }


def _named(one: _Of) -> Iterator[tuple[bytes, Point]]:
    """The lists that are known without any client: the policy's one, and of authorities above others."""
    authority, anchors = one.trusted.authority, one.trusted.anchors
    if authority.url:
        for key in dict.fromkeys(one.keys):
            yield key, Point.at(authority.url)
        return
    for anchor in anchors:
        others = {other: key for other, key in zip(anchors, one.keys, strict=True) if other is not anchor}
        issuer = _Of(Trusted(authority, tuple(others)), tuple(others.values())).issuer_of(anchor)
        if issuer is not None:
            for point in points_of(anchor).usable:
                yield issuer, point


def _where(point: Point) -> str:
    return printable(point.urls[0]) if point.urls else "nowhere"
