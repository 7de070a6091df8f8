"""Lists that were fetched, kept over restarts: what counts, what to ask next, and who is on them. Blocking.

A list is a file named by its hash; ``index.json`` says which of them counts for which issuer and distribution
point. The file is there before the index names it, and goes after the index does not: whoever is killed in
between leaves what was in force. Nothing on the shelf is believed at the next start: every list is judged
again, by the authorities of that time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from sealgate._system.conditional import Tag
from sealgate._system.files import private_directory, write_atomic
from sealgate.pki.lists.judging import Accepted, Before, Kind, Reason, Refused, judge
from sealgate.pki.lists.schedule import Facts, extended, failed, took
from sealgate.policy.identity import listed_key
from sealgate.policy.points import Point

__all__ = ["INDEX", "MOST", "Fetched", "Place", "Shelf", "places_in"]

MOST = 256
"""Places of one authority: some have a list for each part of their certificates."""
INDEX = "index.json"
_LARGEST = 16 * 1024 * 1024
_SCHEMA = 1
_KEY = 16  # bytes: revocation_key
_LONGEST_SAID = 300
_ADDRESSES = 64 * 1024
"""Characters of all addresses of one authority: the index of 64 authorities can be read again."""


@dataclass(frozen=True, slots=True)
class Place:
    """One distribution point of one issuer, and what is known of the list there.

    Attributes:
        authority: how the policy calls it.
        issuer: SHA-256 of the issuer's SubjectPublicKeyInfo.
        point: where.
        facts: when it was asked; see ``schedule.py``.
        tag: of the list in force.
        before: what the next list is measured by; None: there never was one.
        count: of entries of the list in force.
        file: its SHA-256, hex; empty: there is none.
        problem: why the last answer did not count; a part of a sentence; empty: it did.
    """

    authority: str
    issuer: bytes
    point: Point
    facts: Facts = field(default_factory=Facts)
    tag: Tag = field(default_factory=Tag)
    before: Before | None = None
    count: int = 0
    file: str = ""
    problem: str = ""

    @property
    def key(self) -> bytes:
        """By what the guard knows it."""
        return listed_key(self.issuer, self.point.mark)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A list that was fetched, for the table of the revoked.

    Attributes:
        authority: whose.
        key: by what the guard knows that it is in force.
        until: to when it counts, grace included.
        packed: of everyone on it, 16 bytes each.
    """

    authority: str
    key: bytes
    until: datetime
    packed: bytes

    def __len__(self) -> int:
        return len(self.packed) // _KEY

    def keys(self) -> Iterable[bytes]:
        """Of everyone on it."""
        packed = self.packed
        return (packed[at : at + _KEY] for at in range(0, len(packed), _KEY))

    def counts(self, now: datetime) -> bool:
        """Is it in force?"""
        return now <= self.until


