"""Gather what the state directory and the listeners tell. Blocking; opens no key; writes nothing.

Each part stands alone: what keeps one from being gathered is a :class:`Trouble`, and the others are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from cryptography import x509

from sealgate.acme.history import Outcome, history_path, load
from sealgate.engines import quic
from sealgate.engines.observe import OfKind, Seen, compared, plain_status
from sealgate.errors import NotObserved, SealgateError
from sealgate.monitor.lives import life_of, minor_of
from sealgate.monitor.snapshot import (
    Authority,
    ByKind,
    Certificate,
    Client,
    EngineFacts,
    Listener,
    ListFacts,
    Renewal,
    SiteFacts,
    Trouble,
)
from sealgate.pki.inspect import fingerprint, names_of
from sealgate.pki.keys import describe
from sealgate.pki.lists.shown import shown
from sealgate.pki.live import LiveCertificate, LiveDirectory, kind_of, parse_chain
from sealgate.pki.renewal import due_at
from sealgate.pki.state import State
from sealgate.pki.store import CertificateRow, Event, Store
from sealgate.pki.vault import load_certificates
from sealgate.policy.model import Endpoint, Policy
from sealgate.policy.profiles import load_profile

__all__ = [
    "Record",
    "Tries",
    "about",
    "authorities",
    "certificate",
    "changed",
    "engine_facts",
    "history_of",
    "lists",
    "live_certificate",
    "look",
    "look_plain",
    "missing",
    "record",
    "second",
    "site_facts",
]

_RENEWALS, _CLIENTS = 10, 50
_LOOKS = 16
_KINDS = frozenset({"certificate-issued", "certificate-imported"})

_Part = TypeVar("_Part")


@dataclass(slots=True)
class Tries:
    """Runs parts, and notes which could not be had."""

    troubles: list[Trouble] = field(default_factory=list)

    def __call__(self, part: str, get: Callable[[], _Part], otherwise: _Part) -> _Part:
        """What ``get`` gives; ``otherwise`` where it cannot."""
        try:
            return get()
        except SealgateError as error:
            self.troubles.append(Trouble(part, error.code, error.fact, error.remedy))
        except Exception as error:  # noqa: BLE001 - half a file, a hostile certificate: the rest must be seen
            self.troubles.append(Trouble(part, "internal-error", f"{type(error).__name__}: {error}"[:200]))
        return otherwise


def site_facts(policy: Policy) -> SiteFacts:
    """What is served."""
    profile = load_profile(policy.tls.profile)
    return SiteFacts(policy.site.names[0], policy.public_url, profile.id, profile.date.isoformat())


def engine_facts(engine: str, title: str, version: str, tested: tuple[str, ...]) -> EngineFacts:
    """The engine by its version; who knows whether it runs says so himself."""
    life = life_of(engine, version)
    return EngineFacts(
        id=engine,
        title=title,
        version=version,
        state="unknown",
        tested=not version or minor_of(version) in tested,
        ends=life.ends.isoformat() if life.ends else "",
        kept_by=life.kept_by,
        data=life.day.isoformat() if life.day else "",
    )


def certificate(
    policy: Policy, live: LiveCertificate | None, state: State | None = None
) -> Certificate | None:
    """What every listener should show."""
    if live is None:
        return None
    source: str = policy.certificate.source
    if source == "acme" and not set(policy.site.names) <= set(live.names):
        source = "stand-in"  # until the authority has issued one
    return Certificate(
        source=source,
        fingerprint=live.fingerprint,
        not_before=live.not_before,
        not_after=live.not_after,
        names=live.names,
        issuer=live.leaf.issuer.rfc4514_string(),
        due=None if source == "files" else _due(policy, live, state),
        key=describe(live.leaf.public_key()) if len(policy.certificate.key_types) > 1 else "",
    )


def second(policy: Policy, live: LiveCertificate | None, state: State | None = None) -> Certificate | None:
    """The one of the other family that every listener should show too."""
    return certificate(policy, live.second if live is not None else None, state)


def missing(policy: Policy, live: LiveCertificate | None) -> tuple[str, ...]:
    """Types of keys, of two that the policy asks for, of which no certificate is live."""
    key_types, shown = policy.certificate.key_types, live.shown if live is not None else {}
    return tuple(one for one in key_types if kind_of(one) not in shown) if len(key_types) > 1 else ()


def _due(policy: Policy, live: LiveCertificate, state: State | None) -> datetime:
    """By its authority's plan where it is from ACME: the date that `sealgate cert` shows."""
    due = None
    if policy.certificate.source == "acme" and state is not None:
        with suppress(SealgateError):  # the store's trouble is told by its own part
            from sealgate.acme.renewer import due_of

            due = due_of(state, policy, index=live.index(policy.certificate.key_types))
    return due or due_at(live.not_before, live.not_after)


