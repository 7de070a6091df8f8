"""Whom certificates are asked of: data, made from ``[certificate.acme]``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sealgate.policy.acme import Acme, ExternalAccount, Fallback
from sealgate.policy.secrets import Secret, SecretRef

__all__ = ["Authority", "Binding", "authorities"]

_UNSAFE = re.compile(r"[^a-z0-9.-]+")


@dataclass(frozen=True, slots=True)
class Binding:
    """An account at the authority's shop (RFC 8555 §7.3.4); its key is read when an account is made."""

    kid: str
    key: SecretRef
    base: Path
    environ: Mapping[str, str] = field(compare=False)
    euid: int

    def read(self) -> Secret:
        """The MAC key, base64url.

        Raises:
            PolicyError: ``secret-missing``, ``secret-insecure``, ``secret-unreadable``.
        """
        return self.key.read(base=self.base, environ=self.environ, euid=self.euid)

    def __repr__(self) -> str:
        return f"Binding(kid={self.kid!r})"


@dataclass(frozen=True, slots=True)
class Authority:
    """One ACME authority.

    Attributes:
        directory: https address.
        contact: mail addresses, without ``mailto:``.
        ca_file: PEM of the roots of its own HTTPS; None: the system's.
        binding: where it asks for an external account.
        profile: of certificates there; empty: its default.
    """

    directory: str
    contact: tuple[str, ...] = ()
    ca_file: Path | None = None
    binding: Binding | None = None
    profile: str = ""

    @property
    def id(self) -> str:
        """A directory name for what belongs to this authority: readable, and never that of another."""
        readable = _UNSAFE.sub("_", self.directory.removeprefix("https://").lower()).strip("_.")
        return f"{readable[:60]}-{hashlib.sha256(self.directory.encode()).hexdigest()[:8]}"


def authorities(acme: Acme, *, base: Path, environ: Mapping[str, str], euid: int) -> tuple[Authority, ...]:
    """The authority of the policy, then its fallbacks, in the order in which they are asked.

    Args:
        acme: the table.
        base: directory that relative paths start from; the policy file's.
        environ: where secrets in variables are looked up.
        euid: who may own files with secrets, besides root.
    """

    def binding(account: ExternalAccount | None) -> Binding | None:
        return Binding(account.kid, account.hmac, base, environ, euid) if account else None

    def authority(table: Acme | Fallback) -> Authority:
        return Authority(
            directory=table.directory,
            contact=acme.contact,
            ca_file=base / table.ca_file if table.ca_file else None,
            binding=binding(table.external_account),
            profile=table.profile,
        )

    return (authority(acme), *map(authority, acme.fallback))
