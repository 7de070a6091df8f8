"""A snapshot in words for people: sections of rows, each with a state and a word for it. Pure.

`sealgate status` and the page show the same. A state is never said by colour alone. Texts are as they came:
whoever shows them escapes them for where they go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from sealgate.monitor.judge import Alert, Severity
from sealgate.monitor.snapshot import Authority, ByKind, Listener, Snapshot
from sealgate.monitor.traffic import lines

__all__ = ["Row", "Section", "State", "View", "ago", "view"]

State = Literal["good", "soon", "bad", "plain"]

_YEAR = 365 * 86400 + 86400 // 4
_FAR = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Row:
    """One line.

    Attributes:
        cells: as many as the section has columns.
        state: how it is; ``plain``: a fact that is neither good nor bad.
        word: the state, in a word or two.
        share: how much of a life is left, 1 to 0; None: nothing that ends.
    """

    cells: tuple[str, ...]
    state: State
    word: str
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """Rows of one kind. ``empty``: what is said where there are none."""

    id: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    empty: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """All of it.

    Attributes:
        state: of the whole.
        verdict: in a few words.
        detail: one more sentence.
        facts: short facts for the head: name and value.
    """

    state: State
    verdict: str
    detail: str
    site: str
    url: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    at: datetime


def view(snapshot: Snapshot, alerts: Sequence[Alert], now: datetime) -> View:
    """What is shown.

    Args:
        snapshot: how it is.
        alerts: what is wrong with it.
        now: the present.
    """
    state, verdict, detail = _verdict(snapshot, alerts)
    sections = (
        _wrong(alerts),
        _listeners(snapshot, alerts, now),
        _certificates(snapshot, alerts, now),
        _clients(snapshot, now),
        _lists(snapshot, alerts, now),
        _server(snapshot, alerts, now),
        _traffic(snapshot),
        _renewals(snapshot, now),
    )
    kept = tuple(_filled(one) for one in sections if one.rows or one.empty)
    return View(
        state, verdict, detail, snapshot.site.name, snapshot.site.url, _facts(snapshot, now), kept, now
    )


def _filled(section: Section) -> Section:
    """Without columns in which nothing stands."""
    kept = [
        number
        for number in range(len(section.columns))
        if not section.rows or any(row.cells[number] for row in section.rows)
    ]
    rows = tuple(replace(row, cells=tuple(row.cells[number] for number in kept)) for row in section.rows)
    return replace(section, columns=tuple(section.columns[number] for number in kept), rows=rows)


def _verdict(snapshot: Snapshot, alerts: Sequence[Alert]) -> tuple[State, str, str]:
    worst = max((one.severity for one in alerts), default=None)
    if not snapshot.keeper:
        told = "what is shown was read from the state directory and seen by handshakes"
        who = f"served by {_servers(snapshot)}" if snapshot.servers else "no keeper runs here"
        if worst is None:
            return "good", "All is well", f"{who}; {told}"
        if _beside(snapshot):
            return _state(worst), _count(alerts), f"{who}; {told}"
        return _state(worst), "No keeper runs", f"{_count(alerts)}; {told}"
    if worst is None:
        return "good", "All is well", "every listener was seen to serve what it shall"
    return _state(worst), _count(alerts), "the worst first" if len(alerts) > 1 else "it is said below"


def _servers(snapshot: Snapshot) -> str:
    return " and ".join(snapshot.servers)


def _beside(snapshot: Snapshot) -> bool:
    """Is it meant that no keeper runs? Then somebody else serves, or is to."""
    return bool(snapshot.servers) or snapshot.watcher or _as_meant(snapshot)


def _as_meant(snapshot: Snapshot) -> bool:
    return bool(snapshot.listeners) and not any(one.problem for one in snapshot.listeners)


def _server_name(snapshot: Snapshot) -> str:
    """Who serves; without a keeper or something applied nobody asked, and a policy's word is no proof."""
    if len(snapshot.servers) > 1:
        return _servers(snapshot)
    known = snapshot.keeper or snapshot.servers or snapshot.engine.state != "unknown"
    return f"{snapshot.engine.title} {snapshot.engine.version}".strip() if known else ""


