"""Which Apache is run, and what it is made of: the program, its modules, its OpenSSL.

It is the distribution's, so no byte of it is pinned; its minor version must be a tested one. Another program
is named by ``SEALGATE_APACHE``.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sealgate._system.commands import find as find_program
from sealgate.engines.contract import Program
from sealgate.engines.servers.apache.tls import HYBRID
from sealgate.errors import EngineMissing, EngineUntrusted

__all__ = ["TESTED", "Build", "build", "find", "program", "verify"]

TESTED = (2, 4)
"""Minor version that was tested; its newer patch releases are accepted too."""

_NAMES = ("apache2", "httpd")
_INSTALL = "apt-get install apache2, or dnf install httpd mod_ssl mod_http2"
_FOLDERS = (
    *("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/lib/httpd/modules"),
    *("/usr/lib64/apache2", "/usr/lib/apache2", "/usr/local/apache2/modules"),
    *("/usr/local/libexec/apache24", "/opt/homebrew/lib/httpd/modules"),
)


@dataclass(frozen=True, slots=True)
class Build:
    """What this program is made of.

    Attributes:
        folder: where its modules are.
        inside: modules that are a part of the program: ``log_config``.
        hybrid: its OpenSSL has the group X25519MLKEM768.
    """

    folder: Path
    inside: frozenset[str]
    hybrid: bool


def program(environ: Mapping[str, str], untested: bool) -> Program:  # noqa: FBT001 - the contract's signature
    """Find and check Apache.

    Raises:
        EngineMissing: `engine-missing`.
        EngineUntrusted: `engine-untested`.
    """
    return verify(find(environ), untested=untested)


def find(environ: Mapping[str, str]) -> Path:
    """The program to run.

    Raises:
        EngineMissing: `engine-missing`.
    """
    named = environ.get("SEALGATE_APACHE", "")
    if named:
        path = Path(named)
        if not (path.is_file() and os.access(path, os.X_OK)):
            raise EngineMissing(
                "engine-missing", f"SEALGATE_APACHE names {named}, which is no program", "correct it"
            )
        return path.resolve()
    for name in _NAMES:
        if found := find_program(name):
            return Path(found).resolve()
    raise EngineMissing("engine-missing", "Apache is not installed", f"install it: {_INSTALL}")


def _said(path: Path, option: str) -> str:
    try:
        command = [str(path), option]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineUntrusted(
            "engine-untested", f"{path} could not be asked ({error})", f"install it again: {_INSTALL}"
        ) from None
    return done.stdout


def verify(path: Path, *, untested: bool = False) -> Program:
    """Check what is about to be run.

    Raises:
        EngineUntrusted: `engine-untested`: another version, or none that it tells.
    """
    match = re.search(r"^Server version: Apache/(\d+\.\d+\.\d+)", _said(path, "-v"), re.MULTILINE)
    version = match[1] if match else ""
    fits = tuple(int(part) for part in version.split(".")[:2]) == TESTED if match else False
    if not fits and not (untested and match):
        raise EngineUntrusted(
            "engine-untested",
            f"{path} is {f'Apache {version}' if match else 'no Apache'}; {TESTED[0]}.{TESTED[1]} was tested",
            "use that, or accept the risk with --engine-untested",
        )
    return Program(path, version, pinned=False)


def build(path: Path) -> Build:
    """What the program is made of.

    Raises:
        EngineMissing: `engine-missing`: it has no mod_ssl.
    """
    root = re.search(r'-D HTTPD_ROOT="([^"]+)"', _said(path, "-V"))
    folders = [Path(root[1], "modules")] if root else []
    inside = re.findall(r"^\s+(?:mod_)?(\w+)\.c$", _said(path, "-l"), re.MULTILINE)
    for folder in (*folders, *map(Path, _FOLDERS)):
        if (folder / "mod_ssl.so").is_file():
            return Build(folder, frozenset(inside), _has_hybrid(folder / "mod_ssl.so"))
    raise EngineMissing("engine-missing", "Apache's mod_ssl is not installed", f"install it: {_INSTALL}")


def _has_hybrid(module: Path) -> bool:
    """Is the group's name in the libraries that mod_ssl is linked with? One unknown name spoils the list."""
    try:
        done = subprocess.run(["ldd", str(module)], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    found = re.findall(r"=> (\S*/lib(?:ssl|crypto)\.so\S*)", done.stdout)
    return any(HYBRID.encode() in Path(library).read_bytes() for library in found)
