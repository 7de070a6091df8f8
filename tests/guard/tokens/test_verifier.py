"""Which JWTs count; and of the known ways to forge one, that none does."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from sealgate.guard.tokens import compact
from sealgate.guard.tokens.issuer import Issuer
from sealgate.guard.tokens.refused import Refused
from sealgate.guard.tokens.verifier import Verifier
from tests.guard.tokens.issuing import (
    ALGORITHMS,
    AUDIENCE,
    ISSUER,
    NOW,
    Published,
    claims,
    everything,
    hmac,
    joined,
    jwk,
    key_for,
    signature,
    text,
    token,
    verifier,
)

VERIFIER = verifier()
FINGERPRINT = hashlib.sha256(b"certificate").hexdigest()
BOUND = {"x5t#S256": text(bytes.fromhex(FINGERPRINT))}


def refused(said: str, by: Verifier = VERIFIER, fingerprint: str = "", now: float = NOW) -> str:
    with pytest.raises(Refused) as caught:
        by.verify(said, fingerprint, now)
    return str(caught.value)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_sound_one(algorithm: str) -> None:
    for _ in range(2):  # afresh, and remembered
        got = VERIFIER.verify(token(algorithm, jti="7", extra=[1]), "", NOW)
        assert (got.issuer, got.subject, got.scopes, got.id) == (
            ISSUER,
            "ann",
            frozenset({"orders:read"}),
            "7",
        )
        assert (got.kind, got.expires, got.claims["extra"]) == ("jwt", NOW + 600, [1])
        assert VERIFIER.stands(got, NOW)
    with pytest.raises(TypeError):
        got.claims["sub"] = "eve"  # type: ignore[index]  # that is what is asked


def test_what_may_differ() -> None:
    for header in (
        {"typ": None},
        {"typ": "at+jwt"},
        {"typ": "application/AT+JWT"},
        {"kid": None, "alg": "ES256"},
        {"further": 1},
        {"alg": "Ed25519", "kid": "EdDSA"},
    ):
        algorithm = header.get("alg") or "ES256"
        VERIFIER.verify(token(str(algorithm), header=header), "", NOW)
    for said in (
        {"aud": ["other", AUDIENCE]},
        {"sub": None},
        {"scope": None, "scp": ["a", "b"]},
        {"scope": None, "scp": "a b"},
        {"exp": NOW + 0.5},
        {"exp": int(NOW) - 59},
        {"nbf": NOW + 59},
        {"iat": NOW + 59},
        {"iat": None},
    ):
        VERIFIER.verify(token(**said), "", NOW)
    assert VERIFIER.verify(token(scope=None, scp="a  b"), "", NOW).scopes == {"a", "b"}
    assert not VERIFIER.verify(token(scope=None), "", NOW).scopes


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"iss": "https://issuer.test/"}, "token-issuer"),
        ({"iss": "HTTPS://issuer.test"}, "token-issuer"),
        ({"iss": [ISSUER]}, "token-claims"),
        ({"iss": None}, "token-issuer"),
        ({"aud": "https://other.test"}, "token-audience"),
        ({"aud": AUDIENCE + "/"}, "token-audience"),
        ({"aud": []}, "token-audience"),
        ({"aud": [[AUDIENCE]]}, "token-audience"),
        ({"aud": {"x": AUDIENCE}}, "token-audience"),
        ({"aud": None}, "token-audience"),
        ({"exp": None}, "token-claims"),
        ({"exp": str(NOW + 600)}, "token-claims"),
        ({"exp": True}, "token-claims"),
        ({"exp": [NOW + 600]}, "token-claims"),
        ({"exp": 10**400}, "token-claims"),
        ({"exp": -1}, "token-claims"),
        ({"exp": NOW - 61}, "token-expired"),
        ({"exp": NOW - 60}, "token-expired"),
        ({"nbf": NOW + 61}, "token-not-yet"),
        ({"iat": NOW + 61}, "token-not-yet"),
        ({"nbf": "soon"}, "token-claims"),
        ({"iat": {}}, "token-claims"),
        ({"sub": 7}, "token-claims"),
        ({"jti": ["a"]}, "token-claims"),
        ({"scope": 7}, "token-claims"),
        ({"scope": ["a", 7]}, "token-claims"),
        ({"cnf": {}}, "token-binding"),
        ({"cnf": {"jkt": "x"}}, "token-binding"),
        ({"cnf": BOUND | {"jkt": "x"}}, "token-binding"),
        ({"cnf": {"x5t#S256": 7}}, "token-binding"),
        ({"cnf": {"x5t#S256": ""}}, "token-binding"),
        ({"cnf": "x"}, "token-binding"),
        ({"cnf": BOUND}, "token-binding"),
    ],
)
def test_claims_that_do_not_count(said: dict[str, Any], reason: str) -> None:
    assert refused(token(**said)) == reason


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        *(
            ({"alg": spelling}, "token-algorithm")
            for spelling in ("none", "None", "NONE", "nOnE", "", "HS256", "ES256K")
        ),
        *(({"alg": other}, "token-key-unknown") for other in ("ES384", "RS256", "PS256", "EdDSA")),
        *(
            ({name: value}, "token-kind")
            for name, value in (
                ("crit", ["exp"]),
                ("crit", []),
                ("b64", False),
                ("b64", True),
                ("enc", "A128GCM"),
                ("zip", "DEF"),
                ("cty", "JWT"),
            )
        ),
        *(
            ({"typ": kind}, "token-type")
            for kind in ("logout+jwt", "dpop+jwt", "JWE", "", 7, ["JWT"], "at+jwt ")
        ),
        ({"alg": ["ES256"]}, "token-header"),
        ({"alg": None}, "token-header"),
        ({"kid": 7}, "token-header"),
        ({"kid": "../../dev/null"}, "token-key-unknown"),
        ({"kid": "ES256' OR '1'='1"}, "token-key-unknown"),
        ({"kid": "ES384"}, "token-key-unknown"),
    ],
)
def test_headers_that_do_not_count(header: dict[str, Any], reason: str) -> None:
    assert refused(token(header=header)) == reason


def public(algorithm: str, form: str) -> bytes:
    key = key_for("RSA" if algorithm[0] in "RP" else algorithm).public_key()
    if form == "jwk":
        return json.dumps(jwk(algorithm, algorithm)).encode()
    encoding = {"pem": Encoding.PEM, "der": Encoding.DER}[form]
    return bytes(key.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo))


@pytest.mark.parametrize("form", ["pem", "der", "jwk"])
@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_no_public_key_is_a_secret(algorithm: str, form: str) -> None:
    said = joined(
        {"alg": "HS256", "kid": algorithm}, claims(), lambda message: hmac(public(algorithm, form), message)
    )
    assert refused(said) == "token-algorithm"
    loose = verifier(algorithms=(*ALGORITHMS, "HS256"))  # no policy can say that; were it so:
    assert refused(said, loose) == "token-key-unknown"


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c"])
def test_a_token_brings_no_key(name: str) -> None:
    """Signed by a key of the caller's own."""
    brought = {
        "jwk": jwk("ES256", "ES256", "mallory"),
        "jku": "https://evil.test/keys",
        "x5u": "https://evil.test/c",
        "x5c": ["AA=="],
    }[name]
    for header in ({name: brought}, {name: brought, "kid": None}):
        assert refused(token(which="mallory", header=header)) == "token-signature"
        VERIFIER.verify(token(header=header), "", NOW)  # and beside a sound signature it says nothing


