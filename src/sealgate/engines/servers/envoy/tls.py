"""The TLS side of a listener: versions, suites, groups; certificate and client authorities by SDS."""

from __future__ import annotations

from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.envoy.facts import FOLDER, Json, typed

__all__ = ["SECOND_SECRET", "SERVER_SECRET", "TRUST_SECRET", "downstream", "proof", "secrets"]

SERVER_SECRET = "server"  # noqa: S105 - the name of an SDS resource
SECOND_SECRET = "second"  # noqa: S105 - the name of an SDS resource
TRUST_SECRET = "clients"  # noqa: S105 - the name of an SDS resource
_TLS = "envoy.extensions.transport_sockets.tls.v3."
_CLIENT_CHAIN_DEPTH = 5
_AFRESH: Json = {"disable_stateless_session_resumption": True, "disable_stateful_session_resumption": True}


def _sds(name: str) -> Json:
    path = {"path": f"{FOLDER}/sds-{name}.json"}
    return {"name": name, "sds_config": {"resource_api_version": "V3", "path_config_source": path}}


def downstream(facts: RenderFacts, *, alpn: tuple[str, ...]) -> Json:
    """A DownstreamTlsContext. TLS 1.3 suites are BoringSSL's own three and cannot be chosen."""
    clients = facts.policy.clients
    common: Json = {
        "alpn_protocols": list(alpn),
        "tls_params": _parameters(facts),
        "tls_certificate_sds_secret_configs": [
            _sds(name) for name in (SERVER_SECRET, SECOND_SECRET)[: 2 if facts.second_chain else 1]
        ],
    }
    if clients.mode != "off":
        common["combined_validation_context"] = {
            "default_validation_context": {"max_verify_depth": _CLIENT_CHAIN_DEPTH},
            "validation_context_sds_secret_config": _sds(TRUST_SECRET),
        }
    # Who shows a certificate shows it each time: a resumed session would outlive its revocation.
    return typed(
        _TLS + "DownstreamTlsContext",
        common_tls_context=common,
        require_client_certificate=clients.mode == "required",
        **(_AFRESH if clients.mode != "off" else {}),
        # For names that are in no certificate: without it the first one is shown, whatever the client takes.
        **({"full_scan_certs_on_sni_mismatch": True} if facts.second_chain else {}),
    )


def proof(facts: RenderFacts, *, alpn: str, chain: str, key: str) -> Json:
    """A DownstreamTlsContext that shows one certificate once, and asks for none."""
    common: Json = {
        "alpn_protocols": [alpn],
        "tls_params": _parameters(facts),
        "tls_certificates": [{"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}],
    }
    return typed(_TLS + "DownstreamTlsContext", common_tls_context=common, **_AFRESH)


def _parameters(facts: RenderFacts) -> Json:
    profile = facts.profile
    parameters: Json = {
        "tls_minimum_protocol_version": profile.protocols[0].replace(".", "_"),
        "tls_maximum_protocol_version": profile.protocols[-1].replace(".", "_"),
        "ecdh_curves": list(profile.groups),
        "signature_algorithms": list(profile.signature_algorithms),
    }
    if profile.tls12_suites:
        parameters["cipher_suites"] = list(profile.tls12_suites)
    return parameters


def secrets(facts: RenderFacts) -> dict[str, Json]:
    """The SDS files: paths only, never key material."""
    rendered = {f"sds-{SERVER_SECRET}.json": _pair(SERVER_SECRET, facts.chain, facts.key, facts)}
    if facts.second_chain:
        second = _pair(SECOND_SECRET, facts.second_chain, facts.second_key, facts)
        rendered[f"sds-{SECOND_SECRET}.json"] = second
    if facts.policy.clients.mode != "off":
        trust = {
            "name": TRUST_SECRET,
            "validation_context": {
                "trusted_ca": {"filename": facts.trust},
                "watched_directory": {"path": facts.trust_folder},
                **({"crl": {"filename": facts.lists}} if facts.lists else {}),
            },
        }
        rendered[f"sds-{TRUST_SECRET}.json"] = _secret(trust)
    return rendered


def _pair(name: str, chain: str, key: str, facts: RenderFacts) -> Json:
    certificate = {
        "certificate_chain": {"filename": chain},
        "private_key": {"filename": key},
        "watched_directory": {"path": facts.certificate_folder},
    }
    return _secret({"name": name, "tls_certificate": certificate})


def _secret(secret: Json) -> Json:
    return {"resources": [typed(_TLS + "Secret", **secret)]}
