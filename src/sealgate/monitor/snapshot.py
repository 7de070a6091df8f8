"""How a deployment is at one moment: everything that has a date or a state, as plain data.

Texts are as certificates and peers have them: whoever shows them escapes them for where they go. Dates are
aware, in UTC. What could not be gathered is named in ``troubles``; an empty part without one is really empty.
"""

from __future__ import annotations

import json
import types
import typing
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

__all__ = [
    "SCHEMA",
    "Authority",
    "ByKind",
    "Certificate",
    "Client",
    "Drift",
    "EngineFacts",
    "ListFacts",
    "Listener",
    "Renewal",
    "SiteFacts",
    "Snapshot",
    "Trouble",
    "Workers",
    "from_json",
    "loads",
    "to_json",
]

SCHEMA = 1

_Data = TypeVar("_Data")


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """What is served. ``profile_date``: of the guideline behind the TLS profile, ISO; empty: not known."""

    name: str
    url: str
    profile: str
    profile_date: str = ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate as stored: what every listener should show.

    Attributes:
        source: `private`, `acme` or `files`.
        fingerprint: SHA-256 of the DER, lower-case hex.
        due: when it is to be renewed; None where somebody else does that.
        key: its kind, `RSA 3072`, where there are two to be told apart.
    """

    source: str
    fingerprint: str
    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]
    issuer: str
    due: datetime | None = None
    key: str = ""


@dataclass(frozen=True, slots=True)
class ByKind:
    """What a listener shows to clients that take signatures of one kind of key alone.

    Attributes:
        kind: `ecdsa` or `rsa`.
        problem: as that of :class:`Listener`.
        fingerprint, not_before, not_after: of the certificate; empty: none was seen.
    """

    kind: str
    problem: str
    fingerprint: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener as it was seen from outside.

    Attributes:
        address: `127.0.0.1:8443`; of HTTP/3 with `/udp` behind it.
        problem: what is not as it shall be, as a part of a sentence; empty: all is.
        at: when it was looked at.
        fingerprint, not_before, not_after, names: of the certificate that it showed; empty: none was seen.
        version: `TLSv1.3`, as negotiated by the look.
        kinds: what each kind of client is shown, where there are two certificates.
    """

    address: str
    scheme: Literal["https", "http", "h3"]
    problem: str
    at: datetime
    fingerprint: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    names: tuple[str, ...] = ()
    version: str = ""
    kinds: tuple[ByKind, ...] = ()


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority of ours, or one whose clients count."""

    name: str
    subject: str
    fingerprint: str
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class ListFacts:
    """A revocation list in force, or one that is wanted.

    Attributes:
        authority: whose.
        this_update: when it was made; None: there is none yet.
        next_update: None: there is none, or it does not say.
        revoked: how many are on it.
        source: where it is fetched; empty: it is not.
        problem: why it could not be had the last time; empty: it could.
    """

    authority: str
    this_update: datetime | None
    next_update: datetime | None
    revoked: int
    source: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Client:
    """A client certificate that ends soon, and that no later one has replaced."""

    subject: str
    serial: str
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Renewal:
    """A renewal that was tried.

    Attributes:
        kind: of certificate: `server`, `client`, `imported`.
        code: of the error; empty: it went well.
        fact: the error's, or whom it was had from.
        remedy: the error's; empty: not known any more.
        about: whose certificate: names, or a client.
        source: whom it is had from: `private`, `ACME`, `stand-in`, `files`.
    """

    kind: str
    at: datetime
    ok: bool
    code: str = ""
    fact: str = ""
    remedy: str = ""
    about: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """The server.

    Attributes:
        state: `unknown`: it is not ours to know (no keeper runs).
        tested: was this minor version tested with Sealgate?
        ends: when it gets no more fixes, ISO date; empty: not known.
        kept_by: who keeps it until then; empty: its makers.
        data: the day of the data, ISO.
        starts: how often it was started anew after it had ended.
    """

    id: str
    title: str
    version: str
    state: Literal["running", "down", "unknown"]
    tested: bool = True
    ends: str = ""
    kept_by: str = ""
    data: str = ""
    starts: int = 0


@dataclass(frozen=True, slots=True)
class Workers:
    """App processes."""

    wanted: int
    serving: int


@dataclass(frozen=True, slots=True)
class Drift:
    """Something that is not as it was put there; see ``engines/installed/drift.py``."""

    kind: str
    fact: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """A part that could not be gathered."""

    part: str
    code: str
    fact: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of it.

    Attributes:
        at: when it was gathered.
        keeper: does a keeper run? Then ``pid`` and ``started`` are its own.
        servers: titles of installed servers that something was applied to.
        watcher: does `sealgate watch` run?
        generation: of what the guard decides by.
        second: the certificate of the other family that is served beside the first.
        missing: types of keys, of two that the policy asks for, of which there is no certificate yet.
        renewed, failed: renewals since the keeper started.
        counters: what engine and workers count: name and label to number, since the keeper started.
    """

    at: datetime
    version: str
    site: SiteFacts
    engine: EngineFacts
    keeper: bool = False
    pid: int = 0
    started: datetime | None = None
    generation: int = 0
    certificate: Certificate | None = None
    listeners: tuple[Listener, ...] = ()
    authorities: tuple[Authority, ...] = ()
    lists: tuple[ListFacts, ...] = ()
    clients: tuple[Client, ...] = ()
    renewals: tuple[Renewal, ...] = ()
    renewed: int = 0
    failed: int = 0
    drift: tuple[Drift, ...] = ()
    workers: Workers | None = None
    counters: tuple[tuple[str, str, int], ...] = ()
    troubles: tuple[Trouble, ...] = ()
    servers: tuple[str, ...] = ()
    watcher: bool = False
    second: Certificate | None = None
    missing: tuple[str, ...] = ()
    schema: int = SCHEMA


