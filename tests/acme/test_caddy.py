"""A second make of authority keeps us honest: Debian's Caddy (Smallstep's ACME)."""

from __future__ import annotations

from pathlib import Path

from tests.acme.caddy import ADDRESS, NAMES, in_a_network_of_its_own


def test_certificates_from_caddy(tmp_path: Path) -> None:
    seen = in_a_network_of_its_own(tmp_path)
    assert seen["had"] == {
        "http-01": sorted(NAMES),
        "address": [ADDRESS],
        "tls-alpn-01": [NAMES[0]],
    }
    assert len(seen["accounts"]) == 1
