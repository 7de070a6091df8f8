"""Lists that others publish, fetched: whoever they could name counts only while one of them is in force."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from tests._system.publishing import Call, Publisher, publishing
from tests.cli.calls import sealgate
from tests.contract.certificates import Shown
from tests.contract.sites import Site, at_least, environment, started
from tests.contract.test_own_clients import Kept, kept
from tests.contract.test_revocation import Partners, answered, authority_of
from tests.live.served import APPS, READY, loopback, start_process
from tests.pki.lists.published import published
from tests.pki.making import DAY, make

HOUR = timedelta(hours=1)
UNKNOWN = b"client-status-unknown"
REFUSED = b"client-certificate-refused"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with publishing(loopback()) as found:
        yield found


def points(*addresses: str) -> x509.CRLDistributionPoints:
    names = [x509.UniformResourceIdentifier(one) for one in addresses]
    return x509.CRLDistributionPoints([x509.DistributionPoint(names, None, None, None)])


def client_of(by: Partners, name: str, *further: x509.ExtensionType) -> tuple[Shown, int]:
    now = datetime.now(UTC)
    usages = (ExtendedKeyUsageOID.CLIENT_AUTH,)
    leaf = make(
        name, by.authority, usages=usages, first=now - DAY, last=now + DAY, identified=True, further=further
    )
    path = by.folder / f"{name}.pem"
    path.write_bytes(leaf.key_pem + leaf.pem)
    one = leaf.certificate
    return Shown(path, one.fingerprint(SHA256()).hex(), one.subject.rfc4514_string()), one.serial_number


def a_list(by: Partners, number: int, *serials: int, life: timedelta = DAY) -> bytes:
    now = datetime.now(UTC).replace(microsecond=0)
    return published(by.authority, *serials, last=now - DAY, until=now + life, number=number)


def sends(body: bytes) -> Any:
    return lambda call: call.answer(200, body)


def asked(stack: ExitStack, site: Site, shown: Shown) -> tuple[int, bytes]:
    """Status and body of a request on a new connection."""
    with ExitStack() as opened:
        answer = Kept(opened, site, shown, "http/1.1").ask()
    assert answer is not None
    return answer.status, answer.body


def until(stack: ExitStack, site: Site, shown: Shown, status: int) -> None:
    end = time.monotonic() + 30
    while (said := asked(stack, site, shown))[0] != status:
        assert time.monotonic() < end, (said, site.served.err)
        time.sleep(0.1)


def refreshed(site: Site) -> dict[str, Any]:
    served = site.served
    place = ("-c", str(served.policy), "--state", str(served.state), "--json")
    done = sealgate("crl", "refresh", *place, cwd=served.folder)
    told: dict[str, Any] = json.loads(done.out)
    assert done.status == int(any(one["problem"] for one in told["lists"])), done.err
    return told


def again(site: Site, which: str) -> None:
    """The keeper starts once more, by what it has kept."""
    served = site.served
    assert served.stop() == 0
    served.process = start_process(
        served.folder,
        *("serve", "-c", str(served.policy), "--state", str(served.state)),
        env={"PYTHONPATH": str(APPS), "WITNESS": str(site.witness.path), **environment(which)},
    )
    served.wait_for(lambda: READY.search(served.out), 60.0)


def policy(*entries: dict[str, Any]) -> dict[str, Any]:
    return {
        "clients": {"mode": "required", "authorities": list(entries)},
        "network": {"fetch": ["127.0.0.0/8"]},
    }


def entry(name: str, by: Partners, **further: Any) -> dict[str, Any]:
    return {"name": name, "file": str(by.folder / "partners.pem"), **further}


@at_least("envoy", "apache", "uvicorn")
def test_by_the_points_in_certificates(
    stack: ExitStack, publisher: Publisher, which: str, tmp_path: Path
) -> None:
    partners, guests = authority_of("partners", tmp_path), authority_of("guests", tmp_path)
    there = points("http://127.0.0.1:1/nobody", publisher.url("/partners.crl"))
    (ann, anns), (bob, _) = (client_of(partners, name, there) for name in ("ann", "bob"))
    (cid, _), (gus, _) = client_of(partners, "cid"), guests.client("gus")
    publisher.answers["/partners.crl"] = lambda call: call.answer(500)
    own = policy(entry("partners", partners), entry("guests", guests, crl="off"))
    site = started(stack, which, "usual", **own)

    for shown in (ann, bob):
        status, body = asked(stack, site, shown)
        assert (status, UNKNOWN in body) == (503, True), body
    assert asked(stack, site, cid)[0] == 403, "nothing says where to ask"
    assert asked(stack, site, gus)[0] == 200, "nobody is asked about this one"

    publisher.answers["/partners.crl"] = sends(a_list(partners, 1))
    assert [one["number"] for one in refreshed(site)["lists"]] == [1]
    opened, good = kept(stack, site, ann), kept(stack, site, bob)

    publisher.answers["/partners.crl"] = sends(a_list(partners, 2, anns))
    refreshed(site)
    assert not [one for one in opened if answered(one)]
    status, body = asked(stack, site, ann)
    assert (status, REFUSED in body) == (403, True), body
    assert [one for one in good if answered(one)] == good

    wrongs = (b"garbage", a_list(partners, 1), a_list(guests, 3), a_list(partners, 3)[:-9])
    for wrong in wrongs if which == "envoy" else wrongs[:1]:  # the keeper judges, whatever the server
        publisher.answers["/partners.crl"] = sends(wrong)
        (told,) = refreshed(site)["lists"]
        assert (told["number"], bool(told["problem"])) == (2, True), told
        assert [asked(stack, site, shown)[0] for shown in (ann, bob)] == [403, 200]

    again(site, which)
    assert [asked(stack, site, shown)[0] for shown in (bob, ann, gus)] == [200, 403, 200], "from the shelf"


@at_least("envoy")
def test_by_one_address_and_to_its_end(
    stack: ExitStack, publisher: Publisher, which: str, tmp_path: Path
) -> None:
    partners, others = authority_of("partners", tmp_path), authority_of("others", tmp_path)
    (ann, _), (eve, _) = partners.client("ann"), others.client("eve")
    publisher.answers["/ours.crl"] = sends(a_list(partners, 1, life=timedelta(seconds=8) - HOUR))
    others.revoke()
    site = started(
        stack,
        which,
        "usual",
        **policy(
            entry("partners", partners, crl=publisher.url("/ours.crl"), grace="1h"),
            entry("others", others, crl=str(others.folder / "partners.crl")),
        ),
    )
    until(stack, site, ann, 200)
    opened, good = kept(stack, site, ann), kept(stack, site, eve)
    until(stack, site, ann, 403)
    assert not [one for one in opened if answered(one)]
    assert [one for one in good if answered(one)] == good
    publisher.answers["/ours.crl"] = sends(a_list(partners, 2))
    refreshed(site)
    assert asked(stack, site, ann)[0] == 200


def test_where_nobody_may_ask(stack: ExitStack, publisher: Publisher, tmp_path: Path) -> None:
    """Our own machine is no place for a stranger's address, unless the policy lists it."""
    partners = authority_of("partners", tmp_path)
    (ann, _) = client_of(partners, "ann", points(publisher.url("/partners.crl")))
    site = started(stack, "envoy", "usual", **{**policy(entry("partners", partners)), "network": {}})
    assert asked(stack, site, ann)[0] == 503
    site.served.wait_for(lambda: "at no address of the whole internet" in site.served.err, 30.0)
    assert asked(stack, site, ann)[0] == 503
    assert not publisher.calls
    site.served.rewrite(network={"fetch": ["127.0.0.0/8"]})
    publisher.answers["/partners.crl"] = sends(a_list(partners, 1))
    site.served.reload()
    refreshed(site)
    assert asked(stack, site, ann)[0] == 200


