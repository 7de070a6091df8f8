"""The list of revoked clients: one file that Apache opens when asked, by one path as it was received.

Apache maps the file into memory, which all readers share, and a reader that is slow holds no thread.
"""

from __future__ import annotations

import re

from sealgate.engines.facts import RenderFacts
from sealgate.engines.published import CONTENT_TYPE, FIELDS, FILE, FOLDER, PATH, PLACE, UNKNOWN
from sealgate.engines.servers.apache.answers import location
from sealgate.engines.servers.apache.facts import block, condition, quoted, refuse
from sealgate.policy.published import publishes

__all__ = ["list_files", "list_rules"]

_BELOW = rf"\A{re.escape(FOLDER)}"
_EXACTLY = rf"\A{re.escape(PATH)}\z"
_METHODS = "^(?:GET|HEAD)$"
# Two lists may be of one second: to Apache the second one would not be modified.
_CONDITIONS = ("If-Modified-Since", "If-Unmodified-Since", "If-Match", "If-None-Match", "If-Range", "Range")


def list_rules(facts: RenderFacts, target: str) -> list[str]:
    """Rules of the plain virtual host, beside those of challenges; ``target``: where it is as received."""
    if not publishes(facts.policy):
        return []
    below = condition("%{REQUEST_URI}", _BELOW)
    return [
        condition(target, _EXACTLY),
        condition("%{REQUEST_METHOD}", _METHODS),
        'RewriteRule "^" "-" [END]',
        condition(target, _EXACTLY),
        refuse(405),
        below,
        refuse(404),
    ]


def list_files(facts: RenderFacts) -> list[str]:
    """Where the file is, and what is said where there is none."""
    if not publishes(facts.policy):
        return []
    rights = ["Require all granted", "AllowOverride None", "Options None"]
    lines = [
        "SetHandler default-handler",
        f"ForceType {CONTENT_TYPE}",
        "MaxRanges none",
        *(f"RequestHeader unset {name}" for name in _CONDITIONS),
        *(f"Header onsuccess set {key} {quoted(value)}" for key, value in FIELDS.items()),
        *(f"ErrorDocument {status} {location(UNKNOWN)}" for status in (403, 404)),
        f"ErrorDocument 405 {location('method-not-allowed')}",
    ]
    return [
        f"Alias {quoted(PATH)} {quoted(FILE)}",
        *block("Directory", quoted(f"{PLACE}/"), rights),
        *block("Location", quoted(FOLDER), lines),
    ]