def test_signatures_by_nobody() -> None:
    """r = s = 0 (CVE-2022-21449), DER instead of the two numbers, none, half of one."""
    good = key_for("ES256")

    def der(message: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        return bytes(good.sign(message, ec.ECDSA(hashes.SHA256())))

    head = {"alg": "ES256", "kid": "ES256"}
    for sign in (
        lambda message: bytes(64),
        lambda message: b"\xff" * 64,
        lambda message: bytes(63) + b"\x01",
        der,
        lambda message: b"x",
        lambda message: signature("ES256", message)[:63],
        lambda message: signature("ES256", message) + b"\0",
        lambda message: signature("ES256", message + b"x"),
        lambda message: signature("ES384", message),
    ):
        assert refused(joined(head, claims(), sign)) == "token-signature"
    with pytest.raises(compact.Malformed):
        compact.take_apart(token().rpartition(".")[0] + ".")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda said: said + "=",
        lambda said: said + ".",
        lambda said: said + "." + said,
        lambda said: " " + said,
        lambda said: said + "\n",
        lambda said: said.replace(".", ". ", 1),
        lambda said: said.replace(".", ".=", 1),
        lambda said: "",
        lambda said: "..",
        lambda said: said.replace(".", "", 1),
        lambda said: said + "\0",
        lambda said: "." + said.split(".", 1)[1],
        lambda said: said.replace(".", "..", 1),
        lambda said: said + "é",
        lambda said: json.dumps(
            {"payload": said.split(".")[1], "protected": said.split(".")[0], "signature": "AA"}
        ),
        lambda said: ".".join([*said.split("."), "AAAA", "AAAA"]),
        lambda said: said.replace("e", "\uff45", 1),
        lambda said: "é" + said,
        lambda said: "\ud800" + said,
    ],
)
def test_another_form(spoil: Callable[[str], str]) -> None:
    assert refused(spoil(token())) == "token-malformed"


