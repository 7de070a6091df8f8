"""sd_notify(3): tell systemd what a service is doing. Quiet where systemd did not start it."""

from __future__ import annotations

import os
import socket
import time

__all__ = ["notify", "notify_reloading"]


def notify(*lines: str) -> bool:
    """Send `NAME=value` lines to the service manager; true if there is one and it took them."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.sendto("\n".join(lines).encode(), address)
    except OSError:
        return False
    return True


def notify_reloading() -> bool:
    """A reload has begun (systemd wants the monotonic time with it)."""
    return notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
