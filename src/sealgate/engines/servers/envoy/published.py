"""The list of revoked clients, in Envoy's words: its file server filter, for one path spelled exactly.

Considered: a `direct_response` with the file as its body. Envoy copies that whole for each reader: 100 slow
ones of a list of 5 MB took 490 MB, and each list would be another route table. The file server reads pieces
of 32 KiB while the reader takes them: 500 slow ones of a list of 44 MB took 53 MB.

Envoy calls that filter work in progress, outside of its threat model. So nothing of a stranger's comes near
it: a route lets pass one spelling of one path with GET or HEAD; Range is removed before any filter; plain
HTTP is HTTP/1.1 alone, because over HTTP/2 the filter minds no stream's window (1 GB for 600 streams).
"""

from __future__ import annotations

import re

from sealgate.engines.facts import RenderFacts
from sealgate.engines.published import CONTENT_TYPE, FIELDS, FOLDER, PATH, PLACE
from sealgate.engines.servers.envoy.facts import Json, typed
from sealgate.engines.servers.envoy.routes import answer, field, header_is
from sealgate.policy.published import publishes

__all__ = ["list_filters", "list_routes", "unranged"]

_SERVER = "envoy.extensions.filters.http.file_server.v3.FileServerConfig"
_MUTATION = "envoy.extensions.filters.http.header_mutation.v3."
_FILES, _FIELDS = "list", "list_fields"
# Threads of its own, which read what is in the page cache nearly always.
_THREADS: Json = {"id": "list", "thread_pool": {"thread_count": 1}}
_ASKED = header_is(":method", "GET|HEAD")


def list_filters(facts: RenderFacts) -> list[Json]:
    """Filters of the plain listeners before the router: without a word of the route they do nothing."""
    if not publishes(facts.policy):
        return []
    return [
        {"name": _FIELDS, "typed_config": typed(_MUTATION + "HeaderMutation")},
        {"name": _FILES, "typed_config": typed(_SERVER, manager_config=_THREADS)},
    ]


def unranged(facts: RenderFacts) -> list[Json]:
    """Early mutations of the plain listeners: what the file server would read beside the path."""
    return [{"remove": "range"}] if publishes(facts.policy) else []


def list_routes(facts: RenderFacts) -> list[Json]:
    """The routes of plain HTTP for the list, and for all below its folder; they stand before the redirect."""
    if not publishes(facts.policy):
        return []
    # `path` alone would take a query too.
    exactly = header_is(":path", re.escape(PATH))
    # The file server joins with a slash of its own.
    mapping = {"request_path_prefix": FOLDER, "file_path_prefix": PLACE}
    # Refusals have said already that they are not to be kept.
    added = [
        {"append": {**field(key.lower(), value), "append_action": "ADD_IF_ABSENT"}}
        for key, value in FIELDS.items()
    ]
    mutations = {"response_mutations": [*added, {"remove": "accept-ranges"}]}
    served: Json = {
        "match": {"path": PATH, "headers": [exactly, _ASKED]},
        **answer(404),
        "typed_per_filter_config": {
            _FILES: typed(
                _SERVER, manager_config=_THREADS, path_mappings=[mapping], default_content_type=CONTENT_TYPE
            ),
            _FIELDS: typed(_MUTATION + "HeaderMutationPerRoute", mutations=mutations),
        },
    }
    other = {**_ASKED, "invert_match": True}
    refused: Json = {
        "match": {"path": PATH, "headers": [exactly, other]},
        **answer(405),
        "response_headers_to_add": [field("allow", "GET, HEAD")],
    }
    return [served, refused, {"match": {"prefix": FOLDER}, **answer(404)}]