@dataclass
class Shelf:
    """The lists of one state directory.

    Args:
        folder: where they are; made when the first one is kept.

    Attributes:
        places: by key.
        fetched: those that were judged, by key.
    """

    folder: Path
    places: dict[bytes, Place] = field(default_factory=dict)
    fetched: dict[bytes, Fetched] = field(default_factory=dict)

    def load(
        self,
        issuers: Mapping[str, tuple[Sequence[x509.Certificate], timedelta]],
        *,
        now: datetime,
        say: Callable[[str], None],
    ) -> None:
        """What an earlier process has left, judged again; what does not count is left where it is not known.

        Args:
            issuers: of each authority whose lists are fetched, its certificates and its grace.
            now: the present.
            say: a line for people.
        """
        try:
            found = places_in(self.folder)
        except ValueError as error:
            say(f"{self.folder / INDEX} cannot be read ({error}): the lists in it are fetched anew")
            found = ()
        self.places = {one.key: one for one in found if one.authority in issuers}
        self.fetched = {}
        for one in list(self.places.values()):
            anchors, grace = issuers[one.authority]
            if one.file:
                try:
                    self.places[one.key] = self._judged_again(one, anchors, grace, now, say)
                except Exception as error:  # noqa: BLE001 - nobody else's list is kept back by it
                    say(f"a list of {one.authority} counts no more ({type(error).__name__})")
                    self.places[one.key] = replace(one, file="", tag=Tag(), facts=Facts())

    def _judged_again(
        self,
        one: Place,
        anchors: Sequence[x509.Certificate],
        grace: timedelta,
        now: datetime,
        say: Callable[[str], None],
    ) -> Place:
        try:
            data = self._path(one.file).read_bytes()
        except OSError as error:
            say(f"a list of {one.authority} is gone ({error.strerror}); it is fetched anew")
            return replace(one, file="", tag=Tag(), facts=Facts())
        verdict = judge(data, anchors, point=one.point, before=None, now=now, grace=grace)
        if isinstance(verdict, Accepted) and verdict.issuer == one.issuer:
            self.fetched[one.key] = _fetched(one, verdict, grace)
            return replace(one, before=verdict.before)
        if isinstance(verdict, Refused) and verdict.reason is Reason.ENDED and one.facts.next_update:
            until = extended(one.facts.next_update, grace)
            self.fetched[one.key] = Fetched(one.authority, one.key, until, b"")
            return one
        if isinstance(verdict, Refused) and verdict.reason is Reason.EARLY:  # our clock, most likely
            say(f"a list of {one.authority} counts not yet: {verdict.said}; set this machine's clock")
            return replace(one, tag=Tag())
        reason = verdict.said if isinstance(verdict, Refused) else "it is by another key"
        say(f"a list of {one.authority} counts no more: {reason}; it is fetched anew")
        return replace(one, file="", tag=Tag(), facts=Facts())  # no older one comes in by that

    def learn(self, authority: str, issuer: bytes, point: Point) -> bool:
        """That there is such a place; False: it was known, or there are too many of the authority."""
        one = Place(authority, issuer, Point.at(*point.addresses))
        if one.key in self.places:
            return False
        alike = [place for place in self.places.values() if place.authority == authority]
        size = sum(len(address) for place in (*alike, one) for address in place.point.addresses)
        if len(alike) >= MOST or size > _ADDRESSES:
            return False
        self.places[one.key] = one
        return True

    def anew(self) -> None:
        """What could not be had is asked again at once: whoever starts or reloads may have mended it."""
        for key, one in self.places.items():
            if one.problem:
                self.places[key] = replace(one, problem="", facts=Facts(next_update=one.facts.next_update))

    def forget(self, keep: Callable[[Place], bool]) -> None:
        """Leave out what does not belong here any more."""
        self.places = {key: one for key, one in self.places.items() if keep(one)}
        self.fetched = {key: one for key, one in self.fetched.items() if key in self.places}

    def took(self, key: bytes, accepted: Accepted, tag: Tag, grace: timedelta, *, at: datetime) -> None:
        """A list came that counts: judged by :meth:`is_older` at this moment, too.

        Raises:
            SealgateError: it could not be kept; the one before stays in force.
        """
        one = self.places[key]
        name = hashlib.sha256(accepted.der).hexdigest()
        private_directory(self.folder)
        if name != one.file:
            write_atomic(self._path(name), accepted.der)
        self.places[key] = replace(
            one,
            facts=took(one.facts, accepted.next_update, at=at),
            tag=tag,
            before=accepted.before,
            count=len(accepted.serials),
            file=name,
            problem="",
        )
        self.fetched[key] = _fetched(one, accepted, grace)

    def is_older(self, key: bytes, accepted: Accepted) -> bool:
        """Is the list in force a newer one by now? Two may have been on their way at once."""
        before = self.places[key].before
        if before is None:
            return False
        number = accepted.number if accepted.number is not None else -1
        return accepted.this_update < before.this_update or number < (before.number or -1)

    def unchanged(self, key: bytes, *, at: datetime) -> None:
        """The server says that the list in force is the newest."""
        one = self.places[key]
        if one.facts.next_update is not None:
            self.places[key] = replace(one, facts=took(one.facts, one.facts.next_update, at=at), problem="")

    def failed(self, key: bytes, said: str, *, at: datetime, retry_after: timedelta | None = None) -> None:
        """Nothing came that counts; what is in force stays."""
        one = self.places[key]
        facts = failed(one.facts, at=at, retry_after=retry_after)
        self.places[key] = replace(one, facts=facts, problem=said[:_LONGEST_SAID])

    def keep(self) -> None:
        """Write the index, and remove files that it does not name.

        Raises:
            SealgateError: it could not be written; what was kept before still is.
        """
        text = json.dumps({"schema": _SCHEMA, "places": [_as_json(one) for one in self.places.values()]})
        write_atomic(private_directory(self.folder) / INDEX, text.encode())
        named = {one.file for one in self.places.values()}
        for path in self.folder.glob("*.crl"):
            if path.stem not in named:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.crl"


def places_in(folder: Path) -> tuple[Place, ...]:
    """What an index says; none where there is no index. Raises ValueError: it is damaged."""
    try:
        with (folder / INDEX).open("rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ValueError(error.strerror) from None
    try:
        told = json.loads(data)
        if told["schema"] != _SCHEMA:
            raise ValueError("it is of another version")
        return tuple(map(_from_json, told["places"]))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(type(error).__name__) from None


def _fetched(one: Place, accepted: Accepted, grace: timedelta) -> Fetched:
    """A list that tells of authorities alone vouches for no client, and its entries count all the same."""
    key = one.key if Kind.LEAF in accepted.covers else b""
    packed = b"".join(accepted.serials.keys(accepted.issuer))
    return Fetched(one.authority, key, extended(accepted.next_update, grace), packed)


def _as_json(one: Place) -> dict[str, Any]:
    facts, before = one.facts, one.before
    return {
        "authority": one.authority,
        "issuer": one.issuer.hex(),
        "point": list(one.point.addresses),
        "facts": [_iso(facts.next_update), _iso(facts.asked), facts.failures, _iso(facts.retry_at)],
        "tag": [one.tag.etag, one.tag.modified],
        "before": [_iso(before.this_update), before.number] if before else None,
        "count": one.count,
        "file": one.file,
        "problem": one.problem,
    }


def _from_json(told: dict[str, Any]) -> Place:
    next_update, asked, failures, retry_at = told["facts"]
    etag, modified = told["tag"]
    before = told["before"]
    name = str(told["file"])
    if name and len(bytes.fromhex(name)) != hashlib.sha256().digest_size:
        raise ValueError("a file with a name of another kind")
    begun = _date(before[0]) if before else None
    return Place(
        authority=str(told["authority"]),
        issuer=bytes.fromhex(told["issuer"]),
        point=Point.at(*map(str, told["point"])),
        facts=Facts(_date(next_update), _date(asked), int(failures), _date(retry_at)),
        tag=Tag(str(etag), str(modified)),
        before=Before(begun, before[1]) if begun else None,
        count=int(told["count"]),
        file=name,
        problem=str(told["problem"]),
    )


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _date(text: str | None) -> datetime | None:
    if text is None:
        return None
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a date without a zone")
    return found
