"""The keeper's part of watching: what it knows of its processes, beside what can be read and seen.

Whoever asks never waits for a change under way, and no listener is looked at more often than every 15 seconds
unless something changed. Reading and looking happen in a thread.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import sealgate
from sealgate._system.clock import system_clock
from sealgate.errors import SealgateError
from sealgate.monitor import gather
from sealgate.monitor.snapshot import Drift, Listener, ListFacts, Renewal, Snapshot, Trouble, Workers
from sealgate.pki.lists.shelf import INDEX
from sealgate.policy.model import Policy
from sealgate.runtime.counting import Sums, counters
from sealgate.runtime.site import Site
from sealgate.runtime.standing import Standing

__all__ = ["Lookout", "Tally"]

_LOOK_EVERY = 15.0
_PLAIN_EVERY = 300.0
_STORE_EVERY = 60.0
_REMEMBERED = 10
_NO_LISTENERS: tuple[Listener, ...] = ()


@dataclass(slots=True)
class _Kept:
    """What is not gathered anew for each ask; ``key`` says what it was gathered for."""

    key: object = None
    at: float = -1e9
    value: Any = None

    def get(self, key: object, seconds: float, make: Callable[[], Any]) -> Any:  # noqa: ANN401 - of any part
        if key != self.key or time.monotonic() - self.at > seconds:
            self.value = make()
            self.key, self.at = key, time.monotonic()
        return self.value


@dataclass(slots=True)
class Tally:
    """How renewals went since the keeper started, and how often the engine was started anew."""

    renewed: int = 0
    failed: int = 0
    starts: int = 0
    failures: deque[Renewal] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    async def tried(self, renewing: Awaitable[dict[str, Any]]) -> dict[str, Any]:
        """Note how a renewal goes; what it raises is raised."""
        try:
            answer = await renewing
        except Exception as error:
            code, fact, remedy = "internal-error", type(error).__name__, ""
            if isinstance(error, SealgateError):
                code, fact, remedy = error.code, error.fact, error.remedy
            self.failed += 1
            failure = Renewal("server", system_clock(), ok=False, code=code, fact=fact, remedy=remedy)
            self.failures.appendleft(failure)
            raise
        self.renewed += bool(answer.get("renewed"))
        # Whatever failed before is over: nothing is due, or it went well.
        self.failures.clear()
        return answer


@dataclass(slots=True)
class Lookout:
    """Gathers snapshots of what stands.

    Args:
        standing: what stands.
        tally: of what happened.
    """

    standing: Standing
    tally: Tally
    _listeners: _Kept = field(default_factory=_Kept)
    _plain: _Kept = field(default_factory=_Kept)
    _store: _Kept = field(default_factory=_Kept)
    _file: _Kept = field(default_factory=_Kept)
    _revoked: _Kept = field(default_factory=_Kept)
    _started: datetime = field(default_factory=system_clock)
    _counted: datetime = field(default_factory=system_clock)
    _sums: Sums = field(default_factory=Sums)
    _gathering: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def snapshot(self) -> Snapshot:
        """How everything is."""
        async with self._gathering:
            standing = self.standing
            site, driver, kind = standing.site, standing.engine, standing.kind
            assert kind is not None  # noqa: S101 - started
            running = driver is not None and driver.running
            serving = sum(not worker.draining for worker in standing.running())
            wanted = site.policy.site.workers if site.policy.worker_app and not standing.runs_inside else 0
            snapshot = await asyncio.to_thread(partial(self._gathered, site, running=running))
            counted = await counters(driver, self._sums, standing.counted(), running=running)
            version = standing.program.version if standing.program else ""
            facts = gather.engine_facts(kind.id, kind.title, version, kind.versions)
            return replace(
                snapshot,
                engine=replace(facts, state="running" if running else "down", starts=self.tally.starts),
                workers=Workers(wanted, serving) if wanted else None,
                counters=counted,
            )

    def _gathered(self, site: Site, *, running: bool) -> Snapshot:
        now, policy, state = system_clock(), site.policy, self.standing.state
        tries = gather.Tries()
        read = tries("store", lambda: self._record(site, now), gather.Record())
        self._count(read.attempts)
        return Snapshot(
            at=now,
            version=sealgate.__version__,
            site=gather.site_facts(policy),
            engine=gather.engine_facts("", "", "", ()),
            keeper=True,
            pid=os.getpid(),
            started=self._started,
            generation=self.standing.publication.generation,
            certificate=gather.certificate(policy, site.certificate, state),
            second=gather.second(policy, site.certificate, state),
            missing=gather.missing(policy, site.certificate),
            listeners=tries("listeners", lambda: self._look(site, running=running), _NO_LISTENERS),
            authorities=tries("authorities", lambda: gather.authorities(state, policy), ()),
            lists=tries("revocation lists", lambda: self._revocations(site), ()),
            clients=read.clients,
            renewals=self._renewals(read, policy),
            renewed=self.tally.renewed,
            failed=self.tally.failed,
            drift=self._file_drift(site),
            troubles=tuple[Trouble, ...](tries.troubles),
        )

    def _look(self, site: Site, *, running: bool) -> tuple[Listener, ...]:
        """Handshakes every 15 s; plain requests, which the access log shows, rarely while all is well."""
        now, wanted = system_clock(), site.certificate.shown
        key = (site, running)
        seen: tuple[Listener, ...] = self._listeners.get(
            key, _LOOK_EVERY, partial(gather.look, site.policy, wanted, now)
        )
        well = not any(one.problem for one in self._plain.value or ())
        every = _PLAIN_EVERY if well else _LOOK_EVERY
        plain: tuple[Listener, ...] = self._plain.get(
            key, every, partial(gather.look_plain, site.policy, now)
        )
        return seen + plain

    def _renewals(self, read: gather.Record, policy: Policy) -> tuple[Renewal, ...]:
        source = {"acme": "ACME"}.get(policy.certificate.source, policy.certificate.source)
        own = (replace(one, about=gather.about(policy), source=source) for one in self.tally.failures)
        both = sorted((*own, *read.renewals), key=lambda one: one.at, reverse=True)
        return tuple(both[:_REMEMBERED])

    def _count(self, attempts: tuple[Renewal, ...]) -> None:
        """What an ACME authority was asked since the last look; its history forgets, a tally does not."""
        for one in sorted(attempts, key=lambda one: one.at):
            if one.at > self._counted:
                self.tally.renewed += one.ok
                self.tally.failed += not one.ok
                self._counted = one.at

    def _record(self, site: Site, now: datetime) -> gather.Record:
        state, policy = self.standing.state, site.policy
        key = (site, gather.changed(state.store), gather.changed(gather.history_of(state, policy)))
        read = partial(gather.record, state, policy, now)
        found: gather.Record = self._store.get(key, _STORE_EVERY, read)
        return found

    def _revocations(self, site: Site) -> tuple[ListFacts, ...]:
        """Read once for each change: a large authority's list is megabytes, and this is asked often."""
        state, policy = self.standing.state, site.policy
        files = [state.live_clients / name for name in ("lists.pem", "crl.pem")]
        files.append(state.fetched_lists / INDEX)
        key = (site, *map(gather.changed, files))
        found: tuple[ListFacts, ...] = self._revoked.get(
            key, _STORE_EVERY, partial(gather.lists, state, policy)
        )
        return found

    def _file_drift(self, site: Site) -> tuple[Drift, ...]:
        """Does the policy file say something else than what is in force?"""
        path = site.loaded.path
        if path is None:
            return ()
        key = (site, gather.changed(path))
        found: tuple[Drift, ...] = self._file.get(key, _STORE_EVERY, lambda: self._compared(site))
        return found

    def _compared(self, site: Site) -> tuple[Drift, ...]:
        try:
            on_disk = self.standing.options.reload()
        except SealgateError as error:
            remedy = "mend it: the next start would fail"
            return (Drift("policy-broken", error.fact, remedy),)
        if on_disk.policy == site.policy:
            return ()
        fact = f"{site.loaded.path} was changed and is not in force yet"
        return (Drift("policy-changed", fact, "let it count: systemctl reload sealgate, or kill -HUP"),)
