"""Can an address be listened on; and if not, why, and whose is it."""

from __future__ import annotations

import errno
import re
import socket
from pathlib import Path

from sealgate.errors import ListenError

__all__ = ["owner", "probe"]

_TCP_LISTEN = "0A"


def _socket(host: str, kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    if ":" in host:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock


def probe(host: str, port: int, *, udp: bool = False, table: str = "listen") -> None:
    """Bind and let go again. Without SO_REUSEPORT: a second server of the same user is seen too.

    ``table`` is the policy's, where another address would be written.

    Raises:
        ListenError: `port-taken`, `port-forbidden` or `address-absent`.
    """
    kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
    with _socket(host, kind) as sock:
        if not udp:
            # Connections in TIME_WAIT from an earlier run do not count.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
            if not udp:
                sock.listen(1)
        except OSError as error:
            raise _explain(error, host, port, table) from None


def _explain(error: OSError, host: str, port: int, table: str) -> ListenError:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        who = owner(port)
        return ListenError(
            "port-taken",
            f"{where} is taken by {who}" if who else f"{where} is taken by another process",
            f"stop it, or choose another port in [{table}]",
            address=where,
            process=who,
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return ListenError(
            "port-forbidden",
            f"only root may listen on {where} here (ports below {_first_free_port()})",
            "use a higher port, run under systemd with AmbientCapabilities=CAP_NET_BIND_SERVICE, or set "
            f"net.ipv4.ip_unprivileged_port_start={port} by sysctl",
            address=where,
        )
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return ListenError(
            "address-absent",
            f"no network interface of this machine has the address of {where}",
            f"correct the address in [{table}]; 0.0.0.0 and [::] mean every interface",
            address=where,
        )
    return ListenError(
        "address-unusable", f"{where} cannot be listened on ({error.strerror})", f"correct [{table}]"
    )


def _first_free_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except (OSError, ValueError):
        return 1024


def owner(port: int) -> str:
    """The process that listens on a TCP port: ``nginx (pid 123)``; empty where it cannot be seen."""
    inodes = _inodes(port)
    if not inodes:
        return ""
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and _holds(directory, inodes):
            return f"{_command(directory)} (pid {directory.name})"
    return ""


def _inodes(port: int) -> frozenset[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _TCP_LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return frozenset(found)


def _holds(process: Path, inodes: frozenset[str]) -> bool:
    try:
        return any(str(entry.readlink()) in inodes for entry in (process / "fd").iterdir())
    except OSError:
        return False


def _command(process: Path) -> str:
    try:
        name = (process / "comm").read_text().strip()
    except OSError:
        return "a process"
    return re.sub(r"[^\x20-\x7e]", "?", name)