def _count(alerts: Sequence[Alert]) -> str:
    return "1 thing needs a look" if len(alerts) == 1 else f"{len(alerts)} things need a look"


def _state(severity: Severity) -> State:
    return "soon" if severity is Severity.WARNING else "bad"


def _facts(snapshot: Snapshot, now: datetime) -> tuple[tuple[str, str], ...]:
    ends = [one.not_after for one in (snapshot.certificate, snapshot.second) if one is not None]
    facts = [("certificate", _left(min(ends), now) if ends else "none yet")]
    facts.append(("server", _server_name(snapshot) or "not known"))
    if snapshot.started is not None:
        facts.append(("running for", _span(now - snapshot.started)))
    if snapshot.workers is not None:
        facts.append(("workers", f"{snapshot.workers.serving} of {snapshot.workers.wanted}"))
    facts.append(("TLS profile", snapshot.site.profile))
    return tuple(facts)


# Times


def _span(span: timedelta) -> str:
    """The largest unit that fits twice: 9 years, 31 days, 5 hours, 3 minutes, 12 seconds; and one day."""
    seconds = max(0, int(span.total_seconds()))
    if seconds >= 2 * _YEAR:
        return f"{seconds // _YEAR} years"
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * size or (seconds >= size and name == "day"):
            count = seconds // size
            return f"{count} {name}{'s' if count != 1 else ''}"
    return f"{seconds} second{'s' if seconds != 1 else ''}"


def ago(then: datetime, now: datetime) -> str:
    """`3 minutes ago`."""
    return f"{_span(now - then)} ago" if then <= now else f"in {_span(then - now)}"


def _left(end: datetime, now: datetime) -> str:
    return f"{_span(end - now)} left" if end > now else f"ended {_span(now - end)} ago"


def _day(moment: datetime, now: datetime) -> str:
    """With the time of day where that matters."""
    return f"{moment:%Y-%m-%d}" if abs(moment - now) > _FAR else f"{moment:%Y-%m-%d %H:%M} UTC"


def _share(begin: datetime, end: datetime, now: datetime) -> float:
    life = (end - begin).total_seconds()
    return min(1.0, max(0.0, (end - now).total_seconds() / life)) if life > 0 else 0.0


def _where(scheme: str, address: str) -> str:
    """An address as people say it; nobody can open `https://0.0.0.0:5001`."""
    host, _, port = address.rpartition(":")
    every = {"0.0.0.0": "every IPv4 address", "[::]": "every address"}.get(host)  # noqa: S104 - only said
    if every:
        return f"{every}, port {port} ({scheme})"
    return f"{address} (HTTP/3)" if scheme == "h3" else f"{scheme}://{address}"


def common_name(subject: str) -> str:
    """`Sealgate root 30e6` of `CN=Sealgate root 30e6,O=Sealgate`; the whole where there is no such thing."""
    first = re.match(r"CN=((?:[^,+\\]|\\.)+)", subject)
    return first[1] if first else subject


# Sections


def _wrong(alerts: Sequence[Alert]) -> Section:
    rows = (Row((one.sentence, one.code), _state(one.severity), one.severity.name.lower()) for one in alerts)
    return Section("wrong", "What needs a look", ("what", "code"), tuple(rows))


def _told(alerts: Sequence[Alert], *prefixes: str) -> Severity | None:
    """How bad it is by what was judged; the rows never judge by themselves."""
    return max((one.severity for one in alerts if one.key.startswith(prefixes)), default=None)


def _listeners(snapshot: Snapshot, _alerts: Sequence[Alert], now: datetime) -> Section:
    rows = []
    for one in snapshot.listeners:
        state: State = "bad" if one.problem else "good"
        shows = ", ".join(one.names[:3]) + (f" and {len(one.names) - 3} more" if len(one.names) > 3 else "")
        until = f"until {_day(one.not_after, now)}" if one.not_after else ""
        what = (
            " ".join(part for part in (shows, until) if part)
            or one.problem
            or "plain HTTP, as the policy says"
        )
        cells = (_where(one.scheme, one.address), what, one.version, ago(one.at, now))
        share = _share(one.not_before, one.not_after, now) if one.not_before and one.not_after else None
        rows.append(Row(cells, state, "wrong" if one.problem else "as meant", share))
        rows.extend(_kind(one, kind, now) for kind in one.kinds)
    return Section(
        "listeners",
        "Listeners, as seen from outside",
        ("address", "shows", "spoken", "looked at"),
        tuple(rows),
        "no listener was looked at",
    )


