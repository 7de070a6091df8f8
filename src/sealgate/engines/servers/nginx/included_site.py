"""Our file for an installed nginx: the site's two server blocks, and the maps that they judge by. Pure.

What the user's own ``http`` block might have set otherwise, and would weaken the site, is set again here;
names of maps and zones begin with ``sealgate_``. What only the main configuration can say (processes, open
connections, the drain, the size of hash tables) stays his. His workers may not read our keys, his master
process may: so certificates are named by fixed paths, and a renewal needs a reload.
"""

from __future__ import annotations

import re

from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.nginx.addresses import address_checks, address_map
from sealgate.engines.servers.nginx.backends import backend_maps, forwarding, pass_to, upstream
from sealgate.engines.servers.nginx.challenges import token_locations, token_map
from sealgate.engines.servers.nginx.hosts import HOST, local_hsts
from sealgate.engines.servers.nginx.pins import both_pins, plain_pins, secure_pins
from sealgate.engines.servers.nginx.replies import HSTS, ODD_PATH, error_pages, problem_locations
from sealgate.engines.servers.nginx.tls import groups
from sealgate.engines.servers.nginx.versions import HTTP2_DIRECTIVE, TICKET_KEYS_CHANGE
from sealgate.engines.servers.nginx.words import Build, block, entries, longer, pattern, quoted, time
from sealgate.policy.model import Endpoint, Policy, is_address
from sealgate.policy.path import CANONICAL_PATH_RE2

__all__ = ["render"]

_UPGRADING = 418  # between `return` and `error_page`; nobody sees it
_MOST_AT_ONCE = 65535
_OLD_HTTP = '$server_protocol ~ "^HTTP/(?:0\\\\.9|1\\\\.0)"'


def render(facts: RenderFacts, shared: tuple[Endpoint, ...]) -> bytes:  # noqa: ARG001 - nginx shares by itself
    """The whole file."""
    policy = facts.policy
    lines = [
        "# Written by Sealgate. Change sealgate.toml instead, then: sealgate apply",
        *_maps(policy, facts),
        *(token_map() if policy.listen.http else []),
        *backend_maps(facts),
        *address_map(facts),
        *entries("$sealgate_upgrade", "$sealgate_connection", {"websocket": "upgrade"}),
        *entries(
            "$request_length", "$sealgate_long", {pattern(longer(policy.limits.headers), operator="~"): "1"}
        ),
        "limit_conn_zone sealgate zone=sealgate_connections:64k;",
        *upstream(facts),
        "",
        *block("server", _https(facts)),
    ]
    if policy.listen.http:
        lines += ["", *block("server", _plain(facts))]
    return ("\n".join(lines) + "\n").encode("ascii")


def _maps(policy: Policy, facts: RenderFacts) -> list[str]:
    """By patterns: a table of names may need other hash sizes than the user's."""
    absolute = pattern(r"\S+ https?://(?<sealgate_absolute>[^/?#\s]*).*", operator="~*")
    secure = {endpoint.port for endpoint in policy.listen.https} | {policy.public_port}
    plain = {endpoint.port for endpoint in policy.listen.http} | {80}
    return [
        *entries("$request", HOST, {absolute: "$sealgate_absolute"}, "$http_host"),
        *entries(HOST, "$sealgate_site", _ours(policy, "site", secure)),
        *entries(HOST, "$sealgate_plain", _ours(policy, "plain", plain)),
        *entries(HOST, "$sealgate_hsts", local_hsts(facts), quoted(facts.hsts)),
        "# Another site's name in the handshake: its versions, suites and header rules counted so far.",
        *entries("$ssl_server_name", "$sealgate_stranger", _named(policy), "1"),
    ]


def _named(policy: Policy) -> dict[str, str]:
    """Nothing for names of ours, and for none."""
    names = (pattern(_name(name), operator="~*") for name in policy.site.names if not is_address(name))
    return {'""': '""', **dict.fromkeys(names, '""')}


def _name(name: str) -> str:
    if name.startswith("*."):
        return r"[a-z0-9_-]{1,63}\." + re.escape(name[2:])
    return re.escape(f"[{name}]" if ":" in name else name)


def _ours(policy: Policy, what: str, ports: set[int]) -> dict[str, str]:
    """The name in Host where the site has it, on one of the site's ports."""
    allowed = "|".join(map(str, sorted(ports)))
    group = f"sealgate_{what}_name"
    return {
        pattern(rf"(?<{group}>{_name(name)})(?::(?:{allowed}))?", operator="~*"): f"${group}"
        for name in policy.site.names
    }


def _build(facts: RenderFacts) -> Build:
    parts = re.findall(r"\d+", facts.version)[:3]
    return Build(version=(int(parts[0]), int(parts[1]), int(parts[2]))) if len(parts) == 3 else Build()


def _listen(endpoints: tuple[Endpoint, ...], *words: str) -> list[str]:
    return [f"listen {endpoint} {' '.join(word for word in words if word)};" for endpoint in endpoints]


def _refused(condition: str, status: int) -> str:
    return f"if ({condition}) {{ return {status}; }}"


