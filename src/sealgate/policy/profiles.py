"""Dated TLS profiles: protocol versions, suites, groups and certificate kinds, as data.

A profile is a TOML file in ``profiles/``, named by what it is and when: ``intermediate@6.0``. Its meaning
never changes; a newer guideline is a new file, and moving to it is the user's decision, written in the
policy.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

from sealgate.errors import PolicyError
from sealgate.policy.quoting import shown

__all__ = ["Profile", "closest_profile", "load_profile", "profile_ids"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One profile; every tuple is in the order of preference.

    Attributes:
        protocols: ``TLSv1.2``, ``TLSv1.3``.
        tls12_suites: OpenSSL's names; empty where TLS 1.2 is off.
        tls13_suites: IANA's names.
        groups: ``X25519MLKEM768``, ``X25519``, ``P-256``, ``P-384``.
        signature_algorithms: TLS SignatureScheme names (RFC 8446 §4.2.3).
        certificate_types: ``ecdsa``, ``rsa``.
    """

    id: str
    date: date
    source: str
    protocols: tuple[str, ...]
    tls12_suites: tuple[str, ...]
    tls13_suites: tuple[str, ...]
    groups: tuple[str, ...]
    signature_algorithms: tuple[str, ...]
    certificate_types: tuple[str, ...]
    server_preferred_order: bool

    @property
    def minimum_protocol(self) -> str:
        """The oldest version offered."""
        return self.protocols[0]

    def accepts_key(self, key_type: str) -> bool:
        """Does a certificate with a key such as ``ecdsa-p256`` or ``rsa-3072`` fit?"""
        return key_type.partition("-")[0] in self.certificate_types


@cache
def profile_ids() -> tuple[str, ...]:
    """The names a policy may use, sorted."""
    folder = files("sealgate.policy") / "profiles"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


def closest_profile(name: str) -> str:
    """The profile that a misspelt name probably meant, or an empty text."""
    close = difflib.get_close_matches(name.lower(), profile_ids(), n=1, cutoff=0.5)
    return close[0] if close else ""


@cache
def load_profile(name: str) -> Profile:
    """The profile of this name.

    Raises:
        PolicyError: ``profile-unknown``.
    """
    if name not in profile_ids():
        close = closest_profile(name)
        raise PolicyError(
            "profile-unknown",
            f"there is no TLS profile {shown(name)}",
            f"use {close}, if that was meant" if close else f"use one of {', '.join(profile_ids())}",
        )
    text = (files("sealgate.policy") / "profiles" / f"{name}.toml").read_text("utf-8")
    data: dict[str, Any] = tomllib.loads(text)
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    return Profile(**fields)
