"""The keys by which tokens count, as the guards of all processes see them. Blocking.

One document in memory that only the keeper writes (``_system/board.py``). A set that cannot be read never
replaces one that is in force: its issuer's tokens count by the keys before, and that is said.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509

from sealgate._system.board import Board
from sealgate._system.files import check_not_writable_by_others
from sealgate.errors import CertificateError, SealgateError
from sealgate.guard.tokens.keysets import KeySetError, keys_of, read_key_set
from sealgate.policy.load import Loaded
from sealgate.policy.tokens import Issuer

__all__ = ["Issued", "key_set", "roots_of"]

_LARGEST = 1024 * 1024
_LARGEST_ROOTS = 32 * 1024


def key_set(path: Path) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """The keys in a file, and why some of them do not count.

    Raises:
        CertificateError: ``key-set-unreadable``: no key of it counts.
        StateInsecure: ``key-set-insecure``: others may change it.
    """
    try:
        check_not_writable_by_others(path, code="key-set-insecure")
        with path.open("rb") as file:
            jwks = read_key_set(file.read(_LARGEST + 1))
    except OSError as error:
        raise _unreadable(path, f"cannot be read ({error.strerror})") from error
    except KeySetError as error:
        raise _unreadable(path, str(error)) from None
    found, others = keys_of(jwks)
    if not found:
        raise _unreadable(path, f"has no key that counts: {others[0] if others else 'it is empty'}")
    return jwks, others


def roots_of(issuer: Issuer, folder: Path) -> str:
    """The certificates by which an issuer's server is believed; empty: the system's.

    Raises:
        CertificateError: ``key-set-roots``.
    """
    if not issuer.ca_file:
        return ""
    path = folder / issuer.ca_file
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_ROOTS)
        x509.load_pem_x509_certificates(text)
        return text.decode("ascii")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no PEM of certificates"
        raise CertificateError(
            "key-set-roots",
            f"{path} says nothing by which {issuer.issuer} could be believed: {why}",
            "put its root there in PEM, or take ca_file out where the system's roots do",
            path=str(path),
        ) from error


def _unreadable(path: Path, why: str) -> CertificateError:
    return CertificateError(
        "key-set-unreadable",
        f"{path} {why}",
        "put the issuer's JWK Set there, with its public keys",
        path=str(path),
    )


class Issued:
    """What is issued to callers, or by whom.

    Args:
        say: one line for people.

    Attributes:
        board: where guards read it.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.board = Board("issued")
        self._say = say
        self._sets: dict[str, list[dict[str, Any]]] = {}
        self._fetched: dict[str, list[dict[str, Any]]] = {}
        self._said: dict[str, str] = {}
        self._written = b""
        self._api_keys: list[dict[str, Any]] = []
        self._password = ""

    def follow(self, loaded: Loaded, *, strict: bool = False) -> None:
        """Take the policy's files over.

        Args:
            loaded: the policy.
            strict: before it is in force: a wrong file refuses it, and issuers of the policy before stay.

        Raises:
            SealgateError: only if strict; what was in force is.
        """
        sets = dict(self._sets) if strict else {}
        for one in loaded.policy.tokens.issuers:
            if one.fetched:
                sets[one.issuer] = self._fetched.get(one.issuer, [])
                continue
            try:
                jwks, others = key_set(loaded.base / one.jwks_file)
            except SealgateError as error:
                if strict:
                    raise
                self._tell(one.issuer, f"the keys before still count for {one.issuer}: {error}")
                jwks = self._sets.get(one.issuer, [])
            else:
                self._tell(one.issuer, "; ".join(f"{one.jwks_file}: {why}" for why in others))
            sets[one.issuer] = jwks
        self._sets = sets
        self._write()

    def fetched(self, sets: dict[str, list[dict[str, Any]]]) -> None:
        """By issuer, the keys of all that publish them."""
        self._sets = {name: jwks for name, jwks in self._sets.items() if name not in self._fetched} | sets
        self._fetched = sets
        self._write()

    def api_keys(self, rows: list[dict[str, Any]]) -> None:
        """These API keys count from now on, and no others; see ``pki/api_keys/orders.issued``."""
        self._api_keys = rows
        self._write()

    def password(self, loaded: Loaded) -> None:
        """What the store of rates asks for; where it cannot be read any more, the one before counts.

        Raises:
            PolicyError: see :meth:`~sealgate.policy.secrets.SecretRef.read`.
        """
        reference, self._password = loaded.policy.limits.rate_store_password, ""
        if reference is not None:
            secret = reference.read(base=loaded.base, environ=os.environ, euid=os.geteuid())
            self._password = secret.reveal().decode()
        self._write()

    def _tell(self, issuer: str, text: str) -> None:
        if text and text != self._said.get(issuer):
            self._say(text)
        self._said[issuer] = text

    def _write(self) -> None:
        said: dict[str, object] = {"issuers": self._sets, "api_keys": self._api_keys}
        said |= {"rate_store_password": self._password} if self._password else {}
        document = json.dumps(said, sort_keys=True).encode()
        if document != self._written:
            self.board.write(document)
            self._written = document
