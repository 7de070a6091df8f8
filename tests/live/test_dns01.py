"""dns-01 while serving: a wildcard by DNS updates to BIND, asked by Pebble, served, renewed, tidied up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.acme.dns.named import Named, named
from tests.acme.pebble import Server, pebble
from tests.live.served import serve
from tests.live.test_acme import GOT, sealgate, shown

NAMES = ["example.test", "*.example.test"]


@pytest.fixture(scope="module")
def zone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Named]:
    with named(tmp_path_factory.mktemp("named"), {"example.test": ""}) as running:
        yield running


@pytest.fixture(scope="module")
def authority(zone: Named, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pebble(tmp_path_factory.mktemp("pebble"), dns_server=zone.server) as running:
        yield running


def test_a_wildcard_by_dns_updates(tmp_path: Path, zone: Named, authority: Server) -> None:
    """The resolver of the policy is asked: the machine's own knows nothing of this zone."""
    acme = {
        "directory": authority.directory,
        "ca_file": str(authority.ca_file),
        "challenge": "dns-01",
        "dns": {
            "rfc2136": zone.table().model_dump(mode="json", exclude_none=True)
            | {"key": {"file": str(zone.folder / "hmac-sha256.key")}},
            "resolver": zone.server,
            "seen_at": "resolver",
        },
    }
    with serve(
        tmp_path,
        app="ops:app",
        site={"names": NAMES},
        listen={"http": []},
        certificate={"source": "acme", "acme": acme},
    ) as served:
        served.wait_for(lambda: GOT in served.err, 90)
        names = shown(served).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert set(names.get_values_for_type(x509.DNSName)) == set(NAMES)
        served.wait_for(lambda: zone.texts("_acme-challenge.example.test") == set())
        before = shown(served).serial_number
        rehearsed = sealgate(served, "cert", "renew", "--dry-run")
        assert "every name could be proven" in rehearsed.stderr, rehearsed.stderr
        assert served.order(order="renew", force=True)["renewed"]
        assert shown(served).serial_number != before
        served.wait_for(lambda: zone.texts("_acme-challenge.example.test") == set())


def test_a_resolver_that_does_not_know_the_zone_is_said(tmp_path: Path, zone: Named) -> None:
    """Nothing is asked of the authority, which would count it."""
    acme = {
        "directory": "https://127.0.0.1:9/dir",
        "challenge": "dns-01",
        "dns": {
            "rfc2136": {
                "server": zone.server,
                "key_name": "hmac-sha256.",
                "key": {"file": str(zone.folder / "hmac-sha256.key")},
            },
            "resolver": zone.server,
        },
    }
    zone.table()
    with serve(
        tmp_path,
        app="ops:app",
        site={"names": ["other.internal"]},
        listen={"http": []},
        certificate={"source": "acme", "acme": acme},
    ) as served:
        rehearsed = sealgate(served, "cert", "renew", "--dry-run")
    assert rehearsed.returncode == 3
    assert "acme-dns-lookup" in rehearsed.stderr
