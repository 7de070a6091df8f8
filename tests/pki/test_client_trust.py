"""Whose clients count, and by which lists: of several authorities, each by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from sealgate.errors import CertificateDates, CertificateError
from sealgate.pki.client_trust import client_authorities, ensure_client_trust, in_force, write_lists
from sealgate.pki.inspect import issuer_key_hash
from sealgate.pki.state import State
from sealgate.policy.identity import revocation_key
from sealgate.policy.model import Policy
from tests.pki.making import DAY, NOW, Made, make

HOUR = timedelta(hours=1)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = State.open(tmp_path / "state")
    with made.lock():
        yield made


def authority(name: str, **further: Any) -> Made:
    return make(name, ca=True, usages=None, **further)


def crl(by: Made, *serials: int, until: datetime = NOW + DAY, number: int = 1, hours: int = 0) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(by.certificate.subject)
        .last_update(NOW - 2 * DAY + hours * HOUR)
        .next_update(until)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key()), critical=False
        )
    )
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - DAY).build()
        builder = builder.add_revoked_certificate(revoked)
    return builder.sign(by.key, SHA256()).public_bytes(Encoding.PEM)


def policy(base: Path, *authorities: tuple[str, Made, bytes | None], grace: str = "0s") -> Policy:
    told: list[dict[str, Any]] = []
    for name, made, lists in authorities:
        (base / f"{name}.pem").write_bytes(made.pem)
        told.append({"name": name, "file": f"{name}.pem"})
        if lists is not None:
            (base / f"{name}.crl").write_bytes(lists)
            told[-1] |= {"crl": f"{name}.crl", "grace": grace}
    return Policy.model_validate({"clients": {"mode": "required", "authorities": told}})


def clock() -> datetime:
    return NOW


def lapsed(state: State, of: Policy, base: Path, now: datetime = NOW) -> dict[str, bool]:
    found = in_force(state, client_authorities(state, of, clock, base=base))
    return {one.name: one.lapsed(now) for one in found}


def test_everyone_is_in_the_engines_files(state: State, tmp_path: Path) -> None:
    one, other = authority("one"), authority("other")
    wanted = policy(tmp_path, ("one", one, crl(one, 5)), ("other", other, crl(other, 6, 7)))
    trust = ensure_client_trust(state, wanted, clock, base=tmp_path)
    assert x509.load_pem_x509_certificates(trust.read_bytes()) == [one.certificate, other.certificate]
    lists = (state.live_clients / "lists.pem").read_bytes()
    assert lists == crl_of(state, "one") + crl_of(state, "other")
    first, second = in_force(state, client_authorities(state, wanted, clock, base=tmp_path))
    key = bytes.fromhex(issuer_key_hash(other.certificate))
    assert list(second.keys()) == [revocation_key(key, serial) for serial in (6, 7)]
    assert len(list(first.keys())) == 1
    assert first.until == NOW + DAY


def crl_of(state: State, name: str) -> bytes:
    return (state.live_client_lists / f"{name}.pem").read_bytes()


def test_what_is_unsound_of_one_keeps_nobody_else_back(state: State, tmp_path: Path) -> None:
    one, other = authority("one"), authority("other")
    wanted = policy(tmp_path, ("one", one, crl(one)), ("other", other, crl(other)))
    ensure_client_trust(state, wanted, clock, base=tmp_path)
    before = crl_of(state, "one")
    for broken in (b"half a fi", b"", crl(other), crl(one)[:-40]):
        (tmp_path / "one.crl").write_bytes(broken)
        (tmp_path / "other.crl").write_bytes(crl(other, len(broken) + 1))
        with pytest.raises(CertificateError, match="crl-"):
            ensure_client_trust(state, wanted, clock, base=tmp_path)
        assert crl_of(state, "one") == before
        assert crl_of(state, "other") == (tmp_path / "other.crl").read_bytes()
    assert lapsed(state, wanted, tmp_path) == {"one": False, "other": False}


def test_a_list_that_ended_shuts_out_one_authority(state: State, tmp_path: Path) -> None:
    one, other = authority("one"), authority("other")
    wanted = policy(tmp_path, ("one", one, crl(one, until=NOW - HOUR)), ("other", other, crl(other)))
    ensure_client_trust(state, wanted, clock, base=tmp_path)
    assert lapsed(state, wanted, tmp_path) == {"one": True, "other": False}
    assert lapsed(state, wanted, tmp_path, NOW + 2 * DAY) == {"one": True, "other": True}
    (tmp_path / "other.crl").write_bytes(crl(other, until=NOW - HOUR))
    with pytest.raises(CertificateDates, match="crl-expired"):
        ensure_client_trust(state, wanted, clock, base=tmp_path)


def test_grace_is_how_long_a_list_counts_past_its_end(state: State, tmp_path: Path) -> None:
    one = authority("one")
    wanted = policy(tmp_path, ("one", one, crl(one, until=NOW - HOUR)), grace="2h")
    ensure_client_trust(state, wanted, clock, base=tmp_path)
    assert lapsed(state, wanted, tmp_path) == {"one": False}
    assert lapsed(state, wanted, tmp_path, NOW + HOUR) == {"one": False}
    assert lapsed(state, wanted, tmp_path, NOW + HOUR + timedelta(seconds=1)) == {"one": True}
    strict = policy(tmp_path, ("one", one, crl(one, until=NOW - HOUR)), grace="59m")
    with pytest.raises(CertificateDates, match="crl-expired"):
        ensure_client_trust(state, strict, clock, base=tmp_path)


def test_lists_by_somebody_else_do_not_keep_an_authority_alive(state: State, tmp_path: Path) -> None:
    """The file that was taken over is of an authority that had the same name in the policy before."""
    one, new = authority("one"), authority("new")
    before = policy(tmp_path, ("one", one, crl(one, 5)))
    ensure_client_trust(state, before, clock, base=tmp_path)
    after = policy(tmp_path, ("one", new, b"half a fi"))
    with pytest.raises(CertificateError, match="crl-unreadable"):
        ensure_client_trust(state, after, clock, base=tmp_path)
    assert lapsed(state, after, tmp_path) == {"one": True}
    assert not list(in_force(state, client_authorities(state, after, clock, base=tmp_path))[0].keys())


def test_a_list_only_grows_newer(state: State, tmp_path: Path) -> None:
    """Over restarts too: what is in force stands on the disk."""
    one = authority("one")
    wanted = policy(tmp_path, ("one", one, crl(one, 5, number=7)))
    ensure_client_trust(state, wanted, clock, base=tmp_path)
    before = crl_of(state, "one")
    for older in (crl(one, number=6, hours=5), crl(one, number=7, hours=-1)):
        (tmp_path / "one.crl").write_bytes(older)
        with pytest.raises(CertificateError, match="crl-older"):
            ensure_client_trust(state, wanted, clock, base=tmp_path)
        assert crl_of(state, "one") == before
    for newer in (crl(one, 5, number=7, hours=1), crl(one, number=8)):
        (tmp_path / "one.crl").write_bytes(newer)
        ensure_client_trust(state, wanted, clock, base=tmp_path)
        assert crl_of(state, "one") == newer
    # Another key of the same name counts by itself; and somebody may begin anew.
    again = authority("one")
    ensure_client_trust(state, policy(tmp_path, ("one", again, crl(again, number=2))), clock, base=tmp_path)
    (state.live_client_lists / "one.pem").unlink()
    ensure_client_trust(state, policy(tmp_path, ("one", again, crl(again, number=1))), clock, base=tmp_path)


def test_a_key_is_of_one_authority(state: State, tmp_path: Path) -> None:
    one = authority("one")
    crossed = make("one", authority("other"), key=one.key, ca=True, usages=None)
    wanted = policy(tmp_path, ("one", one, None), ("other", crossed, None))
    with pytest.raises(CertificateError, match=r"trust-shared.*one and other"):
        ensure_client_trust(state, wanted, clock, base=tmp_path)


def test_two_of_one_name_must_say_by_which_key_they_are(state: State, tmp_path: Path) -> None:
    named, nameless = authority("ca", identified=True), authority("ca")
    wanted = policy(tmp_path, ("one", named, None), ("other", nameless, None))
    with pytest.raises(CertificateError, match="trust-alike"):
        ensure_client_trust(state, wanted, clock, base=tmp_path)
    wanted = policy(tmp_path, ("one", named, None), ("other", authority("ca", identified=True), None))
    ensure_client_trust(state, wanted, clock, base=tmp_path)


def test_the_private_one_stands_beside_others(state: State, tmp_path: Path) -> None:
    one = authority("one", first=datetime.now(UTC) - DAY, last=datetime.now(UTC) + DAY)
    told = [{"name": "one", "file": "one.pem"}, {"name": "private"}]
    (tmp_path / "one.pem").write_bytes(one.pem)
    wanted = Policy.model_validate({"clients": {"mode": "required", "authorities": told}})

    def now() -> datetime:
        return datetime.now(UTC)

    first = ensure_client_trust(state, wanted, now, base=tmp_path).read_bytes()
    assert len(x509.load_pem_x509_certificates(first)) == 2
    assert ensure_client_trust(state, wanted, now, base=tmp_path).read_bytes() == first, "kept as it is"
    write_lists(state, wanted)
    assert not (state.live_clients / "lists.pem").exists(), "no engine reads it"
