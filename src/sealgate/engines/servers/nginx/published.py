"""The list of revoked clients: one file that nginx opens when asked, by one path as it was received.

As with challenges, the place is nginx's to find by the path with dots and escapes resolved, and a map says
whether it was spelled exactly. Read in pieces into two buffers of 32 KiB for each reader.
"""

from __future__ import annotations

import re

from sealgate.engines.facts import RenderFacts
from sealgate.engines.published import CONTENT_TYPE, FIELDS, FOLDER, NAME, PATH, PLACE, UNKNOWN
from sealgate.engines.servers.nginx.replies import error_pages, problem_location
from sealgate.engines.servers.nginx.words import block, entries, pattern, quoted
from sealgate.policy.published import publishes

__all__ = ["list_locations", "list_map"]

_FILE = "$sealgate_list"


def list_map(facts: RenderFacts) -> list[str]:
    """The name of the file, where the path is exactly that of the list; else one that no file has."""
    if not publishes(facts.policy):
        return []
    exactly = pattern(re.escape(PATH), operator="~")
    return entries("$request_uri", _FILE, {exactly: quoted(NAME)}, quoted("none"))


def list_locations(facts: RenderFacts) -> list[str]:
    """Locations of a plain server, beside those of challenges, whose page for other methods is shared."""
    if not publishes(facts.policy):
        return []
    lines = [
        f"root {quoted(PLACE)};",
        f"try_files {quoted(f'/{_FILE}', variables=True)} =404;",
        "disable_symlinks on;",
        "autoindex off;",
        "types { }",
        f"default_type {CONTENT_TYPE};",
        "etag off;",
        "if_modified_since off;",
        "max_ranges 0;",
        *(f"add_header {key} {quoted(value)};" for key, value in FIELDS.items()),
        # The first that fits counts.
        f"error_page 403 404 =404 {problem_location(UNKNOWN)[0]};",
        f"error_page 405 =405 {problem_location('method-not-allowed')[0]};",
        *error_pages(tls=False),
    ]
    return [
        "# The list of revoked clients, for everyone who relies on their certificates.",
        *block(f"location ^~ {FOLDER}", lines),
        *problem_location(UNKNOWN)[1],
    ]
