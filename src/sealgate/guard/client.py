"""Who called, as the app sees it: ``environ["sealgate.client"]``, ``scope["sealgate"]["client"]``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from sealgate.guard.certificate import Certificate

__all__ = ["Client", "Token"]

_NO_CLAIMS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Token:
    """A token that counts.

    Attributes:
        issuer: the ``iss`` of a JWT; empty: it is an API key.
        subject: the ``sub`` of a JWT, which may be missing: empty; the name of an API key.
        scopes: what it may be used for.
        claims: of a JWT, all of them, read-only.
        expires: when it counts no more, seconds since 1970; None: never by itself.
        kind: ``jwt`` or ``api-key``.
        id: of an API key its public part; of a JWT its ``jti``.
        mark: by what it, or the key that verified it, is known to whoever asks if it still counts.
    """

    issuer: str
    subject: str
    scopes: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=lambda: _NO_CLAIMS, repr=False)
    expires: float | None = None
    kind: Literal["jwt", "api-key"] = "jwt"
    id: str = ""
    mark: object = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Client:
    """The caller of one request, established by the engine and the guard, never by the request.

    ``address`` is an IP address without port. ``certificate`` is what the engine verified in the handshake;
    None where the policy asks for none, or the client showed none. ``groups`` are those of the policy that
    the certificate is in. ``token`` is None where the policy asks for none, or the client showed none.
    """

    address: str
    certificate: Certificate | None = None
    groups: tuple[str, ...] = ()
    token: Token | None = None

    @property
    def watched(self) -> bool:
        """May an exchange of theirs have to end at any moment?"""
        return self.token is not None or (self.certificate is not None and self.certificate.watched)
