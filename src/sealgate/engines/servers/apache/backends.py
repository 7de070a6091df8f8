"""Where requests go: the app's workers over unix sockets, or another backend.

Workers come and go without Apache being told: it knows a fixed number of names, `run/engine/app-<n>.sock`,
which are links to the sockets of the workers that shall get new requests. connect(2) follows them, and every
request has a connection of its own, so a change of links counts at once.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from sealgate.engines.facts import RenderFacts, Worker
from sealgate.engines.servers.apache.facts import FOLDER, RUNTIME, block, quoted, whole_seconds

__all__ = ["WORKERS_MAP", "backend_lines", "links", "slots", "workers_map"]

CHOSEN = "SEALGATE_WORKER"
"""Environment variable: the number of the name that this request goes to."""

WORKERS_MAP = "workers.txt"

# The process stands in the state directory; the name stays short, however deep that lies (unix(7)).
_HERE = "/proc/self/cwd"
_SLOT = "app-{}.sock"


def slots(facts: RenderFacts) -> int:
    """How many names there are for workers."""
    return facts.policy.site.workers if facts.guarded else 0


def links(count: int, workers: tuple[Worker, ...]) -> dict[str, str]:
    """Name in the runtime directory to the socket that it leads to; with fewer workers some serve two."""
    serving = [worker.socket for worker in workers if not worker.draining]
    if not serving:
        return {}
    return {_SLOT.format(number): f"../../{serving[number % len(serving)]}" for number in range(count)}


def backend_lines(facts: RenderFacts) -> list[str]:
    """Directives of the HTTPS virtual host."""
    timeouts = facts.policy.timeouts
    # One timer for the time until the answer begins and for each pause in it: the stricter holds.
    timeout = min(whole_seconds(timeouts.request), whole_seconds(timeouts.idle))
    common = f"retry=0 connectiontimeout=2 timeout={timeout}"
    lines = [
        "ProxyRequests off",
        "ProxyPreserveHost on",
        "ProxyAddHeaders off",
        "ProxyErrorOverride off",
        "ProxyVia off",
        f"ProxyTimeout {timeout}",
    ]
    if not facts.guarded:
        return [*lines, *_upstream(facts, common)]
    upgrade = " upgrade=websocket" if facts.backend == "asgi" else ""
    options = f"{common} disablereuse=on flushpackets=on{upgrade}"
    if facts.backend == "wsgi":
        lines += _whole_bodies()
    if slots(facts) == 1:
        return [*lines, f'ProxyPass "/" {quoted(_worker("0"))} nocanon {options}']
    for number in range(slots(facts)):
        lines += block("Proxy", quoted(_worker(str(number))), [f"ProxySet {options}"])
    return [*lines, *_chosen()]


def _worker(number: str) -> str:
    return f"unix:{_HERE}/{RUNTIME}/{_SLOT.format(number)}|http://app-{number}/"


def _chosen() -> list[str]:
    """One of several, by chance.

    Not by mod_proxy_balancer, whose counters need a named segment of shared memory in ``/dev/shm``, where the
    engine may not write.
    """
    name = f"${{{CHOSEN}}}"  # replaced at each request; not Apache's variable of the same spelling
    return [
        f"RewriteMap workers {quoted(f'rnd:{FOLDER}/{WORKERS_MAP}')}",
        f'RewriteRule "^" "-" [E={CHOSEN}:${{workers:app}}]',
        "ProxyPassInterpolateEnv on",
        f'ProxyPass "/" "{_worker(name)}" interpolate nocanon',
    ]


def workers_map(facts: RenderFacts) -> bytes:
    """The file `WORKERS_MAP`: names by number, of which one is taken by chance."""
    return f"app {'|'.join(map(str, range(max(1, slots(facts)))))}\n".encode()


def _whole_bodies() -> list[str]:
    """A WSGI worker gets a request when all of it is here, with its length: no thread waits for a sender.

    With a filter on its way the length that was announced proves nothing, so mod_proxy counts for itself: it
    holds the body in memory, and from 16 KiB on in a file, before it connects to a worker.
    """
    lines = ["SetInputFilter BUFFER", "BufferSize 65536", "SetEnv proxy-sendcl 1"]
    return block("Location", quoted("/"), lines)


def _upstream(facts: RenderFacts, common: str) -> list[str]:
    url = facts.policy.site.upstream
    options = f"nocanon {common} disablereuse=on flushpackets=on upgrade=websocket"
    if url.startswith("unix:"):
        return [f'ProxyPass "/" {quoted(f"unix:{url[5:]}|http://upstream/")} {options}']
    parts = urlsplit(url)
    verified = _verified(facts) if parts.scheme == "https" else []
    return [*verified, f'ProxyPass "/" {quoted(f"{url}/")} {options}']


def _verified(facts: RenderFacts) -> list[str]:
    """TLS to the backend: its certificate must be valid for its name, by the system's authorities."""
    return [
        "SSLProxyEngine on",
        "SSLProxyProtocol -all +TLSv1.2 +TLSv1.3",
        "SSLProxyVerify require",
        "SSLProxyVerifyDepth 10",
        f"SSLProxyCACertificateFile {quoted(facts.system_trust)}",
        "SSLProxyCheckPeerName on",
        "SSLProxyCheckPeerExpire on",
    ]
