"""Sealgate puts an API behind HTTPS and keeps it there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sealgate.calling import client_context
    from sealgate.runtime.protecting import protect

__all__ = ["__version__", "client_context", "protect"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of the names above
    """What not every program needs is imported when it is asked for."""
    if name == "client_context":
        from sealgate.calling import client_context

        return client_context
    if name == "protect":
        from sealgate.runtime.protecting import protect

        return protect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
