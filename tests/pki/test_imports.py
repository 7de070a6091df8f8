from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from sealgate.errors import CertificateError, SealgateError, StateInsecure
from sealgate.pki.imports import check_pair, foreign_anchors, read_pair
from sealgate.pki.keys import to_pem
from tests.pki.making import DAY, NOW, Made, make, openssl, write

ROOT = make("root", ca=True)
UPPER = make("upper", ROOT, ca=True)
LOWER = make("lower", UPPER, ca=True)
LEAF = make("leaf", LOWER, names=["a.example", "*.b.example", "10.0.0.1"])
OTHER = make("other", names=["a.example"])


def check(chain: bytes, key: bytes = LEAF.key_pem, names=("a.example",), now=NOW):
    return check_pair(chain, key, names, now=now, origin="files")


def refused(code: str, *arguments, **options) -> SealgateError:
    with pytest.raises(SealgateError) as caught:
        check(*arguments, **options)
    assert caught.value.code == code, caught.value
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize(
    "given_order",
    [
        (LEAF, LOWER, UPPER),
        (LEAF, UPPER, LOWER),
        (UPPER, LOWER, LEAF),
        (ROOT, UPPER, LOWER, LEAF),
        (LEAF, LOWER, UPPER, ROOT),
        (LEAF, LEAF, LOWER, LOWER, UPPER),
    ],
    ids=["right", "swapped", "reversed", "reversed with root", "with root", "doubled"],
)
def test_any_order_is_put_right_and_the_root_left_out(given_order: tuple[Made, ...]) -> None:
    pair = check(b"".join(one.pem for one in given_order))
    assert pair.chain == (LEAF.certificate, LOWER.certificate, UPPER.certificate)
    assert pair.chain_pem == LEAF.pem + LOWER.pem + UPPER.pem
    assert pair.key_type == "ecdsa-p256"


def test_another_path_to_another_root_is_left_out() -> None:
    cross = make("upper", make("old root", ca=True), ca=True, key=UPPER.key)
    assert len(check(LEAF.pem + LOWER.pem + UPPER.pem + cross.pem).chain) == 3


def test_a_leaf_alone_and_a_self_signed_one_are_taken() -> None:
    assert len(check(LEAF.pem).chain) == 1
    assert check(OTHER.pem, OTHER.key_pem).chain == (OTHER.certificate,)


@pytest.mark.parametrize("names", [("a.example",), ("x.b.example", "10.0.0.1"), ("*.b.example",)])
def test_covered_names(names) -> None:
    assert check(LEAF.pem, names=names)


@pytest.mark.parametrize("names", [("b.example",), ("a.example", "x.y.b.example"), ("10.0.0.2",), ("leaf",)])
def test_names_that_are_missing_are_named(names) -> None:
    error = refused("certificate-names", LEAF.pem, names=names)
    assert names[-1] in error.fact


def test_what_does_not_belong_together() -> None:
    refused("key-mismatch", LEAF.pem, OTHER.key_pem)
    refused("key-mismatch", LOWER.pem + UPPER.pem)
    error = refused("chain-broken", LEAF.pem + LOWER.pem + OTHER.pem)
    assert "other" in error.fact
    stranger = make("lower", make("upper", ca=True), ca=True)
    refused("chain-broken", LEAF.pem + stranger.pem)


def test_dates() -> None:
    error = refused("certificate-expired", LEAF.pem, now=NOW + 81 * DAY)
    assert "2030-05-20" in error.fact
    error = refused("certificate-not-yet-valid", LEAF.pem, now=NOW - 11 * DAY)
    assert "clock" in error.remedy
    old = make("lower", UPPER, ca=True, last=NOW - DAY, key=LOWER.key)
    refused("certificate-expired", LEAF.pem + old.pem)


