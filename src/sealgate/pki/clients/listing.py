"""The list of the revoked, made from the store; and by what the guard knows its certificates. Blocking.

A list is never changed by hand, and its number only rises. Who is on it, and which groups single certificates
were given, is read from the register each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from cryptography import x509

from sealgate._system.clock import Clock
from sealgate._system.files import write_atomic
from sealgate.pki.clients.register import REASONS, Register
from sealgate.pki.clients.restoring import catch_up, is_behind, published, silent, unwitnessed
from sealgate.pki.crl import Revoked, crl_is_due, sign_list
from sealgate.pki.inspect import issuer_key_hash
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.pki.vault import ensure_authorities, load_certificates
from sealgate.policy.identity import membership_key, revocation_key
from sealgate.policy.model import Policy

__all__ = ["membership_keys", "revocation_keys", "witnessed_keys", "write_list"]

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def write_list(
    state: State,
    policy: Policy,
    clock: Clock,
    *,
    anew: bool = False,
    say: Callable[[str], None] = silent,
) -> bool:
    """Write ``live/clients/crl.pem`` where it is due (half of its 24 h), or ``anew``.

    Where a list has a number that the store does not know of, a backup was restored: see ``restoring``.

    Returns:
        was it written.

    Raises:
        CertificateError, StateError: what was there is untouched.
    """
    path, now = state.live_clients / "crl.pem", clock()
    with state.lock():
        certificates = load_certificates(state)
        last = published(path, certificates["clients"], say) if certificates else None
        if (
            certificates
            and last is not None
            and not (anew or crl_is_due(last, now=now))
            and not is_behind(state, certificates["clients"], last)
        ):
            return False
        with Store.open(state.store) as store:
            issuer = ensure_authorities(state, store, policy.site.names, now=now).clients
            if doubt := unwitnessed(state, issuer.certificate, last, now):
                say(str(doubt))
            register, key = Register(store), issuer_key_hash(issuer.certificate)
            catch_up(state, register, issuer.certificate, last, now, say)
            entries = _entries(register, key, last)
            made = sign_list(issuer, entries, now=now, after=last, above=register.list_number(key))
            # Before anybody sees it: the next one's number must be higher, whatever happens to the file.
            register.note_list(key, made.number)
        # Before the one beside the store: whoever is killed in between has not told anybody of it yet.
        before = state.witness.trouble
        state.witness.keep(key, made.der, made.number)
        if (trouble := state.witness.trouble) and trouble != before:
            say(f"no copy of the list is kept outside of the state directory: {trouble}")
        write_atomic(path, made.pem)
    return True


def _entries(
    register: Register, issuer_key: str, last: x509.CertificateRevocationList | None
) -> Iterable[Revoked]:
    """Who ended since the list before stays for one more list (RFC 5280 §3.3)."""
    since = last.last_update_utc - timedelta(hours=1) if last is not None else _LONG_AGO
    for serial, at, reason in register.revoked(issuer_key, since):
        yield Revoked(int(serial, 16), at, REASONS[reason])


def revocation_keys(state: State, clock: Clock) -> list[bytes]:
    """By what the guard knows everyone who is revoked and has not ended; none where nobody was issued."""
    certificates = load_certificates(state)
    if not certificates:
        return []
    key = issuer_key_hash(certificates["clients"])
    with Store.open(state.store) as store:
        found = Register(store).revoked(key, clock())
        return [revocation_key(bytes.fromhex(key), int(serial, 16)) for serial, _, _ in found]


def witnessed_keys(state: State) -> list[bytes]:
    """The same of the newest list that is kept outside of the state directory: a store may be older."""
    certificates = load_certificates(state)
    if not certificates or (crl := state.witness.newest(certificates["clients"])) is None:
        return []
    key = bytes.fromhex(issuer_key_hash(certificates["clients"]))
    return [revocation_key(key, one.serial_number) for one in crl]


def membership_keys(state: State, clock: Clock) -> list[bytes]:
    """By what the guard knows the groups that were given to single certificates that have not ended."""
    certificates = load_certificates(state)
    if not certificates:
        return []
    key = issuer_key_hash(certificates["clients"])
    with Store.open(state.store) as store:
        grouped = Register(store).grouped(key, clock())
    return [
        membership_key(revocation_key(bytes.fromhex(key), int(serial, 16)), group)
        for serial, groups in grouped
        for group in groups
    ]
