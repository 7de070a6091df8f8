"""What the keeper calls: a server certificate that is live and fits the policy, and the clients' trust anchors."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sealgate._system.clock import Clock
from sealgate._system.files import write_atomic
from sealgate.errors import CertificateDates, CertificateError
from sealgate.pki.inspect import Facts, facts, issuer_key_hash
from sealgate.pki.issue import issue_server
from sealgate.pki.keys import generate, to_pem
from sealgate.pki.live import LiveCertificate, LiveDirectory, parse_chain
from sealgate.pki.renewal import Decision, Held, Reason, Wanted, decide
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.pki.vault import Authorities, ensure_authorities
from sealgate.policy.model import Policy

__all__ = ["ensure_client_trust", "ensure_server_certificate"]


def ensure_server_certificate(
    state: State, policy: Policy, clock: Clock, *, base: Path = Path(), force: bool = False
) -> LiveCertificate:
    """Make a certificate live that fits the policy, and say what is live.

    Issues, or takes from the policy's files, only where that is due; otherwise it only looks.

    Args:
        state: its lock is taken (a keeper holds it already).
        policy: whose certificate.
        clock: the present.
        base: the policy file's directory; relative paths in the policy count from there.
        force: issue another one although none is due.

    Raises:
        CertificateError: and its families; what was live stays live.
        StateError: the state cannot be written.
    """
    del base
    with state.lock(), Store.open(state.store) as store:
        return _private(state, store, policy, clock, force=force)


def _held(live: LiveCertificate | None, authorities: Authorities) -> Held | None:
    if live is None:
        return None
    leaf = live.leaf
    try:
        leaf.verify_directly_issued_by(authorities.servers.certificate)
        issuer = issuer_key_hash(authorities.servers.certificate)
    except Exception:  # noqa: BLE001 - whatever the reason, it is not from this authority
        issuer = ""
    return Held(live.not_before, live.not_after, frozenset(live.names), key_type_of(leaf.public_key()), issuer)


def key_type_of(key: object) -> str:
    """A public key's type in the policy's words; empty where the policy has none for it."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {"secp256r1": "ecdsa-p256", "secp384r1": "ecdsa-p384"}.get(key.curve.name, "")
    return f"rsa-{key.key_size}" if isinstance(key, rsa.RSAPublicKey) else ""


def _readable(directory: LiveDirectory) -> LiveCertificate | None:
    try:
        return directory.current()
    except CertificateError:
        # It is ours to issue, so what cannot be read is replaced.
        return None


def _private(state: State, store: Store, policy: Policy, clock: Clock, *, force: bool) -> LiveCertificate:
    now = clock()
    names, key_type = policy.site.names, policy.certificate.key_type
    authorities = ensure_authorities(state, store, names, now=now)
    directory = LiveDirectory(state.live_server(names[0]))
    live = _readable(directory)
    wanted = Wanted(frozenset(names), key_type, issuer_key_hash(authorities.servers.certificate))
    decision = decide(_held(live, authorities), wanted, now=now, force=force)
    if decision.reason is Reason.CLOCK:
        raise clock_is_wrong(decision)
    if live is not None and not decision.due:
        return live
    key = generate(key_type)
    leaf = issue_server(authorities.servers, key.public_key(), names, now=now)
    store.add_certificate(leaf, kind="server", site=names[0], issuer=authorities.servers.certificate, now=now)
    chain = b"".join(
        certificate.public_bytes(serialization.Encoding.PEM) for certificate in (leaf, authorities.servers.certificate)
    )
    return directory.publish(chain, to_pem(key))


def clock_is_wrong(decision: Decision) -> CertificateDates:
    """The error for a clock that is before what it already signed."""
    return CertificateDates(
        "certificate-not-yet-valid", decision.sentence, "set the machine's clock, then try again"
    )


def ensure_client_trust(state: State, policy: Policy, clock: Clock, *, base: Path = Path()) -> Path:
    """Write ``live/clients/trust.pem``: the anchors that client certificates are verified against.

    The private clients authority and its root, or the policy's foreign authority, checked. What is not sound
    never replaces a good file.

    Args:
        state: its lock is taken (a keeper holds it already).
        policy: its ``clients.authorities[0]`` says whose clients count.
        clock: the present.
        base: the policy file's directory.

    Returns:
        The path of the file.

    Raises:
        CertificateError: ``trust-unreadable``, ``trust-not-authority``.
        CertificateDates: ``certificate-expired``, ``certificate-not-yet-valid``.
    """
    path = state.live_clients / "trust.pem"
    authority = policy.clients.authorities[0]
    with state.lock():
        if authority.file:
            anchors = foreign_anchors(base / authority.file, now=clock())
        else:
            with Store.open(state.store) as store:
                made = ensure_authorities(state, store, policy.site.names, now=clock())
            anchors = (made.clients.certificate, made.root)
        pem = b"".join(anchor.public_bytes(serialization.Encoding.PEM) for anchor in anchors)
        if not path.is_file() or path.read_bytes() != pem:
            write_atomic(path, pem)
    return path


def foreign_anchors(path: Path, *, now: datetime) -> tuple[x509.Certificate, ...]:
    """The certificates of a foreign authority's PEM file: authorities all of them, and in date.

    Raises:
        CertificateError: ``trust-unreadable``, ``trust-not-authority``.
        CertificateDates: ``certificate-expired``, ``certificate-not-yet-valid``.
    """
    try:
        anchors = parse_chain(path.read_bytes(), str(path))
    except (OSError, CertificateError) as error:
        raise CertificateError(
            "trust-unreadable",
            f"there is no PEM certificate in {path} that can be read",
            "give the PEM file of the authority in clients.authorities[0].file",
            path=str(path),
        ) from error
    for anchor in anchors:
        facts_ = facts(anchor)
        if not facts_.authority:
            raise CertificateError(
                "trust-not-authority",
                f"{facts_.subject!a} in {path} is not an authority",
                "give the certificate of the authority that signs the clients, not one of a client or server",
                path=str(path),
            )
        check_dates(facts_, str(path), now=now)
    return anchors


def check_dates(certificate: Facts, origin: str, *, now: datetime) -> None:
    """Refuse a certificate that is not valid now.

    Raises:
        CertificateDates: ``certificate-expired``, ``certificate-not-yet-valid``.
    """
    if now > certificate.not_after:
        raise CertificateDates(
            "certificate-expired",
            f"{certificate.subject!a} in {origin} ended on {certificate.not_after:%Y-%m-%d %H:%M} UTC",
            "renew it where it comes from and put the new one there",
            origin=origin,
            not_after=certificate.not_after.isoformat(),
        )
    if now < certificate.not_before:
        raise CertificateDates(
            "certificate-not-yet-valid",
            f"{certificate.subject!a} in {origin} begins on {certificate.not_before:%Y-%m-%d %H:%M} UTC"
            f" and the clock says {now:%Y-%m-%d %H:%M}",
            "set the machine's clock, or wait",
            origin=origin,
            not_before=certificate.not_before.isoformat(),
        )