def to_json(snapshot: object) -> dict[str, Any]:
    """Plain data; dates as RFC 3339."""
    found = _plain(snapshot)
    assert isinstance(found, dict)  # noqa: S101 - of a dataclass
    return found


def _plain(value: Any) -> Any:  # noqa: ANN401 - a tree of plain data
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def from_json(kind: type[_Data], data: object) -> _Data:
    """The reverse of :func:`to_json`.

    Raises:
        ValueError: it is not what this version writes.
    """
    try:
        if kind is Snapshot and isinstance(data, dict) and data.get("schema") != SCHEMA:
            raise ValueError(f"schema {data.get('schema')!r}, not {SCHEMA}")
        made: _Data = _value(kind, data)
    except (TypeError, KeyError, AttributeError, OverflowError) as error:  # the last: a date without a UTC
        raise ValueError(f"not a {kind.__name__}: {error}") from None
    return made


def loads(kind: type[_Data], text: str | bytes) -> _Data:
    """From a text.

    Raises:
        ValueError: it is no JSON, or not what this version writes.
    """
    try:
        return from_json(kind, json.loads(text))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _value(kind: Any, data: Any) -> Any:  # noqa: ANN401 - a tree of plain data
    if is_dataclass(kind):
        if not isinstance(data, dict):
            raise TypeError(f"{type(data).__name__} for a table")
        hints = typing.get_type_hints(kind)
        values = {name: _value(hints[name], item) for name, item in data.items()}
        return kind(**values)  # type: ignore[operator]  # never an instance
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        if not isinstance(data, list):
            raise TypeError(f"{type(data).__name__} for a list")
        if len(inner) == 2 and inner[1] is Ellipsis:
            return tuple(_value(inner[0], item) for item in data)
        return tuple(_value(one, item) for one, item in zip(inner, data, strict=True))
    if origin in {typing.Union, types.UnionType}:
        return None if data is None else _value(next(one for one in inner if one is not type(None)), data)
    return _single(kind, origin, inner, data)


def _single(kind: Any, origin: Any, inner: tuple[Any, ...], data: Any) -> Any:  # noqa: ANN401 - as above
    if kind is datetime:
        moment = datetime.fromisoformat(data)
        if moment.tzinfo is None:
            raise ValueError("a date without its zone")
        return moment.astimezone(UTC)
    if origin is Literal:
        if data not in inner:
            raise ValueError(f"{data!r} is none of {inner}")
        return data
    if type(data) is not kind:
        raise TypeError(f"{type(data).__name__} for {kind}")
    return data
