"""What every engine promises of a certificate."""

from __future__ import annotations

from pathlib import Path

from sealgate.engines.contract import Capability
from sealgate.engines.promises import certificate
from sealgate.policy.load import loads

_FILES = '[certificate]\nsource = "files"\nfiles = { chain = "c.pem", key = "k.pem" }\n'


def _promised(text: str) -> dict[str, str]:
    policy = loads(f'[site]\nnames = ["a.test"]\n{text}', path=Path("/sealgate.toml"), environ={}).policy
    return {
        row.key: f"{row.promise}; {row.how}" for row in certificate(policy) if isinstance(row, Capability)
    }


def test_the_kind_of_a_key_is_promised_where_it_is_made() -> None:
    assert _promised("")["certificate.key_type"] == "ecdsa-p256 keys; made here, never leave"
    files = _promised(_FILES)
    assert files["certificate.key_type"] == "the kind that your key is; no key is made here"
    assert "ecdsa" not in " ".join(files.values())
