"""What is wrong, by a snapshot and the time. Pure; no state: what was wrong before is ``alerts.py``'s affair.

A rule is a function from a snapshot to its findings, in the table at the end. Codes and keys are stable:
other people's scripts and alert routes name them (docs/guides/monitoring.md). One key is one thing that can
be over.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sealgate.monitor.snapshot import Listener, Snapshot

__all__ = ["CODES", "Alert", "Severity", "judge", "silent"]

# Of a life, what is left. A renewal is due at exactly a third: a fiftieth is its time to happen.
_LEAF = (1 / 3 - 1 / 50, 1 / 6, 1 / 10)
# An authority is not renewed by itself: it ends in years, and all its certificates with it.
_AUTHORITY = (1 / 10, 1 / 20, 1 / 50)
_ENDS_SOON = timedelta(days=60)


class Severity(enum.IntEnum):
    """How bad; the names are stable."""

    WARNING = 1
    ERROR = 2
    CRITICAL = 3


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that is wrong.

    Attributes:
        code: stable.
        key: the code and what it is about: tells one alert of a code from another.
        sentence: the fact and what to do, for people. Foreign text in it is as it came.
        patience: seconds that it must last before anybody is told.
    """

    code: str
    key: str
    severity: Severity
    sentence: str
    patience: float = 0.0


CODES = {
    "authority-expiring": "an authority ends soon, and with it all its certificates",
    "certificate-expiring": "a certificate ends soon and was not renewed",
    "certificate-missing": "the authority has issued none yet; a stand-in is served that no stranger trusts",
    "certificate-not-served": "a listener shows another certificate than the one that is live",
    "clients-expiring": "client certificates end soon and were not replaced",
    "drift": "something is not as it was put there",
    "engine-down": "the server does not run",
    "engine-ended": "the server's version gets no more security fixes, or soon",
    "engine-untested": "the server's version was not tested with Sealgate",
    "keeper-silent": "the watcher is told nothing any more",
    "list-stale": "a revocation list is past its next update, or soon",
    "not-gathered": "a part of the state could not be read",
    "not-served": "a listener does not answer as it shall",
    "renewal-failing": "the last renewal failed",
    "workers-lacking": "fewer app workers serve than are wanted",
}
"""Every code, and what it says."""

_WHY = "sealgate cert renew says why"
_LIST = "sealgate crl refresh asks again and says why"
_FORGIVEN = timedelta(hours=1)  # a failed renewal that was not due: whoever asked for it has read why
_FIRST = 600.0  # seconds: an authority takes its time for a first certificate
_FLICKER = 20.0  # seconds: one handshake that was lost under load is no news


def judge(snapshot: Snapshot, now: datetime) -> tuple[Alert, ...]:
    """All that is wrong, the worst first."""
    found = [alert for rule in _RULES for alert in rule(snapshot, now)]
    return tuple(sorted(found, key=lambda one: (-one.severity, one.key)))


def silent(seconds: float) -> Alert:
    """Nothing was heard for so long."""
    sentence = f"no snapshot for {seconds:.0f} s; look at the service's log, and whether the machine is busy"
    return Alert("keeper-silent", "keeper-silent", Severity.CRITICAL, sentence)


def _left(
    not_before: datetime, not_after: datetime, now: datetime, steps: Iterable[float]
) -> Severity | None:
    """How bad it is that so much of a life is left; None: not at all."""
    life = not_after - not_before
    share = (not_after - now) / life if life else 0.0
    passed = [severity for severity, step in zip(Severity, steps, strict=True) if share < step]
    return max(passed, default=None)


def _until(not_after: datetime, now: datetime) -> str:
    """Until when, for a sentence."""
    day = f"{not_after:%Y-%m-%d %H:%M} UTC"
    return f"ended at {day}" if not_after <= now else f"ends at {day}"


