"""The TLS side of a listener: versions, suites, groups; certificate and client authorities by SDS."""

from __future__ import annotations

from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.envoy.facts import FOLDER, Json, typed

__all__ = ["SERVER_SECRET", "TRUST_SECRET", "downstream", "secrets"]

SERVER_SECRET = "server"  # noqa: S105 - the name of an SDS resource
TRUST_SECRET = "clients"  # noqa: S105 - the name of an SDS resource
_TLS = "envoy.extensions.transport_sockets.tls.v3."
_CLIENT_CHAIN_DEPTH = 5


def _sds(name: str) -> Json:
    path = {"path": f"{FOLDER}/sds-{name}.json"}
    return {"name": name, "sds_config": {"resource_api_version": "V3", "path_config_source": path}}


def downstream(facts: RenderFacts, *, alpn: tuple[str, ...]) -> Json:
    """A DownstreamTlsContext. TLS 1.3 suites are BoringSSL's own three and cannot be chosen."""
    profile, clients = facts.profile, facts.policy.clients
    parameters: Json = {
        "tls_minimum_protocol_version": profile.protocols[0].replace(".", "_"),
        "tls_maximum_protocol_version": profile.protocols[-1].replace(".", "_"),
        "ecdh_curves": list(profile.groups),
        "signature_algorithms": list(profile.signature_algorithms),
    }
    if profile.tls12_suites:
        parameters["cipher_suites"] = list(profile.tls12_suites)
    common: Json = {
        "alpn_protocols": list(alpn),
        "tls_params": parameters,
        "tls_certificate_sds_secret_configs": [_sds(SERVER_SECRET)],
    }
    if clients.mode != "off":
        common["combined_validation_context"] = {
            "default_validation_context": {"max_verify_depth": _CLIENT_CHAIN_DEPTH},
            "validation_context_sds_secret_config": _sds(TRUST_SECRET),
        }
    return typed(
        _TLS + "DownstreamTlsContext",
        common_tls_context=common,
        require_client_certificate=clients.mode == "required",
    )


def secrets(facts: RenderFacts) -> dict[str, Json]:
    """The SDS files: paths only, never key material."""
    server = {
        "name": SERVER_SECRET,
        "tls_certificate": {
            "certificate_chain": {"filename": facts.chain},
            "private_key": {"filename": facts.key},
            "watched_directory": {"path": facts.certificate_folder},
        },
    }
    rendered: dict[str, Json] = {f"sds-{SERVER_SECRET}.json": _secret(server)}
    if facts.policy.clients.mode != "off":
        trust = {
            "name": TRUST_SECRET,
            "validation_context": {
                "trusted_ca": {"filename": facts.trust},
                "watched_directory": {"path": facts.trust_folder},
            },
        }
        rendered[f"sds-{TRUST_SECRET}.json"] = _secret(trust)
    return rendered


def _secret(secret: Json) -> Json:
    return {"resources": [typed(_TLS + "Secret", **secret)]}
