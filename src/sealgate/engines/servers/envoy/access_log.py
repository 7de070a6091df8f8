"""One JSON object a line on standard output for each request.

Envoy escapes every value; secrets do not stand in it: no query string, no cookies, no Authorization.
"""

from __future__ import annotations

from sealgate.engines.servers.envoy.facts import Json, typed

__all__ = ["access_log"]

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


def access_log(*, tls: bool) -> list[Json]:
    """The access log of a listener."""
    fields = {**_FIELDS, **(_TLS_FIELDS if tls else {})}
    message = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
    config = typed(message, log_format={"json_format": fields, "omit_empty_values": True})
    return [{"name": "json", "typed_config": config}]
