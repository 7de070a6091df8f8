"""A state directory that came from a backup: found out by the numbers of our own lists, and caught up.

Numbers only rise, and the store notes each before anybody sees it. So whoever finds a list of ours with a
higher number than the store knows, beside the store or outside of the state directory (``pki/witness.py``),
knows that the store is older, and has in his hand what it lacks: who is on that list is revoked here too. A
revocation is never taken back, so a list of ours may be of any age to be believed; of holds see
``Register.take_over``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealgate._system.clock import Clock
from sealgate.errors import CertificateError, StateError, UsageError
from sealgate.pki.clients.register import REASONS, Register
from sealgate.pki.crl import HIGHEST, der_of, is_signed_by, number_of
from sealgate.pki.inspect import issuer_key_hash, number_text
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.pki.vault import load_certificates
from sealgate.policy.quoting import shown

__all__ = [
    "Taken",
    "catch_up",
    "caught_up",
    "is_behind",
    "listed",
    "own_list_of",
    "published",
    "silent",
    "take_over",
    "unwitnessed",
]

_FEW = 5
_LONGEST_SERIAL = 160  # bits (RFC 5280 §4.1.2.2)
_NAMED = {reason: name for name, reason in REASONS.items()}
_Crl = x509.CertificateRevocationList
_Entry = tuple[str, datetime, str]


def silent(_text: str) -> None:
    """Tells nobody."""


def published(path: Path, issuer: x509.Certificate, say: Callable[[str], None] = silent) -> _Crl | None:
    """The list that is there, if it is this authority's and whole."""
    try:
        der = der_of(path.read_bytes())
        return x509.load_der_x509_crl(der) if is_signed_by(der, issuer) else None
    except ValueError:
        say(
            f"{path} is damaged and is made anew from the store;"
            " if the store came from a backup, revoke again who was revoked since"
        )
    except OSError:
        pass
    return None


def is_behind(state: State, issuer: x509.Certificate, last: _Crl) -> bool:
    """Is the store, or the list beside it, older than this process has seen them? Reads no list."""
    key = issuer_key_hash(issuer)
    seen = state.witness.number(key)
    if number_of(last) < seen:
        return True
    with Store.open(state.store) as store:
        return Register(store).list_number(key) < max(seen, number_of(last))


def catch_up(
    state: State,
    register: Register,
    issuer: x509.Certificate,
    last: _Crl | None,
    now: datetime,
    say: Callable[[str], None] = silent,
) -> None:
    """Where a list of ours is newer than the store, what it says counts here too.

    Args:
        state: its lock is taken.
        register: of the store.
        issuer: the clients authority.
        last: the list beside the store.
        now: the present.
        say: one line for people.
    """
    key = issuer_key_hash(issuer)
    known = register.list_number(key)
    found = [one for one in (last, state.witness.newest(issuer)) if one is not None]
    newer = {number_of(one): one for one in found if number_of(one) > known}
    if not newer:
        return
    taken = [serial for one in newer.values() for serial in register.take_over(key, listed(one), now=now)]
    register.note_list(key, max(newer))
    say(str(_restored(max(newer), known, taken)))


def caught_up(state: State, store: Store, now: datetime, say: Callable[[str], None] = silent) -> Register:
    """The register, for who asks it about revocations."""
    register, certificates = Register(store), load_certificates(state)
    if certificates:
        issuer = certificates["clients"]
        last = published(state.live_clients / "crl.pem", issuer)
        catch_up(state, register, issuer, last, now, say)
    return register


def listed(crl: _Crl) -> list[_Entry]:
    """Serial, moment and reason of each entry of a list of ours, as the register has them."""
    return list(map(_listed, crl))


def _listed(entry: x509.RevokedCertificate) -> _Entry:
    try:
        reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        reason = None
    return number_text(entry.serial_number), entry.revocation_date_utc, _NAMED.get(reason, "unspecified")


def _restored(number: int, known: int, taken: Sequence[str]) -> StateError:
    few = f" ({', '.join(taken[:_FEW])}{', ...' if len(taken) > _FEW else ''})" if taken else ""
    return StateError(
        "state-restored",
        f"the store is older than list {number} of revoked clients (it knows {known}), as after restoring a"
        f" backup: {len(taken)} more were taken over as revoked{few}; whoever was issued a certificate since"
        " is not known here, and whoever was blocked since no longer is",
        "block them again with: sealgate client block",
        number=number,
        known=known,
    )


