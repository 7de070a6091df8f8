"""The API keys' part of the store: whose key is whose, until when, and which were revoked.

A key itself is never here, only its hash. Nothing is ever deleted: what was issued can be asked about.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sealgate.pki.clients.naming import folded
from sealgate.pki.store import Store

__all__ = ["ApiKey", "ApiKeys"]

_COLUMNS = "id, name, hash, scopes, made_at, expires_at, revoked_at"


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One that was issued.

    Attributes:
        id: its public part.
        name: who has it.
        hash: SHA-256 of the whole, hex.
        scopes: what it may be used for.
        made_at: UTC.
        expires_at: UTC; None: never by itself.
        revoked_at: UTC; None: it was not.
    """

    id: str
    name: str
    hash: str
    scopes: tuple[str, ...]
    made_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def active(self, now: datetime) -> bool:
        """Does it count?"""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def status(self, now: datetime) -> str:
        """For people: `valid`, `expired`, `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "valid" if self.active(now) else "expired"


def _read(row: Sequence[object]) -> ApiKey:
    mark, name, digest, scopes, *moments = row
    made, expires, revoked = (
        datetime.fromisoformat(str(one)) if one is not None else None for one in moments
    )
    assert made is not None  # noqa: S101 - the column takes no NULL
    return ApiKey(str(mark), str(name), str(digest), tuple(json.loads(str(scopes))), made, expires, revoked)


class ApiKeys:
    """Those of a store.

    Args:
        store: open; for the calls that write, for writing.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, one: ApiKey) -> None:
        """Note one, before anybody has it."""
        expires, scopes = _iso(one.expires_at) if one.expires_at else None, json.dumps(one.scopes)
        row = (one.id, one.name, folded(one.name), one.hash, scopes, _iso(one.made_at), expires)
        with self._store.writing() as connection:
            connection.execute("INSERT INTO api_keys VALUES (?,?,?,?,?,?,?,NULL,NULL)", row)
            _event(connection, "api-key-issued", one, one.made_at)

    def all(self) -> list[ApiKey]:
        """Every one, by name, the newest of each first."""
        with self._store.reading() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM api_keys ORDER BY folded, made_at DESC, id")  # noqa: S608 - our own words
            return [_read(row) for row in rows]

    def revoke(self, marks: Sequence[str], *, now: datetime) -> None:
        """These count no more."""
        with self._store.writing() as connection:
            for one in [each for each in self.all() if each.id in marks and each.revoked_at is None]:
                connection.execute("UPDATE api_keys SET revoked_at=? WHERE id=?", (_iso(now), one.id))
                _event(connection, "api-key-revoked", one, now)


def _event(connection: sqlite3.Connection, kind: str, one: ApiKey, now: datetime) -> None:
    detail = json.dumps({"name": one.name, "scopes": one.scopes})
    connection.execute(
        "INSERT INTO events (at, kind, subject, detail) VALUES (?,?,?,?)", (_iso(now), kind, one.id, detail)
    )