# Responders


def named(publisher: Publisher) -> x509.AuthorityInformationAccess:
    where = x509.UniformResourceIdentifier(publisher.url("/ocsp"))
    one = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, where)
    return x509.AuthorityInformationAccess([one])


class Responder:
    """Of an authority; it answers by itself, whose certificates are good but for those on its list."""

    def __init__(self, by: Partners) -> None:
        self.by, self.revoked, self.life = by, set[int](), DAY

    def __call__(self, call: Call) -> None:
        asked = ocsp.load_der_ocsp_request(call.body)
        now, authority = datetime.now(UTC).replace(microsecond=0), self.by.authority
        bad = asked.serial_number in self.revoked
        builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
            issuer_name_hash=asked.issuer_name_hash,
            issuer_key_hash=asked.issuer_key_hash,
            serial_number=asked.serial_number,
            algorithm=asked.hash_algorithm,
            cert_status=ocsp.OCSPCertStatus.REVOKED if bad else ocsp.OCSPCertStatus.GOOD,
            this_update=now,
            next_update=now + self.life,
            revocation_time=now if bad else None,
            revocation_reason=None,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, authority.certificate)
        for one in asked.extensions:
            builder = builder.add_extension(one.value, critical=False)
        answer = builder.sign(authority.key, SHA256())
        call.answer(200, answer.public_bytes(Encoding.DER))


@pytest.mark.parametrize("which", [pytest.param("envoy", marks=pytest.mark.long), "uvicorn"])
def test_by_a_responder(stack: ExitStack, publisher: Publisher, which: str, tmp_path: Path) -> None:
    partners = authority_of("partners", tmp_path)
    (ann, anns), (bob, _) = (client_of(partners, name, named(publisher)) for name in ("ann", "bob"))
    publisher.answers["/ocsp"] = lambda call: call.answer(500)
    site = started(stack, which, "usual", **policy(entry("partners", partners, ocsp="fallback")))
    status, body = asked(stack, site, ann)
    assert (status, UNKNOWN in body) == (503, True), body
    site.served.wait_for(lambda: "nobody says whether certificate" in site.served.err, 30.0)

    publisher.answers["/ocsp"] = responder = Responder(partners)
    until(stack, site, bob, 200)
    refreshed(site)
    assert asked(stack, site, ann)[0] == 200, "the first question failed; the next had been a minute later"
    opened, good = kept(stack, site, ann), kept(stack, site, bob)
    responder.revoked.add(anns)
    refreshed(site)
    assert not [one for one in opened if answered(one)]
    assert asked(stack, site, ann)[0] == 403
    assert [one for one in good if answered(one)] == good

    publisher.answers["/ocsp"] = lambda call: call.answer(200, b"garbage")
    calls = len(publisher.calls)
    refreshed(site)
    assert len(publisher.calls) > calls
    assert [asked(stack, site, shown)[0] for shown in (ann, bob)] == [403, 200]
    again(site, which)
    assert [asked(stack, site, shown)[0] for shown in (ann, bob)] == [403, 200], "kept"
