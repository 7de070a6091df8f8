"""The traps of a server's own configuration, for ``sealgate check``."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealgate.cli._output import safe
from sealgate.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from sealgate.engines.traps.trap import Found

__all__ = ["as_json", "look", "show"]


def look(file: Path | None, engine: str | None, likely: str = "") -> Found | None:
    """The traps in a file and in what it includes; None where none was named.

    Args:
        file: a server's configuration.
        engine: whose it is, where the call says it.
        likely: the policy's engine; it decides where the text does not say otherwise.

    Raises:
        UsageError: ``usage-wrong``, ``server-config-unreadable``.
    """
    if file is None:
        if engine is not None:
            raise UsageError(
                "usage-wrong",
                "--engine says whose --server-config FILE is, and no FILE was named",
                f"for this policy with another server: SEALGATE_SITE__ENGINE={engine} sealgate check",
            )
        return None
    from sealgate.engines.configurations.installed import from_file
    from sealgate.engines.traps.registry import guessed

    main, library = from_file(file)
    found = guessed(main, library, engine, likely).find(main, library)
    return replace(found, traps=tuple(sorted(found.traps, key=lambda trap: (trap.file, trap.line, trap.id))))


def as_json(found: Found) -> dict[str, Any]:
    """Plain data for ``--json``."""
    return {
        "traps": [asdict(trap) for trap in found.traps],
        "unread": [asdict(one) for one in found.unread],
    }


def show(found: Found | None, out: Console) -> None:
    """Print them for people."""
    if found is None:
        return
    if not found.traps and found.unread:
        out.print("  [yellow]No traps[/] that are known in what could be read of the server's configuration.")
    elif not found.traps:
        out.print("  [green]No traps[/] that are known in the server's configuration.")
    else:
        out.print("  [bold red]Traps in the server's configuration[/]")
    for trap in found.traps:
        out.print(f"   [red]\u2022[/] [bold]{safe(trap.file)}:{trap.line}[/] {safe(trap.title)} ({trap.id})")
        out.print(f"     {safe(trap.why)} \u2192 {safe(trap.remedy)}")
    for one in found.unread:
        out.print(f"   [yellow]\u2022[/] {safe(one.place)} was not read: {safe(one.why)}")
    out.print()
