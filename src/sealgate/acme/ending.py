"""Revoking a certificate (RFC 8555 §7.6) and giving up an account (§7.3.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cryptography import x509

from sealgate._system.clock import Clock
from sealgate.acme import account
from sealgate.acme.authority import Authority
from sealgate.acme.client import Client, Signer
from sealgate.acme.history import history_path, load, origin
from sealgate.errors import AcmeError, CertificateError, UsageError
from sealgate.pki.keys import PrivateKey, load_private, public_spki, spki
from sealgate.pki.live import LiveDirectory
from sealgate.pki.state import State
from sealgate.pki.store import CertificateRow, Store

__all__ = ["REASONS", "Ended", "deactivate", "find", "revoke"]

REASONS: Mapping[str, int] = {
    "unspecified": 0,
    "key-compromise": 1,
    "affiliation-changed": 3,
    "superseded": 4,
    "cessation-of-operation": 5,
}
"""Reasons that public authorities take, by the words of RFC 5280 §5.3.1."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A certificate that an authority revoked."""

    fingerprint: str
    authority: str
    reason: str


def find(state: State, site: str, which: str) -> CertificateRow:
    """A certificate from ACME, by the beginning of its fingerprint or serial; empty: the live one.

    Raises:
        UsageError: ``certificate-unknown``: none, or several.
    """
    live = not which
    which = which.replace(":", "").lower() or LiveDirectory(state.live_server(site)).fingerprint()
    with Store.open(state.store, read_only=True) as store:
        rows = store.certificates(kind="acme", site=site)
    if not which or (live and not any(row.fingerprint == which for row in rows)):
        raise UsageError(
            "certificate-unknown",
            "no certificate from ACME is live",
            "name an older one by its fingerprint or serial: sealgate cert list",
        )
    found = [row for row in rows if _begins(row, which)]
    if len(found) == 1:
        return found[0]
    many = f"{len(found)} certificates from ACME begin" if found else "no certificate from ACME begins"
    raise UsageError(
        "certificate-unknown",
        f"{many} with {which!a}",
        "name one by its fingerprint or serial: sealgate cert list",
    )


def _begins(row: CertificateRow, which: str) -> bool:
    return row.fingerprint.startswith(which) or row.serial.lower().startswith(which)


def revoke(
    state: State,
    authorities: Sequence[Authority],
    row: CertificateRow,
    *,
    site: str,
    reason: str,
    by: Literal["account", "key"],
    clock: Clock,
) -> Ended:
    """Have the authority that issued it revoke a certificate.

    Args:
        state: its lock is taken.
        authorities: of the policy; the one that issued it is found by the history, else each is asked.
        row: which.
        site: the site's first name.
        reason: one of :data:`REASONS`.
        by: whose signature: the account's, or that of the certificate's own key.
        clock: the present.

    Raises:
        AcmeError: it is not revoked.
        CertificateError: ``key-missing``: the certificate's own key is not here any more.
    """
    certificate = x509.load_pem_x509_certificate(row.pem.encode())
    came = origin(load(history_path(state, site)), row.fingerprint)
    theirs = [one for one in authorities if came is not None and one.directory == came.authority]
    refused: AcmeError | None = None
    for authority in theirs or authorities:
        try:
            with Client.open(authority, clock=clock) as client:
                signer = _signer(client, authority, state, certificate, site=site, by=by)
                client.revoke(signer, certificate, REASONS[reason])
        except AcmeError as error:
            if error.details.get("problem") == "alreadyRevoked":
                return Ended(row.fingerprint, authority.directory, reason)
            refused = error
        else:
            return Ended(row.fingerprint, authority.directory, reason)
    assert refused is not None  # noqa: S101 - a policy names at least one authority
    raise refused


def _signer(
    client: Client,
    authority: Authority,
    state: State,
    certificate: x509.Certificate,
    *,
    site: str,
    by: Literal["account", "key"],
) -> Signer:
    if by == "key":
        return Signer(_key_of(state, certificate, site))
    signer = account.known(client, authority, state)
    if signer is None:
        raise AcmeError(
            "acme-account-missing",
            f"there is no account at {client.host} to sign with",
            "sign with the certificate's own key: --by key",
        )
    return signer


def _key_of(state: State, certificate: x509.Certificate, site: str) -> PrivateKey:
    """The certificate's own key, among the versions that ``live/`` still has."""
    for path in sorted(state.live_server(site).glob("versions/*/*key.pem"), reverse=True):
        try:
            key = load_private(path)
        except CertificateError:
            continue
        if spki(key) == public_spki(certificate):
            return key
    raise CertificateError(
        "key-missing",
        "the key of that certificate is not here any more",
        "sign with the account: --by account",
    )


def deactivate(state: State, authorities: Sequence[Authority], *, clock: Clock) -> tuple[str, ...]:
    """Give up the accounts at all authorities of the policy, and remove their keys.

    Returns:
        the directories where there was one.

    Raises:
        AcmeError: an authority did not do it; its key is still here.
    """
    ended = []
    for authority in authorities:
        with Client.open(authority, clock=clock) as client:
            if account.deactivate(client, authority, state):
                ended.append(authority.directory)
    return tuple(ended)
