"""Whose client certificates count, and by which lists: the authorities of a policy, under ``live/clients``.

``trust.pem`` holds the certificates of all of them, ``authorities/NAME.pem`` those of each that is not ours;
``lists/NAME.pem`` the lists in force of each that comes with some, ``lists.pem`` everyone's together, our own
too, for engines that judge by lists. What is not sound never replaces a good file, and nothing of one
authority keeps the others from being taken over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from sealgate._system.clock import Clock
from sealgate._system.files import private_directory, write_atomic
from sealgate.errors import CertificateDates, CertificateError
from sealgate.pki.authority import Issuer, build_anchor
from sealgate.pki.imports import foreign_anchors
from sealgate.pki.inspect import pem_of
from sealgate.pki.keys import public_spki
from sealgate.pki.lists import (
    age_of,
    foreign_lists,
    lists_of,
    pem_of_lists,
    revocation_keys,
    same_key,
    until_of,
)
from sealgate.pki.lists.schedule import extended
from sealgate.pki.live import parse_chain
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.pki.vault import ensure_authorities
from sealgate.policy.model import Authority, Policy

__all__ = [
    "InForce",
    "Trusted",
    "check_apart",
    "client_authorities",
    "ensure_client_trust",
    "in_force",
    "standing_authorities",
    "write_lists",
]

_KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Trusted:
    """An authority of the policy.

    Attributes:
        authority: what the policy says of it.
        anchors: its certificates: whoever they sign is its client.
    """

    authority: Authority
    anchors: tuple[x509.Certificate, ...]

    @property
    def name(self) -> str:
        """How the policy calls it."""
        return self.authority.name

    @property
    def pem(self) -> bytes:
        """Its certificates."""
        return b"".join(map(pem_of, self.anchors))


@dataclass(frozen=True, slots=True)
class InForce:
    """The lists of an authority that comes with some.

    Attributes:
        name: of the authority.
        until: to when they count, grace included; None: there is none of each of its keys.
        packed: :func:`~sealgate.policy.identity.revocation_key` of everyone on them, one behind the other.
    """

    name: str
    until: datetime | None
    packed: bytes

    def lapsed(self, now: datetime) -> bool:
        """Nobody knows who was revoked since: none of its clients may come in."""
        return self.until is None or now > self.until

    def keys(self) -> Iterable[bytes]:
        """Of everyone on them."""
        packed = self.packed
        return (packed[at : at + _KEY_BYTES] for at in range(0, len(packed), _KEY_BYTES))


def client_authorities(
    state: State, policy: Policy, clock: Clock, *, base: Path = Path()
) -> tuple[Trusted, ...]:
    """The policy's, with their certificates; its files are checked, the private one is made on first use.

    Raises:
        CertificateError: ``trust-unreadable``, ``trust-not-authority``, ``trust-shared``, ``trust-alike``,
            ``certificate-weak``.
        CertificateDates: ``certificate-expired``, ``certificate-not-yet-valid``.
    """
    found = tuple(
        Trusted(
            one,
            foreign_anchors(base / one.file, now=clock())
            if one.file
            else (_anchor(state.live_clients / "trust.pem", _private(state, policy, clock)),),
        )
        for one in policy.clients.authorities
    )
    check_apart(found)
    return found


def standing_authorities(state: State, policy: Policy, clock: Clock) -> tuple[Trusted, ...]:
    """The policy's, with the certificates that are published: those in force, whatever its files say now.

    Raises:
        CertificateError: ``certificate-unreadable``: they never were, or are damaged.
    """
    return tuple(Trusted(one, _standing(state, policy, clock, one)) for one in policy.clients.authorities)


def _standing(
    state: State, policy: Policy, clock: Clock, authority: Authority
) -> tuple[x509.Certificate, ...]:
    if authority.own:
        return (_anchor(state.live_clients / "trust.pem", _private(state, policy, clock)),)
    path = _certificates(state, authority.name)
    try:
        return parse_chain(path.read_bytes(), str(path))
    except OSError as error:
        raise CertificateError(
            "certificate-unreadable",
            f"{path} cannot be read",
            "reload: sealgate writes it again",
            path=str(path),
        ) from error


def _certificates(state: State, name: str) -> Path:
    return state.live_client_authorities / f"{name}.pem"


def check_apart(authorities: Sequence[Trusted]) -> None:
    """Can it be told whose client somebody is?

    Raises:
        CertificateError: ``trust-shared``: a client of that key would be of two authorities;
            ``trust-alike``: two have one name, and servers try the first of that name alone, unless
            certificates say by which key they are (RFC 5280 §4.2.1.1).
    """
    whose: dict[bytes, str] = {}
    every = [(one, anchor) for one in authorities for anchor in one.anchors]
    for one, anchor in every:
        other = whose.setdefault(public_spki(anchor), one.name)
        if other != one.name:
            raise CertificateError(
                "trust-shared",
                f"{anchor.subject.rfc4514_string()!a} has its key in the files of two authorities, "
                f"{other} and {one.name}",
                "leave it in the file of the authority by whose rule its clients shall be judged",
                authorities=[other, one.name],
            )
    called: dict[x509.Name, Trusted] = {}
    for one, anchor in every:
        alike = called.setdefault(anchor.subject, one)
        if alike is not one and not all(map(_identified, (*alike.anchors, *one.anchors))):
            raise CertificateError(
                "trust-alike",
                f"the authorities {alike.name} and {one.name} both have a certificate called "
                f"{anchor.subject.rfc4514_string()!a}, and not each says by which key it is",
                "get certificates with a subject key identifier, or leave one of the two out",
                authorities=[alike.name, one.name],
            )


def _identified(anchor: x509.Certificate) -> bool:
    try:
        anchor.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        return False
    return True


def ensure_client_trust(
    state: State, policy: Policy, clock: Clock, *, base: Path = Path(), standing: bool = False
) -> Path:
    """Write what client certificates are verified against, where it is not there or something else.

    Args:
        state: its lock is taken (a keeper holds it already).
        policy: its ``clients.authorities`` say whose clients count.
        clock: the present.
        base: the policy file's directory.
        standing: the authorities stay those in force; only their lists are taken over.

    Returns:
        The path of ``live/clients/trust.pem``.

    Raises:
        CertificateError: as of `client_authorities`, and ``crl-unreadable``, ``crl-not-ours``,
            ``crl-unsupported``, ``crl-missing``, ``crl-older``; what is sound of others was taken over.
        CertificateDates: ``crl-expired``, where nobody could come in. Where only one of several authorities
            has no list that counts, the guard keeps its clients out, and nobody else.
    """
    path = state.live_clients / "trust.pem"
    with state.lock():
        if standing:
            found = standing_authorities(state, policy, clock)
        else:
            found = client_authorities(state, policy, clock, base=base)
        unsound = list(_take_over(state, found, base, now=clock()))
        write_lists(state, policy)
        private_directory(state.live_client_authorities)
        for one in found:
            if not one.authority.own:
                _replace(_certificates(state, one.name), one.pem)
        _replace(path, b"".join(one.pem for one in found))
    late = [error for error in unsound if error.code == "crl-expired"]
    for error in unsound:
        if error not in late or len(late) == len(found):
            raise error
    return path


def _take_over(
    state: State, authorities: Sequence[Trusted], base: Path, *, now: datetime
) -> Iterable[CertificateError]:
    """The lists that the policy's files hold; yields what is wrong with others, and leaves what was there."""
    private_directory(state.live_client_lists)
    for one in authorities:
        if one.authority.listed:
            try:
                found = foreign_lists(
                    base / one.authority.crl, one.anchors, now=now, grace=one.authority.grace
                )
            except (CertificateError, CertificateDates) as error:
                yield error
                continue
            older = _older(state, one, found)
            if older is not None:
                yield older
            else:
                _replace(_place(state, one.name), pem_of_lists(found))


