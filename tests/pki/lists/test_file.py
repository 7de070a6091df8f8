from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from sealgate.errors import SealgateError
from sealgate.pki.lists import foreign_lists, pem_of_lists
from tests.pki.making import DAY, NOW, Made, make

ROOT = make("root", ca=True)
LOWER = make("lower", ROOT, ca=True)
OTHER = make("other", ca=True)


def crl(
    by: Made,
    *serials: int,
    signer: Made | None = None,
    last=NOW - DAY,
    until=NOW + DAY,
    extension: tuple[x509.ExtensionType, bool] | None = None,
) -> x509.CertificateRevocationList:
    builder = x509.CertificateRevocationListBuilder()
    builder = builder.issuer_name(by.certificate.subject).last_update(last).next_update(until)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(last)
        builder = builder.add_revoked_certificate(entry.build())
    if extension:
        builder = builder.add_extension(*extension)
    return builder.sign((signer or by).key, hashes.SHA256())


def read(path: Path, *lists: x509.CertificateRevocationList, anchors=(ROOT,), now=NOW):
    path.write_bytes(pem_of_lists(lists))
    return foreign_lists(path, [anchor.certificate for anchor in anchors], now=now)


def test_lists_are_read_as_pem_and_der(tmp_path: Path) -> None:
    first, second = crl(ROOT, 7), crl(LOWER)
    assert read(tmp_path / "crl.pem", first, second, anchors=(ROOT, LOWER)) == (first, second)
    (tmp_path / "crl.der").write_bytes(first.public_bytes(Encoding.DER))
    assert foreign_lists(tmp_path / "crl.der", [ROOT.certificate], now=NOW) == (first,)


PARTIAL = x509.IssuingDistributionPoint(
    full_name=None,
    relative_name=None,
    only_contains_user_certs=True,
    only_contains_ca_certs=False,
    only_some_reasons=None,
    indirect_crl=False,
    only_contains_attribute_certs=False,
)
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")


@pytest.mark.parametrize(
    ("code", "lists", "anchors"),
    [
        ("crl-not-ours", [crl(OTHER)], (ROOT,)),
        ("crl-not-ours", [crl(ROOT, signer=OTHER)], (ROOT,)),
        ("crl-missing", [crl(ROOT)], (ROOT, LOWER)),
        ("crl-expired", [crl(ROOT, last=NOW - 3 * DAY, until=NOW - timedelta(seconds=1))], (ROOT,)),
        ("crl-expired", [crl(ROOT, last=NOW + DAY, until=NOW + 2 * DAY)], (ROOT,)),
        ("crl-unsupported", [crl(ROOT, extension=(x509.DeltaCRLIndicator(1), True))], (ROOT,)),
        ("crl-unsupported", [crl(ROOT, extension=(PARTIAL, True))], (ROOT,)),
        ("crl-unsupported", [crl(ROOT, extension=(UNKNOWN, True))], (ROOT,)),
        ("crl-unreadable", [], (ROOT,)),
    ],
)
def test_what_is_refused(tmp_path: Path, code: str, lists, anchors) -> None:
    with pytest.raises(SealgateError) as caught:
        read(tmp_path / "crl.pem", *lists, anchors=anchors)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"]
)
def test_garbage_is_unreadable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "crl").write_bytes(content)
    for path in (tmp_path / "crl", tmp_path / "absent", tmp_path):
        with pytest.raises(SealgateError) as caught:
            foreign_lists(path, [ROOT.certificate], now=NOW)
        assert caught.value.code == "crl-unreadable"


def test_a_list_cut_anywhere_never_counts(tmp_path: Path) -> None:
    whole = crl(ROOT, 7).public_bytes(Encoding.DER)
    for length in range(0, len(whole), 7):
        (tmp_path / "crl").write_bytes(whole[:length])
        with pytest.raises(SealgateError):
            foreign_lists(tmp_path / "crl", [ROOT.certificate], now=NOW)


def known_by_key(made: Made, issuer: Made | None = None) -> Made:
    """The same, its certificate with key identifiers of its own and of its issuer."""
    old, issuer = made.certificate, issuer or made
    named = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    builder = (
        x509.CertificateBuilder(old.issuer, old.subject, old.public_key(), x509.random_serial_number())
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(old.public_key()), critical=False)
        .add_extension(named, critical=False)
    )
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return Made(builder.sign(issuer.key, hashes.SHA256()), made.key)


def by_key(made: Made, *serials: int, signer: Made | None = None, **dates) -> x509.CertificateRevocationList:
    """Its list, which says by which key it is."""
    named = x509.AuthorityKeyIdentifier.from_issuer_public_key(made.key.public_key())
    return crl(made, *serials, signer=signer, extension=(named, False), **dates)


