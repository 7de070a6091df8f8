"""Traps of Envoy, in a bootstrap file of YAML or JSON and in the files that it takes its listeners from."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from sealgate.engines.configurations.directive import Directive
from sealgate.engines.configurations.envoy import read_envoy
from sealgate.engines.configurations.library import Library
from sealgate.engines.traps._envoy_http import KNOWN as HTTP
from sealgate.engines.traps._envoy_http import http_traps, never, on, typed
from sealgate.engines.traps._envoy_tls import KNOWN as TLS
from sealgate.engines.traps._envoy_tls import Tls, tls_of, tls_traps
from sealgate.engines.traps.trap import Found, Known, Server, Trap

__all__ = ["TRAPS"]

ADMIN_OPEN = Known(
    "envoy-admin-open",
    "the admin interface is open to the network",
    "it asks nobody who they are: whoever reaches it reads the configuration, changes the logging and "
    "switches Envoy off",
    "admin: { address: { pipe: { path: ..., mode: 384 } } }, or 127.0.0.1",
)
UNLIMITED = Known(
    "envoy-connections-unlimited",
    "no bound on connections",
    "with neither a resource monitor of downstream connections nor a connection_limit, clients that hold "
    "connections open use up memory and files for all others",
    "overload_manager with envoy.resource_monitors.global_downstream_max_connections",
)
HANDSHAKE = Known(
    "envoy-handshake-unbounded",
    "a handshake may take for ever",
    "without transport_socket_connect_timeout a client that sends half a ClientHello keeps its connection",
    "transport_socket_connect_timeout: 5s in the filter chain",
)

_CHAINS = ("filter_chains", "default_filter_chain")


def _find(main: str, library: Library) -> Found:
    configuration = read_envoy(main, library)
    root = configuration.root
    traps: dict[Trap, None] = dict.fromkeys(_admin(root))
    bounded, named = _bounded(root), _named_bounds(root)
    secrets = _secrets(root)
    for one in root.walk():
        if one.own(*_CHAINS):
            name = one.last("name")
            own = name is not None and name.value in named
            out = on(one.last("ignore_global_conn_limit"))
            traps |= dict.fromkeys(_listener(one, library, secrets, bounded=own or (bounded and not out)))
    return Found(tuple(traps), configuration.unread)


def _secrets(root: Directive) -> dict[str, Directive]:
    """The static ones, by name: a listener takes them without saying from where."""
    lists = (kept for one in root.own("static_resources") for kept in one.own("secrets"))
    found = ((secret.last("name"), secret) for kept in lists for secret in kept.inside)
    return {name.value: secret for name, secret in found if name}


def _admin(root: Directive) -> Iterator[Trap]:
    for admin in root.own("admin"):
        for socket in (one for one in admin.walk() if one.name == "socket_address"):
            address = socket.last("address")
            if address is not None and not _here(address.value):
                yield ADMIN_OPEN.on(address)


def _here(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _bounded(root: Directive) -> bool:
    """Is the number of all connections bounded, by a resource monitor or at run time?"""
    for one in root.walk():
        words = (one.name, *(one.args if one.name in {"name", "@type"} else ()))
        if any("global_downstream_max_connections" in word for word in words):
            return True
        if typed(one, "DownstreamConnectionsConfig"):
            return True
    return False


def _named_bounds(root: Directive) -> frozenset[str]:
    """Listeners that have a bound of their own at run time."""
    found = (
        re.fullmatch(r"envoy\.resource_limits\.listener\.(.+)\.connection_limit", one.name)
        for one in root.walk()
    )
    return frozenset(match[1] for match in found if match)


def _listener(
    listener: Directive, library: Library, secrets: dict[str, Directive], *, bounded: bool
) -> Iterator[Trap]:
    chains = [
        chain
        for one in listener.own(*_CHAINS)
        for chain in (one.inside if one.name == "filter_chains" else (one,))
    ]
    if not bounded and not listener.own("udp_listener_config") and not _limited(chains):
        yield UNLIMITED.on(listener)
    for chain in chains:
        tls = tls_of(chain, secrets)
        if tls is not None:
            yield from tls_traps(chain, tls, library)
            yield from _handshake(chain, listener)
        yield from http_traps(chain, listed=_listed(tls))


def _listed(tls: Tls | None) -> bool:
    return tls is not None and bool(tls.lists)


def _limited(chains: list[Directive]) -> bool:
    """Has each chain a bound of its own?"""
    return all(any(typed(one, "ConnectionLimit") for one in chain.walk()) for chain in chains)


def _handshake(chain: Directive, listener: Directive) -> Iterator[Trap]:
    if listener.own("udp_listener_config"):
        return  # QUIC has a time of its own
    limit = chain.last("transport_socket_connect_timeout")
    if limit is None or never(limit):
        yield HANDSHAKE.on(limit or chain)


def _suits(name: str, text: str) -> bool:
    if not name.endswith((".yaml", ".yml", ".json")):
        return False
    keys = r"""(?m)^[ \t{]*['"]?(static|dynamic)(_r|R)esources['"]?[ \t]*:"""
    return re.search(keys, text) is not None


TRAPS = Server(
    id="envoy",
    title="Envoy",
    reads="a bootstrap of YAML or JSON; what it takes listeners, routes and secrets from is read as well",
    known=(*HTTP, *TLS, HANDSHAKE, UNLIMITED, ADMIN_OPEN),
    find=_find,
    suits=_suits,
)