def _kind(listener: Listener, one: ByKind, now: datetime) -> Row:
    """What clients are shown that take one kind of signature alone: a look of TLS 1.2, at the same time."""
    until = f"until {_day(one.not_after, now)}" if one.not_after else ""
    where = f"{_where(listener.scheme, listener.address)}, {one.kind.upper()}"
    cells = (where, one.problem or until, "TLSv1.2" if one.fingerprint else "", "")
    share = _share(one.not_before, one.not_after, now) if one.not_before and one.not_after else None
    return Row(cells, "bad" if one.problem else "good", "wrong" if one.problem else "as meant", share)


def _certificates(snapshot: Snapshot, alerts: Sequence[Alert], now: datetime) -> Section:
    rows = []
    both = (("certificate-expiring", snapshot.certificate), ("certificate-expiring second", snapshot.second))
    for key, held in both:
        if held is None:
            continue
        due = f"renewal due {_day(held.due, now)}" if held.due else "replaced by whoever makes the files"
        due = "until the authority's is there" if held.source == "stand-in" else due
        # What a listener shows instead is that listener's: its key begins like this one.
        severity = _told([one for one in alerts if one.key == key], key)
        names = ", ".join(held.names[:3]) + (
            f" and {len(held.names) - 3} more" if len(held.names) > 3 else ""
        )
        same = held is snapshot.second and snapshot.certificate and held.names == snapshot.certificate.names
        rows.append(
            Row(
                (
                    "the same names" if same else names,
                    "; ".join(filter(None, (held.source, held.key, due))),
                    _day(held.not_after, now),
                ),
                _state(severity) if severity else "good",
                _left(held.not_after, now),
                _share(held.not_before, held.not_after, now),
            )
        )
    rows.extend(_authorities(snapshot, alerts, now))
    return Section(
        "certificates",
        "Certificates and authorities, as stored",
        ("what", "detail", "until"),
        tuple(rows),
        "there is no certificate yet",
    )


def _authorities(snapshot: Snapshot, alerts: Sequence[Alert], now: datetime) -> Iterator[Row]:
    """Those that end on the same day and are well stand in one row: they were made together."""
    together: dict[tuple[State, date], list[Authority]] = {}
    for one in snapshot.authorities:
        severity = _told(alerts, f"authority-expiring {one.name} {one.fingerprint[:16]}")
        state = _state(severity) if severity else "good"
        together.setdefault((state, one.not_after.date()), []).append(one)
    for (state, _), several in together.items():
        first = several[0]
        names = ", ".join(one.name for one in several)
        called = common_name(first.subject) if len(several) == 1 else ""
        what = f"authority {names}" if called else f"authorities {names}"
        share = _share(first.not_before, first.not_after, now)
        yield Row((what, called, _day(first.not_after, now)), state, _left(first.not_after, now), share)


def _clients(snapshot: Snapshot, now: datetime) -> Section:
    rows = (
        Row(
            (one.subject, one.serial, _day(one.not_after, now)),
            "soon",
            _left(one.not_after, now),
            _share(one.not_before, one.not_after, now),
        )
        for one in snapshot.clients
    )
    return Section("clients", "Client certificates that end soon", ("who", "serial", "until"), tuple(rows))


def _lists(snapshot: Snapshot, alerts: Sequence[Alert], now: datetime) -> Section:
    rows = []
    for one in snapshot.lists:
        severity = _told(alerts, f"list-stale {one.authority} {one.source}".rstrip()[:200])
        if one.this_update is None:
            rows.append(Row((one.authority, f"none yet from {one.source}", ""), "bad", "unknown"))
            continue
        upto = _day(one.next_update, now) if one.next_update else "not said"
        word = _left(one.next_update, now) if one.next_update else "open"
        cells = (one.authority, f"{one.revoked} revoked; made {ago(one.this_update, now)}", upto)
        rows.append(Row(cells, _state(severity) if severity else "good", word))
    return Section("lists", "Revocation lists", ("authority", "detail", "next by"), tuple(rows))


