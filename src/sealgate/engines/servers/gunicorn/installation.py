"""Which Gunicorn is run: the one of this very interpreter, because the app runs in it too."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from sealgate.engines.contract import Program
from sealgate.errors import EngineMissing, EngineUntrusted

__all__ = ["TESTED", "program"]

TESTED = ("27.0",)
"""Minor versions that were tested: what our worker is made of is not all of it public interface."""

_INSTALL = "pip install 'sealgate[gunicorn]'"


def program(environ: Mapping[str, str], untested: bool) -> Program:  # noqa: FBT001 - the contract's signature
    """Find and check Gunicorn.

    Raises:
        EngineMissing: `engine-missing`.
        EngineUntrusted: `engine-untested`.
    """
    del environ  # it is a library, not a program that could be named
    try:
        version = metadata.version("gunicorn")
    except metadata.PackageNotFoundError:
        raise EngineMissing(
            "engine-missing", "Gunicorn is not installed", f"install it: {_INSTALL}"
        ) from None
    if ".".join(version.split(".")[:2]) not in TESTED and not untested:
        raise EngineUntrusted(
            "engine-untested",
            f"Gunicorn {version} is installed; {' and '.join(TESTED)} were tested",
            f"install a tested one ({_INSTALL}), or accept the risk with --engine-untested",
        )
    return Program(Path(sys.executable), version, pinned=False)
