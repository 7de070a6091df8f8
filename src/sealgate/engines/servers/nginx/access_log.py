"""One JSON object a line for each request, with Envoy's keys as far as nginx knows them.

nginx escapes quotes and control characters; bytes above ASCII it does not, so of what clients choose only
the printable beginning is written. Secrets do not stand in it: no query string, no cookies, no Authorization.
"""

from __future__ import annotations

from sealgate.engines.servers.nginx.words import entries, pattern
from sealgate.policy.api_keys import ID_LENGTH, PREFIX

__all__ = ["ACCESS_LOG", "access_log"]

ACCESS_LOG = "access_log /dev/stdout sealgate_{} buffer=4k flush=500ms;"
"""Written at most 4 KiB at a time: a pipe takes that in one piece, whichever process writes."""

_TEXTS = {
    "address": "$sealgate_peer",
    "method": "$sealgate_log_method",
    "host": "$sealgate_log_host",
    "path": "$sealgate_log_path",
    "protocol": "$server_protocol",
}
_NUMBERS = {
    "status": "$status",
    "milliseconds": "$sealgate_milliseconds",
    "received": "$request_length",
    "sent": "$body_bytes_sent",
}
_MORE = {"request_id": "$request_id", "user_agent": "$sealgate_log_agent"}
_TLS = {"tls": "$ssl_protocol", "cipher": "$ssl_cipher"}


def access_log(credentials: tuple[str, ...] = ()) -> list[str]:
    """The formats `sealgate_https` and `sealgate_http`, and the maps that they need.

    Args:
        credentials: fields in which API keys are looked for, where they could be read on the way: their
            public parts are written.
    """
    names = {field: f"sealgate_exposed_{number}" for number, field in enumerate(credentials)}
    exposed = {"exposed_key": "".join(f"${name}" for name in names.values())} if names else {}
    return [
        "# Only what is printable, and not too much of it.",
        # Of the line as it came: what answers a refusal is another request within nginx, a GET.
        *_beginning("$request", "method", "[A-Za-z_-]", 32),
        *_beginning("$http_host", "host", "[!-~]", 300),
        *_beginning("$request_uri", "path", "[!->@-~]", 1024),
        *_beginning("$http_user_agent", "agent", "[ -~]", 256),
        *_milliseconds(),
        *_format("https", {**_MORE, **_TLS}),
        *(line for field, name in names.items() for line in _exposed(field, name)),
        *_format("http", {**_MORE, **exposed}),
    ]


def _exposed(field: str, name: str) -> list[str]:
    key = pattern(rf"(?:bearer +)?{PREFIX}(?<{name}_id>[0-9A-Za-z]{{{ID_LENGTH}}})_.*", operator="~*")
    return entries(f"$http_{field.replace('-', '_')}", f"${name}", {key: f"${name}_id"})


def _beginning(source: str, name: str, characters: str, most: int) -> list[str]:
    part = f"sealgate_{name}_part"
    shown = {pattern(f"(?<{part}>{characters}{{0,{most}}})(?s:.*)", operator="~"): f"${part}"}
    return entries(source, f"$sealgate_log_{name}", shown)


def _milliseconds() -> list[str]:
    """`0.012` as `12`: a number in JSON has no zeros before it."""
    cases = {
        pattern(r"0\.00(?<sealgate_ms1>\d)", operator="~"): "$sealgate_ms1",
        pattern(r"0\.0(?<sealgate_ms2>\d\d)", operator="~"): "$sealgate_ms2",
        pattern(r"0\.(?<sealgate_ms3>\d{3})", operator="~"): "$sealgate_ms3",
        pattern(r"(?<sealgate_s>\d+)\.(?<sealgate_ms4>\d{3})", operator="~"): "$sealgate_s$sealgate_ms4",
    }
    return entries("$request_time", "$sealgate_milliseconds", cases, "0")


def _format(name: str, more: dict[str, str]) -> list[str]:
    def text(key: str, value: str) -> str:
        return f'"{key}":"{value}"'

    parts = [text("time", "$time_iso8601"), *(text(key, value) for key, value in _TEXTS.items())]
    parts += [f'"{key}":{value}' for key, value in _NUMBERS.items()]
    parts += [text(key, value) for key, value in more.items()]
    return [f"log_format sealgate_{name} escape=json '{{{','.join(parts)}}}';"]
