"""The answers to http-01 challenges (RFC 8555 §8.3): files that nginx opens when asked, and nothing else.

The path is judged as it was received: nginx's own matching is by the path with dots and escapes resolved.
The Host does not matter: there is one answer to a token, and nobody learns more from it than he asked with.
"""

from __future__ import annotations

import re

from sealgate.engines.challenges import PATH, TOKEN
from sealgate.engines.servers.nginx.replies import error_pages, problem_location
from sealgate.engines.servers.nginx.words import block, entries, pattern, quoted

__all__ = ["token_locations", "token_map"]

_TOKEN = "$sealgate_token"  # noqa: S105 - the name of a variable
_UNKNOWN, _METHOD = "challenge-unknown", "method-not-allowed"


def token_map() -> list[str]:
    """The name of the file, where the path is exactly one of them; else one that no token has."""
    exactly = pattern(f"{re.escape(PATH)}(?<sealgate_asked>{TOKEN})", operator="~")
    return entries("$request_uri", _TOKEN, {exactly: "$sealgate_asked"}, quoted("none"))


def token_locations(folder: str) -> list[str]:
    """Locations of a plain server; ``folder``: of the files."""
    # A state directory may well be reached by a link; from there on there is none.
    above = f" {quoted(f'from={folder}')}" if folder.startswith("/") else ""
    lines = [
        f"root {quoted(folder)};",
        f"try_files {quoted(f'/{_TOKEN}', variables=True)} =404;",
        f"disable_symlinks on{above};",
        "autoindex off;",
        "types { }",
        "default_type application/octet-stream;",
        "etag off;",
        "if_modified_since off;",
        "max_ranges 0;",
        "add_header Cache-Control no-store always;",
        # The first that fits counts.
        f"error_page 403 404 =404 {problem_location(_UNKNOWN)[0]};",
        f"error_page 405 =405 {problem_location(_METHOD)[0]};",
        *error_pages(tls=False),
    ]
    return [
        "# What an ACME authority asks for: the files there, and nothing else.",
        *block(f"location ^~ {PATH}", lines),
        *problem_location(_UNKNOWN)[1],
        *problem_location(_METHOD)[1],
    ]