def unwitnessed(
    state: State, issuer: x509.Certificate, last: _Crl | None, now: datetime
) -> StateError | None:
    """What nothing outside of the state directory can tell: is it the newest there was?

    Nobody is refused for that: a directory that was moved here, or was off for a month, looks the same.

    Args:
        state: its lock is taken.
        issuer: the clients authority.
        last: the list beside the store, before another one is made.
        now: the present.
    """
    if last is None or state.witness.newest(issuer) is not None:
        return None
    end = last.next_update_utc
    lapsed = f", and ended on {end:%Y-%m-%d %H:%M} UTC" if end is not None and end < now else ""
    return StateError(
        "state-unwitnessed",
        f"no copy of this authority's list is kept outside of the state directory, where the list is number"
        f" {number_of(last)} of {last.last_update_utc:%Y-%m-%d}{lapsed}: it was moved here, was not started"
        " here before, or came from a backup, and then who was revoked since is let in",
        "if it came from a backup: sealgate crl take-over FILE, with the newest list that anybody has",
    )


# A list that somebody brings


@dataclass(frozen=True, slots=True)
class Taken:
    """Who was not revoked here, of what was brought: serials; ``by``: SHA-256 of the authority's key."""

    by: str
    serials: tuple[str, ...]


def own_list_of(data: bytes, issuer: x509.Certificate, name: str) -> _Crl:
    """The list of our own clients authority in a DER or PEM file, of whatever age.

    Args:
        data: the file.
        issuer: the clients authority.
        name: what it is called in messages.

    Raises:
        CertificateError: ``crl-unreadable``, ``crl-not-ours``, ``crl-unsupported``.
    """
    crl = _parsed(data, name)
    if not is_signed_by(crl.public_bytes(Encoding.DER), issuer) or crl.issuer != issuer.subject:
        raise CertificateError(
            "crl-not-ours",
            f"the list in {shown(name)} is by {shown(crl.issuer.rfc4514_string())}, and not signed by the"
            f" private clients authority of this state directory ({shown(issuer.subject.rfc4514_string())})",
            "give a list of this authority: a published clients.crl, or live/clients/crl.pem of another copy",
        )
    if not 0 <= number_of(crl) <= HIGHEST:
        raise CertificateError(
            "crl-unsupported",
            f"the list in {shown(name)} has a number that Sealgate never gives",
            "give one that Sealgate made",
        )
    return crl


def _parsed(data: bytes, name: str) -> _Crl:
    try:
        crl = x509.load_der_x509_crl(der_of(data) if b"-----BEGIN" in data[:4096] else data)
        for _ in (*crl.extensions, *crl):  # damaged ones raise here, and not in the middle of the work
            pass
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise CertificateError(
            "crl-unreadable",
            f"there is no revocation list in {shown(name)} that can be read",
            "give one list, PEM or DER",
        ) from error
    return crl


def take_over(state: State, order: Mapping[str, Any], clock: Clock) -> Taken:
    """Revoke whom a list names, in the store alone; the order may be a part of one.

    Args:
        state: its lock is taken (a keeper holds it already).
        order: ``issuer_key``, ``number``, and ``entries``: serial, moment and reason of each. Whoever may
            give orders may revoke anybody, so it is the command that looks at the list's signature.
        clock: the present.

    Raises:
        UsageError: ``order-unknown``.
        CertificateError: ``crl-not-ours``.
    """
    entries, number = _entries(order.get("entries")), order.get("number")
    if not isinstance(number, int) or not 0 <= number <= HIGHEST:
        raise _malformed()
    with state.lock():
        certificates = load_certificates(state)
        key = issuer_key_hash(certificates["clients"]) if certificates else ""
        if order.get("issuer_key") != key:
            raise CertificateError(
                "crl-not-ours", "the list is of another clients authority", "name the right --state"
            )
        with Store.open(state.store) as store:
            register, now = Register(store), clock()
            serials = register.take_over(key, entries, now=now)
            if not order.get("more") and number > register.list_number(key):
                register.note_list(key, number)  # the next one of ours is above it
    return Taken(key, tuple(serials))


def _entries(value: object) -> list[_Entry]:
    """As they travelled; the serial in the one way in which the register has it."""
    found = []
    try:
        for serial, at, reason in value:  # type: ignore[attr-defined]  # whatever it is, it raises
            number, moment = int(serial, 16), datetime.fromisoformat(at).astimezone(UTC)
            if not 0 < number < 1 << _LONGEST_SERIAL or reason not in REASONS:
                raise _malformed()
            found.append((number_text(number), moment, reason))
    except (TypeError, ValueError) as error:
        raise _malformed() from error
    return found


def _malformed() -> UsageError:
    return UsageError("order-unknown", "an order has no entries of a list", "use one version of Sealgate")
