"""Where the state directory is, for those who are not asked on a command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["state_of"]

_ROOT_STATE = Path("/var/lib/sealgate")


def state_of(base: Path, environ: Mapping[str, str], euid: int) -> Path:
    """The state directory, found as the command line finds it.

    Args:
        base: the policy file's directory.
        environ: its ``SEALGATE_STATE`` names another.
        euid: of this process.
    """
    if named := environ.get("SEALGATE_STATE"):
        return Path(named).absolute()
    return _ROOT_STATE if euid == 0 else base / ".sealgate"
