"""The clients' part of the store: whose certificate is whose, who is revoked, how far list numbers got.

Nothing is ever deleted here: what was issued can be asked about for ever. Each write is one transaction, on
disk when the call returns.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509

from sealgate.pki.clients.naming import LONGEST_DAYS, Asked, folded
from sealgate.pki.inspect import fingerprint, issuer_key_hash, pem_of, serial_text
from sealgate.pki.store import Store

__all__ = ["HOLD", "REASONS", "Blocked", "Held", "Register", "Signed", "Stranger"]

HOLD = "certificate-hold"
_TOLD_EACH = 16  # of more at once there is one event
REASONS: dict[str, x509.ReasonFlags | None] = {
    "unspecified": None,  # RFC 5280 §5.3.1: leave it out
    "key-compromise": x509.ReasonFlags.key_compromise,
    "affiliation-changed": x509.ReasonFlags.affiliation_changed,
    "superseded": x509.ReasonFlags.superseded,
    "cessation-of-operation": x509.ReasonFlags.cessation_of_operation,
    "privilege-withdrawn": x509.ReasonFlags.privilege_withdrawn,
    HOLD: x509.ReasonFlags.certificate_hold,
}
"""Reasons that a client's certificate may be revoked for; the others of RFC 5280 are about authorities."""

_COLUMNS = """
    c.fingerprint, c.name, c.groups, c.asked, c.own_key,
    x.serial, x.issuer_key, x.subject, x.not_before, x.not_after, x.pem, x.issued_at, r.at, r.reason
"""
_TABLES = """
    FROM clients c JOIN certificates x ON x.fingerprint = c.fingerprint
    LEFT JOIN revocations r ON r.fingerprint = c.fingerprint
"""


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class Signed:
    """A certificate that was just signed, for the register.

    Attributes:
        asked: what was asked for.
        certificate: what was signed.
        own_key: the key was made by `client add`; else it came in a request.
    """

    asked: Asked
    certificate: x509.Certificate
    own_key: bool


@dataclass(frozen=True, slots=True)
class Held:
    """A client's certificate as the register has it. ``serial`` is upper-case hex."""

    fingerprint: str
    name: str
    groups: tuple[str, ...]
    asked: Asked
    own_key: bool
    serial: str
    issuer_key: str
    subject: str
    not_before: datetime
    not_after: datetime
    pem: str
    issued_at: datetime
    revoked_at: datetime | None
    reason: str

    def active(self, now: datetime) -> bool:
        """Neither ended nor revoked for good; one on hold may come back."""
        return now <= self.not_after and (self.revoked_at is None or self.reason == HOLD)

    def status(self, now: datetime) -> str:
        """For people: `valid`, `expired`, `on hold`, `revoked`."""
        if self.revoked_at is not None:
            return "on hold" if self.reason == HOLD else "revoked"
        return "expired" if now > self.not_after else "valid"


@dataclass(frozen=True, slots=True)
class Blocked:
    """A certificate of somebody else's authority that is kept out.

    Attributes:
        fingerprint: SHA-256, lower-case hex.
        at: since when.
        note: why, for people.
    """

    fingerprint: str
    at: datetime
    note: str


@dataclass(frozen=True, slots=True)
class Stranger:
    """A revoked certificate that a list named and the store does not know. ``serial`` is upper-case hex."""

    issuer_key: str
    serial: str
    at: datetime
    reason: str


def _released(connection: sqlite3.Connection, subject: str, since: datetime) -> bool:
    query = "SELECT 1 FROM events WHERE kind='client-released' AND subject=? AND at>=?"
    return connection.execute(query, (subject, _iso(since))).fetchone() is not None


def _held(row: Sequence[object]) -> Held:
    mark, name, groups, asked, own, serial, issuer, subject, first, last, pem, issued, at, reason = row
    moments = [datetime.fromisoformat(str(text)) for text in (first, last, issued)]
    return Held(
        str(mark),
        str(name),
        tuple(json.loads(str(groups))),
        Asked.from_dict(json.loads(str(asked))),
        bool(own),
        str(serial),
        str(issuer),
        str(subject),
        moments[0],
        moments[1],
        str(pem),
        moments[2],
        datetime.fromisoformat(str(at)) if at else None,
        str(reason or ""),
    )


