"""Responders asked about single certificates (OCSP), where these name no list: behind the request's back.

What each certificate is worth is decided in ``pki/ocsp/cache.py``; here it is asked, by a process without
keys for each question, and kept over restarts. Who is good stays so until his answer ends, whatever the
responder does meanwhile.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from sealgate._system.clock import system_clock
from sealgate._system.fetch import Failed, Fetched, Posted, Tag, Unchanged
from sealgate._system.files import private_directory, write_atomic
from sealgate.errors import SealgateError
from sealgate.pki.lists.schedule import extended
from sealgate.pki.lists.shelf import Fetched as InForce
from sealgate.pki.ocsp.asking import CONTENT_TYPE, Digest, Question, Unaskable, question_of
from sealgate.pki.ocsp.cache import Ask, Bounds, Cache, Key
from sealgate.pki.ocsp.judging import LARGEST, Accepted, State, judge
from sealgate.pki.ocsp.kept import Kept, from_json, to_json
from sealgate.pki.ocsp.points import responders_in
from sealgate.pki.ocsp.words import Reason
from sealgate.policy.identity import revocation_key, status_key
from sealgate.policy.quoting import printable
from sealgate.runtime.fetching import fetched_apart

__all__ = ["Asked", "Responders"]

_SECONDS = 10.0
_AT_ONCE = 8
_EVERY = 1.0
_WRITTEN_EVERY = 10.0
_FILE = "answers.json"
_LARGEST_FILE = 64 * 1024 * 1024
_SPREAD = 1 << 32
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)
_BOUNDS = Bounds(gone=timedelta(days=30))
"""Guards tell whom nobody knows, and of the good nothing: these are asked about for a month."""
_NOT_UNDERSTOOD = frozenset({Reason.MALFORMED, Reason.UNAUTHORIZED})


@dataclass(slots=True)
class Asked:
    """One authority whose certificates are asked about.

    Attributes:
        issuers: its certificates, by SHA-256 of their SubjectPublicKeyInfo.
        grace: how long an answer still counts past its end.
        cache: what is known.
        leaves: the certificates, DER, of all that it names.
    """

    issuers: Mapping[bytes, x509.Certificate]
    grace: timedelta
    cache: Cache
    leaves: dict[Key, bytes] = field(default_factory=dict)


class Responders:
    """Asks them.

    Args:
        folder: where answers are kept over a restart.
        allowed: networks that may be asked though they are not of the whole internet.
        confine: run in a fetcher's process before it becomes one.
        say: one line for people.
    """

    def __init__(
        self,
        folder: Path,
        allowed: Callable[[], tuple[str, ...]],
        confine: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self._folder, self._allowed, self._confine, self._say = folder, allowed, confine, say
        self._asked: dict[str, Asked] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._told: dict[str, str] = {}
        self._next = self._write_at = 0.0
        self._unwritten = False
        self.changed = False
        self.added: list[bytes] = []

    def adopt(self, authorities: Mapping[str, tuple[Mapping[bytes, x509.Certificate], timedelta]]) -> None:
        """These are asked about from now on, and no others; what was kept of them counts. Blocking."""
        now = system_clock()
        asked = {
            name: Asked(issuers, grace, Cache(grace=grace, bounds=_BOUNDS))
            for name, (issuers, grace) in authorities.items()
        }
        kept = [*self._held(), *self._read()] if asked else []
        for name, before in self._asked.items():
            of = asked.get(name)
            if of is not None and (of.issuers.keys(), of.grace) == (before.issuers.keys(), before.grace):
                asked[name] = before  # what is under way comes to it, and nothing is put off
        for one in kept:
            of = asked.get(one.authority)
            if of is self._asked.get(one.authority):
                continue
            if of is not None and one.answer.issuer in of.issuers:
                key = Key(one.answer.issuer, one.answer.serial)
                of.leaves[key] = one.der
                of.cache.restore([(one.answer, one.seen)], now=now, spread=_chance)
        self._asked = asked

    def learn(self, name: str, issuer: bytes, certificate: x509.Certificate, der: bytes) -> None:
        """A guard does not know what this one is worth; ``issuer`` signed it."""
        of = self._asked.get(name)
        if of is not None:
            key = Key(issuer, certificate.serial_number)
            of.cache.look(key, now=system_clock())
            if key in of.cache:
                of.leaves.setdefault(key, der)

    def look(self, moment: float) -> None:
        """Ask what is due; called again and again. ``moment``: of a clock that never goes back, seconds."""
        if not self._asked:
            return
        if moment >= self._next:
            self._next = moment + _EVERY
            now = system_clock()
            for name, of in self._asked.items():
                for ask in of.cache.due(now=now):
                    self._start(name, of, ask)
                self._tidy(of)
        if self._unwritten and moment >= self._write_at:
            self._write_at, self._unwritten = moment + _WRITTEN_EVERY, False
            self.write()

    def standing(self) -> Iterator[InForce]:
        """What is known, for the table of the revoked."""
        for name, of in self._asked.items():
            for answer, _ in of.cache.held():
                key = status_key(answer.issuer, answer.serial)
                if answer.state is State.GOOD:
                    yield InForce(name, key, extended(answer.until, of.grace), b"")
                elif answer.state is State.REVOKED:
                    yield InForce(name, b"", _NEVER, revocation_key(answer.issuer, answer.serial))
                else:
                    yield InForce(name, key, _LONG_AGO, b"")

    async def refresh(self) -> list[dict[str, Any]]:
        """Ask about everybody, due or not; of each authority, how many are known and how many wait."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(name: str, of: Asked, ask: Ask) -> None:
            async with gate:
                if ask.key in of.leaves:
                    await self._ask(name, of, ask)

        every = []
        for name, of in self._asked.items():
            begun = {Key(one.issuer, one.serial): one.this_update for one, _ in of.cache.held()}
            every += [(name, of, Ask(key, Digest.SHA1, begun.get(key))) for key in of.leaves]
        await asyncio.gather(*(one(*each) for each in every))
        counts = ((name, of.cache.counts) for name, of in self._asked.items())
        return [{"authority": name, "known": known, "waiting": waiting} for name, (known, waiting) in counts]

    async def close(self) -> None:
        """Ask no more; what is known is kept."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._asked:
            await asyncio.to_thread(self.write)

    # Asking

    def _start(self, name: str, of: Asked, ask: Ask) -> None:
        task = asyncio.create_task(self._ask(name, of, ask))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, name: str, of: Asked, ask: Ask) -> None:
        try:
            await self._asked_of(name, of, ask)
        except Exception as error:  # noqa: BLE001 - the next try must still be made
            self._failed(name, of, ask, type(error).__name__)

    async def _asked_of(self, name: str, of: Asked, ask: Ask) -> None:
        problems: list[str] = []
        again: list[timedelta] = []
        not_understood = False
        certificate = x509.load_der_x509_certificate(of.leaves[ask.key])
        try:
            issuer = of.issuers[ask.key.issuer]
            question = question_of(certificate, issuer, nonce=secrets.token_bytes(32), digest=ask.digest)
        except Unaskable as error:
            self._failed(name, of, ask, str(error))
            return
        for url in responders_in(certificate).urls:
            answer = await self._posted(url, question)
            if not isinstance(answer, Fetched):
                problems.append(
                    f"{printable(url)}: {answer.said if isinstance(answer, Failed) else 'no answer'}"
                )
                again += [answer.retry_after] if isinstance(answer, Failed) and answer.retry_after else []
                continue
            verdict = judge(answer.body, question, before=ask.before, now=system_clock(), grace=of.grace)
            if isinstance(verdict, Accepted):
                of.cache.took(verdict, now=system_clock(), spread=_chance())
                self.changed = self._unwritten = True
                if verdict.state is State.GOOD:
                    self.added.append(status_key(verdict.issuer, verdict.serial))
                elif verdict.state is State.REVOKED:
                    self.added.append(revocation_key(verdict.issuer, verdict.serial))
                self._told.pop(name, None)
                return
            not_understood |= verdict.reason in _NOT_UNDERSTOOD
            problems.append(f"{printable(url)}: {verdict.said}")
        said = "; ".join(problems) or "it names nobody who could be asked"
        self._failed(name, of, ask, said, max(again, default=None), not_understood=not_understood)

    async def _posted(self, url: str, question: Question) -> Fetched | Unchanged | Failed:
        return await fetched_apart(
            url,
            Tag(),
            allowed=self._allowed(),
            confine=self._confine,
            seconds=_SECONDS,
            size=LARGEST,
            post=Posted(question.der, CONTENT_TYPE),
        )

    def _failed(
        self,
        name: str,
        of: Asked,
        ask: Ask,
        said: str,
        again: timedelta | None = None,
        *,
        not_understood: bool = False,
    ) -> None:
        now = system_clock()
        of.cache.failed(ask.key, now=now, spread=_chance(), retry_after=again, not_understood=not_understood)
        if self._told.get(name) != said:
            self._say(f"nobody says whether certificate {ask.key.serial:x} of {name} is revoked: {said}")
        self._told[name] = said

    @staticmethod
    def _tidy(of: Asked) -> None:
        """Certificates that the cache has forgotten."""
        if len(of.leaves) > 2 * sum(of.cache.counts) + 64:
            of.leaves = {key: der for key, der in of.leaves.items() if key in of.cache}

    # Keeping

    def _held(self) -> Iterator[Kept]:
        for name, of in self._asked.items():
            for answer, seen in of.cache.held():
                der = of.leaves.get(Key(answer.issuer, answer.serial))
                if der is not None:
                    yield Kept(name, der, answer, seen)

    def _read(self) -> tuple[Kept, ...]:
        if self._asked:  # what we know is newer
            return ()
        path = self._folder / _FILE
        try:
            with path.open("rb") as file:
                return from_json(file.read(_LARGEST_FILE))
        except FileNotFoundError:
            return ()
        except (OSError, ValueError) as error:
            self._say(f"{path} cannot be read ({error}): responders are asked anew")
            return ()

    def write(self) -> None:
        """Keep what is known; where that fails it is said, and everybody is asked anew after a restart."""
        try:
            write_atomic(private_directory(self._folder) / _FILE, to_json(self._held()))
        except SealgateError as error:
            self._say(str(error))


def _chance() -> float:
    return secrets.randbelow(_SPREAD) / _SPREAD
