"""Who called, as the app sees it: ``environ["sealgate.client"]``, ``scope["sealgate"]["client"]``."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Client"]


@dataclass(frozen=True, slots=True)
class Client:
    """The caller of one request, established by the engine and the guard, never by the request.

    ``address`` is an IP address without port. ``certificate`` and ``token`` are None, and ``groups`` empty,
    for as long as the policy asks for neither.
    """

    address: str
    certificate: None = None
    groups: tuple[str, ...] = ()
    token: None = None
