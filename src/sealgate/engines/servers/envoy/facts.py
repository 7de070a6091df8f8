"""Words of Envoy's JSON."""

from __future__ import annotations

from typing import Any

__all__ = ["FOLDER", "Json", "seconds", "typed"]

FOLDER = "engines/envoy"
"""Where the rendered files are, in the state directory."""

Json = dict[str, Any]
"""An object of Envoy's JSON; `engines/servers/envoy/` is the only one who makes them."""


def seconds(value: float) -> str:
    """A protobuf Duration in JSON, at most nine decimals."""
    return f"{value:.3f}".rstrip("0").rstrip(".") + "s"


def typed(message: str, **fields: object) -> Json:
    """An Any: a message with its type."""
    return {"@type": "type.googleapis.com/" + message, **fields}
