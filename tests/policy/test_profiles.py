"""TLS profiles against the guideline they are taken from."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from sealgate.errors import PolicyError
from sealgate.policy.profiles import closest_profile, load_profile, profile_ids

GROUPS = {"prime256v1": "P-256", "secp384r1": "P-384"}

# Facts of Mozilla's guideline 6.0, by its own key names. Its file is compared too, where it lies beside the
# repository.
GUIDELINE = Path(__file__).parents[3] / "shared" / "guidelines" / "6.0.json"
TLS13 = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
CURVES = ["X25519MLKEM768", "X25519", "prime256v1", "secp384r1"]
FACTS: dict[str, dict[str, Any]] = {
    "modern": {
        "tls_versions": ["TLSv1.3"],
        "ciphers": [],
        "ciphersuites": TLS13,
        "tls_curves": CURVES,
        "certificate_types": ["ecdsa"],
        "server_preferred_order": False,
    },
    "intermediate": {
        "tls_versions": ["TLSv1.2", "TLSv1.3"],
        "ciphers": [
            f"ECDHE-{kind}-{cipher}"
            for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
            for kind in ("ECDSA", "RSA")
        ],
        "ciphersuites": TLS13,
        "tls_curves": CURVES,
        "certificate_types": ["ecdsa", "rsa"],
        "server_preferred_order": False,
    },
}


@pytest.mark.parametrize("name", ["modern", "intermediate"])
def test_the_facts_are_the_guidelines(name: str) -> None:
    if GUIDELINE.exists():
        theirs = json.loads(GUIDELINE.read_text())["configurations"][name]
        theirs["ciphers"] = theirs["ciphers"]["openssl"]
        assert {key: theirs[key] for key in FACTS[name]} == FACTS[name]


def test_both_are_there() -> None:
    assert profile_ids() == ("intermediate@6.0", "modern@6.0")


@pytest.mark.parametrize("name", ["modern", "intermediate"])
def test_it_says_what_the_guideline_says(name: str) -> None:
    profile, theirs = load_profile(f"{name}@6.0"), FACTS[name]
    assert list(profile.protocols) == theirs["tls_versions"]
    assert list(profile.tls12_suites) == theirs["ciphers"]
    assert list(profile.tls13_suites) == theirs["ciphersuites"]
    assert list(profile.groups) == [GROUPS.get(g, g) for g in theirs["tls_curves"]]
    assert list(profile.certificate_types) == theirs["certificate_types"]
    assert profile.server_preferred_order is theirs["server_preferred_order"]
    assert profile.id == f"{name}@6.0"
    assert profile.minimum_protocol == theirs["tls_versions"][0]


@pytest.mark.parametrize("name", ["modern@6.0", "intermediate@6.0"])
def test_what_both_demand(name: str) -> None:
    """What must hold of a profile even where the guideline's own file is not at hand."""
    profile = load_profile(name)
    assert profile.groups == ("X25519MLKEM768", "X25519", "P-256", "P-384")
    assert set(profile.protocols) <= {"TLSv1.2", "TLSv1.3"}
    for suite in profile.tls12_suites:
        assert suite.startswith("ECDHE-")
        assert "GCM" in suite or "CHACHA20" in suite
    assert not any("sha1" in algorithm for algorithm in profile.signature_algorithms)
    assert bool(profile.tls12_suites) == ("TLSv1.2" in profile.protocols)


def test_a_profile_is_complete() -> None:
    for name in profile_ids():
        values = dataclasses.asdict(load_profile(name))
        values.pop("tls12_suites")  # empty where TLS 1.2 is off
        values.pop("server_preferred_order")
        assert all(values.values()), name


@pytest.mark.parametrize(
    ("profile", "key_type", "fits"),
    [
        ("modern@6.0", "ecdsa-p256", True),
        ("modern@6.0", "rsa-3072", False),
        ("intermediate@6.0", "rsa-2048", True),
        ("intermediate@6.0", "ed25519", False),
    ],
)
def test_which_keys_fit(profile: str, key_type: str, *, fits: bool) -> None:
    assert load_profile(profile).accepts_key(key_type) is fits


@pytest.mark.parametrize(
    ("name", "meant"), [("moderm@6.0", "modern@6.0"), ("Intermediate", "intermediate@6.0")]
)
def test_misspelt(name: str, meant: str) -> None:
    assert closest_profile(name) == meant
    with pytest.raises(PolicyError, match=f"use {meant}, if") as caught:
        load_profile(name)
    assert caught.value.code == "profile-unknown"


@pytest.mark.parametrize("name", ["", "../profiles.py", "zzz"])
def test_unknown(name: str) -> None:
    with pytest.raises(PolicyError, match=r"use one of intermediate@6\.0, modern@6\.0"):
        load_profile(name)
