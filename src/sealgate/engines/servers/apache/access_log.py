r"""One JSON object a line for each request.

Apache escapes what it logs, but in C's way: ``\x`` and two digits, ``\v``. The driver relays the lines
(``relay.py``) and writes those two in JSON's way. No query string, no cookies, no Authorization stands in it.
Lines are bounded, so that the kernel writes each as a whole (pipe(7), PIPE_BUF) and they never mix.
"""

from __future__ import annotations

import re

from sealgate.engines.servers.apache.facts import quoted
from sealgate.engines.servers.apache.rules import PATH
from sealgate.policy.api_keys import ID_LENGTH, PREFIX

__all__ = ["access_log", "as_json"]

_FIELDS = {
    "time": '"%{%Y-%m-%dT%H:%M:%S}t.%{msec_frac}tZ"',
    "address": '"%a"',
    "method": '"%<{SEALGATE_METHOD}e"',
    "host": '"%{SEALGATE_HOST}e"',
    "path": '"%{SEALGATE_SHOWN}e"',
    "protocol": '"%H"',
    "status": "%>s",
    "milliseconds": "%{ms}T",
    "received": "%I",
    "sent": "%O",
    "request_id": '"%{UNIQUE_ID}e"',
    "user_agent": '"%{SEALGATE_AGENT}e"',
}
_TLS_FIELDS = {"tls": '"%{SSL_PROTOCOL}x"', "cipher": '"%{SSL_CIPHER}x"'}
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)


def access_log(*, tls: bool, credentials: tuple[str, ...] = ()) -> list[str]:
    """Directives of a virtual host.

    Args:
        tls: of HTTPS.
        credentials: fields in which API keys are looked for, where they could be read on the way: their
            public parts are written.
    """
    fields = {**_FIELDS, **(_TLS_FIELDS if tls else {})}
    fields |= {"exposed_key": '"%{SEALGATE_EXPOSED}e"'} if credentials else {}
    key = f"^(bearer +)?{PREFIX}([0-9A-Za-z]{{{ID_LENGTH}}})_"
    line = "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}"
    return [
        'SetEnvIf Request_Method "^(.{1,32})" SEALGATE_METHOD=$1',
        'SetEnvIf Host "^(.{1,128})" SEALGATE_HOST=$1',
        'SetEnvIf User-Agent "^(.{1,200})" SEALGATE_AGENT=$1',
        f'SetEnvIf {PATH} "^(.{{1,512}})" SEALGATE_SHOWN=$1',
        *(f'SetEnvIfNoCase {name} "{key}" SEALGATE_EXPOSED=$2' for name in credentials),
        f"CustomLog /proc/self/fd/1 {quoted(line)}",
    ]


def _escaped(match: re.Match[bytes]) -> bytes:
    if match[1] is not None:
        return rb"\u00" + match[1].lower()
    return rb"\u000b" if match[2] == b"v" else match[0]


def as_json(lines: bytes) -> bytes:
    """Apache's escapes as JSON's."""
    return _ESCAPE.sub(_escaped, lines) if b"\\" in lines else lines