class Register:
    """The clients in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self, signed: Sequence[Signed], *, site: str, issuer: x509.Certificate, now: datetime
    ) -> list[Held]:
        """Put all of them on disk, or none.

        Returns:
            what is there now, in the same order.

        Raises:
            StateError: the store cannot be written; ``store-damaged`` where a serial is there already.
        """
        by, moment = issuer_key_hash(issuer), _iso(now)
        with self._store.writing() as connection:
            rows = [_rows(one, by, site, moment) for one in signed]
            _insert(connection, rows)
            if len(rows) > _TOLD_EACH:
                _event(
                    connection, "clients-issued", str(rows[0][0][0]), {"number": len(rows), "site": site}, now
                )
            else:
                for certificate, _ in rows:
                    detail = {"kind": "client", "site": site}
                    _event(connection, "certificate-issued", str(certificate[0]), detail, now)
        return [_fresh(each, by, row, now) for each, row in zip(signed, rows, strict=True)]

    def add_canaries(
        self, made: Iterable[x509.Certificate], *, site: str, issuer: x509.Certificate, now: datetime
    ) -> None:
        """Certificates that only a look from outside uses; the lists do not show them."""
        by, moment = issuer_key_hash(issuer), _iso(now)
        with self._store.writing() as connection:
            rows = [_certificate_row(one, "canary", by, site, moment) for one in made]
            connection.executemany("INSERT INTO certificates VALUES (?,?,?,?,?,?,?,?,?,?,?)", rows)

    def all(self) -> list[Held]:
        """Every client's certificate, by name, the newest of a name first."""
        return self._found("ORDER BY c.folded, x.issued_at DESC, c.rowid DESC", ())

    def named(self, name: str) -> list[Held]:
        """All of one client's, the newest first."""
        return self._found("WHERE c.folded=? ORDER BY x.issued_at DESC, c.rowid DESC", (folded(name),))

    def numbered(self, text: str) -> list[Held]:
        """Those whose serial or fingerprint begins so (hex)."""
        where = "WHERE x.serial >= ?1 AND x.serial < ?2 OR c.fingerprint >= ?3 AND c.fingerprint < ?4"
        upper, lower = text.upper(), text.lower()
        return self._found(where, (upper, upper + "~", lower, lower + "~"))

    def active(self, names: Iterable[str], now: datetime) -> dict[str, Held]:
        """The newest good one of each of these names that has any, by the name as it is given."""
        found = {}
        with self._store.reading() as connection:
            for name in names:
                # Most of a table's names are new: whether there is any is all that is asked of them.
                known = connection.execute("SELECT 1 FROM clients WHERE folded=?", (folded(name),)).fetchone()
                good = [held for held in self.named(name) if held.active(now)] if known else []
                if good:
                    found[name] = good[0]
        return found

    def names(self) -> list[str]:
        """All names, each once."""
        with self._store.reading() as connection:
            rows = connection.execute("SELECT DISTINCT name FROM clients ORDER BY folded").fetchall()
        return [row[0] for row in rows]

    def _found(self, where: str, values: Sequence[object]) -> list[Held]:
        with self._store.reading() as connection:
            # Ours alone: only constants of this module are put together.
            rows = connection.execute(f"SELECT {_COLUMNS} {_TABLES} {where}", values).fetchall()
        return [_held(row) for row in rows]

    def revoke(self, fingerprints: Iterable[str], reason: str, *, now: datetime) -> None:
        """Revoke them, for good or (``certificate-hold``) until released; an earlier hold is overwritten."""
        with self._store.writing() as connection:
            for mark in fingerprints:
                connection.execute(
                    "INSERT INTO revocations VALUES (?1,?2,?3) ON CONFLICT (fingerprint)"
                    " DO UPDATE SET at=?2, reason=?3 WHERE reason=?4",
                    (mark, _iso(now), reason, HOLD),
                )
                _event(connection, "client-revoked", mark, {"reason": reason}, now)

    def release(self, fingerprints: Iterable[str], *, now: datetime) -> None:
        """Take back a hold; what is revoked for good stays."""
        with self._store.writing() as connection:
            for mark in fingerprints:
                connection.execute("DELETE FROM revocations WHERE fingerprint=? AND reason=?", (mark, HOLD))
                _event(connection, "client-released", mark, {}, now)

    def take_over(
        self, issuer_key: str, entries: Iterable[tuple[str, datetime, str]], *, now: datetime
    ) -> list[str]:
        """Revoke whom a list of the issuer's names and this store does not; which serials those were.

        Of certificates that are not in the store too: they were issued since it was saved. A hold becomes a
        revocation for good, never the other way round; one that was released here since it began stays so.

        Args:
            issuer_key: whose list it is.
            entries: serial, moment and reason.
            now: the present.
        """
        taken = []
        with self._store.writing() as connection:
            for serial, at, reason in entries:
                row = connection.execute(
                    "SELECT fingerprint FROM certificates WHERE issuer_key=? AND serial=?",
                    (issuer_key, serial),
                ).fetchone()
                if reason == HOLD and _released(connection, row[0] if row else serial, at):
                    continue
                done = (
                    connection.execute(
                        "INSERT INTO revocations VALUES (?1,?2,?3) ON CONFLICT (fingerprint)"
                        " DO UPDATE SET at=?2, reason=?3 WHERE reason=?4 AND ?3!=?4",
                        (row[0], _iso(at), reason, HOLD),
                    )
                    if row
                    else connection.execute(
                        "INSERT INTO taken_over VALUES (?1,?2,?3,?4) ON CONFLICT (issuer_key, serial)"
                        " DO UPDATE SET at=?3, reason=?4 WHERE reason=?5 AND ?4!=?5",
                        (issuer_key, serial, _iso(at), reason, HOLD),
                    )
                )
                if done.rowcount > 0:
                    taken.append(serial)
            _event(connection, "store-restored", issuer_key, {"taken_over": taken[:_TOLD_EACH]}, now)
        return taken

    def strangers(self, text: str) -> list[Stranger]:
        """Those of no certificate of this store, taken over from a list, whose serial begins so (hex)."""
        upper = text.upper()
        with self._store.reading() as connection:
            rows = connection.execute(
                "SELECT issuer_key, serial, at, reason FROM taken_over WHERE serial>=? AND serial<?",
                (upper, upper + "~"),
            ).fetchall()
        return [Stranger(key, serial, datetime.fromisoformat(at), why) for key, serial, at, why in rows]

    def release_stranger(self, one: Stranger, *, now: datetime) -> None:
        """Take back a hold that was taken over."""
        with self._store.writing() as connection:
            connection.execute(
                "DELETE FROM taken_over WHERE issuer_key=? AND serial=? AND reason=?",
                (one.issuer_key, one.serial, HOLD),
            )
            _event(connection, "client-released", one.serial, {}, now)

    def revoked(self, issuer_key: str, since: datetime) -> Iterator[tuple[str, datetime, str]]:
        """Serial, moment and reason of the issuer's revoked that ended no earlier than ``since``."""
        with self._store.reading() as connection:
            rows = connection.execute(
                # CROSS: the revoked come first. SQLite would go through all certificates of the issuer.
                "SELECT x.serial, r.at, r.reason FROM revocations r"
                " CROSS JOIN certificates x ON x.fingerprint = r.fingerprint"
                " WHERE x.issuer_key=?1 AND x.not_after>=?2"
                # Of these the end is not known, but not later than that of one issued in that moment.
                " UNION ALL SELECT serial, at, reason FROM taken_over WHERE issuer_key=?1 AND at>=?3",
                (issuer_key, _iso(since), _iso(max(since, _EPOCH) - timedelta(days=LONGEST_DAYS))),
            ).fetchall()
        return ((row[0], datetime.fromisoformat(row[1]), row[2]) for row in rows)

    def grouped(self, issuer_key: str, since: datetime) -> list[tuple[str, tuple[str, ...]]]:
        """Serial and groups of the issuer's that have any and ended no earlier than ``since``."""
        with self._store.reading() as connection:
            rows = connection.execute(
                "SELECT x.serial, c.groups FROM clients c"
                " JOIN certificates x ON x.fingerprint = c.fingerprint"
                " WHERE c.groups != '[]' AND x.issuer_key=? AND x.not_after>=?",
                (issuer_key, _iso(since)),
            ).fetchall()
        return [(serial, tuple(json.loads(groups))) for serial, groups in rows]

    def block(self, one: Blocked) -> None:
        """Keep one out; the note of one that is, is replaced."""
        with self._store.writing() as connection:
            connection.execute(
                "INSERT INTO blocked VALUES (?,?,?)"
                " ON CONFLICT (fingerprint) DO UPDATE SET note=excluded.note",
                (one.fingerprint, _iso(one.at), one.note),
            )
            _event(connection, "client-blocked", one.fingerprint, {"note": one.note}, one.at)

    def unblock(self, fingerprint: str, now: datetime) -> Blocked | None:
        """Keep one out no longer; None: it was not."""
        found = next((one for one in self.blocked() if one.fingerprint == fingerprint), None)
        if found is not None:
            with self._store.writing() as connection:
                connection.execute("DELETE FROM blocked WHERE fingerprint=?", (fingerprint,))
                _event(connection, "client-unblocked", fingerprint, {}, now)
        return found

    def blocked(self) -> list[Blocked]:
        """All that are kept out, the latest first."""
        with self._store.reading() as connection:
            rows = connection.execute(
                "SELECT fingerprint, at, note FROM blocked ORDER BY at DESC, fingerprint"
            ).fetchall()
        return [Blocked(mark, datetime.fromisoformat(at), note) for mark, at, note in rows]

    def list_number(self, issuer_key: str) -> int:
        """The highest number that a list of this issuer had; 0: there was none."""
        with self._store.reading() as connection:
            row = connection.execute("SELECT number FROM lists WHERE issuer_key=?", (issuer_key,)).fetchone()
        return int(row[0]) if row else 0

    def note_list(self, issuer_key: str, number: int) -> None:
        """Note a number before the list is shown to anybody."""
        with self._store.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO lists VALUES (?,?)", (issuer_key, number))


