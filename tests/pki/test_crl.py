"""Lists that are put together here: as pyca/cryptography and OpenSSL read them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from sealgate.pki.authority import Issuer, build_issuing, build_root
from sealgate.pki.crl import Revoked, Signed, der_of, is_signed_by, sign_list
from sealgate.pki.keys import KeyType, generate
from tests.pki.making import NOW, openssl, write

REASONS = (None, *(flag for flag in x509.ReasonFlags if flag.name not in {"unspecified", "remove_from_crl"}))


def clients(key_type: KeyType = "ecdsa-p256") -> Issuer:
    root, key = generate("ecdsa-p256"), generate(key_type)
    above = Issuer(build_root(root, now=NOW), root)
    return Issuer(build_issuing(above, "clients", key.public_key()), key)


ISSUER = clients()
_FIRST, _LAST = datetime(1970, 1, 1), datetime(2120, 1, 1)  # noqa: DTZ001 - hypothesis wants them naive
MOMENTS = st.datetimes(_FIRST, _LAST, timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)
ENTRIES = st.builds(Revoked, st.integers(1, 2**159), MOMENTS, st.sampled_from(REASONS))


def read(entry: x509.RevokedCertificate) -> Revoked:
    reasons = [one.value.reason for one in entry.extensions if isinstance(one.value, x509.CRLReason)]
    assert not any(one.critical for one in entry.extensions)
    return Revoked(entry.serial_number, entry.revocation_date_utc, reasons[0] if reasons else None)


@given(st.lists(ENTRIES, max_size=40))
def test_what_goes_in_is_what_is_read(entries: list[Revoked]) -> None:
    made = sign_list(ISSUER, entries, now=NOW)
    crl = x509.load_der_x509_crl(made.der)
    assert crl.is_signature_valid(ISSUER.certificate.public_key())  # type: ignore[arg-type]  # ECDSA
    assert [read(one) for one in crl] == entries
    assert crl.issuer == ISSUER.certificate.subject
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == made.number
    assert crl.public_bytes(Encoding.DER) == made.der
    assert crl.public_bytes(Encoding.PEM) == made.pem
    assert der_of(made.pem) == made.der
    assert is_signed_by(made.der, ISSUER.certificate)


@pytest.mark.parametrize("key_type", ("ecdsa-p384", "rsa-3072"))
def test_with_other_keys(key_type: KeyType) -> None:
    issuer = clients(key_type)
    made = sign_list(issuer, [Revoked(5, NOW)], now=NOW)
    crl = x509.load_der_x509_crl(made.der)
    assert crl.is_signature_valid(issuer.certificate.public_key())  # type: ignore[arg-type]
    assert is_signed_by(made.der, issuer.certificate)
    assert not is_signed_by(made.der, ISSUER.certificate)


def test_openssl_reads_it_too(tmp_path: Path) -> None:
    entries = [Revoked(0x80, NOW, reason) for reason in REASONS] + [
        Revoked(2**127, datetime(2050, 1, 1, tzinfo=UTC))
    ]
    path = write(tmp_path / "crl.pem", sign_list(ISSUER, entries, now=NOW).pem)
    ca = write(tmp_path / "ca.pem", ISSUER.certificate.public_bytes(Encoding.PEM))
    done = openssl("crl", "-in", path, "-noout", "-text", "-CAfile", ca)
    said = (done.stdout + done.stderr).decode()
    assert "verify OK" in said
    assert said.count("Serial Number:") == len(entries)
    assert "Revocation Date: Jan  1 00:00:00 2050 GMT" in said
    for words in ("Key Compromise", "Certificate Hold", "Privilege Withdrawn", "Superseded"):
        assert said.count(words) == 1


SIGNED = sign_list(ISSUER, [Revoked(n, NOW) for n in range(1, 9)], now=NOW)


@given(st.integers(0, len(SIGNED.der) - 1), st.integers(1, 255))
def test_what_was_changed_or_cut_is_not_ours(at: int, change: int) -> None:
    der = SIGNED.der
    changed = der[:at] + bytes((der[at] ^ change,)) + der[at + 1 :]
    signed = x509.load_der_x509_crl(der).tbs_certlist_bytes
    # Outside of what is signed there is the outer head, the algorithm's name and the signature's own head.
    assert not is_signed_by(changed, ISSUER.certificate) or signed in changed
    assert not is_signed_by(der[:at], ISSUER.certificate)


@given(st.binary(max_size=200))
def test_garbage_is_not_ours(data: bytes) -> None:
    assert not is_signed_by(data, ISSUER.certificate)
    with pytest.raises(ValueError, match=r"."):
        der_of(data)


def test_large_ones_are_made_much_sooner_than_by_the_library() -> None:
    """100,000 within a second is the aim; what can be compared on a busy machine is the two."""
    why = x509.ReasonFlags.key_compromise
    entries = [Revoked(2**126 + n, NOW - timedelta(seconds=n), why) for n in range(20_000)]
    spent = {name: min(seconds(make, entries) for _ in range(3)) for name, make in MAKERS.items()}
    assert spent["ours"] < spent["library"], spent


@pytest.mark.long
def test_a_hundred_thousand_are_built_and_signed_within_a_second() -> None:
    entries = [
        Revoked(2**126 + n, NOW - timedelta(seconds=n), None if n % 3 else x509.ReasonFlags.key_compromise)
        for n in range(100_000)
    ]
    assert min(seconds(by_us, entries) for _ in range(5)) <= 1.0


def seconds(make, entries: list[Revoked]) -> float:
    begin = time.process_time()
    make(entries)
    return time.process_time() - begin


def library_entry(one: Revoked) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(one.serial).revocation_date(one.at)
    assert one.reason is not None
    return builder.add_extension(x509.CRLReason(one.reason), critical=False).build()


def by_the_library(entries: list[Revoked]) -> bytes:
    made = [library_entry(one) for one in entries]
    builder = x509.CertificateRevocationListBuilder(revoked_certificates=made)
    builder = builder.issuer_name(ISSUER.certificate.subject).last_update(NOW).next_update(NOW + timedelta(1))
    signed = builder.sign(ISSUER.key, ISSUER.certificate.signature_hash_algorithm)  # type: ignore[arg-type]
    return signed.public_bytes(Encoding.PEM)


def by_us(entries: list[Revoked]) -> bytes:
    made: Signed = sign_list(ISSUER, entries, now=NOW)
    return made.pem


MAKERS = {"ours": by_us, "library": by_the_library}
