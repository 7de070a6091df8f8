"""Which uvicorn is run: the one of this very interpreter, because the app runs in it too."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from sealgate.engines.contract import Program
from sealgate.errors import EngineMissing, EngineUntrusted

__all__ = ["TESTED", "program"]

TESTED = ("0.54",)
"""Minor versions that were tested: protocols of ours build on uvicorn's, which are no public interface."""

_INSTALL = "pip install 'sealgate[uvicorn]'"
_NEEDED = {"uvicorn": "uvicorn", "httptools": "httptools, its HTTP parser", "websockets": "websockets"}


def program(environ: Mapping[str, str], untested: bool) -> Program:  # noqa: FBT001 - the contract's signature
    """Find and check uvicorn, its parser and its WebSocket library.

    Raises:
        EngineMissing: `engine-missing`.
        EngineUntrusted: `engine-untested`.
    """
    del environ  # it is a library, not a program that could be named
    versions = {}
    for name, title in _NEEDED.items():
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            fact = f"{title} is not installed"
            raise EngineMissing("engine-missing", fact, f"install it: {_INSTALL}") from None
    version = versions["uvicorn"]
    if ".".join(version.split(".")[:2]) not in TESTED and not untested:
        raise EngineUntrusted(
            "engine-untested",
            f"uvicorn {version} is installed; {' and '.join(TESTED)} was tested",
            f"install a tested one ({_INSTALL}), or accept the risk with --engine-untested",
        )
    return Program(Path(sys.executable), version, pinned=False)