_Row = tuple[object, ...]


def _certificate_row(
    one: x509.Certificate, kind: str, issuer_key: str, site: str, moment: str, dns: tuple[str, ...] = ()
) -> _Row:
    return (
        fingerprint(one),
        kind,
        site,
        issuer_key,
        serial_text(one),
        one.subject.rfc4514_string(),
        json.dumps(dns),  # what `inspect.names_of` says: ours have no addresses
        _iso(one.not_valid_before_utc),
        _iso(one.not_valid_after_utc),
        pem_of(one).decode(),
        moment,
    )


def _rows(signed: Signed, issuer_key: str, site: str, moment: str) -> tuple[_Row, _Row]:
    """Of the two tables: certificate and client."""
    asked = signed.asked
    certificate = _certificate_row(signed.certificate, "client", issuer_key, site, moment, asked.dns)
    mark = certificate[0]
    client = (
        mark,
        asked.name,
        folded(asked.name),
        json.dumps(asked.groups),
        json.dumps(asked.as_dict()),
        int(signed.own_key),
    )
    return certificate, client


def _fresh(signed: Signed, issuer_key: str, rows: tuple[_Row, _Row], now: datetime) -> Held:
    """What the register has of one that was just added."""
    certificate, asked, one = rows[0], signed.asked, signed.certificate
    return Held(
        fingerprint=str(certificate[0]),
        name=asked.name,
        groups=asked.groups,
        asked=asked,
        own_key=signed.own_key,
        serial=str(certificate[4]),
        issuer_key=issuer_key,
        subject=str(certificate[5]),
        not_before=one.not_valid_before_utc,
        not_after=one.not_valid_after_utc,
        pem=str(certificate[9]),
        issued_at=now.replace(microsecond=0),
        revoked_at=None,
        reason="",
    )


def _insert(connection: sqlite3.Connection, rows: Sequence[tuple[_Row, _Row]]) -> None:
    connection.executemany(
        "INSERT INTO certificates VALUES (?,?,?,?,?,?,?,?,?,?,?)", (each[0] for each in rows)
    )
    connection.executemany("INSERT INTO clients VALUES (?,?,?,?,?,?)", (each[1] for each in rows))


def _event(
    connection: sqlite3.Connection, kind: str, subject: str, detail: Mapping[str, object], now: datetime
) -> None:
    connection.execute(
        "INSERT INTO events (at, kind, subject, detail) VALUES (?,?,?,?)",
        (_iso(now), kind, subject, json.dumps(detail)),
    )