def _https(facts: RenderFacts) -> list[str]:
    policy, build = facts.policy, _build(facts)
    old = build.version < HTTP2_DIRECTIVE
    proxy = "proxy_protocol" if policy.listen.proxy_protocol else ""
    connections = min(policy.limits.connections, _MOST_AT_ONCE)
    idle = time(policy.timeouts.idle)
    return [
        *_listen(policy.listen.https, "default_server", "ssl http2" if old else "ssl", proxy),
        *([] if old else ["http2 on;"]),
        *_tls(facts, build),
        *_common(facts),
        f"limit_conn sealgate_connections {connections};",
        HSTS,
        *error_pages(tls=True, strangers=policy.judges_addresses(tls=True)),
        f"error_page {_UPGRADING} = @sealgate_upgraded;",
        "# No file is looked for here: this is a request for one of the pages below, from outside.",
        "error_page 404 = @sealgate_passed;",
        *forwarding(facts),
        *secure_pins(facts),
        "proxy_cache off;",
        "proxy_store off;",
        "proxy_intercept_errors off;",
        *block("location @sealgate_passed", [*_checks(facts), pass_to(facts)]),
        *block("location /", [*_checks(facts), _refused("$sealgate_upgrade", _UPGRADING), pass_to(facts)]),
        "# WebSocket: what ends it is silence, not its length.",
        *block(
            "location @sealgate_upgraded",
            [f"proxy_read_timeout {idle};", f"proxy_send_timeout {idle};", pass_to(facts)],
        ),
        *problem_locations(tls=True, strangers=policy.judges_addresses(tls=True)),
    ]


def _tls(facts: RenderFacts, build: Build) -> list[str]:
    profile = facts.profile
    return [
        f"ssl_certificate {quoted(facts.chain)};",
        f"ssl_certificate_key {quoted(facts.key)};",
        f"ssl_protocols {' '.join(profile.protocols)};",
        f"ssl_ciphers {':'.join(profile.tls12_suites) or 'DEFAULT'};",
        f"ssl_conf_command Ciphersuites {':'.join(profile.tls13_suites)};",
        f"ssl_conf_command SignatureAlgorithms {':'.join(profile.signature_algorithms)};",
        f"ssl_ecdh_curve {':'.join(groups(facts, build))};",
        f"ssl_prefer_server_ciphers {'on' if profile.server_preferred_order else 'off'};",
        "ssl_early_data off;",
        "ssl_stapling off;",
        "ssl_verify_client off;",
        "ssl_session_cache shared:sealgate:10m;",
        "ssl_session_timeout 1h;",
        f"ssl_session_tickets {'on' if build.version >= TICKET_KEYS_CHANGE else 'off'};",
    ]


def _common(facts: RenderFacts) -> list[str]:
    timeouts = facts.policy.timeouts
    return [
        "server_tokens off;",
        "merge_slashes off;",
        "underscores_in_headers off;",
        "ignore_invalid_headers on;",
        "recursive_error_pages on;",
        # nginx has one timer for the handshake and the header: the shorter of the two.
        f"client_header_timeout {time(min(timeouts.handshake, timeouts.headers))};",
        "client_header_buffer_size 1k;",
        f"large_client_header_buffers 1 {facts.policy.limits.headers};",
        f"keepalive_timeout {time(timeouts.idle)};",
        f"send_timeout {time(timeouts.idle)};",
        "limit_conn_status 503;",
        "# The connection's own address counts: no field's, whatever real_ip_header stands further out.",
        "set_real_ip_from unix:;",  # takes the place of all inherited; these listeners have no such peer
        *both_pins(),
    ]


def _checks(facts: RenderFacts) -> list[str]:
    return [
        *address_checks(facts),
        _refused("$sealgate_stranger", 421),
        _refused(_OLD_HTTP, 426),
        _refused("$sealgate_long", 431),
        _refused('$sealgate_site = ""', 421),
        _refused(f"$request_uri !~ {pattern(CANONICAL_PATH_RE2)}", ODD_PATH),
    ]


def _plain(facts: RenderFacts) -> list[str]:
    policy = facts.policy
    proxy = "proxy_protocol" if policy.listen.proxy_protocol else ""
    port = "" if policy.public_port == 443 else f":{policy.public_port}"
    redirect = f'return 308 "https://$sealgate_plain{port}$request_uri";'
    answer = redirect if policy.http.mode == "redirect" else "return 403;"
    strangers = facts.policy.judges_addresses(tls=False)
    checks = [
        *(address_checks(facts) if strangers else []),
        _refused(_OLD_HTTP, 426),
        _refused('$sealgate_plain = ""', 421),
    ]
    return [
        *_listen(policy.listen.http, "default_server", proxy),
        *_common(facts),
        *error_pages(tls=False, strangers=strangers),
        "client_max_body_size 1k;",
        *plain_pins(_build(facts)),
        *block("location /", [*checks, answer]),
        *token_locations(facts.challenge_folder),
        *problem_locations(tls=False, strangers=strangers),
    ]
