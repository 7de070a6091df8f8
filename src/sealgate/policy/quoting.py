r"""Foreign text made safe to show on a terminal or in a log line.

Whatever stands in a policy file, in the environment or in a path may hold escape sequences, line ends,
bidirectional overrides or lone surrogates. Nothing of that reaches a screen: only characters that
``str.isprintable`` accepts are shown, everything else as ``\uXXXX``.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time

__all__ = ["dotted", "printable", "shown"]

_LONGEST = 60
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}", re.ASCII)
# A password in a URL, and PEM pasted where a path belongs: neither is repeated to a screen or a log.
_USERINFO = re.compile(r"(://)[^/@\s]*@")
_PEM = re.compile(r"-----\s*BEGIN")


def printable(text: str) -> str:
    """The text with everything unprintable escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def shown(value: object) -> str:
    """A value as a policy file would spell it, shortened; tables and lists only by their kind."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        # str() of a huge integer is refused by Python (and useless to people).
        return str(value) if abs(value) < 10**_LONGEST else "a very large number"
    if isinstance(value, float | datetime | date | time):
        return str(value)
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    return "a table" if isinstance(value, dict) else "nothing"


def _text(value: str) -> str:
    if _PEM.search(value):
        return "PEM text"
    value = _USERINFO.sub(r"\1…@", value)
    short = value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…"
    quoted = short.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{printable(quoted)}"'


def dotted(path: tuple[str | int, ...]) -> str:
    """A key path for people: ``listen.https[1]``; odd keys quoted and escaped."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if _BARE_KEY.fullmatch(part) else _text(part)
            text += f".{name}" if text else name
    return text
