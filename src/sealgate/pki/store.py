"""The store: what was issued, in SQLite, written by the holder of the state's lock alone.

Guarantees: a certificate is in the store before anybody is handed it (``synchronous=FULL``; the row is on
disk when :meth:`Store.add_certificate` returns), so none exists that could not be revoked. A file that is
damaged, or was written by a newer Sealgate, is refused, never repaired by guessing.

A rollback journal, no WAL: readers need no write access to the directory, and one file is the whole store.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from cryptography import x509

from sealgate._system.files import check_not_readable_by_others, translated
from sealgate.errors import StateError
from sealgate.pki.inspect import fingerprint, issuer_key_hash, names_of, pem_of, serial_text

__all__ = ["REVOKED", "CertificateRow", "Event", "Kind", "Store"]

Kind = Literal["server", "client", "imported", "acme", "canary"]
REVOKED = "certificate-revoked"
"""Kind of the event that an authority revoked a certificate; its subject is the fingerprint."""
_HAPPENED = {"imported": "imported", "acme": "obtained"}
_ROOM = 256 * 1024
_QUICK = 16 * 1024 * 1024
_CHECKED: set[tuple[int, int]] = set()

_MIGRATIONS = (
    """
    CREATE TABLE authorities (
        fingerprint TEXT PRIMARY KEY,
        name        TEXT NOT NULL,
        key_hash    TEXT NOT NULL,
        not_before  TEXT NOT NULL,
        not_after   TEXT NOT NULL,
        pem         TEXT NOT NULL,
        made_at     TEXT NOT NULL,
        retired_at  TEXT
    ) STRICT;
    CREATE TABLE certificates (
        fingerprint TEXT PRIMARY KEY,
        kind        TEXT NOT NULL,
        site        TEXT NOT NULL,
        issuer_key  TEXT NOT NULL,
        serial      TEXT NOT NULL,
        subject     TEXT NOT NULL,
        names       TEXT NOT NULL,
        not_before  TEXT NOT NULL,
        not_after   TEXT NOT NULL,
        pem         TEXT NOT NULL,
        issued_at   TEXT NOT NULL,
        UNIQUE (issuer_key, serial)
    ) STRICT;
    CREATE INDEX certificates_by_kind ON certificates (kind, not_after);
    CREATE TABLE events (
        id      INTEGER PRIMARY KEY,
        at      TEXT NOT NULL,
        kind    TEXT NOT NULL,
        subject TEXT NOT NULL,
        detail  TEXT NOT NULL
    ) STRICT;
    """,
    # What clients asked for, whom was revoked, and how far the numbers of lists got: see clients/register.py.
    """
    CREATE TABLE clients (
        fingerprint TEXT PRIMARY KEY REFERENCES certificates (fingerprint),
        name        TEXT NOT NULL,
        folded      TEXT NOT NULL,
        groups      TEXT NOT NULL,
        asked       TEXT NOT NULL,
        own_key     INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX clients_by_name ON clients (folded);
    CREATE INDEX certificates_by_serial ON certificates (serial);
    CREATE TABLE revocations (
        fingerprint TEXT PRIMARY KEY REFERENCES certificates (fingerprint),
        at          TEXT NOT NULL,
        reason      TEXT NOT NULL
    ) STRICT;
    CREATE TABLE lists (
        issuer_key TEXT PRIMARY KEY,
        number     INTEGER NOT NULL
    ) STRICT;
    """,
    # What a list is made from, without the certificates themselves: they are most of the file.
    """
    CREATE INDEX certificates_on_lists ON certificates (fingerprint, issuer_key, not_after, serial);
    """,
    # On a list that is newer than this store, of certificates that it does not know: a backup was restored.
    """
    CREATE TABLE taken_over (
        issuer_key TEXT NOT NULL,
        serial     TEXT NOT NULL,
        at         TEXT NOT NULL,
        reason     TEXT NOT NULL,
        PRIMARY KEY (issuer_key, serial)
    ) STRICT;
    """,
    # Certificates of other people's authorities that are kept out here.
    """
    CREATE TABLE blocked (
        fingerprint TEXT PRIMARY KEY,
        at          TEXT NOT NULL,
        note        TEXT NOT NULL
    ) STRICT;
    """,
    # Keys that callers show as tokens: their hashes, never the keys.
    """
    CREATE TABLE api_keys (
        id         TEXT PRIMARY KEY,
        name       TEXT NOT NULL,
        folded     TEXT NOT NULL,
        hash       TEXT NOT NULL,
        scopes     TEXT NOT NULL,
        made_at    TEXT NOT NULL,
        expires_at TEXT,
        revoked_at TEXT,
        last_used  TEXT
    ) STRICT;
    CREATE INDEX api_keys_by_name ON api_keys (folded);
    """,
)
"""Each entry brings the schema one version further; entries are only ever appended."""


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """One certificate. ``serial`` is upper-case hex, ``issuer_key`` the SHA-256 of the issuer's SPKI."""

    fingerprint: str
    kind: Kind
    site: str
    issuer_key: str
    serial: str
    subject: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    pem: str
    issued_at: datetime


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for people who ask later."""

    at: datetime
    kind: str
    subject: str
    detail: dict[str, object]


def _row(  # noqa: PLR0913, PLR0917 - one for each column
    mark: str,
    kind: Kind,
    site: str,
    issuer_key: str,
    serial: str,
    subject: str,
    names: str,
    not_before: str,
    not_after: str,
    pem: str,
    issued_at: str,
) -> CertificateRow:
    moments = (datetime.fromisoformat(text) for text in (not_before, not_after, issued_at))
    first, last, issued = moments
    return CertificateRow(
        mark, kind, site, issuer_key, serial, subject, tuple(json.loads(names)), first, last, pem, issued
    )


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


class Store:
    """The store of one state directory. Close it, or use it as a context manager."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> Store:
        """Open (or make) the store and bring its schema up to date.

        Raises:
            StateError: ``store-damaged``, ``store-newer``, ``store-locked``, ``state-full``,
                ``state-read-only``, ``state-missing``.
            StateInsecure: the file is open to others.
        """
        if not path.exists() and read_only:
            raise StateError(
                "state-missing",
                f"there is no store {path}",
                "start once with: sealgate serve",
                path=str(path),
            )
        with translated(path):
            if not read_only:
                # sqlite3 would make the file with the umask's mode.
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            check_not_readable_by_others(path)
        with _sqlite(path):
            try:
                return cls._opened(path, read_only=read_only)
            except sqlite3.OperationalError as error:
                # Its writer was killed: what it left half done is to be rolled back first, by a write.
                if error.sqlite_errorname != "SQLITE_READONLY_ROLLBACK":
                    raise
            with contextlib.closing(_connected(path, "rw")) as writer:
                writer.execute("PRAGMA user_version")
            return cls._opened(path, read_only=read_only)

    @classmethod
    def _opened(cls, path: Path, *, read_only: bool) -> Store:
        connection = _connected(path, "ro" if read_only else "rw")
        store = cls(path, connection)
        try:
            store._prepare(read_only=read_only)
        except BaseException:
            connection.close()
            raise
        return store

    def _prepare(self, *, read_only: bool) -> None:
        execute = self._connection.execute
        execute("PRAGMA synchronous=FULL")
        execute("PRAGMA foreign_keys=ON")
        execute("PRAGMA trusted_schema=OFF")
        version = execute("PRAGMA user_version").fetchone()[0]
        if version > len(_MIGRATIONS):
            raise StateError(
                "store-newer",
                f"{self.path} was written by a newer Sealgate (schema {version})",
                "upgrade Sealgate, or bring back the state directory's backup",
                path=str(self.path),
            )
        if self._to_be_checked() and execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise _damaged(self.path)
        if read_only:
            return
        for number in range(version, len(_MIGRATIONS)):
            with self._transaction():
                for statement in _MIGRATIONS[number].split(";"):
                    execute(statement)
                execute(f"PRAGMA user_version={number + 1}")

    def _to_be_checked(self) -> bool:
        """Always where it is quick; a large file once in a process: the check reads all of it."""
        facts = self.path.stat()
        known = (facts.st_dev, facts.st_ino)
        if facts.st_size > _QUICK and known in _CHECKED:
            return False
        _CHECKED.add(known)
        return True

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """For modules that keep tables of their own here; SQLite's errors become ours.

        Raises:
            StateError: as :meth:`open`.
        """
        with _sqlite(self.path):
            yield self._connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """As :meth:`reading`; all that is written inside is on disk at the end, or nothing of it."""
        with self._transaction():
            yield self._connection

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with _sqlite(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # on a full disk SQLite has gone back by itself
                    self._connection.execute("ROLLBACK")
                raise

    def add_authorities(self, authorities: dict[str, x509.Certificate], *, now: datetime) -> None:
        """Note the authorities in force, and retire all others; noting them again changes nothing.

        Args:
            authorities: by name: ``root``, ``servers``, ``clients``.
            now: the present.
        """
        current = {fingerprint(certificate): (name, certificate) for name, certificate in authorities.items()}
        rows = [
            (
                mark,
                name,
                issuer_key_hash(certificate),
                _iso(certificate.not_valid_before_utc),
                _iso(certificate.not_valid_after_utc),
                pem_of(certificate).decode(),
                _iso(now),
            )
            for mark, (name, certificate) in current.items()
        ]
        with self._transaction():
            known = {
                row[0]
                for row in self._connection.execute(
                    "SELECT fingerprint FROM authorities WHERE retired_at IS NULL"
                )
            }
            self._connection.executemany(
                "INSERT OR IGNORE INTO authorities VALUES (?,?,?,?,?,?,?,NULL)", rows
            )
            for old in known - set(current):
                self._connection.execute(
                    "UPDATE authorities SET retired_at=? WHERE fingerprint=?", (_iso(now), old)
                )
            if known != set(current):
                self._event("authority-made", rows[0][0], {"fingerprints": sorted(current)}, now)

    def retired_roots(self) -> list[str]:
        """PEM of every root that was replaced, newest first."""
        query = (
            "SELECT pem FROM authorities WHERE name='root' AND retired_at IS NOT NULL ORDER BY made_at DESC"
        )
        with _sqlite(self.path):
            return [row[0] for row in self._connection.execute(query)]

    def add_certificate(
        self,
        certificate: x509.Certificate,
        *,
        kind: Kind,
        site: str,
        issuer: x509.Certificate | None,
        now: datetime,
    ) -> None:
        """Put a certificate on disk before it is handed out. Adding it again changes nothing.

        Args:
            certificate: the leaf.
            kind: what it is for.
            site: the site's first name.
            issuer: who signed it; None where that is not known (an import without its issuer).
            now: the present.
        """
        mark = fingerprint(certificate)
        row = (
            mark,
            kind,
            site,
            issuer_key_hash(issuer) if issuer is not None else "",
            serial_text(certificate),
            certificate.subject.rfc4514_string(),
            json.dumps(names_of(certificate)),
            _iso(certificate.not_valid_before_utc),
            _iso(certificate.not_valid_after_utc),
            pem_of(certificate).decode(),
            _iso(now),
        )
        with self._transaction():
            new = self._connection.execute(
                "INSERT OR IGNORE INTO certificates VALUES (?,?,?,?,?,?,?,?,?,?,?)", row
            )
            if new.rowcount:
                self._event(
                    f"certificate-{_HAPPENED.get(kind, 'issued')}",
                    mark,
                    {"kind": kind, "site": site},
                    now,
                )

    def certificates(self, *, kind: Kind | None = None, site: str | None = None) -> list[CertificateRow]:
        """All certificates, newest first; of one kind or site where named."""
        query = (
            "SELECT * FROM certificates WHERE (?1 IS NULL OR kind=?1) AND (?2 IS NULL OR site=?2)"
            " ORDER BY issued_at DESC, rowid DESC"
        )
        with _sqlite(self.path):
            rows = self._connection.execute(query, (kind, site)).fetchall()
        return [_row(*row) for row in rows]

    def add_event(self, kind: str, subject: str, *, now: datetime, **detail: object) -> None:
        """Write down that something happened; ``detail`` never holds a secret."""
        with self._transaction():
            self._event(kind, subject, detail, now)

    def events(self, *, limit: int = 100) -> list[Event]:
        """The latest events, newest first."""
        with _sqlite(self.path):
            rows = self._connection.execute(
                "SELECT at, kind, subject, detail FROM events ORDER BY id DESC LIMIT ?", (limit,)
            ).fetchall()
        return [Event(datetime.fromisoformat(row[0]), row[1], row[2], json.loads(row[3])) for row in rows]

    def subjects(self, kind: str) -> frozenset[str]:
        """To whom something of this kind ever happened."""
        with _sqlite(self.path):
            rows = self._connection.execute("SELECT subject FROM events WHERE kind=?", (kind,)).fetchall()
        return frozenset(row[0] for row in rows)

    def _event(self, kind: str, subject: str, detail: dict[str, object], now: datetime) -> None:
        self._connection.execute(
            "INSERT INTO events (at, kind, subject, detail) VALUES (?,?,?,?)",
            (_iso(now), kind, subject, json.dumps(detail, sort_keys=True)),
        )

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _is_full(path: Path) -> bool:
    """Growing the file that SQLite shares between processes fails as an I/O error, not as a full disk."""
    facts = os.statvfs(path.parent)
    return facts.f_bavail * facts.f_frsize < _ROOM


def _damaged(path: Path) -> StateError:
    return StateError(
        "store-damaged",
        f"{path} is not a sound store",
        "bring back its backup, or move it away: only the list of what was issued is lost",
        path=str(path),
    )


def _connected(path: Path, mode: Literal["ro", "rw"]) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=5)


@contextlib.contextmanager
def _sqlite(path: Path) -> Iterator[None]:
    """Turn SQLite's word into ours."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorname", "")
        if code.startswith("SQLITE_FULL") or (code.startswith("SQLITE_IOERR") and _is_full(path)):
            raise StateError(
                "state-full",
                f"no space is left to write {path}",
                "free some space and try again",
                path=str(path),
            ) from error
        if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            raise StateError(
                "state-read-only",
                f"{path} cannot be written",
                "make it writable for this user",
                path=str(path),
            ) from error
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise StateError(
                "store-locked", f"another program holds {path} open", "close it and try again", path=str(path)
            ) from error
        if code.startswith("SQLITE_IOERR"):
            raise StateError(
                "state-unusable",
                f"{path} cannot be read or written ({error})",
                "look at that file system, or name another directory with --state",
                path=str(path),
            ) from error
        raise _damaged(path) from error
