"""The live directory of one server certificate: what engines read, swapped in one step.

::

    <site>/chain.pem -> current/chain.pem
    <site>/key.pem   -> current/key.pem
    <site>/current   -> versions/000007
    <site>/versions/000007/{chain.pem,key.pem}

A new pair is verified, written into a directory of its own, and becomes live when ``current`` is replaced by
rename(2). A reader that opens chain and key through one resolved ``current`` has a pair that fits; a process
killed between any two steps leaves the old pair live or the new one, never a mixture. The two versions
before the live one are kept for :meth:`LiveDirectory.rollback`; anything else is swept by the next publish.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from sealgate._system.files import (
    Step,
    no_step,
    private_directory,
    swap_link,
    sync_directory,
    translated,
    write_atomic,
)
from sealgate.errors import CertificateError, CertificateMismatch
from sealgate.pki.inspect import fingerprint, names_of
from sealgate.pki.keys import parse_private, public_spki, spki

__all__ = ["LiveCertificate", "LiveDirectory", "parse_chain", "verify_pair"]

_KEPT = 2
_FILES = ("chain.pem", "key.pem")


@dataclass(frozen=True, slots=True)
class LiveCertificate:
    """What is live: facts of the leaf, the chain, and the stable paths an engine names."""

    fingerprint: str
    """SHA-256 of the leaf's DER, lower-case hex: what a handshake must show."""
    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]
    version: int
    chain: tuple[bytes, ...]
    """DER: the leaf, then its issuers; without the root."""
    chain_path: Path
    key_path: Path

    @property
    def leaf(self) -> x509.Certificate:
        """The server's own certificate."""
        return x509.load_der_x509_certificate(self.chain[0])


def parse_chain(pem: bytes, origin: str) -> tuple[x509.Certificate, ...]:
    """All certificates of a PEM file, in its order; at least one.

    Raises:
        CertificateError: ``certificate-unreadable``.
    """
    try:
        chain = tuple(x509.load_pem_x509_certificates(pem))
        for certificate in chain:
            _ = (
                certificate.extensions,
                certificate.not_valid_after_utc,
                certificate.subject,
                certificate.public_key(),
            )
    except Exception as error:
        raise CertificateError(
            "certificate-unreadable",
            f"there is no PEM certificate in {origin} that can be read",
            "give the PEM file that begins with -----BEGIN CERTIFICATE-----, the server's own first",
            origin=origin,
        ) from error
    return chain


def verify_pair(chain_pem: bytes, key_pem: bytes, origin: str) -> tuple[x509.Certificate, ...]:
    """Do key and chain fit: the key is the leaf's, and each certificate is signed by the next?

    Raises:
        CertificateError: ``certificate-unreadable``, ``key-unreadable``, ``key-unsupported``.
        CertificateMismatch: ``key-mismatch``, ``chain-broken``.
    """
    chain = parse_chain(chain_pem, origin)
    if spki(parse_private(key_pem, origin)) != public_spki(chain[0]):
        raise CertificateMismatch(
            "key-mismatch",
            f"the private key does not belong to the first certificate of {origin}",
            "give the key that the certificate was requested with, and the server's own certificate first",
            origin=origin,
        )
    for lower, upper in pairwise(chain):
        try:
            lower.verify_directly_issued_by(upper)
        except Exception as error:
            raise CertificateMismatch(
                "chain-broken",
                f"in {origin} {lower.subject.rfc4514_string()!a} is not signed by the certificate after it",
                "put the server's certificate first and each issuer right after what it signed",
                origin=origin,
            ) from error
    return chain


