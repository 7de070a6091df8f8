"""Words of nginx's configuration. What cannot be escaped in them is refused.

nginx reads a double-quoted text up to the next quote; a backslash takes the meaning from a quote or another
backslash. A dollar sign begins a variable in many directives and has no escape at all, so no text has one
unless a variable is meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sealgate.errors import EngineRefused

__all__ = ["FOLDER", "PLACE", "Build", "block", "entries", "longer", "pattern", "quoted", "time"]

FOLDER = "engines/nginx"
"""Where the rendered files are, in the state directory."""

PLACE = "run/engine"
"""The only directory nginx writes to, in the state directory."""

_CANNOT = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Build:
    """What the program at hand was built with; by default what every supported one has.

    Attributes:
        version: of nginx.
        openssl: the version it runs with.
        without: modules that a usual build has and this one has not (``http_fastcgi_module``).
    """

    version: tuple[int, int, int] = (1, 22, 0)
    openssl: tuple[int, int, int] = (3, 0, 0)
    without: frozenset[str] = frozenset()


def quoted(text: str, *, variables: bool = False) -> str:
    """A word with this very value.

    Args:
        text: the value.
        variables: variables in it are meant.

    Raises:
        EngineRefused: `engine-refused`: it cannot be written in nginx's configuration.
    """
    if _CANNOT.search(text) or ("$" in text and not variables):
        raise EngineRefused(
            "engine-refused",
            f"nginx's configuration cannot say {text!r}: it has no way to write a control character or $",
            'name it without them, or use site.engine = "envoy"',
        )
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def pattern(regex: str, *, operator: str = "") -> str:
    """A regular expression as a word: anchored, so that it matches the whole of a value.

    nginx does not look for variables in expressions, so an expression may have dollar signs.
    """
    if _CANNOT.search(regex):
        raise ValueError("no control characters in expressions")
    whole = rf"{operator}^(?:{regex})\z"
    return '"' + whole.replace("\\", "\\\\").replace('"', '\\"') + '"'


def block(name: str, lines: Iterable[str]) -> list[str]:
    """`name { lines }`, indented."""
    return [f"{name} {{", *(f"    {line}" if line else "" for line in lines), "}"]


def entries(source: str, target: str, cases: Mapping[str, str], default: str = '""') -> list[str]:
    """A map: words that are written already."""
    return block(f"map {source} {target}", [f"default {default};", *(f"{k} {v};" for k, v in cases.items())])


def time(seconds: float) -> str:
    """In whole milliseconds; rounded down, so that no bound is longer than meant."""
    return f"{max(1, int(seconds * 1000 + 1e-6))}ms"


def longer(limit: int) -> str:
    """A regular expression for the decimal numbers above `limit`: nginx compares no numbers."""
    digits = str(limit)
    found = [rf"\d{{{len(digits) + 1},}}"]
    for place, digit in enumerate(digits):
        if digit != "9":
            rest = len(digits) - place - 1
            found.append(f"{digits[:place]}[{int(digit) + 1}-9]" + (rf"\d{{{rest}}}" if rest else ""))
    return "|".join(found)
