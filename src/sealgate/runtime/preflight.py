"""What can be known before anything is started: ports, inotify."""

from __future__ import annotations

import os
from pathlib import Path

from sealgate._system.ports import probe
from sealgate.engines import quic
from sealgate.errors import EngineError
from sealgate.policy.model import Endpoint, Policy

__all__ = ["inotify_left", "preflight"]

# Envoy's own: bootstrap, LDS, CDS, two EDS, two secrets with their watched directories; and some air.
_INOTIFY = 16
_QUOTA = Path("/proc/sys/fs/inotify/max_user_instances")


def preflight(policy: Policy, before: Policy | None = None) -> None:
    """Check what the engine needs.

    Args:
        policy: what shall be served.
        before: what is served already; its addresses are ours.

    Raises:
        ListenError: an address cannot be listened on.
        EngineError: `inotify-exhausted`.
        NotObserved: `not-observed`: listeners of HTTP/3 could not be looked at.
    """
    mine: set[Endpoint] = set(before.listen.https + before.listen.http) if before else set()
    mine_udp: set[Endpoint] = set(before.listen.https) if before and before.listen.http3 else set()
    for endpoint in policy.listen.https + policy.listen.http:
        if endpoint not in mine:
            probe(endpoint.host, endpoint.port)
    for endpoint in policy.monitor.endpoints:
        if before is None or endpoint not in before.monitor.endpoints:
            probe(endpoint.host, endpoint.port, table="monitor")
    for endpoint in policy.listen.https if policy.listen.http3 else ():
        quic.demand(endpoint)
        if endpoint not in mine_udp:
            probe(endpoint.host, endpoint.port, udp=True)
    left, needed = inotify_left(), _INOTIFY + (2 if len(policy.certificate.key_types) > 1 else 0)
    if before is None and policy.site.engine == "envoy" and left is not None and left < needed:
        raise EngineError(
            "inotify-exhausted",
            f"Envoy needs {needed} inotify instances to follow its certificates and {left} are left",
            "raise the quota: sysctl fs.inotify.max_user_instances=1024",
        )


def inotify_left() -> int | None:
    """How many inotify instances this user may still make; None where it cannot be known."""
    try:
        quota = int(_QUOTA.read_text())
    except (OSError, ValueError):
        return None
    me, used = os.geteuid(), 0
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if process.stat().st_uid == me:
                    used += sum(
                        str(fd.readlink()) == "anon_inode:inotify" for fd in (process / "fd").iterdir()
                    )
            except OSError:
                continue
    return quota - used
