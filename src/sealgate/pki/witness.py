"""The newest list of our own revoked clients, outside of the state directory.

A state directory that is brought back as a whole agrees with itself: nothing in it says that somebody was
revoked since. So each list is kept once more in a cache directory, which backups leave out, one file for each
authority, ``lists/<SHA-256 of its key>.crl``; where that cannot be, in this process's memory. What is
there is the list itself, signed: whoever else writes there can make it older or take it away, and can
neither lock anybody out nor let anybody in.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography import x509

from sealgate._system.caches import TAG, cache_folder
from sealgate._system.files import check_parents, private_directory, write_atomic
from sealgate.errors import SealgateError
from sealgate.pki.crl import HIGHEST, is_signed_by, number_of
from sealgate.pki.inspect import issuer_key_hash

__all__ = ["Witness"]

_LARGEST = 128 * 1024 * 1024


class Witness:
    """Of one state directory.

    Args:
        state: the state directory.
        folder: the cache directory; None: there is none.
    """

    def __init__(self, state: Path, folder: Path | None) -> None:
        self.folder = folder
        self.trouble = ""
        self._nowhere = "there is no cache directory: neither HOME nor SEALGATE_CACHE is set"
        if folder is not None and os.path.realpath(folder).startswith(os.path.realpath(state) + os.sep):
            self._nowhere = f"{folder} lies in the state directory, and comes back with it"
            self.folder = None
        self._numbers: dict[str, int] = {}
        self._held: dict[str, bytes] = {}

    @classmethod
    def of(cls, state: Path) -> Witness:
        """In this process's cache directory."""
        return cls(state, cache_folder(os.environ, root=os.geteuid() == 0))

    def number(self, issuer_key: str) -> int:
        """Of the newest list that this process made or read; 0: none."""
        return self._numbers.get(issuer_key, 0)

    def newest(self, issuer: x509.Certificate) -> x509.CertificateRevocationList | None:
        """The newest of this authority that was kept; None: none that counts."""
        key = issuer_key_hash(issuer)
        found = [
            crl
            for der in (self._read(key), self._held.get(key, b""))
            if is_signed_by(der, issuer) and number_of(crl := x509.load_der_x509_crl(der)) <= HIGHEST
        ]
        newest = max(found, key=number_of, default=None)
        if newest is not None:
            self._numbers[key] = max(number_of(newest), self.number(key))
        return newest

    def keep(self, issuer_key: str, der: bytes, number: int) -> None:
        """Keep a list that was just signed; `trouble` says why it could not be kept outside of this process.

        A revocation must not fail because a cache is full.
        """
        self._numbers[issuer_key] = number
        self._held[issuer_key] = der
        if self.folder is None:
            self.trouble = self._nowhere
            return
        try:
            check_parents(self.folder)
            lists = private_directory(private_directory(self.folder) / "lists")
            tag = self.folder / "CACHEDIR.TAG"
            if not tag.exists():
                write_atomic(tag, TAG)
            write_atomic(lists / f"{issuer_key}.crl", der)
        except SealgateError as error:
            self.trouble = error.fact
        except OSError as error:
            self.trouble = f"{self.folder} cannot be used ({error.strerror})"
        else:
            self.trouble = ""
            del self._held[issuer_key]

    def _read(self, issuer_key: str) -> bytes:
        """What is there, whosever it is: only the signature counts."""
        if self.folder is None:
            return b""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            handle = os.open(self.folder / "lists" / f"{issuer_key}.crl", flags)
            with open(handle, "rb") as file:  # noqa: PTH123 - a descriptor
                return file.read(_LARGEST) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
        except OSError:
            return b""