def _server(snapshot: Snapshot, alerts: Sequence[Alert], now: datetime) -> Section:
    return Section(
        "server", "Server", ("what", "detail", "since"), tuple(_server_rows(snapshot, alerts, now))
    )


def _server_rows(snapshot: Snapshot, alerts: Sequence[Alert], now: datetime) -> Iterator[Row]:
    if name := _server_name(snapshot):
        yield from _engine_rows(snapshot, name, alerts, now)
    else:
        policy = f"the policy names {snapshot.engine.title}, but no keeper runs it"
        yield Row(("who serves is not known", policy, ""), "plain", "not known")
    if snapshot.keeper and snapshot.started is not None:
        since = _day(snapshot.started, now)
        yield Row(
            (f"Sealgate {snapshot.version}", f"keeper, process {snapshot.pid}", since), "good", "running"
        )
    elif not snapshot.keeper:
        yield _without_keeper(snapshot)
    workers = snapshot.workers
    if workers is not None:
        whole = workers.serving >= workers.wanted
        count = f"{workers.serving} of {workers.wanted}"
        yield Row(("app workers", count, ""), "good" if whole else "bad", "all serve" if whole else "lacking")
    if snapshot.site.profile_date:
        age = now.date() - date.fromisoformat(snapshot.site.profile_date)
        yield Row(
            (f"TLS profile {snapshot.site.profile}", f"guideline of {snapshot.site.profile_date}", ""),
            "plain",
            f"{_span(age)} old",
        )


def _without_keeper(snapshot: Snapshot) -> Row:
    """Beside an own server no keeper is lacking: it would fight for the ports."""
    name, word = f"Sealgate {snapshot.version}", "watching" if snapshot.watcher else "no keeper"
    if snapshot.servers:
        served = f"served by {_servers(snapshot)}; renewed by `sealgate apply`"
        return Row((name, served, ""), "plain", "watching" if snapshot.watcher else "beside it")
    if _beside(snapshot):
        return Row((name, "no keeper runs here; a server of your own is to serve", ""), "plain", word)
    return Row((name, "no keeper runs; start it with: sealgate serve", ""), "soon", word)


def _engine_rows(snapshot: Snapshot, name: str, alerts: Sequence[Alert], now: datetime) -> Iterator[Row]:
    engine = snapshot.engine
    states: dict[str, tuple[State, str]] = {
        "running": ("good", "running"),
        "down": ("bad", "down"),
        "unknown": ("plain", "not asked"),
    }
    tested = "tested" if engine.tested else "a version that was not tested"
    tested = tested if engine.version else "its version was not asked"
    again = f"; started anew {engine.starts} times" if engine.starts else ""
    yield Row((name, f"{tested}{again}", ""), *states[engine.state])
    severity = _told(alerts, "engine-ended")
    if engine.ends:
        who = engine.kept_by or "its makers"
        fixes = f"security fixes by {who} until {engine.ends}"
        known = f"data of {engine.data}"
        word = _left(datetime.combine(date.fromisoformat(engine.ends), datetime.max.time(), UTC), now)
        yield Row((fixes, known, ""), _state(severity) if severity else "good", word)


def _traffic(snapshot: Snapshot) -> Section:
    rows = tuple(Row(cells, "plain", word) for word, cells in lines(snapshot.counters))
    return Section("traffic", "Requests since the keeper started", ("what", "detail"), rows)


def _renewals(snapshot: Snapshot, now: datetime) -> Section:
    rows = []
    for one in snapshot.renewals:
        what = {"server": "server certificate", "client": "client certificate"}.get(one.kind, one.kind)
        said = "" if one.ok else f"{one.code}: {one.fact}"
        what = f"{what} ({one.source})" if one.source else what
        cells = (ago(one.at, now), what, one.about, said)
        rows.append(Row(cells, "good" if one.ok else "bad", "issued" if one.ok else "failed"))
    return Section("renewals", "Last renewals", ("when", "what", "for", "detail"), tuple(rows[:6]))
