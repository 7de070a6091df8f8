"""Until when an engine's version gets fixes: dated data (``lives.toml``), never a guess."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from typing import Any

__all__ = ["Life", "life_of", "minor_of", "table"]

_MINOR = re.compile(r"\d{1,6}\.\d{1,6}")


@dataclass(frozen=True, slots=True)
class Life:
    """What the data say of a version.

    Attributes:
        ends: the last day with fixes; None: not known.
        kept_by: who gives them until then; empty: its makers.
        day: of the data; None: there are none.
    """

    ends: date | None = None
    kept_by: str = ""
    day: date | None = None


@functools.cache
def table() -> Mapping[str, Any]:
    """The data as they stand."""
    return tomllib.loads(files("sealgate.monitor").joinpath("lives.toml").read_text(encoding="utf-8"))


def minor_of(version: str) -> str:
    """`1.40` of `1.40.2`; empty where it is no such number."""
    match = _MINOR.match(version)
    return match[0] if match else ""


def life_of(engine: str, version: str) -> Life:
    """What is known of a version of an engine."""
    facts = table().get(engine)
    if facts is None:
        return Life()
    for row in facts["versions"]:
        if row["version"] == minor_of(version):
            return Life(row.get("kept", row["ends"]), row.get("by", ""), facts["day"])
    return Life(day=facts["day"])
