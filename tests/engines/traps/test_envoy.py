"""Envoy's traps: a bootstrap without any, and for each trap the change that brings it, and its line."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import trustme
import yaml

from sealgate.engines.configurations.library import Texts
from sealgate.engines.facts import RenderFacts, Worker
from sealgate.engines.registry import engine
from sealgate.engines.servers.envoy.binary import program
from sealgate.engines.traps.envoy import TRAPS
from sealgate.policy.model import Policy
from sealgate.policy.profiles import load_profile

TYPE = "type.googleapis.com/envoy"
RIGHT = f"""\
node: {{id: a, cluster: a}}
admin:
  address:
    socket_address: {{address: 127.0.0.1, port_value: 0}}
overload_manager:
  resource_monitors:
  - name: envoy.resource_monitors.global_downstream_max_connections
    typed_config:
      "@type": {TYPE}.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig
      max_active_downstream_connections: 1000
static_resources:
  listeners:
  - name: https
    address:
      socket_address: {{address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - transport_socket_connect_timeout: 5s
      transport_socket:
        name: tls
        typed_config:
          "@type": {TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          common_tls_context:
            tls_certificate_sds_secret_configs:
            - name: server
              sds_config: {{path_config_source: {{path: /p/server.yaml}}}}
            combined_validation_context:
              default_validation_context: {{}}
              validation_context_sds_secret_config:
                name: clients
                sds_config: {{path_config_source: {{path: /p/clients.yaml}}}}
      filters:
      - name: http
        typed_config:
          "@type": {TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
          use_remote_address: true
          normalize_path: true
          merge_slashes: true
          path_with_escaped_slashes_action: REJECT_REQUEST
          forward_client_cert_details: SANITIZE_SET
          request_headers_timeout: 10s
          stream_idle_timeout: 60s
          common_http_protocol_options:
            headers_with_underscores_action: REJECT_REQUEST
            max_connection_duration: 600s
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: /admin}}
                direct_response: {{status: 403}}
              - match: {{prefix: /}}
                direct_response: {{status: 200}}
          http_filters:
          - name: router
            typed_config: {{"@type": {TYPE}.extensions.filters.http.router.v3.Router}}
"""
SERVER = f"""\
resources:
- "@type": {TYPE}.extensions.transport_sockets.tls.v3.Secret
  name: server
  tls_certificate:
    certificate_chain: {{filename: /p/chain.pem}}
    private_key: {{filename: /p/key.pem}}
"""
CLIENTS = f"""\
resources:
- "@type": {TYPE}.extensions.transport_sockets.tls.v3.Secret
  name: clients
  validation_context:
    trusted_ca: {{filename: /p/ca.pem}}
    crl: {{filename: /p/crl.pem}}
"""
BY_SDS = RIGHT[
    RIGHT.index("            tls_certificate_sds_secret_configs") : RIGHT.index("            comb")
]
CHECKS = RIGHT[RIGHT.index("            combined_validation_context") : RIGHT.index("      filters:")]
STATIC = """\
            tls_certificates:
            - certificate_chain: {filename: /p/chain.pem}
              private_key: {filename: /p/key.pem}
"""
QUIC = f"""\
  - name: quic
    address:
      socket_address: {{address: 127.0.0.1, port_value: 0, protocol: UDP}}
    udp_listener_config: {{quic_options: {{}}}}
    filter_chains:
    - transport_socket:
        name: quic
        typed_config:
          "@type": {TYPE}.extensions.transport_sockets.quic.v3.QuicDownstreamTransport
          enable_early_data: false
          downstream_tls_context:
            common_tls_context:
{BY_SDS.replace("            ", "              ")}      filters:
      - name: http
        typed_config:
          "@type": {TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          codec_type: HTTP3
          stat_prefix: quic
"""
QUIC += RIGHT[RIGHT.index("          use_remote_address") :]
AUTHZ = f"""\
          - name: ask
            typed_config:
              "@type": {TYPE}.extensions.filters.http.ext_authz.v3.ExtAuthz
              failure_mode_allow: true
              http_service: {{server_uri: {{uri: "http://a", cluster: a, timeout: 1s}}}}
"""
CLUSTER = """\
  clusters:
  - name: a
    load_assignment: {cluster_name: a}
"""


def manager(line: str) -> str:
    return f"          {line}\n"


MANAGER = f'        typed_config:\n          "@type": {TYPE}.extensions.filters.network.http_c'
OPTIONS = "            headers_with_underscores_action: REJECT_REQUEST\n"
LONGEST = "            max_connection_duration: 600s\n"

# What stands in RIGHT, what stands there instead, the trap, and what its line begins with.
CASES = [
    (manager("normalize_path: true"), "", "envoy-path-not-normalised", MANAGER),
    ("normalize_path: true", "normalize_path: no", "envoy-path-not-normalised", "          normalize_path"),
    ("merge_slashes: true", "merge_slashes: false", "envoy-slashes-not-merged", "          merge_slashes"),
    ("action: REJECT_REQUEST\n          for", "action: KEEP_UNCHANGED\n          for",
     "envoy-escaped-slashes", "          path_with"),
    ("SANITIZE_SET", "APPEND_FORWARD", "envoy-client-field-passes", "          forward_client"),
    ("SANITIZE_SET", "ALWAYS_FORWARD_ONLY", "envoy-client-field-passes", "          forward_client"),
    (manager("use_remote_address: true"), "", "envoy-address-believed", MANAGER),
    (OPTIONS, "", "envoy-underscores", "          common_http"),
    (OPTIONS, OPTIONS.replace("REJECT_REQUEST", "ALLOW"), "envoy-underscores", "            headers_with"),
    (manager("request_headers_timeout: 10s"), "", "envoy-headers-slow", MANAGER),
    ("headers_timeout: 10s", "headers_timeout: 0s", "envoy-headers-slow", "          request_headers"),
    ("stream_idle_timeout: 60s", "stream_idle_timeout: 0.0s", "envoy-never-idle", "          stream_idle"),
    (LONGEST, LONGEST + "            idle_timeout: 0s\n", "envoy-never-idle", "            idle_timeout"),
    (LONGEST, "", "envoy-revoked-stays", "          common_http"),
    ("          - name: router", AUTHZ + "          - name: router", "envoy-authz-fails-open",
     "              failure_mode"),
    (CHECKS, "", "envoy-client-not-asked", "          require_client"),
    ("context: {}", "context: {trust_chain_verification: ACCEPT_UNTRUSTED}", "envoy-client-unverified",
     "              default_validation"),
    ("  require_client_certificate: true", "  require_client_certificate: false", "envoy-verify-unused", ""),
    (CHECKS, "            validation_context:\n              trusted_ca: {filename: /p/ca.pem}\n",
     "envoy-crl-missing", "              trusted_ca"),
    ("context: {}", "context: {crl: {filename: /p/crl.pem}}", "envoy-crl-never-reloaded",
     "              default_validation"),
    (BY_SDS, STATIC, "envoy-certificate-never-reloaded", "            tls_certificates"),
    ("    - transport_socket_connect_timeout: 5s\n      transport_socket:\n        name: tls",
     "    - transport_socket:\n        name: tls", "envoy-handshake-unbounded", "    - transport_socket"),
    ("global_downstream_max_connections\n", "none\n", "", ""),
    (RIGHT[RIGHT.index("overload_manager") : RIGHT.index("static_resources")], "",
     "envoy-connections-unlimited", "  - name: https"),
    ("    socket_address: {address: 127.0.0.1", "    socket_address: {address: 0.0.0.0", "envoy-admin-open",
     "    socket_address"),
    ("  listeners:\n", f"  listeners:\n{QUIC}", "", ""),
    ("  listeners:\n", f"  listeners:\n{QUIC.replace('          enable_early_data: false', '')}",
     "envoy-quic-early-data", "        typed_config"),
    ("  listeners:\n", "  listeners:\n" + QUIC.replace(
        "downstream_tls_context:\n", "downstream_tls_context:\n            require_client_certificate: true\n"
     ).replace("      filters:", CHECKS.replace("            ", "              ") + "      filters:"),
     "envoy-quic-client-certificates", "            require_client"),
]  # fmt: skip


def texts(bootstrap: str, **more: str) -> Texts:
    given = {"server": SERVER, "clients": CLIENTS} | more
    return Texts({"/b": bootstrap} | {f"/p/{name}.yaml": text for name, text in given.items()})


def found(library: Texts) -> list[tuple[str, str, int]]:
    result = TRAPS.find("/b", library)
    assert result.unread == ()
    return sorted((trap.id, trap.file, trap.line) for trap in result.traps)


def changed(old: str, new: str) -> str:
    assert RIGHT.count(old) >= 1
    text = RIGHT.replace(old, new, 1)
    return text + CLUSTER if "cluster: a, timeout" in new else text


@pytest.mark.parametrize(("old", "new", "trap", "line"), CASES, ids=range(len(CASES)))
def test_each_trap_is_seen_where_it_is(old: str, new: str, trap: str, line: str) -> None:
    text = changed(old, new)
    if trap == "envoy-verify-unused":  # the app is told, so a rule must be gone, too
        text = text.replace("SANITIZE_SET", "SANITIZE")
        (seen,) = (one for one in found(texts(text)) if one[0] == trap)
        assert seen == (trap, "/p/clients.yaml", 5)
        return
    expected = [(trap, "/b", text.count("\n", 0, text.index(f"\n{line}")) + 2)] if trap else []
    assert [one for one in found(texts(text)) if one[0] == trap or not trap] == expected


def test_a_trap_brings_no_other() -> None:
    assert found(texts(RIGHT)) == []
    for old, new, trap, _ in CASES:
        together = {trap} | ({"envoy-revoked-stays"} if trap == "envoy-client-not-asked" else set())
        assert {one[0] for one in found(texts(changed(old, new)))} - together == set(), trap


LISTS = [
    ("crl: {filename: /p/crl.pem}", "{}", []),
    ("crl: {inline_string: none}", "{}", [("envoy-crl-unusable", "/p/clients.yaml", 6)]),
    ("crl: {filename: /p/garbage.yaml}", "{}", [("envoy-crl-unusable", "/p/clients.yaml", 6)]),
    ("max_verify_depth: 3", "{}", [("envoy-crl-missing", "/p/clients.yaml", 5)]),
]
SEEN = {case[2] for case in CASES if case[2]} | {"envoy-crl-unusable", "envoy-key-inline"}
"""Those that a test here has seen."""


@pytest.mark.parametrize(("instead", "default", "expected"), LISTS)
def test_lists(instead: str, default: str, expected: list[tuple[str, str, int]]) -> None:
    clients = CLIENTS.replace("crl: {filename: /p/crl.pem}", instead)
    bootstrap = RIGHT.replace("context: {}", f"context: {default}")
    assert found(texts(bootstrap, clients=clients, garbage="garbage")) == expected


def test_a_key_in_the_file_is_named_and_not_shown() -> None:
    server = SERVER.replace("{filename: /p/key.pem}", "{inline_string: SECRET}")
    result = TRAPS.find("/b", texts(RIGHT, server=server))
    assert [(trap.id, trap.file, trap.line) for trap in result.traps] == [
        ("envoy-key-inline", "/p/server.yaml", 6)
    ]
    assert "SECRET" not in str(result)


def test_json_and_the_other_spelling_are_read_alike() -> None:
    bootstrap = yaml.safe_load(RIGHT.replace("normalize_path: true", "normalize_path: false"))
    camel = re.sub(
        r'(?<=[a-z0-9])_([a-z])(?=\w*": )', lambda m: m[1].upper(), json.dumps(bootstrap, indent=1)
    )
    assert "filterChains" in camel
    for text in (json.dumps(bootstrap, indent="\t"), camel):
        at = 1 + text.count("\n", 0, re.search("normalize_?path", text, re.IGNORECASE).start())  # type: ignore[union-attr]
        assert found(texts(text)) == [("envoy-path-not-normalised", "/b", at)]


def test_static_secrets_are_found_by_name_and_are_read_once() -> None:
    text = RIGHT.replace("                sds_config: {path_config_source: {path: /p/clients.yaml}}\n", "")
    secret = CLIENTS.split("\n", 2)[2].replace("  ", "    ").replace("    name", "  - name", 1)
    text += f"  secrets:\n{secret}"
    assert [one[0] for one in found(texts(text))] == ["envoy-crl-never-reloaded"]


def test_listeners_in_a_file_of_their_own() -> None:
    whole = yaml.safe_load(RIGHT.replace("merge_slashes: true", "merge_slashes: false"))
    (listener,) = whole.pop("static_resources")["listeners"]
    whole["dynamic_resources"] = {"lds_config": {"path_config_source": {"path": "p/lds.yaml"}}}
    lds = json.dumps({"resources": [{"@type": f"{TYPE}.config.listener.v3.Listener", **listener}]})
    assert found(texts(json.dumps(whole), lds=lds)) == [("envoy-slashes-not-merged", "/p/lds.yaml", 1)]


def test_bounds_of_single_listeners() -> None:
    limit = "  - name: https\n    ignore_global_conn_limit: true\n"
    assert found(texts(RIGHT.replace("  - name: https\n", limit))) == [
        ("envoy-connections-unlimited", "/b", 13)
    ]
    bare = RIGHT[: RIGHT.index("overload_manager")] + RIGHT[RIGHT.index("static_resources") :]
    layer = "static_layer: {envoy.resource_limits.listener.X.connection_limit: 9}"
    runtime = f"layered_runtime: {{layers: [{{name: a, {layer}}}]}}\n"
    assert found(texts(bare + runtime.replace("X", "https"))) == []
    assert [one[0] for one in found(texts(bare + runtime))] == ["envoy-connections-unlimited"]
    chain = '      - name: limit\n        typed_config: {"@type": x.connection_limit.v3.ConnectionLimit}\n'
    assert found(texts(bare.replace("      - name: http\n", chain + "      - name: http\n"))) == []


def test_what_another_program_says_is_not_judged_and_said() -> None:
    text = RIGHT.replace("{path_config_source: {path: /p/clients.yaml}}", "{ads: {}}")
    result = TRAPS.find("/b", texts(text))
    assert result.traps == ()
    assert [one.why for one in result.unread] == ["it comes from another program (xDS)"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("envoy")
    authority = trustme.CA()
    server = authority.issue_cert("localhost")
    server.cert_chain_pems[0].write_to_path(str(made / "chain.pem"))
    server.private_key_pem.write_to_path(str(made / "key.pem"))
    authority.cert_pem.write_to_path(str(made / "ca.pem"))
    (made / "crl.pem").write_text("none")  # Envoy says nothing, which is a trap
    for name, text in (("server", SERVER), ("clients", CLIENTS)):
        (made / f"{name}.yaml").write_text(text.replace("/p/", f"{made}/"))
    return made


def everything_wrong() -> str:
    text = RIGHT
    for old, new, trap, _ in CASES:
        text = text.replace(old, new, 1) if trap else text
    return text + CLUSTER


@pytest.mark.parametrize("text", [RIGHT, everything_wrong()], ids=["right", "wrong"])
def test_envoy_itself_takes_what_is_tried_here(text: str, folder: Path) -> None:
    (folder / "bootstrap.yaml").write_text(text.replace("/p/", f"{folder}/"))
    binary = str(program(os.environ, untested=False).path)
    call = [binary, "--mode", "validate", "-c", "bootstrap.yaml", "-l", "error", "--use-dynamic-base-id"]
    done = subprocess.run(call, cwd=folder, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]


@pytest.mark.parametrize("mode", ["off", "optional", "required"])
def test_what_we_render_ourselves(mode: str) -> None:
    """Paths are left alone on purpose: the guard refuses what is not canonical, and looks at lists."""
    policy = Policy.model_validate({"clients": {"mode": mode}})
    facts = RenderFacts(
        policy=policy,
        profile=load_profile(policy.tls.profile),
        backend="wsgi",
        chain="c",
        key="k",
        certificate_folder="f",
        trust="" if mode == "off" else "t",
        system_trust="/s",
        proof="p",
        workers=(Worker("run/app.sock"),),
    )
    files = {
        f"/s/engines/envoy/{name}": text.decode() for name, text in engine("envoy").render(facts).items()
    }
    result = TRAPS.find("/s/engines/envoy/bootstrap.json", Texts(files))
    paths = {"envoy-path-not-normalised", "envoy-slashes-not-merged", "envoy-escaped-slashes"}
    assert {trap.id for trap in result.traps} <= paths | {"envoy-crl-missing"}
    assert result.unread == ()
