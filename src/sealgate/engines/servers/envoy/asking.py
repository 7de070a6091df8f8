"""A guard that is asked for each request before another backend gets it: ext_authz, over a worker's socket.

What it is told (``policy/identity.py``) is set in fields of the request just before, and taken out just
after; nothing that came from outside has such a name. What it says of the caller replaces what was there:
fields of those names were taken out when the request came. A guard that cannot be asked is a status that
nobody else uses, so that its answer can be told from the guard's own 503.
"""

from __future__ import annotations

from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.envoy.facts import Json, seconds, typed
from sealgate.policy.identity import ADDRESS, CERTIFICATE, PATH, PROOF

__all__ = ["GUARD", "UNASKED", "asking"]

GUARD = "guard"
"""Name of the cluster of workers."""
UNASKED = 511
"""A status that neither guards nor backends of ours use."""

_TOLD = ("client-cert", "sealgate-client")
_SHOWN = ("ratelimit", "ratelimit-policy")
_READ = ("authorization", "origin", "access-control-request-method", "x-request-id")
_LONGEST = 3.0


def asking(facts: RenderFacts) -> list[Json]:
    """The filters, before the router; none where nobody is asked."""
    if not facts.asks_guard:
        return []
    told = {
        PROOF: facts.proof,
        ADDRESS: "%DOWNSTREAM_REMOTE_ADDRESS%",
        PATH: "%REQ(:PATH)%",
    }
    if facts.policy.clients.mode != "off":
        told[CERTIFICATE] = "%DOWNSTREAM_PEER_CERT%"
    service: Json = {
        "server_uri": {"uri": "http://guard", "cluster": GUARD, "timeout": seconds(_LONGEST)},
        "authorization_response": {
            "allowed_upstream_headers": _exactly(*_TOLD),
            "allowed_client_headers_on_success": _exactly(*_SHOWN),
        },
    }
    key = facts.policy.tokens.api_key_header
    config = typed(
        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        failure_mode_allow=False,
        status_on_error={"code": UNASKED},
        validate_mutations=True,
        allowed_headers=_exactly(*told, *_READ, *((key,) if key else ())),
        http_service=service,
    )
    added = [{"append": _field(name, value)} for name, value in told.items()]
    return [
        _mutation("guard_told", added),
        {"name": "guard_asked", "typed_config": config},
        _mutation("guard_done", [{"remove": name} for name in told]),
    ]


def _exactly(*names: str) -> Json:
    return {"patterns": [{"exact": name} for name in names]}


def _field(name: str, value: str) -> Json:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _mutation(name: str, mutations: list[Json]) -> Json:
    message = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
    return {"name": name, "typed_config": typed(message, mutations={"request_mutations": mutations})}
