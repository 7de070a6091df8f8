"""Does the listener still shake hands? Exit status 0: yes, 1: no, with one line on standard error.

Usage: ``healthcheck.py [HOST:PORT]`` (default: the first of SEALGATE_LISTEN__HTTPS, or 127.0.0.1:8443).

It asks whether somebody is served at all, so it verifies no certificate: it has no secret to lose, sends no
request, and must not turn sick where only its own trust store is old. What is served is compared with what is
meant by the keeper, after each change.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import sys

_PATIENCE = 4.0  # seconds; less than the container's HEALTHCHECK --timeout


def shakes_hands(host: str, port: int) -> str:
    """The protocol version of a finished TLS handshake.

    Raises:
        OSError: nobody listens, nobody answers, or not with TLS (``ssl.SSLError`` is one).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection((host, port), _PATIENCE) as raw, context.wrap_socket(raw) as secured:
        return secured.version() or ""


def listener(setting: str) -> tuple[str, int]:
    """Host and port of the first address in a list, written as policy overrides are: JSON, or with commas.

    "All addresses" becomes loopback of the same family.

    Raises:
        ValueError: there is no such address in it.
    """
    listed = setting.split(",")
    if setting.lstrip().startswith("["):
        with contextlib.suppress(ValueError):  # "[::1]:8443" is no JSON
            listed = json.loads(setting)
    host, _, port = str(next(iter(listed), "")).strip().rpartition(":")
    host = host.strip("[]")
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host), int(port)  # noqa: S104 - compared


def main(arguments: list[str]) -> int:
    """Try once."""
    setting = arguments[0] if arguments else os.environ.get("SEALGATE_LISTEN__HTTPS") or "127.0.0.1:8443"
    try:
        host, port = listener(setting)
    except ValueError:
        print(f"healthcheck: {setting!r} names no HOST:PORT", file=sys.stderr)
        return 1
    try:
        shakes_hands(host, port)
    except ssl.SSLError as error:
        # TLS 1.2 asks for the client certificate inside the handshake: refusing us is a sign of life.
        if "ALERT" in (error.reason or ""):
            return 0
        print(f"healthcheck: {host}:{port} does not speak TLS ({error.reason})", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"healthcheck: {host}:{port} does not answer ({error})", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
