"""Who called, as the app sees it: ``environ["sealgate.client"]``, ``scope["sealgate"]["client"]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sealgate.guard.certificate import Certificate

__all__ = ["Client"]


@dataclass(frozen=True, slots=True)
class Client:
    """The caller of one request, established by the engine and the guard, never by the request.

    ``address`` is an IP address without port. ``certificate`` is what the engine verified in the handshake;
    None where the policy asks for none, or the client showed none. ``groups`` are those of the policy that
    the certificate is in. ``token`` is None for as long as the policy asks for none.
    """

    address: str
    certificate: Certificate | None = None
    groups: tuple[str, ...] = ()
    token: None = None