def test_uses() -> None:
    client = make("c", LOWER, names=["a.example"], usages=[ExtendedKeyUsageOID.CLIENT_AUTH])
    refused("certificate-not-for-servers", client.pem, client.key_pem)
    dumb = make("c", LOWER, names=["a.example"], signs=False)
    refused("certificate-not-for-servers", dumb.pem, dumb.key_pem)
    free = make("c", LOWER, names=["a.example"], usages=None)
    assert check(free.pem, free.key_pem)
    anything = make("c", LOWER, names=["a.example"], usages=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    assert check(anything.pem, anything.key_pem)
    refused("certificate-is-authority", LOWER.pem + UPPER.pem, LOWER.key_pem)


def test_weak_keys_and_digests(tmp_path: Path) -> None:
    small = make("c", LOWER, names=["a.example"], key=rsa.generate_private_key(65537, 1024))
    refused("key-weak", small.pem, small.key_pem)
    key = write(tmp_path / "key.pem", LEAF.key_pem)
    words = [
        "-x509",
        "-new",
        "-key",
        key,
        "-sha1",
        "-subj",
        "/CN=a",
        "-addext",
        "subjectAltName=DNS:a.example",
    ]
    sha1 = openssl(
        "req", *words, "-addext", "basicConstraints=critical,CA:FALSE", "-not_before", "20300101000000Z"
    )
    if sha1.returncode:  # older than 3.4: no -not_before; then it is valid from today
        sha1 = openssl("req", *words, "-days", "20000", "-addext", "basicConstraints=critical,CA:FALSE")
    assert refused("certificate-weak", sha1.stdout).fact.endswith("is signed with SHA1")
    weak_issuer = make("w", ROOT, ca=True, key=rsa.generate_private_key(65537, 1024), digest=hashes.SHA256())
    leaf = make("l", weak_issuer, names=["a.example"])
    refused("certificate-weak", leaf.pem + weak_issuer.pem, leaf.key_pem)


def test_encrypted_keys() -> None:
    refused("key-encrypted", LEAF.pem, to_pem(LEAF.key, b"a passphrase"))


@given(st.binary(max_size=400), st.sampled_from([b"", LEAF.pem, b"-----BEGIN CERTIFICATE-----\n"]))
def test_garbage_is_an_error_of_ours(noise: bytes, before: bytes) -> None:
    codes: list[str] = []
    try:
        check(before + noise)
    except SealgateError as error:
        codes.append(error.code)
    assert codes in ([], ["certificate-unreadable"])


def test_a_certificate_with_every_bit_turned_is_an_error_of_ours() -> None:
    """DER from outside: whatever is in it, we answer with a sentence."""
    der = LEAF.certificate.public_bytes(serialization.Encoding.DER)
    for position in range(len(der)):
        bent = bytearray(der)
        bent[position] ^= 0x55
        pem = (
            b"-----BEGIN CERTIFICATE-----\n"
            + base64.encodebytes(bytes(bent))
            + b"-----END CERTIFICATE-----\n"
        )
        try:
            check(pem + LOWER.pem)
        except SealgateError:
            continue


class TestReading:
    def test_a_link_to_a_private_key_is_fine(self, tmp_path: Path) -> None:
        write(tmp_path / "real.pem", LEAF.key_pem)
        (tmp_path / "key.pem").symlink_to("real.pem")
        chain = write(tmp_path / "chain.pem", LEAF.pem, 0o644)
        assert read_pair(chain, tmp_path / "key.pem") == (LEAF.pem, LEAF.key_pem)

    @pytest.mark.parametrize("bits", [0o640, 0o604])
    def test_a_key_that_others_may_read(self, tmp_path: Path, bits: int) -> None:
        chain, key = write(tmp_path / "chain.pem", LEAF.pem), write(tmp_path / "key.pem", LEAF.key_pem, bits)
        with pytest.raises(StateInsecure) as caught:
            read_pair(chain, key)
        assert caught.value.code == "key-readable-by-others"

    def test_missing_files_are_named(self, tmp_path: Path) -> None:
        chain = write(tmp_path / "chain.pem", LEAF.pem)
        with pytest.raises(CertificateError) as caught:
            read_pair(tmp_path / "none.pem", chain)
        assert (caught.value.code, "none.pem" in str(caught.value)) == ("certificate-unreadable", True)
        with pytest.raises(CertificateError) as caught:
            read_pair(chain, tmp_path / "no-key.pem")
        assert (caught.value.code, "no-key.pem" in str(caught.value)) == ("key-unreadable", True)
        (tmp_path / "dangling").symlink_to("nowhere")
        with pytest.raises(CertificateError):
            read_pair(chain, tmp_path / "dangling")


class TestAnchors:
    def test_authorities_are_taken(self, tmp_path: Path) -> None:
        path = write(tmp_path / "ca.pem", UPPER.pem + ROOT.pem)
        assert foreign_anchors(path, now=NOW) == (UPPER.certificate, ROOT.certificate)

    @pytest.mark.parametrize(
        ("data", "now", "code"),
        [
            (b"", NOW, "trust-unreadable"),
            (ROOT.pem[:100], NOW, "trust-unreadable"),
            (LEAF.pem, NOW, "trust-not-authority"),
            (ROOT.pem + OTHER.pem, NOW, "trust-not-authority"),
            (ROOT.pem, NOW + 100 * DAY, "certificate-expired"),
            (ROOT.pem, NOW - 100 * DAY, "certificate-not-yet-valid"),
        ],
        ids=["empty", "cut", "leaf", "one is a leaf", "expired", "not yet"],
    )
    def test_others_are_not(self, tmp_path: Path, data: bytes, now, code: str) -> None:
        with pytest.raises(SealgateError) as caught:
            foreign_anchors(write(tmp_path / "ca.pem", data), now=now)
        assert caught.value.code == code

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(CertificateError) as caught:
            foreign_anchors(tmp_path / "none", now=NOW)
        assert caught.value.code == "trust-unreadable"