def _older(
    state: State, one: Trusted, found: Sequence[x509.CertificateRevocationList]
) -> CertificateError | None:
    """Whoever was revoked since the list in force was made would come in again."""
    try:
        before = lists_of(_place(state, one.name).read_bytes())
    except (OSError, ValueError):
        return None
    for crl, other in product(found, before):
        if age_of(crl) < age_of(other) and same_key(crl, other, one.anchors):
            return CertificateError(
                "crl-older",
                f"a list of {one.name} has number {age_of(crl)[0]}, and {age_of(other)[0]} is in force",
                f"give the newest one; where it began to count anew, remove {_place(state, one.name)}",
                authority=one.name,
            )
    return None


def write_lists(state: State, policy: Policy) -> None:
    """Write ``lists.pem``: what ``lists/`` holds of the policy's authorities, and our own list."""
    if not policy.client_lists:
        return
    own = [state.live_clients / "crl.pem"] if policy.own_list else []
    paths = [*own, *(_place(state, one.name) for one in policy.clients.authorities if one.listed)]
    _replace(
        state.live_clients / "lists.pem", b"".join(path.read_bytes() for path in paths if path.is_file())
    )


def in_force(state: State, authorities: Sequence[Trusted]) -> tuple[InForce, ...]:
    """The lists that were taken over, of each authority that comes with some."""
    return tuple(_in_force(state, one) for one in authorities if one.authority.listed)


def _in_force(state: State, one: Trusted) -> InForce:
    try:
        lists = lists_of(_place(state, one.name).read_bytes())
    except (OSError, ValueError):  # never taken over; or damaged, which counts as little
        return InForce(one.name, None, b"")
    until = until_of(lists, one.anchors)
    grace = timedelta(seconds=one.authority.grace)
    keys = b"".join(revocation_keys(lists, one.anchors))
    return InForce(one.name, None if until is None else extended(until, grace), keys)


def _place(state: State, name: str) -> Path:
    return state.live_client_lists / f"{name}.pem"


def _private(state: State, policy: Policy, clock: Clock) -> Issuer:
    with Store.open(state.store) as store:
        return ensure_authorities(state, store, policy.site.names, now=clock()).clients


def _anchor(path: Path, clients: Issuer) -> x509.Certificate:
    """The one that is published, where it is still this authority's; each signature makes another."""
    made = clients.certificate
    try:
        there = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        there = []
    for one in there:
        if (
            one.subject == made.subject
            and one.not_valid_after_utc == made.not_valid_after_utc
            and _is_root(one)
            and public_spki(one) == public_spki(made)
        ):
            return one
    return build_anchor(clients)


def _is_root(one: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(one)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _replace(path: Path, content: bytes) -> None:
    if not path.is_file() or path.read_bytes() != content:
        write_atomic(path, content)
