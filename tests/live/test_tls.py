"""Versions, suites and groups are the profile's, and no others."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sealgate.engines.servers.envoy.binary import find
from sealgate.policy.profiles import Profile, load_profile
from tests.live import hello
from tests.live.served import Served, free_port
from tests.live.wire import get, h2_connection, read_until_closed, tell, witnessed

SUITES = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": 0xC02B,
    "ECDHE-RSA-AES128-GCM-SHA256": 0xC02F,
    "ECDHE-ECDSA-AES256-GCM-SHA384": 0xC02C,
    "ECDHE-RSA-AES256-GCM-SHA384": 0xC030,
    "ECDHE-ECDSA-CHACHA20-POLY1305": 0xCCA9,
    "ECDHE-RSA-CHACHA20-POLY1305": 0xCCA8,
}
CBC = (0xC009, 0xC00A, 0xC013, 0xC014, 0xC023, 0xC024, 0xC027, 0xC028, 0x002F, 0x0035, 0x003C, 0x003D)
OTHERS = (0x009C, 0x009D, 0x000A, 0x0005, 0xC007, 0xC0AC, 0x0001, 0xC012)
PROTOCOL_VERSION, HANDSHAKE_FAILURE = 70, 40


@pytest.fixture(
    scope="module", params=["intermediate@6.0", pytest.param("modern@6.0", marks=pytest.mark.long)]
)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with witnessed(tmp_path_factory.mktemp("site"), tls={"profile": request.param}) as (served, _):
        yield served


def profile(served: Served) -> Profile:
    return load_profile(served.tables["tls"]["profile"])


def say(
    served: Served, versions: tuple[int, ...], suites: tuple[int, ...], groups: tuple[int, ...]
) -> hello.Answer:
    return hello.ask((served.host, served.https), hello.client_hello(versions, suites, groups))


EC = (hello.GROUPS["X25519"], hello.GROUPS["P-256"])


@pytest.mark.parametrize("version", [0x0300, 0x0301, 0x0302])
def test_old_versions_are_refused(site: Served, version: int) -> None:
    suites = (*SUITES.values(), *CBC, *OTHERS)
    try:
        assert say(site, (version,), suites, EC).alert == PROTOCOL_VERSION
    except ConnectionResetError:
        assert version == 0x0300, "SSL 3.0 is not even recognised"


@pytest.mark.parametrize("suites", [CBC, OTHERS])
def test_a_client_with_weak_suites_only_is_refused(site: Served, suites: tuple[int, ...]) -> None:
    assert say(site, (0x0303,), suites, EC).alert in {HANDSHAKE_FAILURE, PROTOCOL_VERSION}


def test_tls12_has_the_profiles_suites_one_by_one(site: Served) -> None:
    served = set()
    for name, number in SUITES.items():
        answer = say(site, (0x0303,), (number,), EC)
        if answer.alert < 0:
            assert (answer.version, answer.suite) == (0x0303, number)
            served.add(name)
    # The certificate here is an ECDSA one; the suites for RSA are for those who bring such a key.
    assert served == {name for name in profile(site).tls12_suites if "ECDSA" in name}


def test_tls13_has_its_suites(site: Served) -> None:
    for suite in hello.TLS13:
        answer = say(site, (0x0304,), (suite,), EC)
        assert (answer.version, answer.suite) == (0x0304, suite)


def test_groups_are_the_profiles_in_its_order(site: Served) -> None:
    chosen = {}
    for name, number in hello.GROUPS.items():
        answer = say(site, (0x0304,), hello.TLS13, (number,))
        chosen[name] = answer.retry and answer.group == number
    assert {name for name, taken in chosen.items() if taken} == set(profile(site).groups)
    backwards = tuple(reversed(hello.GROUPS.values()))
    answer = say(site, (0x0304,), hello.TLS13, backwards)
    assert answer.group == hello.GROUPS["X25519MLKEM768"], (
        "the first choice, whatever the client would like best"
    )


@pytest.mark.parametrize(
    ("version", "protocol"), [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")]
)
def test_both_versions_answer_as_the_profile_says(
    site: Served, version: ssl.TLSVersion, protocol: str
) -> None:
    context = site.context(minimum_version=ssl.TLSVersion.TLSv1_2, maximum_version=version)
    context.minimum_version = version
    if protocol not in profile(site).protocols:
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
            site.connect(context)
        return
    with site.connect(context) as tls:
        assert tls.version() == protocol
        tls.sendall(get("localhost", "/x"))
        assert read_until_closed(tls).startswith(b"HTTP/1.1 200 ")


def test_the_openssl_command_agrees_on_old_versions(site: Served) -> None:
    for flag in ("-tls1", "-tls1_1"):
        command = [
            "openssl",
            "s_client",
            flag,
            "-cipher",
            "ALL:@SECLEVEL=0",
            "-connect",
            f"{site.host}:{site.https}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, input="", timeout=20, check=False)
        assert done.returncode != 0
        assert "alert protocol version" in done.stderr


def test_alpn_chooses_h2_or_h1(site: Served) -> None:
    for offered, chosen in (
        (["h2", "http/1.1"], "h2"),
        (["http/1.1"], "http/1.1"),
        (["http/1.1", "h2"], "h2"),
    ):
        context = site.context()
        context.set_alpn_protocols(offered)
        raw = socket.create_connection((site.host, site.https), timeout=20)
        with context.wrap_socket(raw, server_hostname="localhost") as tls:
            assert tls.selected_alpn_protocol() == chosen
    (answer,) = tell(site, get("localhost", "/x"))
    assert answer.status == 200
    connection = h2_connection(site)
    with connection.sock:
        second = connection.ask("/x", "localhost")
    assert second is not None
    assert second.status == 200


def test_no_renegotiation_no_compression_no_early_data(site: Served) -> None:
    """A session may be resumed; early data, which can be replayed, is not offered."""
    command = [
        "openssl",
        "s_client",
        "-connect",
        f"{site.host}:{site.https}",
        "-servername",
        "localhost",
        "-ign_eof",
    ]
    request = get("localhost", "/x").decode()
    done = subprocess.run(command, capture_output=True, text=True, input=request, timeout=20, check=False)
    assert "Compression: NONE" in done.stdout
    assert "Max Early Data: 0" in done.stdout or "Max Early Data" not in done.stdout
    assert "HTTP/1.1 200" in done.stdout


def pq_client(served: Served, port: int) -> dict[str, Any]:
    """An Envoy that forwards plain HTTP over TLS 1.3 with X25519MLKEM768 and nothing else."""
    tls = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": "localhost",
        "common_tls_context": {
            "tls_params": {
                "tls_minimum_protocol_version": "TLSv1_3",
                "tls_maximum_protocol_version": "TLSv1_3",
                "ecdh_curves": ["X25519MLKEM768"],
            },
            "validation_context": {"trusted_ca": {"filename": str(served.root)}},
        },
    }
    address = {"socket_address": {"address": served.host, "port_value": served.https}}
    cluster = {
        "name": "c",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "c",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "transport_socket": {"name": "tls", "typed_config": tls},
    }
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "c", "host_rewrite_literal": "localhost"}}
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network"
        ".http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "c",
        "route_config": {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "router", "typed_config": router}],
    }
    listener = {
        "name": "l",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def test_a_post_quantum_key_exchange_is_completed(tmp_path: Path) -> None:
    # BoringSSL knows no constraints on addresses, so as its server this one has none among its names.
    with witnessed(tmp_path, site={"names": ["localhost"]}) as (served, _):
        answer = over_pq(served, tmp_path)
    assert answer.startswith(b"HTTP/1.1 200 "), answer


def over_pq(served: Served, tmp_path: Path) -> bytes:
    port = free_port("127.0.0.1")
    config = tmp_path / "client.json"
    config.write_text(json.dumps(pq_client(served, port)))
    binary, _ = find(os.environ)
    command = [
        str(binary),
        "-c",
        str(config),
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "error",
    ]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as client:
        try:
            end = time.monotonic() + 20
            while True:
                try:
                    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
                        sock.sendall(get("localhost", "/quantum"))
                        return read_until_closed(sock)
                except ConnectionRefusedError:
                    assert time.monotonic() < end, (tmp_path / "log").read_text()
                    time.sleep(0.02)
        finally:
            client.terminate()
