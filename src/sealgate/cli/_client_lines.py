"""Lines to paste: how other programs use a client's files. Pure; every text is quoted for where it goes."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sealgate.pki.clients.handing import Files

__all__ = ["LINES"]

_Lines = Callable[["Files", str], list[str]]


def _curl(files: Files, url: str) -> list[str]:
    words = ["curl", "--cacert", files.root, "--cert", _colonless(files.chain), "--key", files.key, f"{url}/"]
    return [shlex.join(map(str, words))]


def _colonless(path: Path) -> str:
    r"""What follows a colon is a password to curl, unless it is written ``\:``."""
    return str(path).replace("\\", "\\\\").replace(":", "\\:")


def _openssl(files: Files, url: str) -> list[str]:
    host, port = _address(url)
    words = ["openssl", "s_client", "-connect", f"{host}:{port}", "-servername", host.strip("[]")]
    words += ["-CAfile", str(files.root), "-verify_return_error"]
    words += ["-cert", str(files.chain), "-cert_chain", str(files.chain), "-key", str(files.key)]
    return [shlex.join(words)]


def _address(url: str) -> tuple[str, str]:
    host, _, port = url.removeprefix("https://").rpartition(":")
    return (host, port) if host and port.isdecimal() else (url.removeprefix("https://"), "443")


def _context(files: Files) -> list[str]:
    paths = (str(files.chain), str(files.key), str(files.root))
    return ["import sealgate", "", f"context = sealgate.client_context({', '.join(map(ascii, paths))})"]


def _httpx(files: Files, url: str) -> list[str]:
    return [
        "import httpx",
        *_context(files),
        "with httpx.Client(verify=context) as client:",
        f"    print(client.get({f'{url}/'!a}).status_code)",
    ]


def _requests(files: Files, url: str) -> list[str]:
    return [
        "import requests",
        "",
        "session = requests.Session()",
        f"session.cert = ({str(files.chain)!a}, {str(files.key)!a})",
        f"session.verify = {str(files.root)!a}",
        f"print(session.get({f'{url}/'!a}).status_code)",
    ]


LINES: Mapping[str, _Lines] = {"curl": _curl, "httpx": _httpx, "openssl": _openssl, "requests": _requests}
"""By program: from the client's files and the site's URL."""
