"""NIST's Public Key Interoperability Test Suite: the parts about revocation lists, with its outcomes.

A row is a test of the document: its number, the authorities on the path below the trust anchor, the lists
that are there, the leaf, and whether "the path should validate". Only what lists decide is asked here, so the
signatures of certificates are taken for granted. What we refuse besides says so: a list by a key that
certifies nothing (separate keys), indirect and partitioned lists are read nowhere, and never misread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography import x509

from sealgate.pki.lists.judging import Accepted, Kind, Refused, judge
from sealgate.policy.points import Point

PKITS = Path(cryptography_vectors.__file__).parent / "x509" / "PKITS_data"
NOW = datetime(2025, 1, 1, tzinfo=UTC)
"""Within the life of everything that the suite made to be in date (2010 to 2030)."""

GOOD, REVOKED, UNKNOWN = "good", "revoked", "unknown"
ROOT = "TrustAnchorRoot"


def row(test: str, authority: str, leaf: str, outcome: str, *words: str, lists: Sequence[str] = ()) -> object:
    """``outcome``: ours, "good" where the path should validate. ``words``: why lists were refused."""
    found = tuple(lists) if lists else (f"{authority}CRL",)
    return pytest.param(authority, found, leaf, outcome, words, id=test)


ROWS = [
    row("4.4.1", "NoCRLCA", "InvalidMissingCRLTest1EE", UNKNOWN, "wrong-issuer", lists=["GoodCACRL"]),
    row("4.4.3", "GoodCA", "InvalidRevokedEETest3EE", REVOKED),
    row("4.4.4", "BadCRLSignatureCA", "InvalidBadCRLSignatureTest4EE", UNKNOWN, "bad-signature"),
    row("4.4.5", "BadCRLIssuerNameCA", "InvalidBadCRLIssuerNameTest5EE", UNKNOWN, "wrong-issuer"),
    row("4.4.6", "WrongCRLCA", "InvalidWrongCRLTest6EE", UNKNOWN, "wrong-issuer"),
    row(
        "4.4.7",
        "TwoCRLsCA",
        "ValidTwoCRLsTest7EE",
        GOOD,
        "wrong-issuer",
        lists=["TwoCRLsCABadCRL", "TwoCRLsCAGoodCRL"],
    ),
    row(
        "4.4.8",
        "UnknownCRLEntryExtensionCA",
        "InvalidUnknownCRLEntryExtensionTest8EE",
        UNKNOWN,
        "unknown-critical-entry",
    ),
    row(
        "4.4.9",
        "UnknownCRLExtensionCA",
        "InvalidUnknownCRLExtensionTest9EE",
        UNKNOWN,
        "unknown-critical",
    ),
    row(
        "4.4.10",
        "UnknownCRLExtensionCA",
        "InvalidUnknownCRLExtensionTest10EE",
        UNKNOWN,
        "unknown-critical",
    ),
    row("4.4.11", "OldCRLnextUpdateCA", "InvalidOldCRLnextUpdateTest11EE", UNKNOWN, "ended"),
    row("4.4.12", "pre2000CRLnextUpdateCA", "Invalidpre2000CRLnextUpdateTest12EE", UNKNOWN, "ended"),
    row("4.4.13", "GeneralizedTimeCRLnextUpdateCA", "ValidGeneralizedTimeCRLnextUpdateTest13EE", GOOD),
    # Should validate. We refuse: RFC 5280 §4.1.2.2 forbids such numbers, and the guard has no key for them.
    row("4.4.14", "NegativeSerialNumberCA", "ValidNegativeSerialNumberTest14EE", UNKNOWN, "bad-serial"),
    row("4.4.15", "NegativeSerialNumberCA", "InvalidNegativeSerialNumberTest15EE", UNKNOWN, "bad-serial"),
    row("4.4.16", "LongSerialNumberCA", "ValidLongSerialNumberTest16EE", GOOD),
    row("4.4.17", "LongSerialNumberCA", "ValidLongSerialNumberTest17EE", GOOD),
    row("4.4.18", "LongSerialNumberCA", "InvalidLongSerialNumberTest18EE", REVOKED),
    row(
        "4.7.4",
        "keyUsageCriticalcRLSignFalseCA",
        "InvalidkeyUsageCriticalcRLSignFalseTest4EE",
        UNKNOWN,
        "may-not-sign-lists",
    ),
    row(
        "4.7.5",
        "keyUsageNotCriticalcRLSignFalseCA",
        "InvalidkeyUsageNotCriticalcRLSignFalseTest5EE",
        UNKNOWN,
        "may-not-sign-lists",
    ),
    row("4.14.1", "distributionPoint1CA", "ValiddistributionPointTest1EE", GOOD),
    row("4.14.2", "distributionPoint1CA", "InvaliddistributionPointTest2EE", REVOKED),
    row("4.14.3", "distributionPoint1CA", "InvaliddistributionPointTest3EE", UNKNOWN, "other-point"),
    row("4.14.4", "distributionPoint1CA", "ValiddistributionPointTest4EE", GOOD),
    row("4.14.6", "distributionPoint2CA", "InvaliddistributionPointTest6EE", REVOKED),
    row("4.14.8", "distributionPoint2CA", "InvaliddistributionPointTest8EE", UNKNOWN, "other-point"),
    row("4.14.9", "distributionPoint2CA", "InvaliddistributionPointTest9EE", UNKNOWN, "other-point"),
    row("4.14.11", "onlyContainsUserCertsCA", "InvalidonlyContainsUserCertsTest11EE", UNKNOWN),
    row("4.14.12", "onlyContainsCACertsCA", "InvalidonlyContainsCACertsTest12EE", UNKNOWN),
    row("4.14.13", "onlyContainsCACertsCA", "ValidonlyContainsCACertsTest13EE", GOOD),
    row(
        "4.14.14",
        "onlyContainsAttributeCertsCA",
        "InvalidonlyContainsAttributeCertsTest14EE",
        UNKNOWN,
        "attribute-certificates",
    ),
    row(
        "4.14.15",
        "onlySomeReasonsCA1",
        "InvalidonlySomeReasonsTest15EE",
        UNKNOWN,
        "some-reasons",
        "some-reasons",
        lists=["onlySomeReasonsCA1compromiseCRL", "onlySomeReasonsCA1otherreasonsCRL"],
    ),
    row("4.14.22", "indirectCRLCA1", "ValidIDPwithindirectCRLTest22EE", UNKNOWN, "indirect"),
    row("4.14.23", "indirectCRLCA1", "InvalidIDPwithindirectCRLTest23EE", UNKNOWN, "indirect"),
    row(
        "4.15.1",
        "deltaCRLIndicatorNoBaseCA",
        "InvaliddeltaCRLIndicatorNoBaseTest1EE",
        UNKNOWN,
        "delta",
    ),
]


@cache
def certificate(name: str) -> x509.Certificate:
    return x509.load_der_x509_certificate((PKITS / "certs" / f"{name}.crt").read_bytes())


def judged(names: Sequence[str], issuer: str, leaf: str) -> Iterator[Accepted | Refused]:
    for name in names:
        yield judge(
            (PKITS / "crls" / f"{name}.crl").read_bytes(),
            [certificate(issuer)],
            point=point_of(leaf),
            before=None,
            now=NOW,
        )


def point_of(leaf: str) -> Point | None:
    """The suite names its points by directory names: nothing to ask, but to compare."""
    try:
        value = certificate(leaf).extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return None
    names: list[x509.GeneralName] = []
    for point in value:
        names += point.full_name or ()
        if point.relative_name is not None:
            whole = x509.Name([*certificate(leaf).issuer.rdns, point.relative_name])
            names.append(x509.DirectoryName(whole))
    return Point((), tuple(names))


def standing(names: Sequence[str], issuer: str, leaf: str) -> tuple[str, tuple[str, ...]]:
    answers = list(judged(names, issuer, leaf))
    kind = Kind.AUTHORITY if is_authority(leaf) else Kind.LEAF
    counting = [one for one in answers if isinstance(one, Accepted) and kind in one.covers]
    words = tuple(one.reason.value for one in answers if isinstance(one, Refused))
    if not counting:
        return UNKNOWN, words
    serial = certificate(leaf).serial_number
    return (REVOKED if any(serial in set(one.serials) for one in counting) else GOOD), words


def is_authority(name: str) -> bool:
    try:
        return certificate(name).extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.parametrize(("authority", "lists", "leaf", "outcome", "words"), ROWS)
def test_outcomes(
    authority: str, lists: Sequence[str], leaf: str, outcome: str, words: Sequence[str]
) -> None:
    assert standing([f"{ROOT}CRL"], f"{ROOT}Certificate", f"{authority}Cert") == (GOOD, ())
    assert standing(lists, f"{authority}Cert", leaf) == (outcome, tuple(words))


def test_4_4_2_a_revoked_authority() -> None:
    """Invalid Revoked CA Test2: the leaf is on no list, its authority is."""
    assert standing(["GoodCACRL"], "GoodCACert", "RevokedsubCACert") == (REVOKED, ())


@pytest.mark.parametrize("leaf", ["ValidSeparateCertificateandCRLKeysTest19EE"])
def test_4_4_19_separate_keys_are_refused(leaf: str) -> None:
    """Should validate. Certificates are known to us by the key that signed them; this list is by another."""
    authority = "SeparateCertificateandCRLKeysCertificateSigningCACert"
    found, (word,) = standing(["SeparateCertificateandCRLKeysCRL"], authority, leaf)
    assert (found, word) in {(UNKNOWN, "wrong-key"), (UNKNOWN, "may-not-sign-lists")}
