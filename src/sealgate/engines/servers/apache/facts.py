"""Words of Apache's configuration, and the one function that escapes values for it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from sealgate.errors import EngineRefused

__all__ = [
    "ANSWERS",
    "CLOSING",
    "CONFIG",
    "FOLDER",
    "RUNTIME",
    "block",
    "condition",
    "quoted",
    "refuse",
    "unless",
    "whole_seconds",
]

FOLDER = "engines/apache"
"""Where the rendered files are, in the state directory, which is Apache's ServerRoot."""

RUNTIME = "run/engine"
"""The only directory that Apache's processes write to."""

CONFIG = "httpd.conf"
"""The file that Apache is started with."""

ANSWERS = "answers"
"""Directory of the answers that say no, in `FOLDER`."""


CLOSING = f"{RUNTIME}/closing"
"""While this file is there, HTTP/1.1 answers say `Connection: close`."""


def quoted(value: str, *, rewrite: bool = False) -> str:
    r"""One argument of a directive.

    Inside double quotes a backslash counts before ``"`` and ``\`` alone (``ap_getword_conf``), except at the
    end of a line, which the closing quote prevents. ``${`` is replaced everywhere, quotes or not.

    Args:
        value: of any origin.
        rewrite: for mod_rewrite, which takes backslashes as they are and so could not be given a ``"``.

    Raises:
        EngineRefused: `engine-refused`: it cannot be written.
    """
    if "${" in value or not (value.isascii() and value.isprintable()) or (rewrite and '"' in value):
        raise EngineRefused(
            "engine-refused",
            f"Apache's configuration cannot hold the value {value!r}",
            "use another one: printable ASCII, without quotes and without '${'",
        )
    if rewrite:
        return f'"{value}"'
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def block(name: str, argument: str, lines: Iterable[str]) -> list[str]:
    """A section with its lines moved in; `argument` is written as it is."""
    head = f"<{name} {argument}>" if argument else f"<{name}>"
    return [head, *(f"    {line}" if line else "" for line in lines), f"</{name}>"]


def condition(tested: str, pattern: str) -> str:
    """Of the rule that follows: what is tested matches."""
    return f"RewriteCond {quoted(tested, rewrite=True)} {quoted(pattern, rewrite=True)}"


def unless(tested: str, pattern: str) -> str:
    """Of the rule that follows: what is tested does not match."""
    return condition(tested, f"!{pattern}")


def refuse(status: int) -> str:
    """A rule that answers with this status."""
    return f'RewriteRule "^" "-" [R={status},L]'


def whole_seconds(value: float) -> int:
    """The seconds of a timer; more than a day is a day, so that no sum overflows."""
    return min(max(1, math.floor(value)), 86400)