def _certificates(snapshot: Snapshot, now: datetime) -> Iterator[Alert]:
    held = snapshot.certificate
    if held is None:
        return
    if held.source == "stand-in":
        sentence = "a stand-in is served: the ACME authority has issued no certificate yet"
        yield Alert(
            "certificate-missing", "certificate-missing", Severity.CRITICAL, f"{sentence}; {_WHY}", _FIRST
        )
        return
    for key_type in snapshot.missing:
        sentence = f"there is no certificate with a key of type {key_type} yet; clients get the other one"
        key = f"certificate-missing {key_type}"
        yield Alert("certificate-missing", key, Severity.ERROR, f"{sentence}; {_WHY}", _FIRST)
    beside = [("certificate-expiring second", snapshot.second, "second ")] if snapshot.second else []
    for key, one, which in [("certificate-expiring", held, ""), *beside]:
        severity = _left(one.not_before, one.not_after, now, _LEAF)
        if severity:
            ends = f"{_until(one.not_after, now)} and was not renewed"
            remedy = "replace the files" if one.source == "files" else _WHY
            sentence = f"the {which}certificate for {snapshot.site.name} {ends}; {remedy}"
            yield Alert("certificate-expiring", key, severity, sentence)


def _log(snapshot: Snapshot) -> str:
    """Whose log tells why somebody does not serve."""
    if snapshot.keeper:
        return "the service's log"
    if not snapshot.servers:
        return "the log of whatever is to serve there (sealgate serve, or your own server)"
    return " and ".join(f"{title}'s log" for title in snapshot.servers)


def _again(snapshot: Snapshot) -> str:
    """How to let a listener show what is live."""
    return "sealgate apply" if snapshot.servers and not snapshot.keeper else "sealgate cert renew"


def _listeners(snapshot: Snapshot, now: datetime) -> Iterator[Alert]:
    if snapshot.engine.state == "down":
        return  # one thing is wrong, not as many as there are listeners
    held = snapshot.certificate
    for one in snapshot.listeners:
        where = one.address
        other = bool(held and one.fingerprint) and one.problem != ""
        if other:
            remedy = f"{_again(snapshot)}, or restart the server"
            sentence = f"{where} {one.problem}; {remedy}"
            yield Alert(
                "certificate-not-served",
                f"certificate-not-served {where}",
                Severity.CRITICAL,
                sentence,
                _FLICKER,
            )
        elif one.problem:
            sentence = f"{where} is not served as it shall be: {one.problem}; look at {_log(snapshot)}"
            yield Alert("not-served", f"not-served {where}", Severity.CRITICAL, sentence, _FLICKER)
        if other or held is None:
            yield from _shown(one, now)


def _shown(listener: Listener, now: datetime) -> Iterator[Alert]:
    """Does what is shown in place of what is live end soon too? Of two certificates each by itself."""
    where = listener.address
    wrong = [(f"{where}/{one.kind}", one.not_before, one.not_after) for one in listener.kinds if one.problem]
    for key, begins, ends in ((where, listener.not_before, listener.not_after), *wrong):
        severity = _left(begins, ends, now, _LEAF) if begins and ends else None
        if severity and ends:
            sentence = f"the certificate that {key} shows {_until(ends, now)}; replace it"
            yield Alert("certificate-expiring", f"certificate-expiring {key}", severity, sentence)


def _authorities(snapshot: Snapshot, now: datetime) -> Iterator[Alert]:
    for one in snapshot.authorities:
        severity = _left(one.not_before, one.not_after, now, _AUTHORITY)
        if severity:
            sentence = f"the authority {one.name} ({one.subject}) {_until(one.not_after, now)}"
            own = one.name in {"root", "servers", "clients"}
            remedy = "sealgate cert renew --new-root" if own else "get the new one from whoever runs it"
            key = f"authority-expiring {one.name} {one.fingerprint[:16]}"
            yield Alert("authority-expiring", key, severity, f"{sentence}; {remedy}")


def _lists(snapshot: Snapshot, now: datetime) -> Iterator[Alert]:
    for one in snapshot.lists:
        if one.this_update is None and one.problem:
            sentence = f"there is no revocation list of {one.authority} yet, and its clients get 503"
            key = f"list-unknown {one.authority} {one.source}"[:200]
            yield Alert("list-unknown", key, Severity.CRITICAL, f"{sentence}: {one.problem}; {_LIST}")
        if one.this_update is None or one.next_update is None:
            continue
        severity = _left(one.this_update, one.next_update, now, (1 / 6, 1 / 10, 0.0))
        if severity:
            tense = "was" if one.next_update <= now else "is"
            sentence = (
                f"the revocation list of {one.authority} {tense} to be replaced by "
                f"{one.next_update:%Y-%m-%d %H:%M} UTC; past that its clients are locked out; "
                + (f"it could not be had: {one.problem}; {_LIST}" if one.problem else "get the new one")
            )
            key = f"list-stale {one.authority} {one.source}".rstrip()[:200]
            yield Alert("list-stale", key, severity, sentence)


