"""What is said once all listeners were seen to serve: one line for scripts, and what an app should know."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sealgate._system.notify import notify
from sealgate.runtime.separation import Separation
from sealgate.runtime.site import Site

__all__ = ["announce", "ready_line"]

_NAMED = 3


def ready_line(site: Site, engine: str, workers: int, missing: tuple[str, ...]) -> str:
    """``sealgate: ready https://...``, with what counts in brackets.

    Args:
        site: what is served.
        engine: its id and version.
        workers: app processes.
        missing: sentences about what is not separated.
    """
    facts = [site.policy.public_url, engine]
    if workers:
        kind = "guard" if site.policy.asks_guard else site.backend
        facts.append(f"{workers} {kind} worker{'s' if workers > 1 else ''}")
    first = min(one.not_after for one in site.certificate.both)
    facts.append(f"certificate until {first:%Y-%m-%d}")
    facts += [f"not separated: {text.partition(':')[0]}" for text in missing]
    return f"sealgate: ready https://{site.policy.listen.https[0]} ({'; '.join(facts)})"


def announce(
    site: Site, engine: str, workers: int, separation: Separation, say: Callable[[str], None]
) -> None:
    """Print the line, warn about folders that the app will find closed, tell the service manager."""
    print(ready_line(site, engine, workers, separation.missing), flush=True)  # noqa: T201 - scripts wait for it
    for folder in separation.closed_folders() if workers else ():
        say(_closed(folder, separation))
    notify("READY=1", f"STATUS=serving {site.policy.public_url}")


def _closed(folder: Path, separation: Separation) -> str:
    """Which of ours lies there, and what to do."""
    found = separation.closed_by(folder)
    names = [str(path.relative_to(folder)) for path in found[:_NAMED]]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    state = " (the state directory moves with --state)" if separation.state in found else ""
    return (
        f"app workers cannot make new files directly in {folder}: {', '.join(names)}{more} "
        f"{'lie' if len(found) > 1 else 'lies'} there; let the app write into a subdirectory, "
        f"or start from another directory{state}"
    )
