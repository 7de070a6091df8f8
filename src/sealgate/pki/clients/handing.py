"""What a client is handed: files in a directory of the caller's choice.

::

    NAME.key   PEM, 0600                    or NAME.p12: key and certificates, encrypted, 0600
    NAME.pem   the certificate, then its issuer
    root.pem   what a client verifies the server by

Certificates come here from the store, never before it. A pair that is replaced is written beside the old one
as a whole before either file takes its place, and the old key goes back where the second cannot: what fails
leaves the pair that was there. Only a process that is killed between the two leaves a key without its
certificate, and the old key as NAME.key.before.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

from sealgate._system.files import private_directory, sync_directory, translated, write_atomic
from sealgate.errors import SealgateError, StateError, UsageError
from sealgate.pki.keys import PrivateKey, public_spki, to_pem
from sealgate.policy.quoting import shown

__all__ = ["Files", "bundle", "check_root", "fit", "hand_over", "made_for", "prepare"]

_ROUNDS = 250_000
"""PBKDF2 rounds: a fifth of a second for who has the password; the tools of 2020 and later all take it."""
_LARGEST_ROOT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Files:
    """Where a client's files are."""

    folder: Path
    name: str

    @property
    def key(self) -> Path:
        """The private key, PEM."""
        return self.folder / f"{self.name}.key"

    @property
    def chain(self) -> Path:
        """The certificate and its issuer, PEM."""
        return self.folder / f"{self.name}.pem"

    @property
    def p12(self) -> Path:
        """Both, PKCS#12."""
        return self.folder / f"{self.name}.p12"

    @property
    def root(self) -> Path:
        """The root of the server's certificate."""
        return self.folder / "root.pem"


@contextlib.contextmanager
def made_for(folder: Path) -> Iterator[None]:
    """A directory that is made within goes again where that fails and nothing is in it."""
    new = [part for part in (folder.absolute(), *folder.absolute().parents) if not os.path.lexists(part)]
    try:
        yield
    except BaseException:
        for part in new:
            with contextlib.suppress(OSError):  # not made yet; or something is in it
                part.rmdir()
        raise


def prepare(files: Files, *, replacing: bool) -> None:
    """Make the directory, and refuse early what would fail late.

    Raises:
        UsageError: ``client-file-exists``, unless they are to be replaced.
        StateError, StateInsecure: the directory cannot be made, or others may write it.
    """
    private_directory(files.folder)
    check_root(files.root)
    there = [path for path in (files.key, files.chain, files.p12) if path.exists() or path.is_symlink()]
    if there and not replacing:
        raise UsageError(
            "client-file-exists",
            f"{shown(str(there[0]))} is there already",
            "name another directory with --out, or move it away",
        )


def check_root(path: Path) -> None:
    """That nothing is lost where a root's certificate is written.

    Raises:
        UsageError: ``client-file-exists``: something is there that is no root of Sealgate's.
        StateError: it cannot be read.
    """
    with translated(path):
        if not os.path.lexists(path) or _is_root(path):
            return
    raise UsageError(
        "client-file-exists",
        f"{path.name} in {shown(str(path.parent))} is there already, and is no root of Sealgate's",
        "name another directory with --out, or move it away",
    )


def _is_root(path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST_ROOT:
        return False
    found = path.read_bytes()
    try:
        (root,) = x509.load_pem_x509_certificates(found)
        (organization,) = root.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    except ValueError:
        return False
    # Keys and notes may stand around a certificate in PEM (RFC 7468 §2).
    ours = organization.value == "Sealgate" and root.subject == root.issuer
    return ours and found.strip() == root.public_bytes(serialization.Encoding.PEM).strip()


def bundle(name: str, key: PrivateKey, chain: bytes, password: bytes) -> bytes:
    """PKCS#12 by PBES2 with AES-256 and PBKDF2-HMAC-SHA-256, MAC by SHA-256 (RFC 7292, RFC 8018)."""
    leaf, *above = x509.load_pem_x509_certificates(chain)
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(_ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(password)
    )
    return pkcs12.serialize_key_and_certificates(name.encode(), key, leaf, above, encryption)


def hand_over(
    files: Files, chain: bytes, root: bytes, *, key: PrivateKey | None, password: bytes | None = None
) -> tuple[Path, ...]:
    """Write the files.

    Args:
        files: where; see :func:`prepare`.
        chain: PEM.
        root: PEM.
        key: None: somebody else has it.
        password: write PKCS#12, encrypted by it, and no bare key.

    Returns:
        what was written, the key first.

    Raises:
        StateError: ``client-not-written``: the certificate is in the store, and was not handed out.
    """
    written = []
    try:
        with translated(files.folder):
            if key is not None and password is not None:
                write_atomic(files.p12, bundle(files.name, key, chain, password))
                written.append(files.p12)
                write_atomic(files.chain, chain, 0o644)
            elif key is not None:
                _write_pair(files, to_pem(key), chain)
                written.append(files.key)
            else:
                write_atomic(files.chain, chain, 0o644)
            write_atomic(files.root, root, 0o644)
    except SealgateError as error:
        raise StateError(
            "client-not-written",
            f"the certificate of {shown(files.name)} was issued, and not handed out: {error.fact}",
            f"mend that, then: sealgate client renew {shown(files.name)}",
        ) from error
    return (*written, files.chain, files.root)


def fit(key: bytes, pem: str) -> bool:
    """Does this key (PEM) belong to this certificate (PEM)?"""
    try:
        public = serialization.load_pem_private_key(key, None).public_key()
        leaf = x509.load_pem_x509_certificate(pem.encode())
    except (ValueError, TypeError):
        return False
    wanted = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return public_spki(leaf) == wanted


def _write_pair(files: Files, key: bytes, chain: bytes) -> None:
    """Both or neither, as far as a file system can."""
    new_key, new_chain = (files.folder / f".{files.name}{end}.new" for end in (".key", ".pem"))
    before = files.folder / f"{files.name}.key.before"
    try:
        write_atomic(new_key, key)
        write_atomic(new_chain, chain, 0o644)
        # What a killed run has kept is the key that fits, unless it was killed at its very end.
        if files.key.exists() and (not before.exists() or _is_pair(files)):
            write_atomic(before, files.key.read_bytes())
        new_key.replace(files.key)
        try:
            new_chain.replace(files.chain)
        except OSError:
            if before.exists():
                before.replace(files.key)
            else:
                files.key.unlink()
            raise
        before.unlink(missing_ok=True)
        sync_directory(files.folder)
    finally:
        for path in (new_key, new_chain):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _is_pair(files: Files) -> bool:
    try:
        return fit(files.key.read_bytes(), files.chain.read_text())
    except (OSError, UnicodeDecodeError):
        return False
