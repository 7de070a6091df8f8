"""Certificates from a commercial authority: a request with a key that never leaves the state, and its answer.

::

    <state>/requests/<site>/    key.pem request.pem    waiting for an answer
    <state>/imports/<site>/     chain.pem key.pem      what came (a live directory of its own)

The policy names the two imported files in ``[certificate.files]``; they are live from the next look on.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from sealgate._system.files import Step, no_step, private_directory, translated, write_atomic
from sealgate.errors import CertificateError, UsageError
from sealgate.pki.imports import Pair, check_pair, read_pair
from sealgate.pki.inspect import key_type_of
from sealgate.pki.issue import alternative_names, subject_for
from sealgate.pki.keys import PrivateKey, generate, load_private, public_spki, signature_hash, spki, to_pem
from sealgate.pki.live import LiveDirectory
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.policy.model import Policy, is_address

__all__ = ["import_chain", "imported_files", "make_request"]


def imported_files(state: State, policy: Policy) -> tuple[Path, Path]:
    """Where an imported chain and its key stand: what ``[certificate.files]`` should name."""
    directory = state.imports(policy.site.names[0])
    return directory / "chain.pem", directory / "key.pem"


def make_request(state: State, policy: Policy, *, step: Step = no_step) -> Path:
    """A certificate signing request (PKCS#10) for the site's names; the one that is waiting, where it fits.

    A key that is waiting is kept: an answer to the request made before still finds it. To have another one,
    change ``certificate.key_type`` or remove the directory.

    Returns:
        The PEM file of the request.

    Raises:
        CertificateError: ``key-unreadable`` and its kin: what is waiting cannot be read.
        StateError: the state cannot be written.
    """
    names = policy.site.names
    with state.lock(), translated(state.path):
        directory = state.requests(names[0])
        private_directory(directory.parent)
        private_directory(directory)
        key_path, path = directory / "key.pem", directory / "request.pem"
        key = load_private(key_path) if key_path.exists() or key_path.is_symlink() else None
        if key is None or key_type_of(key.public_key()) != policy.certificate.key_type:
            key = generate(policy.certificate.key_type)
            step("key")
            write_atomic(key_path, to_pem(key), step=step)
        if not _fits(path, key, names):
            step("request")
            write_atomic(path, _build(key, names), step=step)
    return path


def _build(key: PrivateKey, names: tuple[str, ...]) -> bytes:
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject_for([name for name in names if not is_address(name)]))
        .add_extension(alternative_names(names), critical=False)
        .sign(key, signature_hash(key))
    )
    return request.public_bytes(serialization.Encoding.PEM)


def _fits(path: Path, key: PrivateKey, names: tuple[str, ...]) -> bool:
    """Is the request in the file for this key and these names?"""
    try:
        request = x509.load_pem_x509_csr(path.read_bytes())
        asked = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        der = request.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    return der == spki(key) and asked == alternative_names(names)


def import_chain(
    state: State, policy: Policy, chain: Path, key: Path | None = None, *, now: datetime
) -> Pair:
    """Check a chain from elsewhere, with its key or that of the waiting request, and keep both.

    Args:
        state: its lock is taken.
        policy: its ``site.names`` must be covered.
        chain: PEM file.
        key: PEM file; None takes the key of the request.
        now: the present.

    Raises:
        CertificateError: and its families, as ``imports.check_pair``; what was imported before stays.
        UsageError: ``request-missing``: no key given, and no request is waiting.
    """
    site = policy.site.names[0]
    with state.lock(), translated(state.path):
        waiting = state.requests(site) / "key.pem"
        if key is None and not waiting.exists():
            raise UsageError(
                "request-missing",
                f"no request for {site} is waiting for a certificate",
                "name the certificate's key with --key FILE, or begin with: sealgate cert request",
            )
        chain_pem, key_pem = read_pair(chain, key or waiting)
        pair = check_pair(chain_pem, key_pem, policy.site.names, now=now, origin=str(chain))
        with Store.open(state.store) as store:
            note_import(store, pair, site, now=now)
        private_directory(state.imports(site).parent)
        LiveDirectory(state.imports(site)).publish(pair.chain_pem, pair.key_pem)
        _close_request(waiting, pair)
    return pair


def note_import(store: Store, pair: Pair, site: str, *, now: datetime) -> None:
    """Put a certificate from elsewhere into the store before it is used."""
    issuer = pair.chain[1] if len(pair.chain) > 1 else None
    store.add_certificate(pair.chain[0], kind="imported", site=site, issuer=issuer, now=now)


def _close_request(waiting: Path, pair: Pair) -> None:
    """The request is answered once its key is imported; the request goes first, then the key."""
    try:
        if spki(load_private(waiting)) != public_spki(pair.chain[0]):
            return
    except CertificateError:
        return
    (waiting.parent / "request.pem").unlink(missing_ok=True)
    waiting.unlink()
