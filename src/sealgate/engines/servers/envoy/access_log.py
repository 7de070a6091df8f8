"""One JSON object a line on standard output for each request.

Envoy escapes every value; secrets do not stand in it: no query string, no cookies, no Authorization.
"""

from __future__ import annotations

from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.envoy.facts import Json, typed
from sealgate.policy.api_keys import EXPOSED_RE2

__all__ = ["access_log", "exposed_filter"]

_FIELDS = {
    "time": "%START_TIME%",
    "address": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(:AUTHORITY)%",
    "path": "%PATH(NQ)%",
    "protocol": "%PROTOCOL%",
    "status": "%RESPONSE_CODE%",
    "why": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "milliseconds": "%DURATION%",
    "received": "%BYTES_RECEIVED%",
    "sent": "%BYTES_SENT%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "user_agent": "%REQ(USER-AGENT):256%",
}
_TLS_FIELDS = {
    "tls": "%DOWNSTREAM_TLS_VERSION%",
    "cipher": "%DOWNSTREAM_TLS_CIPHER%",
    "client": "%DOWNSTREAM_PEER_FINGERPRINT_256%",
}


_EXPOSED = "sealgate.exposed"


def exposed_filter(facts: RenderFacts) -> list[Json]:
    """For plain listeners: notes the public part of an API key that came over them, and no more of it."""
    rules = [
        {
            "header": name,
            "on_header_present": {
                "metadata_namespace": _EXPOSED,
                "key": "key",
                "regex_value_rewrite": {"pattern": {"regex": EXPOSED_RE2}, "substitution": r"\1"},
            },
        }
        for name in facts.policy.credential_fields
    ]
    config = typed("envoy.extensions.filters.http.header_to_metadata.v3.Config", request_rules=rules)
    return [{"name": "exposed", "typed_config": config}] if rules else []


def access_log(*, tls: bool, exposed: bool = False) -> list[Json]:
    """The access log of a listener; ``exposed``: it names API keys that came over it."""
    fields = {**_FIELDS, **(_TLS_FIELDS if tls else {})}
    if exposed:
        fields["exposed_key"] = f"%DYNAMIC_METADATA({_EXPOSED}:key)%"
    message = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
    config = typed(message, log_format={"json_format": fields, "omit_empty_values": True})
    return [{"name": "json", "typed_config": config}]