class LiveDirectory:
    """The live directory of one site (``state.live_server(site)``); its writer holds the state's lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.chain_path = path / "chain.pem"
        self.key_path = path / "key.pem"
        self._current = path / "current"
        self._versions = path / "versions"

    def publish(self, chain_pem: bytes, key_pem: bytes, *, step: Step = no_step) -> LiveCertificate:
        """Make this pair live in one step.

        Raises:
            CertificateError, CertificateMismatch: the pair does not fit; what is live stays.
            StateError: it cannot be written; what is live stays.
        """
        verify_pair(chain_pem, key_pem, "what is to be published")
        with translated(self.path):
            step("directories")
            private_directory(self.path.parent)
            private_directory(self.path)
            private_directory(self._versions)
            # Counted before the sweep: a number that was ever taken is not taken again.
            version = max((number for number, _ in self._numbered()), default=0) + 1
            self._sweep(keep=_KEPT + 1)
            self._write_version(version, chain_pem, key_pem, step)
            step("links")
            self._link_files()
            step("swap")
            swap_link(self._current, f"versions/{version:06d}", step=step)
            step("sweep")
            self._sweep(keep=_KEPT)
        live = self.current()
        assert live is not None  # noqa: S101 - just published; for the type checker
        return live

    def _write_version(self, version: int, chain_pem: bytes, key_pem: bytes, step: Step) -> None:
        draft = self._versions / f".{secrets.token_hex(8)}.tmp"
        draft.mkdir(mode=0o700)
        for name, data in zip(_FILES, (chain_pem, key_pem), strict=True):
            step(name)
            write_atomic(draft / name, data, step=step)
        step("name")
        draft.rename(self._versions / f"{version:06d}")
        sync_directory(self._versions)

    def _link_files(self) -> None:
        for name in _FILES:
            link = self.path / name
            if not link.is_symlink() or str(link.readlink()) != f"current/{name}":
                swap_link(link, f"current/{name}")

    def _numbered(self) -> list[tuple[int, Path]]:
        """All whole versions, oldest first."""
        if not self._versions.is_dir():
            return []
        return sorted((int(path.name), path) for path in self._versions.iterdir() if path.name.isdecimal())

    def _live_number(self) -> int | None:
        if not self._current.is_symlink():
            return None
        name = self._current.readlink().name
        return int(name) if name.isdecimal() else None

    def _sweep(self, *, keep: int) -> None:
        """Remove drafts of the dead, versions never made live, and all but ``keep`` before the live one."""
        live = self._live_number()
        older = [path for number, path in self._numbered() if live is not None and number < live]
        unneeded = older[: max(len(older) - keep, 0)]
        unneeded += [path for number, path in self._numbered() if live is None or number > live]
        unneeded += self._versions.glob(".*.tmp")
        for path in unneeded:
            shutil.rmtree(path)

    def current(self) -> LiveCertificate | None:
        """What is live, or None where nothing is yet.

        Raises:
            CertificateError: ``live-damaged``: what is there cannot be read.
        """
        version = self._live_number()
        if version is None:
            return None
        directory = self._versions / f"{version:06d}"
        try:
            chain = parse_chain((directory / "chain.pem").read_bytes(), str(self.chain_path))
            if not (directory / "key.pem").is_file():
                raise FileNotFoundError(directory / "key.pem")
        except (OSError, CertificateError) as error:
            raise CertificateError(
                "live-damaged",
                f"the certificate in {self.path} cannot be read",
                "make a new one with: sealgate cert renew",
                path=str(self.path),
            ) from error
        leaf = chain[0]
        return LiveCertificate(
            fingerprint=fingerprint(leaf),
            not_before=leaf.not_valid_before_utc,
            not_after=leaf.not_valid_after_utc,
            names=names_of(leaf),
            version=version,
            chain=tuple(certificate.public_bytes(serialization.Encoding.DER) for certificate in chain),
            chain_path=self.chain_path,
            key_path=self.key_path,
        )

    def fingerprint(self) -> str:
        """The live leaf's fingerprint; empty where nothing is live, or it cannot be read."""
        with contextlib.suppress(CertificateError):
            live = self.current()
            return live.fingerprint if live is not None else ""
        return ""

    def pair(self) -> tuple[bytes, bytes] | None:
        """Chain and key as PEM, of one and the same version; None where nothing is live."""
        version = self._live_number()
        if version is None:
            return None
        directory = self._versions / f"{version:06d}"
        with contextlib.suppress(OSError):
            return (directory / "chain.pem").read_bytes(), (directory / "key.pem").read_bytes()
        return None

    def rollback(self, *, step: Step = no_step) -> LiveCertificate:
        """Make the version before the live one live again; byte for byte what it was.

        Raises:
            CertificateError: ``nothing-to-roll-back``.
        """
        live = self._live_number()
        older = [number for number, _ in self._numbered() if live is not None and number < live]
        if not older:
            raise CertificateError(
                "nothing-to-roll-back",
                f"there is no earlier certificate in {self.path}",
                "make a new one with: sealgate cert renew",
                path=str(self.path),
            )
        swap_link(self._current, f"versions/{older[-1]:06d}", step=step)
        current = self.current()
        assert current is not None  # noqa: S101 - just linked; for the type checker
        return current
