"""The keys of issuers that publish them (JWK Set, RFC 7517): found, fetched, judged, kept over restarts.

Theory: tokens count by the keys that are in force. A set that came and can be read replaces the one before;
whatever else comes, or does not, changes nothing but the time of the next try: so tokens go on to count while
their issuer is down, and a key that an issuer took out of its set counts until the next look. That is every
few minutes, and soon after a token named a key that nobody knows. Who sends such tokens cannot make it more
than one look a minute.

Where the policy names no address, the issuer's own metadata says where its keys are (OpenID Connect Discovery
1.0 §4, RFC 8414 §3): believed over HTTPS, from the issuer's name, if they say that same name (§3.3).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from sealgate._system.fetch import Failed, Fetched, Tag, Unchanged, Why
from sealgate._system.files import private_directory, write_atomic
from sealgate.errors import CertificateError
from sealgate.guard.tokens.keysets import KeySetError, keys_of, read_key_set
from sealgate.pki.state import State
from sealgate.policy.load import Loaded
from sealgate.policy.model import Policy
from sealgate.policy.quoting import printable
from sealgate.policy.tokens import Issuer, is_https
from sealgate.runtime.fetching import fetched_apart
from sealgate.runtime.issued import roots_of
from sealgate.runtime.questions import Questions

__all__ = ["KeySets", "metadata_addresses", "next_look"]

_LOOK = 0.2
_REGULAR = 300.0
"""Seconds from one set to the next look: for as long a key that was taken out may count."""
_LEAST = 60.0
"""Seconds between two looks, while there is a set."""
_PRESSED = 5.0
"""The first wait while there is none: nobody's token counts."""
_FOUND = 3600.0
"""Seconds for which metadata are believed."""
_SECONDS = 20.0
_LARGEST, _LARGEST_METADATA = 1024 * 1024, 256 * 1024
_AT_ONCE = 4
_SCHEMA = 1
_SPREAD = 1 << 32
_OURS = "; is it a network of your own, list it in network.fetch"

Jwks = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Set:
    """What is known of one issuer's keys.

    Attributes:
        issuer: as the policy has it.
        folder: of the policy.
        keys: in force; empty: there never were any.
        tag: of them.
        uri: where they are; empty: its metadata must be asked.
        found: when they said so; monotonic.
        asked: when somebody looked last; None: never.
        failures: since the last look that brought something.
        again: the server's word, seconds.
        wanted: a token named a key that is not among them.
    """

    issuer: Issuer
    folder: Path
    keys: Jwks = field(default_factory=list)
    tag: Tag = field(default_factory=Tag)
    uri: str = ""
    found: float = 0.0
    asked: float | None = None
    failures: int = 0
    again: float = 0.0
    wanted: bool = False

    @property
    def mark(self) -> bytes:
        return hashlib.sha256(self.issuer.issuer.encode()).digest()


class _NotHad(Exception):
    """Why there is no newer set; a part of a sentence."""

    def __init__(self, said: str, again: float = 0.0) -> None:
        super().__init__(said)
        self.again = again


def next_look(
    *, asked: float | None, failures: int, known: bool, wanted: bool, again: float, spread: float
) -> float:
    """When to look for a set, on the clock of ``asked``.

    Args:
        asked: when somebody looked last; None: never.
        failures: in a row.
        known: there is a set that counts.
        wanted: a token named a key that is not in it.
        again: seconds that the server asked for.
        spread: random in [0, 1).
    """
    if asked is None:
        return 0.0
    if not known:
        wait = min(_PRESSED * (1 << min(max(failures - 1, 0), 8)), _LEAST)
        return asked + max(wait, min(again, _LEAST))
    if failures:
        wait = min(_LEAST * (1 << min(failures - 1, 8)), _REGULAR)
    else:
        wait = _LEAST if wanted else _REGULAR * (1 - spread / 4)
    return asked + max(wait, min(again, _REGULAR))


