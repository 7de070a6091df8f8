"""The TLS side: versions, suites, groups, certificate, client authorities, sessions.

Theory: a load of the configuration ends the old processes, and nginx then closes HTTP/2 connections at once
when nothing is under way on them, without a word; a client that sends just then loses its request. So a
renewal must not need a load. Where names of certificate files have a variable in them, nginx reads the files
at each handshake. Chain and key are two files, and between two reads they may be swapped; but
`$realpath_root` says where the link `current` leads, a map keeps that answer for as long as the handshake
lasts, and each version has a directory of its own: so each handshake has a pair that fits. What it costs, and
what holds from nginx 1.27.4 on, stands in docs/design/nginx.md.
"""

from __future__ import annotations

from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.nginx.versions import (
    CERTIFICATE_CACHE,
    POST_QUANTUM_OPENSSL,
    TICKET_KEYS_CHANGE,
)
from sealgate.engines.servers.nginx.words import Build, entries, quoted

__all__ = ["POST_QUANTUM", "certificate_map", "groups", "server_tls"]

_CLIENT_CHAIN_DEPTH = 5
_KEPT_FILES = 4
POST_QUANTUM = "X25519MLKEM768"
_FROM_HERE = "../../"  # nginx looks for such files beside its configuration, in engines/nginx


def certificate_map() -> list[str]:
    """Where chain and key of this handshake are."""
    return [
        "# Asked once in a handshake: chain and key are of one version.",
        *entries("$realpath_root", "$sealgate_certificate", {}, "$realpath_root"),
    ]


def groups(facts: RenderFacts, build: Build) -> tuple[str, ...]:
    """The profile's groups, as far as the OpenSSL at hand knows them."""
    known = build.openssl >= POST_QUANTUM_OPENSSL
    return tuple(group for group in facts.profile.groups if group != POST_QUANTUM or known)


def server_tls(facts: RenderFacts, build: Build) -> list[str]:
    """Directives of the HTTPS server."""
    profile = facts.profile
    lines = [
        f"ssl_protocols {' '.join(profile.protocols)};",
        f"ssl_conf_command Ciphersuites {':'.join(profile.tls13_suites)};",
        f"ssl_conf_command SignatureAlgorithms {':'.join(profile.signature_algorithms)};",
        f"ssl_ecdh_curve {':'.join(groups(facts, build))};",
        f"ssl_prefer_server_ciphers {'on' if profile.server_preferred_order else 'off'};",
    ]
    if profile.tls12_suites:
        lines.insert(1, f"ssl_ciphers {':'.join(profile.tls12_suites)};")
    lines += [
        f"root {quoted(facts.certificate_folder + '/current')};",
        'ssl_certificate "$sealgate_certificate/chain.pem";',
        'ssl_certificate_key "$sealgate_certificate/key.pem";',
    ]
    if facts.second_chain:
        lines += [
            'ssl_certificate "$sealgate_certificate/second-chain.pem";',
            'ssl_certificate_key "$sealgate_certificate/second-key.pem";',
        ]
    if build.version >= CERTIFICATE_CACHE:
        # By name, and each version has its own. Still looked at again, should somebody put back a state.
        kept = _KEPT_FILES * (2 if facts.second_chain else 1)
        lines.append(f"ssl_certificate_cache max={kept} inactive=1h valid=10s;")
    return [*lines, *_sessions(facts, build), *_clients(facts)]


def _sessions(facts: RenderFacts, build: Build) -> list[str]:
    if facts.policy.clients.mode != "off":
        # Who was let in once is asked again: a revoked client must not come back by a session.
        return ["ssl_session_cache off;", "ssl_session_tickets off;"]
    cache = ["ssl_session_cache shared:sealgate:10m;", "ssl_session_timeout 1h;"]
    return [*cache, f"ssl_session_tickets {'on' if build.version >= TICKET_KEYS_CHANGE else 'off'};"]


def _clients(facts: RenderFacts) -> list[str]:
    mode = facts.policy.clients.mode
    if mode == "off":
        return []
    lists = [f"ssl_crl {quoted(_FROM_HERE + facts.lists)};"] if facts.lists else []
    return [
        *lists,
        f"ssl_client_certificate {quoted(_FROM_HERE + facts.trust)};",
        f"ssl_verify_client {'on' if mode == 'required' else 'optional'};",
        f"ssl_verify_depth {_CLIENT_CHAIN_DEPTH};",
    ]
