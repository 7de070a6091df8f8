"""The answers to http-01 challenges (RFC 8555 §8.3): files that Apache opens when asked, and nothing else.

A path counts as it was received. Apache's own matching is by the path with dots and escapes resolved, and
takes several slashes for one: so a rule lets pass what is spelled exactly, and refuses what resolves to it.
The Host does not matter: there is one answer to a token, and nobody learns more from it than he asked with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sealgate.engines.challenges import PATH, TOKEN
from sealgate.engines.servers.apache.facts import block, condition, quoted, refuse, unless

__all__ = ["challenge_files", "challenge_rules"]

_BELOW = rf"\A{re.escape(PATH)}"
_EXACTLY = rf"\A{re.escape(PATH)}{TOKEN}\z"
_METHODS = "^(?:GET|HEAD)$"


def challenge_rules(target: str) -> list[str]:
    """Rules of the plain virtual host, before all others; ``target``: where it was kept as received."""
    below = condition("%{REQUEST_URI}", _BELOW)
    return [
        condition(target, _EXACTLY),
        condition("%{REQUEST_METHOD}", _METHODS),
        'RewriteRule "^" "-" [END]',
        below,
        unless("%{REQUEST_METHOD}", _METHODS),
        refuse(405),
        below,
        refuse(404),
    ]


def challenge_files(folder: str, answers: Mapping[int, str]) -> list[str]:
    """Where the files are, and what is said where there is none.

    Args:
        folder: of the files.
        answers: status to the second argument of an ErrorDocument.
    """
    rights = ["Require all granted", "AllowOverride None", "Options None"]
    place = f"{folder}/"
    lines = [
        "SetHandler default-handler",
        "ForceType application/octet-stream",
        "MaxRanges none",
        "Header onsuccess set Cache-Control no-store",
        *(f"ErrorDocument {status} {answer}" for status, answer in answers.items()),
    ]
    return [
        f"Alias {quoted(PATH)} {quoted(place)}",
        *block("Directory", quoted(place), rights),
        *block("Location", quoted(PATH), lines),
    ]