OLD, NEW = known_by_key(make("rolled", ca=True)), known_by_key(make("rolled", ca=True))


def test_two_authorities_of_one_name_are_told_apart_by_their_keys(tmp_path: Path) -> None:
    old, new = by_key(OLD, 7), by_key(NEW, 8)
    for lists in ((old, new), (new, old)):
        for anchors in ((OLD, NEW), (NEW, OLD)):
            assert read(tmp_path / "crl.pem", *lists, anchors=anchors) == lists


@pytest.mark.parametrize(
    ("code", "lists", "anchors"),
    [
        ("crl-missing", [by_key(OLD)], (OLD, NEW)),
        ("crl-missing", [by_key(NEW), by_key(NEW, 7)], (OLD, NEW)),
        ("crl-not-ours", [by_key(NEW)], (OLD,)),
        ("crl-not-ours", [by_key(OLD, signer=NEW), by_key(NEW)], (OLD, NEW)),
        ("crl-not-ours", [by_key(NEW, signer=OLD)], (OLD,)),
        ("crl-unsupported", [crl(OLD), crl(NEW)], (OLD, NEW)),
        ("crl-unsupported", [by_key(ROOT), crl(ROOT)], (ROOT, make("root", ca=True))),
        ("crl-expired", [by_key(OLD), by_key(NEW, last=NOW - 3 * DAY, until=NOW - DAY)], (OLD, NEW)),
    ],
)
def test_of_one_name_each_needs_a_list_of_its_own(tmp_path: Path, code: str, lists, anchors) -> None:
    with pytest.raises(SealgateError) as caught:
        read(tmp_path / "crl.pem", *lists, anchors=anchors)
    assert caught.value.code == code


def test_one_authority_with_two_certificates_needs_one_list(tmp_path: Path) -> None:
    again = known_by_key(make("rolled", ca=True, key=OLD.key))
    only = by_key(OLD, 7)
    assert read(tmp_path / "crl.pem", only, anchors=(OLD, again)) == (only,)


def test_of_several_lists_by_one_authority_the_newest_counts(tmp_path: Path) -> None:
    older, newer = crl(ROOT, last=NOW - 2 * DAY), crl(ROOT, 7)
    for lists in ((older, newer), (newer, older)):
        assert read(tmp_path / "crl.pem", *lists) == (newer,)


def test_openssl_agrees_on_whose_list_it_is(tmp_path: Path) -> None:
    """With both lists: who is on the one of the other key is not revoked."""
    leaves = [known_by_key(make(f"client-{place}", by), by) for place, by in enumerate((OLD, NEW))]
    (tmp_path / "ca.pem").write_bytes(OLD.pem + NEW.pem)
    for revoked in (0, 1):
        serial = leaves[revoked].certificate.serial_number
        lists = (by_key(OLD, serial), by_key(NEW)) if revoked == 0 else (by_key(OLD), by_key(NEW, serial))
        kept = read(tmp_path / "crl.pem", *lists, anchors=(OLD, NEW))
        (tmp_path / "crl.pem").write_bytes(pem_of_lists(kept))
        for place, leaf in enumerate(leaves):
            (tmp_path / "leaf.pem").write_bytes(leaf.pem)
            files = ("-CAfile", tmp_path / "ca.pem", "-CRLfile", tmp_path / "crl.pem", tmp_path / "leaf.pem")
            when = ("-attime", int(NOW.timestamp()), "-crl_check")
            command = ["openssl", "verify", *map(str, when), *map(str, files)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert (done.returncode == 0) == (place != revoked), done.stderr


def test_one_extension_twice_is_refused_by_name(tmp_path: Path) -> None:
    """The library raises something of its own for that, before the signature is looked at."""
    twin = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.2"), b"\x05\x00")
    builder = x509.CertificateRevocationListBuilder().issuer_name(ROOT.certificate.subject)
    builder = builder.last_update(NOW - DAY).next_update(NOW + DAY)
    for one in (UNKNOWN, twin):
        builder = builder.add_extension(one, critical=False)
    der = builder.sign(ROOT.key, hashes.SHA256()).public_bytes(Encoding.DER)
    (tmp_path / "crl").write_bytes(der.replace(b"\x86\x8d\x1f\x02", b"\x86\x8d\x1f\x01"))
    with pytest.raises(SealgateError) as raised:
        foreign_lists(tmp_path / "crl", [ROOT.certificate], now=NOW)
    assert raised.value.code == "crl-not-ours"
