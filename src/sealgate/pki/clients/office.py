"""Where client certificates are issued, renewed and revoked: by the holder of the state's lock alone.

Guarantees: whatever is returned here is in the store already; a call issues all that it was asked for or,
where one of it is wrong, nothing. The list follows the store (``listing.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sealgate._system.clock import Clock
from sealgate.errors import UsageError
from sealgate.pki.authority import BACKDATE, Issuer
from sealgate.pki.clients.naming import Asked, folded, nearest
from sealgate.pki.clients.register import HOLD, REASONS, Held, Register, Signed, Stranger
from sealgate.pki.clients.restoring import caught_up, silent
from sealgate.pki.clients.signing import public_key
from sealgate.pki.inspect import fingerprint, issuer_key_hash, pem_of
from sealgate.pki.issue import issue_client
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.pki.vault import ensure_authorities
from sealgate.policy.identity import revocation_key
from sealgate.policy.model import Policy
from sealgate.policy.published import list_url
from sealgate.policy.quoting import shown

__all__ = [
    "MOST_AT_ONCE",
    "Application",
    "Canaries",
    "Issued",
    "canaries",
    "check_groups",
    "found",
    "issue",
    "release",
    "renew",
    "revoke",
]

MOST_AT_ONCE = 1000
_SERIAL_LEAST = 8
_CANARY = BACKDATE + timedelta(minutes=10)  # a life counts from notBefore, which is backdated


@dataclass(frozen=True, slots=True)
class Application:
    """A certificate that somebody wants.

    Attributes:
        asked: what it shall say.
        spki: DER of the public key it is for.
        own_key: the key was made by us for this; else it came in a request.
    """

    asked: Asked
    spki: bytes
    own_key: bool = True


@dataclass(frozen=True, slots=True)
class Issued:
    """What was issued; PEM of the leaf and its issuer, and of the root that clients trust."""

    held: Held
    chain: str
    root: str


def issue(
    state: State,
    policy: Policy,
    applications: Sequence[Application],
    clock: Clock,
    *,
    renewing: bool = False,
    skipping: bool = False,
) -> list[Issued | None]:
    """Issue all of these certificates.

    Args:
        state: its lock is taken (a keeper holds it already).
        policy: of the site.
        applications: at most ``MOST_AT_ONCE``.
        clock: the present.
        renewing: the clients are known already; else none of them may have a certificate that is good.
        skipping: leave out who has one already (the answer has None there) instead of refusing all.

    Raises:
        UsageError: ``client-name``, ``client-days``, ``client-group``, ``client-exists``.
        CertificateError: ``key-weak`` and its kin.
        CertificateDates: ``clock-before-authority``, ``authority-expired``.
        StateError: the store cannot be written; nothing was issued.
    """
    if len(applications) > MOST_AT_ONCE:
        raise UsageError("order-unknown", "too many certificates at once", "use one version of Sealgate")
    now = clock()
    keys = [public_key(one.spki, f"the application of {shown(one.asked.name)}") for one in applications]
    with state.lock(), Store.open(state.store) as store:
        register = Register(store)
        if not renewing:  # a group may be gone from the policy: then it says nothing
            for one in applications:
                check_groups(one.asked, policy)
        left_out = _judged(register, applications, now, renewing=renewing, skipping=skipping)
        authorities = ensure_authorities(state, store, policy.site.names, now=now)
        where = list_url(policy)
        signed = [
            _signed(authorities.clients, one, key, now, where)
            for one, key in zip(applications, keys, strict=True)
            if one.asked.name not in left_out
        ]
        issuer = authorities.clients.certificate
        held = register.add(signed, site=policy.site.names[0], issuer=issuer, now=now)
    above, root = pem_of(issuer).decode(), pem_of(authorities.root).decode()
    issued = iter([Issued(one, one.pem + above, root) for one in held])
    return [None if one.asked.name in left_out else next(issued) for one in applications]


def _judged(
    register: Register,
    applications: Sequence[Application],
    now: datetime,
    *,
    renewing: bool,
    skipping: bool,
) -> frozenset[str]:
    """Who is left out. Raises UsageError where one of them cannot be had."""
    names: dict[str, str] = {}
    for one in applications:
        one.asked.check()
        if folded(one.asked.name) in names:
            raise UsageError(
                "client-exists", f"{shown(one.asked.name)} stands there twice", "give each client one name"
            )
        names[folded(one.asked.name)] = one.asked.name
    active = {} if renewing else register.active(names.values(), now)
    if active and not skipping:
        raise _exists(*next(iter(active.items())))
    return frozenset(active)


def check_groups(asked: Asked, policy: Policy) -> None:
    """A group that the policy does not name would say nothing to anybody.

    Raises:
        UsageError: ``client-group``.
    """
    known = policy.clients.groups
    for group in asked.groups:
        if group not in known:
            near = nearest(group, known)
            raise UsageError(
                "client-group",
                f"there is no group {shown(group)} in clients.groups",
                f"did you mean {shown(near)}?"
                if near
                else f"put `{group} = []` under [clients.groups] in the policy and reload it",
                name=asked.name,
            )


def _exists(name: str, held: Held) -> UsageError:
    called = shown(held.name)
    alike = "" if name == held.name else f" (the same name as {shown(name)}, for the eye or for a disk)"
    return UsageError(
        "client-exists",
        f"{called}{alike} has a certificate until {held.not_after:%Y-%m-%d}",
        f"renew it with: sealgate client renew {called}, or take another name",
        name=held.name,
    )


def _signed(issuer: Issuer, application: Application, key: object, now: datetime, where: str) -> Signed:
    asked = application.asked
    certificate = issue_client(
        issuer,
        key,  # type: ignore[arg-type]  # `public_key` made it
        asked.subject,
        now=now,
        dns=asked.dns,
        uris=asked.uris,
        emails=asked.emails,
        lifetime=asked.lifetime,
        revoked_at=where,
    )
    return Signed(asked, certificate, application.own_key)


# Finding


def found(register: Register, which: str) -> list[Held]:
    """The certificates that a name, or the beginning of a serial or fingerprint, means; the newest first.

    Raises:
        UsageError: ``client-unknown``: none, the nearest name is offered; ``client-ambiguous``: a serial's
            beginning that several have, or that another client is called by.
    """
    named = register.named(which)
    numbered = register.numbered(_serial(which)) if _like_a_serial(which) else []
    own = {held.fingerprint for held in named}
    if named and any(held.fingerprint not in own for held in numbered):
        # Whoever chooses a name must not choose who is revoked in another's place.
        raise UsageError(
            "client-ambiguous",
            f"{shown(which)} is a client's name, and another's serial or fingerprint begins with it",
            "give more of the serial: sealgate client list --all",
        )
    if len(numbered) > 1 and not named:
        raise UsageError(
            "client-ambiguous",
            f"{len(numbered)} certificates have a serial or fingerprint that begins with {shown(which)}",
            "give more of it: sealgate client list",
        )
    if held := named or numbered:
        return held
    if strangers := _strangers(register, which):
        raise _stranger(strangers[0])
    near = nearest(which, register.names())
    remedy = f"did you mean {shown(near)}?" if near else "see who is there with: sealgate client list"
    raise UsageError("client-unknown", f"there is no client {shown(which)}", remedy, nearest=near)


def _serial(which: str) -> str:
    return which.replace(":", "")


def _like_a_serial(which: str) -> bool:
    text = _serial(which)
    return len(text) >= _SERIAL_LEAST and all(c in "0123456789abcdefABCDEF" for c in text)


def _strangers(register: Register, which: str) -> list[Stranger]:
    return register.strangers(_serial(which)) if _like_a_serial(which) else []


def _stranger(one: Stranger) -> UsageError:
    held = one.reason == HOLD
    what = "put on hold" if held else "revoked"
    return UsageError(
        "client-revoked",
        f"the certificate {one.serial} was {what} on {one.at:%Y-%m-%d %H:%M} UTC"
        + ("" if held or one.reason == "unspecified" else f" ({one.reason})")
        + "; that was taken over from a list, and its name is not known here",
        f"release it with: sealgate client release {one.serial}" if held else "nothing is to be done",
    )


# Revoking


def revoke(
    state: State, which: str, reason: str, clock: Clock, *, say: Callable[[str], None] = silent
) -> list[Held]:
    """Revoke all good certificates of a name, or the one of a serial; in the store alone.

    Returns:
        those that were revoked.

    Raises:
        UsageError: ``client-unknown``, ``client-ambiguous``, ``client-revoked``, ``client-expired``,
            ``client-reason``.
    """
    if reason not in REASONS:
        near = nearest(reason, REASONS)
        raise UsageError(
            "client-reason",
            f"there is no reason {shown(reason)}",
            (f"did you mean {near}? " if near else "") + f"Reasons are: {', '.join(REASONS)}",
        )
    now = clock()
    with state.lock(), Store.open(state.store) as store:
        register = caught_up(state, store, now, say)
        held = found(register, which)
        chosen = [one for one in held if one.active(now) and (one.revoked_at is None or reason != HOLD)]
        if not chosen:
            raise _nothing_to_revoke(held[0])
        register.revoke((one.fingerprint for one in chosen), reason, now=now)
    return chosen


def _nothing_to_revoke(held: Held) -> UsageError:
    if held.revoked_at is None:
        return UsageError(
            "client-expired",
            f"the certificate of {shown(held.name)} ended on {held.not_after:%Y-%m-%d %H:%M} UTC",
            "nothing is to be done: nobody accepts it any more",
        )
    what = "put on hold" if held.reason == HOLD else "revoked"
    remedy = (
        f"release it with: sealgate client release {shown(held.name)}, or revoke it with another reason"
        if held.reason == HOLD
        else "nothing is to be done; a new one is made by: sealgate client add"
    )
    return UsageError(
        "client-revoked",
        f"the certificate of {shown(held.name)} was {what} on {held.revoked_at:%Y-%m-%d %H:%M} UTC"
        + (f" ({held.reason})" if held.reason not in {HOLD, "unspecified"} else ""),
        remedy,
    )


def release(
    state: State, which: str, clock: Clock, *, say: Callable[[str], None] = silent
) -> list[Held | Stranger]:
    """Take back the hold on a name's certificates, or on the one of a serial; in the store alone.

    Also on one that the store does not know, by its serial: the hold came from a list (see ``restoring``).

    Raises:
        UsageError: ``client-unknown``, ``client-ambiguous``, ``client-not-held``.
    """
    now = clock()
    with state.lock(), Store.open(state.store) as store:
        register = caught_up(state, store, now, say)
        strangers = _strangers(register, which)
        named = bool(register.named(which)) or bool(
            _like_a_serial(which) and register.numbered(_serial(which))
        )
        if strangers and (named or len(strangers) > 1):
            raise UsageError(
                "client-ambiguous",
                f"{shown(which)} means several certificates; the name of one, {strangers[0].serial}, is not"
                " known here",
                "give the whole serial",
            )
        if strangers:
            (one,) = strangers
            if one.reason != HOLD:
                raise _stranger(one)
            register.release_stranger(one, now=now)
            return [one]
        held = found(register, which)
        chosen = [each for each in held if each.reason == HOLD]
        if not chosen:
            raise UsageError(
                "client-not-held",
                f"no certificate of {shown(held[0].name)} is on hold ({held[0].status(now)})",
                "only a hold can be taken back; a new certificate is made by: sealgate client add",
            )
        register.release((each.fingerprint for each in chosen), now=now)
    return list(chosen)


# Renewing


def renew(
    state: State,
    policy: Policy,
    name: str,
    spki: bytes,
    clock: Clock,
    *,
    own_key: bool = True,
    say: Callable[[str], None] = silent,
) -> Issued:
    """Another certificate for a client, with the names and groups of the newest one; that stays good.

    Raises:
        UsageError: ``client-unknown``; ``client-revoked``: the newest was revoked or is on hold.
    """
    with state.lock():
        with Store.open(state.store) as store:
            newest = found(caught_up(state, store, clock(), say), name)[0]
        if newest.revoked_at is not None:
            raise _nothing_to_revoke(newest)
        applications = [Application(newest.asked, spki, own_key)]
        (issued,) = issue(state, policy, applications, clock, renewing=True)
    assert issued is not None  # noqa: S101 - nobody is left out of one
    return issued


@dataclass(frozen=True, slots=True)
class Canaries:
    """Two certificates for a look from outside, PEM.

    Attributes:
        good: one that counts.
        revoked: one that is revoked in the store, and so on the next list.
        key: by what the guard knows that.
    """

    good: str
    revoked: str
    key: bytes


def canaries(state: State, policy: Policy, keys: tuple[bytes, bytes], clock: Clock) -> Canaries:
    """Two certificates of ten minutes for a look from outside: one good, one revoked from the next list on.

    Args:
        state: its lock is taken.
        policy: of the site.
        keys: DER of their public keys.
        clock: the present.
    """
    now = clock()
    with state.lock(), Store.open(state.store) as store:
        issuer = ensure_authorities(state, store, policy.site.names, now=now).clients
        made = [
            issue_client(issuer, public_key(key, "a canary"), name, now=now, lifetime=_CANARY)
            for name, key in zip(("sealgate-canary-good", "sealgate-canary-revoked"), keys, strict=True)
        ]
        register = Register(store)
        register.add_canaries(made, site=policy.site.names[0], issuer=issuer.certificate, now=now)
        register.revoke([fingerprint(made[1])], "unspecified", now=now)
    good, revoked = (pem_of(one).decode() for one in made)
    by = bytes.fromhex(issuer_key_hash(issuer.certificate))
    return Canaries(good, revoked, revocation_key(by, made[1].serial_number))