def metadata_addresses(issuer: str) -> tuple[str, ...]:
    """Where an issuer says where its keys are: the suffix of OpenID Connect, and RFC 8414's infix."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    return (
        issuer.rstrip("/") + "/.well-known/openid-configuration",
        f"https://{parts.netloc}/.well-known/oauth-authorization-server{path}",
    )


class _Publication(Protocol):
    def key_sets(self, sets: dict[str, Jwks], /) -> None:
        """Tokens count by these from now on."""


class _Site(Protocol):
    @property
    def loaded(self) -> Loaded:
        """In force."""

    @property
    def policy(self) -> Policy:
        """In force."""


class Standing(Protocol):
    """What stands (``standing.py``), or what is handed out (``alone.py``)."""

    @property
    def state(self) -> State:
        """Where sets are kept."""

    @property
    def publication(self) -> _Publication:
        """Who tells guards."""

    @property
    def site(self) -> _Site:
        """What is served."""

    @property
    def changing(self) -> asyncio.Lock:
        """Held by whoever changes any of this."""

    @property
    def questions(self) -> Questions:
        """Of guards."""


class KeySets:
    """Keeps the sets that are fetched.

    Args:
        standing: what stands.
        confine: run in a fetcher's process before it becomes one.
        say: one line for people.
    """

    def __init__(self, standing: Standing, confine: Callable[[], None], say: Callable[[str], None]) -> None:
        self._standing, self._confine, self._say = standing, confine, say
        self._place = standing.state.key_sets
        self._sets: dict[bytes, _Set] = {}
        self._busy: dict[bytes, asyncio.Task[None]] = {}
        self._spread: dict[bytes, float] = {}
        self._wanted = asyncio.Event()
        self._told: dict[bytes, str] = {}

    def adopt(self, loaded: Loaded) -> None:
        """The issuers of this policy publish their keys; what was kept of them counts. Blocking."""
        found: dict[bytes, _Set] = {}
        for issuer in loaded.policy.tokens.issuers:
            if issuer.jwks_file:
                continue
            one = _Set(issuer, loaded.base)
            before = self._sets.get(one.mark)
            if before is not None and before.issuer.jwks_uri == issuer.jwks_uri:
                one = replace(before, issuer=issuer, folder=loaded.base)
            else:
                one = self._kept(one)
            found[one.mark] = one
        self._sets = found
        self._standing.publication.key_sets({one.issuer.issuer: one.keys for one in found.values()})
        self._forget()

    def poke(self) -> None:
        """Other issuers may count now."""
        self._wanted.set()

    async def keep(self) -> None:
        """Look for what is due, and for what guards ask, until cancelled."""
        try:
            while True:
                try:
                    await self._look()
                except Exception as error:  # noqa: BLE001 - the next look must still be made
                    self._once(b"", f"keys of issuers: {type(error).__name__}: {error}")
                await asyncio.sleep(_LOOK)
        finally:
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _look(self) -> None:
        if self._wanted.is_set():
            self._wanted.clear()
            async with self._standing.changing:
                await asyncio.to_thread(self.adopt, self._standing.site.loaded)
        if not self._sets:
            return
        for mark in self._standing.questions.key_sets():
            if mark in self._sets:
                self._sets[mark] = replace(self._sets[mark], wanted=True)
        now = time.monotonic()
        for mark, one in self._sets.items():
            if mark not in self._busy and len(self._busy) < _AT_ONCE and self._due(one) <= now:
                self._busy[mark] = asyncio.create_task(self._task(mark))

    def _due(self, one: _Set) -> float:
        spread = self._spread.setdefault(one.mark, secrets.randbelow(_SPREAD) / _SPREAD)
        return next_look(
            asked=one.asked,
            failures=one.failures,
            known=bool(one.keys),
            wanted=one.wanted,
            again=one.again,
            spread=spread,
        )

    async def _task(self, mark: bytes) -> None:
        try:
            await self.ask(mark)
        finally:
            self._busy.pop(mark, None)

    async def ask(self, mark: bytes) -> bool:
        """Look for the keys of one issuer now; True: they are in force.

        Args:
            mark: SHA-256 of its name.
        """
        one = self._sets[mark]
        self._spread.pop(mark, None)
        said, again = "", 0.0
        try:
            news = await self._newer(one)
        except _NotHad as error:
            said, again = str(error), error.again
        except Exception as error:  # noqa: BLE001 - whatever a stranger sent: the next try must be made
            said = f"{type(error).__name__}: {error}"
        async with self._standing.changing:  # whoever changes the policy sees all of it or nothing
            present = self._sets.get(mark)
            if present is None or present.issuer.jwks_uri != one.issuer.jwks_uri:
                return False
            asked = time.monotonic()
            if said:
                failures = present.failures + 1
                self._sets[mark] = replace(present, asked=asked, failures=failures, again=again, uri="")
                held = "those before still count" if present.keys else "none of its tokens counts"
                self._once(
                    mark, f"the keys of {printable(one.issuer.issuer)} could not be had: {said}; {held}"
                )
                return False
            self._sets[mark] = replace(
                present,
                keys=news.keys,
                tag=news.tag,
                uri=news.uri,
                found=news.found,
                asked=asked,
                failures=0,
                again=0.0,
                wanted=False,
            )
            await asyncio.to_thread(self._took, present, self._sets[mark])
        return True

    def _took(self, before: _Set, after: _Set) -> None:
        name, told = printable(after.issuer.issuer), self._told.pop(after.mark, "")
        if before.keys != after.keys:
            self._keep(after)
            self._standing.publication.key_sets({one.issuer.issuer: one.keys for one in self._sets.values()})
            good, others = keys_of(after.keys)
            left = f"; {'; '.join(others)}" if others else ""
            self._say(f"keys of {name}: {len(good)} count, from {printable(after.uri)}{left}")
        elif told:
            self._say(f"the keys of {name} could be had again")

    async def _newer(self, one: _Set) -> _Set:
        """With what is in force from now on. Raises _NotHad."""
        now = time.monotonic()
        try:
            roots = await asyncio.to_thread(roots_of, one.issuer, one.folder)
        except CertificateError as error:
            raise _NotHad(str(error)) from error
        if one.issuer.jwks_uri:
            one = replace(one, uri=one.issuer.jwks_uri)
        elif not one.uri or now - one.found > _FOUND:
            one = replace(one, uri=await self._discovered(one.issuer, roots), found=now)
        answer = await self._fetched(one.uri, one.tag if one.keys else Tag(), roots, _LARGEST)
        if isinstance(answer, Unchanged):
            return one
        return replace(one, keys=await asyncio.to_thread(_sound, one.uri, answer.body), tag=answer.tag)

    async def _discovered(self, issuer: Issuer, roots: str) -> str:
        problems = []
        for url in metadata_addresses(issuer.issuer):
            try:
                answer = await self._fetched(url, Tag(), roots, _LARGEST_METADATA)
                assert isinstance(answer, Fetched)  # noqa: S101 - without a tag nothing is unchanged
                return _address_in(url, answer.body, issuer.issuer)
            except _NotHad as error:
                problems.append(error)
        again = max(one.again for one in problems)
        raise _NotHad("; ".join(map(str, problems)), again)

    async def _fetched(self, url: str, tag: Tag, roots: str, size: int) -> Fetched | Unchanged:
        allowed = self._standing.site.policy.network.fetch
        answer = await fetched_apart(
            url, tag, allowed=allowed, confine=self._confine, seconds=_SECONDS, size=size, roots=roots
        )
        if isinstance(answer, Failed):
            again = answer.retry_after.total_seconds() if answer.retry_after else 0.0
            said = answer.said + (_OURS if answer.why is Why.PLACE else "")
            raise _NotHad(f"{printable(url)}: {said}", again)
        return answer

    def _once(self, key: bytes, line: str) -> None:
        if self._told.get(key) != line:
            self._say(line)
        self._told[key] = line

    # What is kept

    def _file(self, one: _Set) -> Path:
        return self._place / f"{one.mark.hex()}.json"

    def _keep(self, one: _Set) -> None:
        private_directory(self._place)
        document = {
            "schema": _SCHEMA,
            "issuer": one.issuer.issuer,
            "jwks_uri": one.issuer.jwks_uri,
            "etag": one.tag.etag,
            "modified": one.tag.modified,
            "keys": one.keys,
        }
        write_atomic(self._file(one), json.dumps(document).encode())

    def _kept(self, one: _Set) -> _Set:
        """With what was in force before the keeper ended; what is not whole is nothing."""
        try:
            with self._file(one).open("rb") as file:
                said = json.loads(file.read(2 * _LARGEST))
            same = (said["schema"], said["issuer"], said["jwks_uri"])
            if same != (_SCHEMA, one.issuer.issuer, one.issuer.jwks_uri):
                return one
            tag = Tag(str(said["etag"]), str(said["modified"]))
            keys = said["keys"]
            sound = isinstance(keys, list) and all(isinstance(jwk, dict) for jwk in keys)
            return replace(one, keys=keys, tag=tag) if sound and keys_of(keys)[0] else one
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return one

    def _forget(self) -> None:
        """Sets of issuers that count no more: one that counts again is asked."""
        kept = {self._file(one).name for one in self._sets.values()}
        with contextlib.suppress(OSError):
            for path in self._place.glob("*.json"):
                if path.name not in kept:
                    path.unlink(missing_ok=True)


def _sound(uri: str, body: bytes) -> Jwks:
    try:
        keys = read_key_set(body)
    except KeySetError as error:
        raise _NotHad(f"what {printable(uri)} sent {error}") from None
    found, others = keys_of(keys)
    if not found:
        raise _NotHad(f"{printable(uri)} has no key that counts: {others[0] if others else 'it is empty'}")
    return keys


def _address_in(url: str, body: bytes, issuer: str) -> str:
    """RFC 8414 §3.2 and §3.3."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise _NotHad(f"{printable(url)} is no object in JSON")
    if said.get("issuer") != issuer:
        raise _NotHad(f"{printable(url)} speaks of another issuer")
    uri = said.get("jwks_uri")
    if not isinstance(uri, str) or not is_https(uri):
        raise _NotHad(f"{printable(url)} names no https address of its keys")
    return uri
