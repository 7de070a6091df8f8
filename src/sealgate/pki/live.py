"""The live directory of one server certificate: what engines read, swapped in one step.

::

    <site>/chain.pem -> current/chain.pem
    <site>/key.pem   -> current/key.pem
    <site>/current   -> versions/000007
    <site>/versions/000007/{chain.pem,key.pem}

Where two certificates are wanted (``certificate.second_key_type``) there are ``second-chain.pem`` and
``second-key.pem`` beside them, through the same ``current``: both are swapped together. While there is no
second one those names lead to the first, so that what a server was told to read is always there.

A new pair is verified, written into a directory of its own, and becomes live when ``current`` is replaced by
rename(2). A reader that opens chain and key through one resolved ``current`` has a pair that fits; a process
killed between any two steps leaves the old pair live or the new one, never a mixture. The two versions
before the live one are kept for :meth:`LiveDirectory.rollback`; anything else is swept by the next publish.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
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
from sealgate.pki.inspect import fingerprint, key_type_of, names_of
from sealgate.pki.keys import parse_private, public_spki, spki

__all__ = ["LiveCertificate", "LiveDirectory", "Pem", "kind_of", "parse_chain", "second_paths", "verify_pair"]

Pem = tuple[bytes, bytes]
"""Chain and key."""

_KEPT = 2
_FILES = ("chain.pem", "key.pem")
_SECOND = ("second-chain.pem", "second-key.pem")


def second_paths(folder: Path) -> tuple[Path, Path]:
    """Chain and key of the second certificate in a live directory, where one is wanted."""
    return folder / _SECOND[0], folder / _SECOND[1]


def kind_of(key_type: str) -> str:
    """The family of a key type, of which a server holds one certificate: ``ecdsa`` or ``rsa``."""
    return key_type.partition("-")[0]


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
    second: LiveCertificate | None = None
    """The one of the other family that is served beside it."""

    @property
    def both(self) -> tuple[LiveCertificate, ...]:
        """It, and the second one where there is one."""
        return (self, self.second) if self.second is not None else (self,)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of :attr:`both`."""
        return tuple(one.fingerprint for one in self.both)

    @property
    def kind(self) -> str:
        """See :func:`kind_of`; empty: a key of no family that policies name."""
        return kind_of(key_type_of(self.leaf.public_key()))

    @property
    def shown(self) -> dict[str, str]:
        """What handshakes must show: kind of key to fingerprint, in the order of :attr:`both`."""
        return {one.kind: one.fingerprint for one in self.both}

    def wanted(self, key_types: tuple[str, ...], index: int = 0) -> LiveCertificate | None:
        """The one that is there for one of the policy's key types; None: there is none.

        A single certificate counts although its key is of another type than the policy says by now. Where two
        are wanted the family of the key tells them apart.
        """
        if index >= len(key_types):
            return None
        found = (one for one in self.both if one.kind == kind_of(key_types[index]))
        return next(found, self if len(key_types) == 1 else None)

    def index(self, key_types: tuple[str, ...]) -> int:
        """For which of the policy's key types it is."""
        kinds = [kind_of(key_type) for key_type in key_types]
        return kinds.index(self.kind) if self.kind in kinds else 0

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

    def publish(
        self,
        chain_pem: bytes,
        key_pem: bytes,
        *,
        second: Pem | None = None,
        twofold: bool = False,
        step: Step = no_step,
    ) -> LiveCertificate:
        """Make this pair live in one step, and the second one with it.

        Args:
            chain_pem: of the pair.
            key_pem: of the pair.
            second: of the other family; None: there is none now.
            twofold: a second one is wanted: its names are there, whatever they lead to. Once they are, they
                stay: a server that still names them must find them.
            step: see :data:`~sealgate._system.files.Step`.

        Raises:
            CertificateError, CertificateMismatch: a pair does not fit; what is live stays.
            StateError: it cannot be written; what is live stays.
        """
        verify_pair(chain_pem, key_pem, "what is to be published")
        if second is not None:
            verify_pair(*second, "what is to be published beside it")
        twofold = twofold or second is not None or self.twofold
        files: dict[str, bytes | str] = dict(zip(_FILES, (chain_pem, key_pem), strict=True))
        if twofold:
            files |= dict(zip(_SECOND, second or _FILES, strict=True))
        with translated(self.path):
            step("directories")
            private_directory(self.path.parent)
            private_directory(self.path)
            private_directory(self._versions)
            # Counted before the sweep: a number that was ever taken is not taken again.
            version = max((number for number, _ in self._numbered()), default=0) + 1
            self._sweep(keep=_KEPT + 1)
            self._write_version(version, files, step)
            step("links")
            self._link_files(files)
            step("swap")
            swap_link(self._current, f"versions/{version:06d}", step=step)
            step("sweep")
            self._sweep(keep=_KEPT)
        live = self.current()
        assert live is not None  # noqa: S101 - just published; for the type checker
        return live

    def _write_version(self, version: int, files: Mapping[str, bytes | str], step: Step) -> None:
        """Contents, or the name beside it that a name leads to."""
        draft = self._versions / f".{secrets.token_hex(8)}.tmp"
        draft.mkdir(mode=0o700)
        for name, data in files.items():
            step(name)
            if isinstance(data, bytes):
                write_atomic(draft / name, data, step=step)
            else:
                (draft / name).symlink_to(data)
        sync_directory(draft)
        step("name")
        draft.rename(self._versions / f"{version:06d}")
        sync_directory(self._versions)

    def _link_files(self, names: Iterable[str]) -> None:
        for name in names:
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
        try:
            live = self._read(version, _FILES)
        except (OSError, CertificateError) as error:
            raise CertificateError(
                "live-damaged",
                f"the certificate in {self.path} cannot be read",
                "make a new one with: sealgate cert renew",
                path=str(self.path),
            ) from error
        with contextlib.suppress(OSError, CertificateError):
            # One that cannot be read is as good as none: the first serves without it.
            if self._has_second(version):
                return replace(live, second=self._read(version, _SECOND))
        return live

    def _read(self, version: int, names: tuple[str, str]) -> LiveCertificate:
        directory = self._versions / f"{version:06d}"
        chain = parse_chain((directory / names[0]).read_bytes(), str(self.path / names[0]))
        if not (directory / names[1]).is_file():
            raise FileNotFoundError(directory / names[1])
        leaf = chain[0]
        return LiveCertificate(
            fingerprint=fingerprint(leaf),
            not_before=leaf.not_valid_before_utc,
            not_after=leaf.not_valid_after_utc,
            names=names_of(leaf),
            version=version,
            chain=tuple(certificate.public_bytes(serialization.Encoding.DER) for certificate in chain),
            chain_path=self.path / names[0],
            key_path=self.path / names[1],
        )

    def _has_second(self, version: int) -> bool:
        """Is there a second one of its own? Else its names lead to the first, or are not there."""
        paths = [self._versions / f"{version:06d}" / name for name in _SECOND]
        return all(path.is_file() and not path.is_symlink() for path in paths)

    @property
    def twofold(self) -> bool:
        """Are the names of a second one there, whatever they lead to?"""
        version = self._live_number()
        return version is not None and all(
            (self._versions / f"{version:06d}" / name).is_file() for name in _SECOND
        )

    def fingerprint(self) -> str:
        """The live leaf's fingerprint; empty where nothing is live, or it cannot be read."""
        return next(iter(self.fingerprints()), "")

    def fingerprints(self) -> tuple[str, ...]:
        """Of the live leaf, and of the second one where there is one; none where nothing can be read."""
        with contextlib.suppress(CertificateError):
            live = self.current()
            return live.fingerprints if live is not None else ()
        return ()

    def pair(self, *, second: bool = False) -> Pem | None:
        """Chain and key as PEM, of one and the same version; None where nothing is live, or no second one."""
        version = self._live_number()
        if version is None or (second and not self._has_second(version)):
            return None
        chain, key = (self._versions / f"{version:06d}" / name for name in (_SECOND if second else _FILES))
        with contextlib.suppress(OSError):
            return chain.read_bytes(), key.read_bytes()
        return None

    def pairs(self, live: LiveCertificate) -> dict[str, Pem]:
        """The pairs of what is live (:meth:`current`), by fingerprint; without those that cannot be read."""
        read = (self.pair(second=index > 0) for index in range(len(live.both)))
        return {one: pair for one, pair in zip(live.fingerprints, read, strict=True) if pair is not None}

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
