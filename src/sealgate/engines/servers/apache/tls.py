"""The TLS side: versions, suites, groups, resumption, certificate, client authorities."""

from __future__ import annotations

from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.apache.facts import quoted

__all__ = ["HYBRID", "HYBRID_DEFINED", "groups", "tls_lines"]

HYBRID = "X25519MLKEM768"
"""The group that OpenSSL has from 3.5 on."""

HYBRID_DEFINED = "SEALGATE_HYBRID"
"""Defined at the start (-D) where it has."""

_CLIENT_CHAIN_DEPTH = 5


def groups(wanted: tuple[str, ...], *, hybrid: bool) -> tuple[str, ...]:
    """The groups this OpenSSL knows, in the profile's order."""
    return tuple(name for name in wanted if hybrid or name != HYBRID)


def tls_lines(facts: RenderFacts) -> list[str]:
    """Directives of the HTTPS virtual host."""
    profile = facts.profile
    protocols = " ".join(f"+{name}" for name in profile.protocols)
    lines = [
        "SSLEngine on",
        f"SSLCertificateFile {quoted(facts.chain)}",
        f"SSLCertificateKeyFile {quoted(facts.key)}",
        *_second(facts),
        f"SSLProtocol -all {protocols}",
        f"SSLHonorCipherOrder {'on' if profile.server_preferred_order else 'off'}",
        f"SSLCipherSuite TLSv1.3 {quoted(':'.join(profile.tls13_suites))}",
    ]
    if profile.tls12_suites:
        lines.append(f"SSLCipherSuite SSL {quoted(':'.join(profile.tls12_suites))}")
    lines += [
        *_groups(profile.groups),
        "SSLCompression off",
        "SSLInsecureRenegotiation off",
        "SSLStrictSNIVHostCheck off",  # one site: the guard (or a rule below) judges Host
    ]
    return [*lines, *_clients(facts)]


def _second(facts: RenderFacts) -> list[str]:
    """Of the other family: OpenSSL chooses by the signatures that a client takes."""
    if not facts.second_chain:
        return []
    return [
        f"SSLCertificateFile {quoted(facts.second_chain)}",
        f"SSLCertificateKeyFile {quoted(facts.second_key)}",
    ]


def _groups(wanted: tuple[str, ...]) -> list[str]:
    """One unknown name and OpenSSL takes none of them; which it knows is found out at each start."""
    less = groups(wanted, hybrid=False)
    if less == wanted:
        return [f"SSLOpenSSLConfCmd Groups {quoted(':'.join(wanted))}"]
    return [
        f"<IfDefine {HYBRID_DEFINED}>",
        f"    SSLOpenSSLConfCmd Groups {quoted(':'.join(wanted))}",
        "</IfDefine>",
        f"<IfDefine !{HYBRID_DEFINED}>",
        f"    SSLOpenSSLConfCmd Groups {quoted(':'.join(less))}",
        "</IfDefine>",
    ]


def _clients(facts: RenderFacts) -> list[str]:
    """Client certificates. Where any are asked for nobody resumes: a revoked client must not come back so."""
    mode = facts.policy.clients.mode
    if mode == "off":
        return ["SSLVerifyClient none", "SSLSessionTickets on"]
    return [
        f"SSLVerifyClient {'require' if mode == 'required' else 'optional'}",
        f"SSLCACertificateFile {quoted(facts.trust)}",
        f"SSLVerifyDepth {_CLIENT_CHAIN_DEPTH}",
        "SSLSessionTickets off",
        *_revocation(facts.lists),
    ]


def _revocation(lists: str) -> list[str]:
    """Apache's own default is to look at no list even where one is named."""
    if not lists:
        return ["SSLCARevocationCheck none"]
    return [f"SSLCARevocationFile {quoted(lists)}", "SSLCARevocationCheck chain"]
