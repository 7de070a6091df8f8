"""Certificates from ACME while serving: asked for in a thread of its own, answered for by the engine, seen.

The thread talks to authorities and may take minutes; it changes nothing that stands by itself. What it needs
of the keeper (an answer shown, a certificate served) it hands to the keeper's loop and waits for. There is
one at a time: who is told to end may still be in the middle of an answer, and the next one begins after him.

What speaks ACME is imported with the first pass: it is half of what a keeper imports, and many need none.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from sealgate._system.clock import Clock, system_clock
from sealgate.engines.challenges import Challenges
from sealgate.errors import EngineRefused, SealgateError
from sealgate.pki.live import LiveCertificate
from sealgate.policy.load import Loaded
from sealgate.policy.model import Policy
from sealgate.runtime.standing import Standing

if TYPE_CHECKING:
    from sealgate.acme.history import History
    from sealgate.acme.order import Obtained
    from sealgate.acme.renewal import Plan
    from sealgate.acme.renewer import Pass, Renewer

__all__ = ["Obtaining", "Stopped", "loud", "outcome", "shown"]

T = TypeVar("T")

_LOOK = 30.0
"""Seconds between two looks at the clock: plans are in wall time, which may jump."""
_HIDE = 3.0
"""Seconds that a stop leaves the thread to take back what it shows."""
_LOUDNESS = ("", "warning: ", "urgent: ", "CRITICAL: ")


class Stopped(Exception):
    """The keeper ends: there is to be no certificate any more."""


def loud(text: str, loudness: int) -> str:
    """A line as loud as it must be: nothing special, or a word in front that log filters find."""
    return _LOUDNESS[min(max(loudness, 0), 3)] + text


@dataclass(frozen=True, slots=True)
class _Thread:
    """One pass: what tells it to end, and when it has."""

    ends: threading.Event
    done: concurrent.futures.Future[Any]


@dataclass
class Obtaining:
    """Keeps the certificate of what stands, where it comes from ACME.

    Attributes:
        standing: what stands.
        serve: makes a certificate live and sees it served; raises where it is not.
        say: one line for people.
        clock: the present.
        last: the last passes, one for each certificate, for those who ask how it is.
    """

    standing: Standing
    serve: Callable[[Obtained], Coroutine[Any, Any, LiveCertificate]]
    say: Callable[[str], None]
    clock: Clock = system_clock
    last: tuple[Pass, ...] = ()
    _poked: asyncio.Event = field(default_factory=asyncio.Event)
    _passing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _over: bool = False
    _under_way: _Thread | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _unkept: History | None = None
    _said: dict[int, str] = field(default_factory=dict)

    @property
    def wanted(self) -> bool:
        """Does the policy in force ask for it?"""
        return self.standing.site.policy.certificate.source == "acme"

    def poke(self) -> None:
        """Look again now: the policy changed."""
        self._poked.set()

    async def keep(self) -> None:
        """Pass whenever it is time; for ever."""
        try:
            while True:
                pause = _LOOK
                if self.wanted:
                    try:
                        pause = min((self._pause(passed.plan) for passed in await self.once()), default=pause)
                    except Exception as error:  # noqa: BLE001 - the next pass must still be made
                        text = str(error) if isinstance(error, SealgateError) else repr(error)
                        self._tell(loud(text, 1))
                else:
                    await self._forget()
                try:
                    await asyncio.wait_for(self._poked.wait(), pause)
                except TimeoutError:
                    continue
                self._poked.clear()
        finally:
            self._over = True
            if self._under_way is not None:
                self._under_way.ends.set()

    async def _forget(self) -> None:
        """The policy asks for it no more: an order that was under way is nobody's, nor is its key."""
        if self._under_way is not None or not (self.standing.state.path / "acme").is_dir():
            return
        from sealgate.acme.journal import forget

        with contextlib.suppress(SealgateError, OSError):  # looked for again at the next pass
            await asyncio.to_thread(lambda: list(forget(self.standing.state)))

    def _pause(self, plan: Plan) -> float:
        return min(max((plan.at - self.clock()).total_seconds(), 1.0), _LOOK)

    async def once(self, *, force: bool = False, index: int | None = None) -> tuple[Pass, ...]:
        """One pass for each certificate, one after the other; beside other passes only after them.

        Args:
            force: get another one although none is due.
            index: for one of the policy's certificates alone.

        Raises:
            SealgateError: the state cannot be read. What an authority refuses is in the answer.
        """
        async with self._passing:
            passes: list[Pass] = []
            failures: list[Exception] = []
            for number in (0, 1) if index is None else (index,):
                if number >= len(self.standing.site.policy.certificate.key_types):
                    continue  # there is one alone, or since a moment
                try:
                    passed = await self._run(lambda renewer: renewer.step(force=force), number)
                except Exception as error:  # noqa: BLE001 - raised below: the other one must still be renewed
                    failures.append(error)
                else:
                    passes.append(passed)
                    self._report(passed, number)
            if failures:
                raise failures[0]
            self.last = tuple(passes)
            return self.last

    async def order(self, *, force: bool, dry: bool = False) -> dict[str, Any]:
        """What `cert renew` asks for.

        Returns:
            `fingerprint`, `not_after`, `renewed`, `plan` (a sentence), `next` (when it is looked at again);
            of a rehearsal, `rehearsed` beside the last two.

        Raises:
            SealgateError: no certificate could be had; what was served still is.
        """
        if dry:
            return {"rehearsed": True, "renewed": False} | shown(*await self.dry())
        passes = await self.once(force=force)
        self.poke()  # the plan of the loop is that of the old certificate
        for passed in passes:
            if passed.error is not None:
                raise passed.error
        return outcome(self.standing.site.certificate, passes)

    async def end(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """What `cert revoke` and `cert deactivate` ask for; a live certificate is replaced before that.

        Unless `replace` of the order is false: then as soon as another one can be had.

        Raises:
            SealgateError: nothing was ended.
        """
        from sealgate.acme.ending import find
        from sealgate.runtime.ending import end

        standing = self.standing
        if order["order"] == "cert-revoke":
            site = standing.site
            row = await asyncio.to_thread(find, standing.state, site.policy.site.names[0], order["which"])
            for live in site.certificate.both if order.get("replace", True) else ():
                if live.fingerprint == row.fingerprint:
                    await self._replaced(live, site.policy)
            order = {**order, "which": row.fingerprint}
        async with self._passing:
            answer = await asyncio.to_thread(end, standing.state, standing.site.loaded, order)
        self.poke()  # where it is still live, another one is due at once
        return answer

    async def _replaced(self, live: LiveCertificate, policy: Policy) -> None:
        """Another one is got in its place, and served."""
        for passed in await self.once(force=True, index=live.index(policy.certificate.key_types)):
            if passed.error is not None:
                raise passed.error
        self.poke()

    async def dry(self) -> list[Plan]:
        """What would be done, and whether names could be proven: nothing is asked of the authority.

        The names are the same for all kinds of keys, so they are proven once.

        Raises:
            AcmeError: an answer would not be seen.
        """
        async with self._passing:
            plans = [await self._run(lambda renewer: renewer.rehearse())]
            others = range(1, len(self.standing.site.policy.certificate.key_types))
            return [*plans, *[await self._run(lambda renewer: renewer.look(), index) for index in others]]

    async def _run(self, work: Callable[[Renewer], T], index: int = 0) -> T:
        """Do it in a thread of its own, which a stop need not wait for: it may hang in a slow authority."""
        if self._under_way is not None:  # whoever waited for it was cancelled
            await asyncio.wait([_waiting(self._under_way.done)])
        self._loop = asyncio.get_running_loop()
        loaded = self.standing.site.loaded
        done: concurrent.futures.Future[T] = concurrent.futures.Future()
        ends = threading.Event()
        if self._over:
            ends.set()

        def run() -> None:
            try:
                done.set_result(self._worked(work, loaded, ends, index))
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                done.set_exception(error)

        self._under_way = _Thread(ends, done)
        threading.Thread(target=run, name="acme", daemon=True).start()
        waiting = _waiting(done)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            ends.set()  # this one alone: a renewal is still due after somebody did not wait for his order
            # What it shows is taken back where that is quick; else the journal tells the next run.
            await asyncio.wait([waiting], timeout=_HIDE)
            raise
        finally:
            if done.done():
                self._under_way = None

    def _report(self, passed: Pass, index: int = 0) -> None:
        if passed.error is not None:
            text = f"no certificate from ACME: {passed.error} Next look: {passed.plan.sentence}"
            self._tell(loud(text, passed.plan.loudness), index)
        elif passed.live is not None:
            self._said.pop(index, None)

    def _tell(self, text: str, index: int = 0) -> None:
        """Once for each new text: a failure that stays the same is not worth a line every time."""
        if text != self._said.get(index, ""):
            self.say(text)
        self._said[index] = text

    # From the thread

    def _worked(
        self, work: Callable[[Renewer], T], loaded: Loaded, ends: threading.Event, index: int = 0
    ) -> T:
        """Where what was tried cannot be written, the next pass must know of it all the same."""
        renewer = self._renewer(loaded, ends, index)
        if self._unkept is not None:
            renewer.history, renewer.kept = self._unkept, False
        try:
            return work(renewer)
        finally:
            self._unkept = None if renewer.kept else renewer.history

    def _renewer(self, loaded: Loaded, ends: threading.Event, index: int) -> Renewer:
        from sealgate.acme.renewer import Renewer
        from sealgate.runtime.solvers import authorities_of, solver_for

        loop = self._loop
        assert loop is not None  # noqa: S101 - set by whoever starts a pass

        def tell(challenges: Challenges) -> None:
            _of(loop, self._challenge(challenges))

        def wait(seconds: float) -> None:
            if ends.wait(seconds):
                raise Stopped

        return Renewer(
            state=self.standing.state,
            policy=loaded.policy,
            authorities=authorities_of(loaded),
            solver=solver_for(loaded, self.standing.root, tell, clock=self.clock, wait=wait, say=self.say),
            publish=lambda obtained: _of(loop, self.serve(obtained)),
            clock=self.clock,
            wait=wait,
            say=self.say,
            index=index,
        )

    async def _challenge(self, challenges: Challenges) -> None:
        """Have the engine answer exactly these; one that is just down takes them at its start."""
        standing = self.standing
        async with standing.changing:
            before, standing.challenges = standing.challenges, challenges
            if standing.engine is None or not standing.engine.running:
                return
            try:
                await standing.engine.challenge(standing.facts(standing.site))
            except EngineRefused:
                standing.challenges = before
                raise


def _of(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """What the keeper's loop makes of it; asked from another thread."""
    return asyncio.run_coroutine_threadsafe(work, loop).result()


def _waiting(done: concurrent.futures.Future[T]) -> asyncio.Future[T]:
    """For it to be done; that nobody asks any more what came of it is no news."""
    waiting = asyncio.wrap_future(done)
    waiting.add_done_callback(lambda future: future.cancelled() or future.exception())
    return waiting


def shown(*plans: Plan) -> dict[str, Any]:
    """For programs: what is next, and when: of several, all sentences and the earliest time."""
    sentences = [plan.sentence for plan in plans]
    at = min(plan.at for plan in plans)
    return {"plan": "; ".join(sentences), "plans": sentences, "next": at.isoformat()}


def outcome(live: LiveCertificate, passes: Sequence[Pass]) -> dict[str, Any]:
    """For programs: what is live after passes, whether one of them changed that, and what is next."""
    answer: dict[str, Any] = {
        "fingerprint": live.fingerprint,
        "not_after": live.not_after.isoformat(),
        "renewed": any(passed.live is not None for passed in passes),
    }
    if live.second is not None:
        second = live.second
        answer["second"] = {"fingerprint": second.fingerprint, "not_after": second.not_after.isoformat()}
    return answer | shown(*(passed.plan for passed in passes))