def live_certificate(state: State, policy: Policy) -> LiveCertificate | None:
    """What is live on disk.

    Raises:
        CertificateError: ``live-damaged``.
    """
    return LiveDirectory(state.live_server(policy.site.names[0])).current()


# Listeners


def look(policy: Policy, wanted: Mapping[str, str], now: datetime) -> tuple[Listener, ...]:
    """One look at every HTTPS listener of the policy, each by real handshakes.

    Args:
        policy: whose listeners.
        wanted: kind of key to the fingerprint that they should show; empty: not known.
        now: the present.
    """
    seen = _beside(lambda endpoint: _https(endpoint, policy, wanted, now), policy.listen.https)
    udp = policy.listen.https if policy.listen.http3 else ()
    return seen + _beside(lambda endpoint: _h3(endpoint, policy, wanted, now), udp)


def look_plain(policy: Policy, now: datetime) -> tuple[Listener, ...]:
    """One look at every plain listener, each by a request, of which the server's log will tell."""
    return _beside(lambda endpoint: _plain(endpoint, policy, now), policy.listen.http)


def _beside(one: Callable[[Endpoint], Listener], endpoints: tuple[Endpoint, ...]) -> tuple[Listener, ...]:
    """Side by side: of 64 that hang each takes five seconds."""
    if not endpoints:
        return ()
    with ThreadPoolExecutor(min(_LOOKS, len(endpoints))) as pool:
        return tuple(pool.map(one, endpoints))


def _https(endpoint: Endpoint, policy: Policy, wanted: Mapping[str, str], now: datetime) -> Listener:
    proxied = policy.listen.proxy_protocol
    return _shown(
        Listener(str(endpoint), "https", "", now),
        lambda: compared(endpoint, policy.first_name, wanted, proxy_protocol=proxied),
    )


def _h3(endpoint: Endpoint, policy: Policy, wanted: Mapping[str, str], now: datetime) -> Listener:
    return _shown(
        Listener(f"{endpoint}/udp", "h3", "", now),
        lambda: quic.compared(endpoint, policy.first_name, wanted),
    )


def _shown(listener: Listener, look: Callable[[], tuple[Seen, str]]) -> Listener:
    """A listener with what a look at it shows."""
    try:
        seen, problem = look()
        leaf = x509.load_der_x509_certificate(seen.leaf)
        names = names_of(leaf)
        kinds = tuple(map(_by_kind, seen.kinds))
    except NotObserved as error:
        return replace(listener, problem=error.fact)
    except ValueError as error:
        return replace(listener, problem=f"its certificate cannot be read ({error})")
    return replace(
        listener,
        problem=problem,
        fingerprint=seen.fingerprint,
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        names=names,
        version=seen.protocol,
        kinds=kinds,
    )


def _by_kind(one: OfKind) -> ByKind:
    """Raises ValueError: its certificate cannot be read."""
    if one.seen is None:
        return ByKind(one.kind, one.differs)
    leaf = x509.load_der_x509_certificate(one.seen.leaf)
    dates = (leaf.not_valid_before_utc, leaf.not_valid_after_utc)
    return ByKind(one.kind, one.differs, one.seen.fingerprint, *dates)


def _plain(endpoint: Endpoint, policy: Policy, now: datetime) -> Listener:
    expected = 308 if policy.http.mode == "redirect" else 403
    name = policy.first_name
    host = f"[{name}]" if ":" in name else name
    try:
        status = plain_status(endpoint, host, proxy_protocol=policy.listen.proxy_protocol)
    except NotObserved as error:
        return Listener(str(endpoint), "http", error.fact, now)
    problem = "" if status == expected else f"answers {status}, not {expected}"
    return Listener(str(endpoint), "http", problem, now)


# Authorities and lists


