"""What commands print: data on stdout, everything about the work on stderr.

On a terminal there is colour and there are tables; in a pipe plain text; with ``--json`` one JSON document on
stdout and nothing else there. Text that others may have chosen (names, paths, subjects) goes through
:func:`safe` first.
"""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sealgate.policy.quoting import printable

if TYPE_CHECKING:
    from rich.console import Console

    from sealgate.errors import SealgateError

__all__ = ["console", "error_document", "note", "print_error", "print_json", "safe"]

_BRACKET = re.compile(r"(\\*)\[")
_END = re.compile(r"(\\+)\Z")
_PIPED = 200
_NARROWEST = 40


def safe(text: object) -> str:
    """Foreign text for a terminal: control characters escaped, rich's markup switched off.

    To rich, a backslash before a bracket takes the bracket's meaning away, one before that the backslash's:
    so all that stand before a bracket are doubled, and those at the end, where ours may follow.
    """
    return _BRACKET.sub(r"\1\1\\[", _END.sub(r"\1\1", printable(str(text))))


def console(*, stderr: bool = False) -> Console:
    """A rich console; plain where the stream is no terminal.

    Wide lines in a pipe are not wrapped; tables there are as wide as ``COLUMNS`` says, else 200.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _piped_width(os.environ.get("COLUMNS", ""))
    return Console(file=stream, highlight=False, soft_wrap=not stream.isatty(), width=width, emoji=False)


def _piped_width(asked: str) -> int:
    """Columns of a table in a pipe; what is no sane number is as if it were not there."""
    return int(asked) if re.fullmatch(r"[0-9]{2,4}", asked) and int(asked) >= _NARROWEST else _PIPED


def note(text: str) -> None:
    """A line about the work, for people, on stderr."""
    sys.stderr.write(f"{printable(text)}\n")


def print_json(document: Any) -> None:  # noqa: ANN401 - whatever JSON can say
    """One JSON document on stdout; ASCII, so that nothing in it reaches a terminal raw."""
    sys.stdout.write(f"{json.dumps(document, indent=2, default=str)}\n")


def print_error(error: SealgateError) -> None:
    """The one sentence, and under it every problem where a policy has several."""
    note(f"sealgate: {error}")
    problems = getattr(error, "problems", ())
    if len(problems) > 1:
        for problem in problems:
            note(f"  {problem}")


def error_document(error: SealgateError) -> dict[str, Any]:
    """The same, for ``--json``."""
    problems = [asdict(problem) for problem in getattr(error, "problems", ())]
    body = {"code": error.code, "fact": error.fact, "remedy": error.remedy, "fault": error.fault.value}
    return {"error": body | ({"problems": problems} if problems else {})}