def _clients(snapshot: Snapshot, now: datetime) -> Iterator[Alert]:
    ending = [(_left(one.not_before, one.not_after, now, _LEAF), one) for one in snapshot.clients]
    bad = [(severity, one) for severity, one in ending if severity]
    if bad:
        names = ", ".join(one.subject for _, one in bad[:3]) + (" and more" if len(bad) > 3 else "")
        first = min(one.not_after for _, one in bad)
        sentence = f"{len(bad)} client certificates end soon, the first on {first:%Y-%m-%d}: {names}"
        # Not worse than a warning: it is their holders who would be locked out.
        yield Alert("clients-expiring", "clients-expiring", Severity.WARNING, f"{sentence}; issue new ones")


def _renewals(snapshot: Snapshot, now: datetime) -> Iterator[Alert]:
    last, held = next(iter(snapshot.renewals), None), snapshot.certificate
    if last is None or last.ok:
        return
    # No stand-in: that one is never good enough.
    dues = [one.due for one in (held, snapshot.second) if one is not None]
    due = any(one is None or now >= one for one in dues) or bool(snapshot.missing)
    early = held is not None and held.source != "stand-in" and not due
    if not early or now - last.at < _FORGIVEN:
        sentence = f"the last renewal failed: {last.code}: {last.fact}; {last.remedy or _WHY}"
        yield Alert("renewal-failing", "renewal-failing", Severity.WARNING, sentence)


def _engine(snapshot: Snapshot, now: datetime) -> Iterator[Alert]:
    engine = snapshot.engine
    name = f"{engine.title} {engine.version}".strip()
    if engine.state == "down":
        sentence = f"{name} does not run; it is started again by itself; look at the service's log"
        yield Alert("engine-down", "engine-down", Severity.CRITICAL, sentence, _FLICKER)
    if not engine.tested:
        sentence = (
            f"{name} was not tested with this version of Sealgate; docs/reference/engines.md lists what was"
        )
        yield Alert("engine-untested", "engine-untested", Severity.WARNING, sentence)
    if engine.ends:
        last = datetime.combine(date.fromisoformat(engine.ends), datetime.min.time(), UTC) + timedelta(days=1)
        who = f" from {engine.kept_by}" if engine.kept_by else ""
        if now >= last - _ENDS_SOON:
            gets = f"gets security fixes{who} until {engine.ends} only"
            sentence = (
                f"{name} {gets if now < last else f'got its last security fixes{who} on {engine.ends}'}"
            )
            severity = Severity.ERROR if now >= last else Severity.WARNING
            yield Alert("engine-ended", "engine-ended", severity, f"{sentence}; install a newer one")


def _workers(snapshot: Snapshot, _now: datetime) -> Iterator[Alert]:
    workers = snapshot.workers
    if workers and workers.serving < workers.wanted:
        severity = Severity.ERROR if workers.serving else Severity.CRITICAL
        sentence = f"{workers.serving} of {workers.wanted} app workers serve; look at the service's log"
        yield Alert("workers-lacking", "workers-lacking", severity, sentence, _FLICKER)


def _drift(snapshot: Snapshot, _now: datetime) -> Iterator[Alert]:
    for one in snapshot.drift:
        severity = Severity.WARNING if one.kind.startswith("policy-") else Severity.ERROR
        yield Alert("drift", f"drift {one.kind} {one.fact}"[:120], severity, f"{one.fact}; {one.remedy}")


def _troubles(snapshot: Snapshot, _now: datetime) -> Iterator[Alert]:
    for one in snapshot.troubles:
        sentence = f"{one.part} could not be read: {one.fact}; {one.remedy or 'look at the log'}"
        yield Alert("not-gathered", f"not-gathered {one.part}", Severity.ERROR, sentence, _FLICKER)


_Rule = Callable[[Snapshot, datetime], Iterator[Alert]]
_RULES: tuple[_Rule, ...] = (
    _certificates,
    _listeners,
    _authorities,
    _lists,
    _clients,
    _renewals,
    _engine,
    _workers,
    _drift,
    _troubles,
)