def test_left_over_bits_are_another_spelling() -> None:
    """Of the last character some bits say nothing: one signature would have several texts."""
    said = token("ES256")  # 64 bytes: 86 characters, 4 bits left over
    last = said[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = alphabet[alphabet.index(last) | 1]
    assert twin != last
    assert urlsafe_b64decode(said.rpartition(".")[2] + "==") == urlsafe_b64decode(
        said.rpartition(".")[2][:-1] + twin + "=="
    )
    assert refused(said[:-1] + twin) == "token-encoding"


@pytest.mark.parametrize(
    ("header", "payload", "reason"),
    [
        (b'{"alg":"ES256","alg":"none"}', None, "token-json"),
        (b'{"alg":"ES256","kid":"ES256"} x', None, "token-json"),
        (b"[]", None, "token-json"),
        (b'"x"', None, "token-json"),
        (b"null", None, "token-json"),
        (b"\xff\xfe", None, "token-json"),
        (b'\xef\xbb\xbf{"alg":"ES256"}', None, "token-json"),
        (None, b'{"iss":"%s","iss":"x"}' % ISSUER.encode(), "token-json"),
        (None, b'{"exp":NaN}', "token-json"),
        (None, b'{"exp":Infinity}', "token-json"),
        (None, b'{"exp":%s}' % (b"9" * 5000), "token-json"),
        (None, b"[" * 5000, "token-json"),
        (None, b"7", "token-json"),
        (None, b"{}", "token-issuer"),
    ],
)
def test_json_that_may_be_read_in_two_ways(header: bytes | None, payload: bytes | None, reason: str) -> None:
    said = joined(
        header or {"alg": "ES256", "kid": "ES256"},
        payload or claims(),
        lambda message: signature("ES256", message),
    )
    assert refused(said) == reason


def test_nothing_is_parsed_that_is_too_long() -> None:
    fits = token(pad="x" * (compact.LONGEST * 3 // 4 - 600))
    assert len(fits) < compact.LONGEST
    VERIFIER.verify(fits, "", NOW)
    assert refused(token(pad="x" * compact.LONGEST)) == "token-too-long"
    assert refused("x" * 10_000_000) == "token-too-long"


def test_a_token_bound_to_a_certificate() -> None:
    said = token(cnf=BOUND)
    VERIFIER.verify(said, FINGERPRINT, NOW)
    assert refused(said) == "token-binding", "and that it counted once on another connection says nothing"
    assert refused(said, fingerprint=hashlib.sha256(b"other").hexdigest()) == "token-binding"
    assert refused(token(), verifier(bound="required"), FINGERPRINT) == "token-binding"
    verifier(bound="required").verify(said, FINGERPRINT, NOW)
    verifier(bound="off").verify(token(cnf={"jkt": "x"}), "", NOW)


def test_dates_are_judged_at_each_request() -> None:
    said = token()
    got = VERIFIER.verify(said, "", NOW)
    assert refused(said, now=NOW + 660) == "token-expired"
    assert refused(said, now=NOW - 66) == "token-not-yet"
    assert VERIFIER.stands(got, NOW + 659)
    assert not VERIFIER.stands(got, NOW + 660)


def test_keys_come_and_go() -> None:
    published, wanted = Published(jwk("ES256", "one")), list[str]()
    by = Verifier([Issuer(ISSUER, (AUDIENCE,), ("ES256",))], published, wanted.append)
    one, two = token(header={"kid": "one"}), token(header={"kid": "two"}, which="two")
    got = by.verify(one, "", NOW)
    assert refused(two, by) == "token-key-unknown"
    assert wanted == [ISSUER]
    published.publish(jwk("ES256", "one"), jwk("ES256", "two", "two"))
    by.verify(two, "", NOW)
    published.publish(jwk("ES256", "two", "two"))
    assert refused(one, by) == "token-key-unknown"
    assert not by.stands(got, NOW)
    published.publish(jwk("ES256", "two", "two"), jwk("ES256", "two"))
    assert refused(two, by) == "token-key-ambiguous"
    for document in (b"", b"{", b"[]", b'{"issuers":[]}', b'{"issuers":{"%s":7}}' % ISSUER.encode(), b"\xff"):
        published.raw(document)
        assert refused(two, by) == "token-keys-unknown", document


def test_of_several_issuers_each_has_its_own_keys_and_rules() -> None:
    published = Published()
    other = "https://other.test"
    keys = {ISSUER: [jwk("ES256", "k")], other: [jwk("ES256", "k", "other")]}
    published.raw(json.dumps({"issuers": keys}).encode())
    by = Verifier(
        [Issuer(ISSUER, (AUDIENCE,), ("ES256",)), Issuer(other, ("b",), ("ES256", "RS256"))], published
    )
    header = {"kid": "k"}
    by.verify(token(header=header), "", NOW)
    by.verify(token(header=header, which="other", iss=other, aud="b"), "", NOW)
    assert refused(token(header=header, iss=other, aud="b"), by) == "token-signature"
    assert refused(token(header=header, which="other"), by) == "token-signature"
    assert refused(token(header=header, which="other", iss=other), by) == "token-audience"
    assert refused(token("RS256", header=header), by) == "token-algorithm"


SOUND = token("ES256")


@given(st.integers(0, len(SOUND) - 1), st.integers(0, 127))
def test_no_other_text_counts(at: int, character: int) -> None:
    said = SOUND[:at] + chr(character) + SOUND[at + 1 :]
    if said == SOUND:
        VERIFIER.verify(said, "", NOW)
    else:
        refused(said)


@given(st.integers(0, len(SOUND)))
def test_cut_anywhere(at: int) -> None:
    if at < len(SOUND):
        refused(SOUND[:at])
        refused(SOUND[at:] if at else "")


@given(st.text(max_size=200))
def test_any_text(said: str) -> None:
    refused(said)


def test_what_is_remembered_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealgate.guard.tokens.verifier._MOST_REMEMBERED", 3)
    by = verifier(*everything())
    for number in range(10):
        by.verify(token(jti=str(number)), "", NOW)
    assert len(by._state.known) <= 3


def test_what_was_verified_by_keys_that_are_gone_is_not_remembered_with_the_new_ones() -> None:
    """Another thread takes over the new keys while the signature is looked at by the old ones."""
    published = Published(jwk("ES256", "one"))
    said = token(header={"kid": "one"})

    class Slow(Verifier):
        def _verified(self, text: str, keys: Any) -> Any:
            known = super()._verified(text, keys)
            published.publish(jwk("ES256", "two", "two"))
            with pytest.raises(Refused):
                Verifier.verify(self, token(header={"kid": "other"}), "", NOW)
            return known

    by = Slow([Issuer(ISSUER, (AUDIENCE,), ("ES256",))], published)
    by.verify(said, "", NOW)
    assert refused(said, by) == "token-key-unknown"