def authorities(state: State, policy: Policy) -> tuple[Authority, ...]:
    """Ours, and those of foreign clients.

    Raises:
        CertificateError: ``authority-damaged``, ``certificate-unreadable``.
    """
    own = load_certificates(state) or {}
    found = [_authority(name, one) for name, one in own.items()]
    for foreign in policy.clients.authorities if policy.clients.mode != "off" else ():
        path = state.live_client_authorities / f"{foreign.name}.pem"
        if foreign.file and path.is_file():
            found += (_authority(foreign.name, one) for one in parse_chain(path.read_bytes(), str(path)))
    return tuple(found)


def _authority(name: str, one: x509.Certificate) -> Authority:
    dates = (one.not_valid_before_utc, one.not_valid_after_utc)
    return Authority(name, one.subject.rfc4514_string(), fingerprint(one), *dates)


def lists(state: State, policy: Policy) -> tuple[ListFacts, ...]:
    """Revocation lists in force.

    Raises:
        ValueError: one cannot be read.
    """
    fetched = {one.name for one in policy.clients.authorities if one.fetched}
    return tuple(
        ListFacts(
            one.authority,
            one.this_update,
            one.next_update,
            one.entries,
            one.source if one.authority in fetched else "",
            one.problem,
        )
        for one in shown(state, policy)
    )


# The store


@dataclass(frozen=True, slots=True)
class Record:
    """What the store tells: client certificates that end soon; renewals, newest first.

    ``attempts`` are all that are known of ACME authorities, in no order.
    """

    clients: tuple[Client, ...] = ()
    renewals: tuple[Renewal, ...] = ()
    attempts: tuple[Renewal, ...] = ()


def record(state: State, policy: Policy, now: datetime) -> Record:
    """Read the store, and the history of what was asked of ACME authorities.

    Raises:
        StateError: it cannot be read.
    """
    attempts = _attempts(state, policy)
    if not state.store.exists():
        return Record(attempts=attempts)
    with Store.open(state.store, read_only=True) as store:
        rows, events = store.certificates(kind="client"), store.events(limit=200)
    # What came from ACME stands in the history too, beside what did not come.
    clients = {row.fingerprint: row.subject for row in rows}
    own = tuple(
        _renewal(one, policy, clients)
        for one in events
        if one.kind in _KINDS and one.detail.get("kind") != "acme"
    )
    renewals = sorted((*attempts, *own), key=lambda one: one.at, reverse=True)
    return Record(tuple(_ending(rows, now))[:_CLIENTS], tuple(renewals[:_RENEWALS]), attempts)


def history_of(state: State, policy: Policy) -> Path:
    """The file of what was asked of ACME authorities."""
    return history_path(state, policy.site.names[0])


def _attempts(state: State, policy: Policy) -> tuple[Renewal, ...]:
    if policy.certificate.source != "acme":
        return ()
    ended = (one for one in load(history_of(state, policy)).attempts if one.outcome is not Outcome.BEGUN)
    return tuple(
        Renewal(
            kind="server",
            at=one.at,
            ok=one.outcome is Outcome.OBTAINED,
            code=one.code,
            fact=one.sentence or one.authority,
            about=about(policy),
            source="ACME",
        )
        for one in ended
    )


def about(policy: Policy) -> str:
    """Whose the server certificate is."""
    return ", ".join(policy.site.names)


def _renewal(event: Event, policy: Policy, clients: Mapping[str, str]) -> Renewal:
    kind = str(event.detail.get("kind", "server"))
    whose = clients.get(event.subject, "") if kind == "client" else str(event.detail.get("site") or "")
    source = "files" if event.kind == "certificate-imported" else "private"
    if kind == "server" and policy.certificate.source == "acme":
        source = "stand-in"
    return Renewal(kind, event.at, ok=True, fact=event.kind, about=whose, source=source)


def _ending(rows: list[CertificateRow], now: datetime) -> Iterator[Client]:
    """Of each subject the last one alone: an older one ends because it was replaced."""
    latest: dict[str, CertificateRow] = {}
    for row in rows:
        if row.subject not in latest or row.not_after > latest[row.subject].not_after:
            latest[row.subject] = row
    for row in sorted(latest.values(), key=lambda one: one.not_after):
        life = row.not_after - row.not_before
        # One that ended long ago is nobody's any more.
        if now - timedelta(days=7) < row.not_after < now + life / 3:
            yield Client(row.subject, row.serial, row.not_before, row.not_after)


def changed(path: Path) -> tuple[int, int, int]:
    """Something that differs once a file was replaced or written; zeros where there is none."""
    try:
        facts = path.stat()
    except OSError:
        return (0, 0, 0)
    return (facts.st_ino, facts.st_mtime_ns, facts.st_size)
