"""A list of revoked certificates: whoever is on it is out from the next handshake on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.contract.certificates import Shown
from tests.contract.sites import Site, every_engine, started
from tests.contract.test_clients import (
    VERSIONS,
    Session,
    come_back,
    refused,
    refused_to_come_back,
    seen,
    session,
)
from tests.contract.test_own_clients import Kept, kept
from tests.pki.making import DAY, Made, make


@dataclass
class Partners:
    """An authority of somebody else's: its certificate, its list, and its clients."""

    folder: Path
    authority: Made
    number: int = 0

    @property
    def clients(self) -> dict[str, object]:
        paths = {"file": str(self.folder / "partners.pem"), "crl": str(self.folder / "partners.crl")}
        return {"mode": "required", "authorities": [{"name": "partners", **paths}]}

    def revoke(self, *serials: int, life: timedelta = DAY) -> None:
        """Write the list anew, with these on it; good for so long from now on."""
        now = datetime.now(UTC).replace(microsecond=0)
        self.number += 1
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.authority.certificate.subject)
            .last_update(now - timedelta(days=1))
            .next_update(now + life)
            .add_extension(x509.CRLNumber(self.number), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority.key.public_key()),
                critical=False,
            )
        )
        for serial in serials:
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - DAY)
            builder = builder.add_revoked_certificate(revoked.build())
        made = builder.sign(self.authority.key, SHA256())
        (self.folder / "partners.crl").write_bytes(made.public_bytes(Encoding.PEM))

    def client(self, name: str, *between: Made) -> tuple[Shown, int]:
        """Somebody's certificate, and its serial number; by somebody in between, it is sent along."""
        now = datetime.now(UTC)
        usages = (ExtendedKeyUsageOID.CLIENT_AUTH,)
        by = between[0] if between else self.authority
        leaf = make(name, by, usages=usages, first=now - DAY, last=now + DAY, identified=True)
        path = self.folder / f"{name}.pem"
        path.write_bytes(leaf.key_pem + leaf.pem + b"".join(one.pem for one in between))
        certificate = leaf.certificate
        shown = Shown(path, certificate.fingerprint(SHA256()).hex(), certificate.subject.rfc4514_string())
        return shown, certificate.serial_number


def authority_of(name: str, folder: Path, *, place: str = "") -> Partners:
    """An authority of that name; ``place``: of its folder, where another one is called the same."""
    (where := folder / (place or name)).mkdir()
    now = datetime.now(UTC)
    authority = make(name, ca=True, usages=None, first=now - 2 * DAY, last=now + 2 * DAY, identified=True)
    (where / "partners.pem").write_bytes(authority.pem)
    return Partners(where, authority)


@pytest.fixture
def partners(tmp_path: Path) -> Partners:
    return authority_of("partners", tmp_path)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def fingerprints(site: Site, shown: Shown) -> set[str]:
    return {told[0] for told in seen(site, shown) if isinstance(told, list)}


def sessions(site: Site, shown: Shown) -> list[Session]:
    """What a client keeps, of each version of TLS."""
    return [session(site, shown, version) for version in VERSIONS]


def reloaded(site: Site) -> None:
    site.served.reload()
    assert site.served.err.rstrip().endswith("sealgate: reloaded")


@every_engine
def test_the_revoked_are_out(stack: ExitStack, partners: Partners, which: str, tmp_path: Path) -> None:
    """Where a certificate may be shown and where it must be, by a new connection and by an old session.

    And whoever counts no more because the authority changed, on a connection that is open. On one server,
    because each start takes its time.
    """
    names = ("alice", "bob", "carol", "dora")
    (alice, _), (bob, bobs), (carol, carols), (dora, doras) = (partners.client(name) for name in names)
    partners.revoke(bobs)
    site = started(
        stack, which, "usual", clients={**partners.clients, "mode": "optional"}, access={"default": "none"}
    )
    refused(site, bob)
    for shown in (alice, carol):
        assert fingerprints(site, shown) == {shown.fingerprint}
    before = sessions(site, carol)
    partners.revoke(bobs, carols)
    reloaded(site)
    for shown in (bob, carol):
        refused(site, shown)
    refused_to_come_back(site, *before)
    assert fingerprints(site, alice) == {alice.fingerprint}
    assert set(seen(site, None)) == {None}, "who shows none still gets in"

    before, good = sessions(site, dora), sessions(site, alice)
    partners.revoke(bobs, carols, doras)
    site.served.rewrite(clients=partners.clients)
    reloaded(site)
    for anybody in (carol, dora, None):
        refused(site, anybody)
    refused_to_come_back(site, *before)
    assert fingerprints(site, alice) == {alice.fingerprint}
    answers = [come_back(site, held)[0] for held in good]
    assert [answer.status if answer else 0 for answer in answers] == [200] * len(VERSIONS)

    others = authority_of("others", tmp_path)
    others.revoke()
    (erin, _) = others.client("erin")
    opened = kept(stack, site, alice)
    site.served.rewrite(clients=others.clients)
    reloaded(site)
    refused(site, alice)
    site.served.wait_for(lambda: not [one for one in opened if answered(one)], 20.0)
    assert fingerprints(site, erin) == {erin.fingerprint}


def answered(one: Kept) -> bool:
    answer = one.ask()
    return answer is not None and answer.status == 200
