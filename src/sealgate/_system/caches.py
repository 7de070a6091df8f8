"""Where this machine may keep what no backup is to bring back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["TAG", "cache_folder"]

TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n# Backups leave this directory out: bford.info/cachedir\n"
)
"""The content of ``CACHEDIR.TAG`` (bford.info/cachedir), which backup programs know."""


def cache_folder(environ: Mapping[str, str], *, root: bool) -> Path | None:
    """``$SEALGATE_CACHE``, systemd's ``$CACHE_DIRECTORY``, the user's own or the machine's; None: no home.

    Args:
        environ: relative paths in it do not count (XDG Base Directory Specification).
        root: whether root asks.
    """
    named = (
        Path(environ.get("SEALGATE_CACHE", "")),
        Path(environ.get("CACHE_DIRECTORY", "").partition(":")[0]),  # systemd.exec(5): one or more
        Path(environ.get("XDG_CACHE_HOME", "")) / "sealgate",
        Path("/var/cache" if root else environ.get("HOME", "") + "/.cache") / "sealgate",
    )
    return next((path for path in named if path.is_absolute() and path != Path("/.cache/sealgate")), None)
