"""Is what an authority issued what was asked for; and which of several chains is taken. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from sealgate.acme.problems import quoted
from sealgate.errors import AcmeError, CertificateDates, CertificateError, Fault
from sealgate.pki.imports import Pair, check_pair

_MANY = 10
"""Certificates in a chain: public ones have 2 to 4. Each is compared with all others."""
_UNDERSTOOD = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)
"""Extensions that every client knows in a server's certificate, where they are critical."""

__all__ = ["checked", "is_preferred", "preferred"]


def checked(chain_pem: bytes, key_pem: bytes, names: Sequence[str], *, now: datetime, host: str) -> Pair:
    """The chain in its right order, without a root, if it fits.

    Args:
        chain_pem: as downloaded.
        key_pem: what it was asked for.
        names: all must be covered.
        now: our clock.
        host: of the authority.

    Raises:
        AcmeError: ``acme-chain-unfit``; ``acme-clock``: it is good at another time than ours.
    """
    if (many := chain_pem.count(b"-----BEGIN ")) > _MANY:  # before any is read
        raise _unfit(host, f"a chain of {many} certificates, and {_MANY} are the most", "chain-long")
    try:
        pair = check_pair(chain_pem, key_pem, names, now=now, origin=f"what {host} issued")
    except CertificateDates as error:
        wrong = AcmeError(
            "acme-clock",
            f"a certificate just issued is not good by this machine's clock: {error.fact}"
            f" (here it is {now:%Y-%m-%d %H:%M} UTC)",
            "set the clock (timedatectl set-ntp true), then: sealgate cert renew",
            authority=host,
            **error.details,
        )
        wrong.fault = Fault.ENVIRONMENT
        raise wrong from error
    except CertificateError as error:
        raise _unfit(host, error.fact, error.code) from error
    if refused := _refused_by_clients(pair.chain[0]):
        raise _unfit(host, refused, "extension")
    return pair


def _unfit(host: str, fact: str, reason: str) -> AcmeError:
    unfit = AcmeError(
        "acme-chain-unfit",
        f"{host} issued a certificate that does not fit what was asked for: {fact}",
        "it is not used; ask the authority, or name another in certificate.acme.fallback",
        authority=host,
        reason=reason,
    )
    unfit.fault = Fault.PEER
    return unfit


def _refused_by_clients(leaf: x509.Certificate) -> str:
    """Why clients would refuse it; empty: they would not."""
    for extension in leaf.extensions:
        oid = extension.oid.dotted_string
        if isinstance(extension.value, x509.TLSFeature):
            # RFC 7633: a client wants a stapled OCSP response, which is asked of nobody here.
            return "it must be stapled to an OCSP response (must-staple), and there is none"
        if extension.critical and extension.oid not in _UNDERSTOOD:
            return f"its extension {oid} is critical, and clients do not know it (RFC 5280 §4.2)"
    return ""


def _common_names(name: x509.Name) -> list[str]:
    return [str(part.value) for part in name.get_attributes_for_oid(NameOID.COMMON_NAME)]


def is_preferred(chain: Sequence[x509.Certificate], wanted: str) -> bool:
    """Does an issuer of this chain, or the root above it, have this common name?"""
    return any(wanted in _common_names(certificate.issuer) for certificate in chain)


def preferred(pairs: Sequence[Pair], wanted: str) -> tuple[Pair, str]:
    """The first chain that leads to `wanted`, else the first; and what is to be said about it."""
    for pair in pairs:
        if is_preferred(pair.chain, wanted):
            return pair, ""
    offered = dict.fromkeys(name for pair in pairs for name in _common_names(pair.chain[-1].issuer))
    roots = ", ".join(quoted(name, 80) for name in offered)
    return pairs[0], f"no chain to {quoted(wanted, 80)} is offered, only to {roots}; the first is taken"
