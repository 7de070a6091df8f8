"""Which nginx is run, and what it was built with."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from sealgate._system import commands
from sealgate.engines.contract import Program
from sealgate.engines.servers.nginx.versions import TESTED, accepted
from sealgate.engines.servers.nginx.words import Build
from sealgate.errors import EngineMissing, EngineUntrusted

__all__ = ["built", "find", "program"]

_INSTALL = "install it: apt-get install nginx-light"
_OPTIONAL = re.compile(r"--without-(http_[a-z0-9_]+_module)")
_NEEDED = ("http_ssl_module", "http_v2_module")


def find(environ: Mapping[str, str]) -> Path:
    """The program to run.

    Raises:
        EngineMissing: `engine-missing`.
    """
    named = environ.get("SEALGATE_NGINX", "")
    if named:
        path = Path(named)
        if not (path.is_file() and os.access(path, os.X_OK)):
            fact = f"SEALGATE_NGINX names {named}, which is no program"
            raise EngineMissing("engine-missing", fact, "correct it")
        return path.resolve()
    found = commands.find("nginx")
    if found is None:
        raise EngineMissing(
            "engine-missing", "nginx is not installed", f"{_INSTALL}, or name it by SEALGATE_NGINX"
        )
    return Path(found).resolve()


def program(environ: Mapping[str, str], untested: bool) -> Program:  # noqa: FBT001 - the contract's signature
    """Find and check nginx.

    Raises:
        EngineMissing: `engine-missing`.
        EngineUntrusted: `engine-untested`.
    """
    path = find(environ)
    said = _said(path)
    version = re.search(r"nginx version: \S+/(\d+)\.(\d+)\.(\d+)", said)
    if not version:
        raise EngineUntrusted(
            "engine-untested", f"{path} does not say which version of nginx it is", f"{_INSTALL}"
        )
    number = ".".join(version.groups())
    if not accepted(_numbers(version)) and not untested:
        raise EngineUntrusted(
            "engine-untested",
            f"{path} is nginx {number}; {TESTED[0]} to {TESTED[-1]} are supported",
            "use one of those, or accept the risk with --engine-untested",
        )
    for module in _NEEDED:
        if f"--with-{module}" not in said:
            raise EngineUntrusted(
                "engine-untested", f"{path} was built without {module}", "use a build that has it"
            )
    return Program(path, number, pinned=False)


def built(path: Path) -> Build:
    """What the program says of itself."""
    said = _said(path)
    version = re.search(r"nginx version: \S+/(\d+)\.(\d+)\.(\d+)", said)
    openssl = re.search(
        r"(?:running|built) with OpenSSL (\d+)\.(\d+)\.(\d+)(?!.*running with)", said, re.DOTALL
    )
    usual = Build()
    return Build(
        version=_numbers(version) if version else usual.version,
        openssl=_numbers(openssl) if openssl else usual.openssl,
        without=frozenset(_OPTIONAL.findall(said)),
    )


def _numbers(match: re.Match[str]) -> tuple[int, int, int]:
    return int(match[1]), int(match[2]), int(match[3])


def _said(path: Path) -> str:
    try:
        done = subprocess.run([str(path), "-V"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        fact = f"{path} could not be asked for its version ({error})"
        raise EngineUntrusted("engine-untested", fact, f"{_INSTALL}") from None
    return done.stderr + done.stdout
