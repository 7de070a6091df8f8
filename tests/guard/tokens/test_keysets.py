"""Which of the keys that an issuer publishes count, and the vectors of C2SP Wycheproof."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from sealgate.guard.tokens import verifier as module
from sealgate.guard.tokens.compact import Malformed, take_apart
from sealgate.guard.tokens.keysets import MOST_KEYS, KeySetError, keys_of, read_key_set
from sealgate.guard.tokens.refused import Refused
from tests.guard.tokens.issuing import ALGORITHMS, everything, jwk, number


def why(*jwks: dict[str, Any]) -> tuple[int, str]:
    found, others = keys_of(list(jwks))
    return len(found), "; ".join(others)


def test_those_that_count() -> None:
    found, others = keys_of(everything())
    assert (len(found), others) == (len(everything()), ())
    assert {key.kid for key in found} == set(ALGORITHMS)
    (loose,) = keys_of([jwk("RS256")])[0]
    assert loose.algorithms == {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
    (narrow,) = keys_of([jwk("RS256", alg="PS384", use="sig", key_ops=["verify"], x5c=["AA=="])])[0]
    assert narrow.algorithms == {"PS384"}
    assert loose.mark == narrow.mark


def small(bits: int, exponent: int = 65537) -> dict[str, Any]:
    numbers = rsa.generate_private_key(exponent, bits).public_key().public_numbers()
    return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        ({"kty": "oct", "k": "AAAA"}, "of a kind"),
        ({"kty": "EC"}, "an algorithm that is not used"),
        ({}, "of a kind"),
        ({"kty": ["RSA"]}, "of a kind"),
        (jwk("ES256", d="AAAA"), "private key"),
        (jwk("RS256", p="AAAA"), "private key"),
        (jwk("ES256", use="enc"), "not for signatures"),
        (jwk("ES256", key_ops=["encrypt"]), "not for signatures"),
        (jwk("ES256", key_ops="verify"), "not for signatures"),
        (jwk("ES256", alg="HS256"), "an algorithm that is not used"),
        (jwk("ES256", alg="ES384"), "an algorithm that is not used"),
        (jwk("ES256", alg=["ES256"]), "an algorithm that is not used"),
        (jwk("ES256") | {"kid": 7}, "a name that is no text"),
        (jwk("ES256", crv="P-384"), "cannot be read"),
        (jwk("ES256", crv="secp256k1"), "an algorithm that is not used"),
        (jwk("ES256", x="AAAA"), "cannot be read"),
        (jwk("ES256", y=None), "cannot be read"),
        (jwk("EdDSA", crv="X25519"), "an algorithm that is not used"),
        (jwk("EdDSA", x="AA"), "cannot be read"),
        (jwk("RS256", n="!!"), "cannot be read"),
        (jwk("RS256", e="AQ"), ""),
        (jwk("RS256", e="Ag"), ""),
        (small(1024), "cannot be read"),
    ],
)
def test_those_that_do_not(spoilt: dict[str, Any], reason: str) -> None:
    count, said = why(spoilt, jwk("ES256"))
    assert count == 1, "and the others stay"
    assert said.startswith("key 0 ")
    assert reason in said


def test_there_are_not_endlessly_many() -> None:
    count, said = why(*[jwk("ES256")] * (MOST_KEYS + 5))
    assert count == MOST_KEYS
    assert said == f"5 keys are beyond the first {MOST_KEYS}"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":[1]}',
        b"\xff",
        b"[" * 100_000,
        b" " * (1024 * 1024 + 1),
    ],
)
def test_what_is_no_set(data: bytes) -> None:
    with pytest.raises(KeySetError):
        read_key_set(data)


MEMBERS = st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "key_ops"])
VALUES = st.one_of(st.none(), st.text(max_size=9), st.integers(), st.lists(st.text(max_size=3)))


@given(st.dictionaries(MEMBERS, VALUES))
def test_any_key(one: dict[str, Any]) -> None:
    keys_of([one])


# The vectors: signatures over payloads that are no claims, so only what stands before the claims is asked.
# Symmetric ones are not used here: of those, each must be refused.

SHARED = Path(os.environ.get("TEST_VECTORS", Path(__file__).parents[4] / "shared"))
"""They lie beside the repository; in one that stands alone there are none, and nothing below is asked."""
VECTORS = sorted((SHARED / "vectors").glob("json_web_*_test.json"))
NOT_OURS = {
    "oct": "symmetric keys are never keys here",
    "ES521": "the key names an algorithm that there is not (ES521): refused, as by RFC 7517 section 4.4",
    "alg": "the key is for another algorithm than the token: refused, whatever the vector says",
    "empty": "an empty payload is no JWT: refused before the signature is looked at",
    "bits": "the second text of the same signature: refused, as RFC 4648 section 3.5 allows",
}
"""Why a vector that is called valid is refused all the same."""


@cache
def vectors(path: Path) -> list[Any]:
    cases = []
    for group in json.loads(path.read_text())["testGroups"]:
        keys = group.get("public", group["private"])
        cases += [(keys.get("keys", [keys]), one) for one in group["tests"]]
    return cases


def accepted(jwks: list[dict[str, Any]], text: Any) -> str:
    """Why not; empty: the signature is good, by the one key that fits."""
    if not isinstance(text, str):
        return "not a text"
    parts = text.split(".")
    if len(parts) == 3 and parts[1]:  # its payload is no object: another one in its place
        try:
            header = take_apart(f"{parts[0]}.e30.{parts[2]}")
        except Malformed as error:
            return str(error)
    else:
        return "malformed"
    found = [
        key
        for key in keys_of(jwks)[0]
        if header.algorithm in key.algorithms and (not header.key or key.kid == header.key)
    ]
    if len(found) != 1:
        return "no key" if not found else "several keys"
    try:
        module._check_signature(text, found[0], header.algorithm)
    except Refused as error:
        return str(error)
    return ""


if VECTORS:

    @pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
    def test_wycheproof(path: Path) -> None:
        good, refused = 0, []
        for jwks, one in vectors(path):
            why_not = accepted(jwks, one["jws"])
            if one["result"] != "valid":
                assert why_not, f"{one['tcId']}: {one['comment']}"
            elif why_not:
                refused.append((one["tcId"], one["comment"], why_not, jwks[0].get("kty"), jwks[0].get("alg")))
            else:
                good += 1
        unexplained = [case for case in refused if not explained(case)]
        assert not unexplained, unexplained
        assert good >= (10 if "signature" in path.name else 1)


def explained(case: tuple[Any, ...]) -> str:
    """The reason of :data:`NOT_OURS`."""
    _, comment, why_not, kind, algorithm = case
    if kind == "oct":
        return NOT_OURS["oct"]
    if algorithm == "ES521":
        return NOT_OURS["ES521"]
    if comment.startswith("Figure") and why_not == "no key":
        return NOT_OURS["alg"]
    if why_not == "malformed" and comment == "emptyPayload":
        return NOT_OURS["empty"]
    return ""
