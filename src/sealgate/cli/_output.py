"""What commands print: data on stdout, everything about the work on stderr.

On a terminal there is colour and there are tables; in a pipe plain text; with ``--json`` one JSON document on
stdout and nothing else there. Text that others may have chosen (names, paths, subjects) goes through
:func:`safe` first.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sealgate.policy.quoting import printable

if TYPE_CHECKING:
    from rich.console import Console

    from sealgate.errors import SealgateError

__all__ = ["console", "error_document", "note", "print_error", "print_json", "safe"]


def safe(text: object) -> str:
    """Foreign text for a terminal: control characters escaped, rich's markup switched off."""
    return printable(str(text)).replace("[", r"\[")


def console(*, stderr: bool = False) -> Console:
    """A rich console; plain where the stream is no terminal. Wide lines in a pipe are not wrapped."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else 200
    return Console(file=stream, highlight=False, soft_wrap=not stream.isatty(), width=width, emoji=False)


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
