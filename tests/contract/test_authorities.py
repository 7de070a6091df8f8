"""Several authorities of clients on one server: each client is judged by its own one's rule alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calls import sealgate
from tests.contract.certificates import Shown
from tests.contract.sites import Site, at_least, every_engine, started
from tests.contract.test_clients import refused
from tests.contract.test_own_clients import added, client, fingerprints, kept
from tests.contract.test_revocation import Partners, answered, authority_of
from tests.pki.making import DAY, make

HOUR = timedelta(hours=1)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def entry(name: str, by: Partners, **further: Any) -> dict[str, Any]:
    return {"name": name, "file": str(by.folder / "partners.pem"), "crl": "off", **further}


def listed(name: str, by: Partners, **further: Any) -> dict[str, Any]:
    return entry(name, by, crl=str(by.folder / "partners.crl"), **further)


def groups_of(site: Site, shown: Shown) -> set[tuple[str, ...]]:
    mark = site.witness.mark
    assert fingerprints(site, shown) == {shown.fingerprint}
    return {tuple(line["groups"]) for line in site.witness.since(mark)}


def looked(site: Site) -> None:
    """The keeper looks at its files at once, and not at its next turn."""
    served = site.served
    place = ("-c", str(served.policy), "--state", str(served.state))
    done = sealgate("cert", "renew", "--if-due", *place, cwd=served.folder)
    assert done.status == 0, done.err


@every_engine
def test_each_client_is_judged_by_its_own_authority(stack: ExitStack, which: str, tmp_path: Path) -> None:
    """The private one; one with lists; one without, whose certificate has the other's name."""
    partners, guests = authority_of("partners", tmp_path), authority_of("partners", tmp_path, place="guests")
    (ann, _), (bob, bobs), (gus, _) = partners.client("ann"), partners.client("bob"), guests.client("ann")
    now = datetime.now(UTC)
    stranger = make(
        "in between", guests.authority, ca=True, usages=None, first=now - DAY, last=now + DAY, identified=True
    )
    (ivo, _) = guests.client("ivo", stranger)
    partners.revoke()
    who = {f"{name}s": [{"authority": name, "cn": "ann"}] for name in ("private", "partner", "guest")}
    authorities = [{"name": "private"}, listed("partner", partners), entry("guest", guests)]
    site = started(
        stack, which, "usual", clients={"mode": "required", "authorities": authorities, "groups": who}
    )
    own = added(site, "ann")
    told = [groups_of(site, one) for one in (own, ann, gus)]
    assert told == [{("privates",)}, {("partners",)}, {("guests",)}]
    assert groups_of(site, bob) == {()}
    for nobody in (ivo, None):  # between several, whose issuer is unknown cannot be judged
        refused(site, nobody)

    opened = kept(stack, site, bob)
    partners.revoke(bobs)
    looked(site)
    assert not [one for one in opened if answered(one)]
    refused(site, bob)
    assert [groups_of(site, one) for one in (own, ann, gus)] == told
    assert client(site, "revoke", "ann").status == 0
    refused(site, own)
    assert [groups_of(site, one) for one in (ann, gus)] == told[1:]

    opened, good = kept(stack, site, gus), kept(stack, site, ann)
    done = client(site, "block", gus.fingerprint, "--note", "stolen")
    assert done.status == 0, done.err
    assert not [one for one in opened if answered(one)]
    refused(site, gus)
    assert [one for one in good if answered(one)] == good
    assert gus.fingerprint in client(site, "list", "--blocked", "--json").out
    site.served.reload()
    refused(site, gus)
    done = client(site, "block", own.fingerprint)
    assert (done.status, "client-own" in done.err) == (2, True), done.err
    done = client(site, "block", str(partners.folder / "partners.pem"))
    assert (done.status, "client-authority" in done.err) == (2, True), done.err
    assert client(site, "unblock", str(gus.path)).status == 0
    assert "client-not-blocked" in client(site, "unblock", gus.fingerprint.upper()).err
    assert groups_of(site, gus) == {("guests",)}


@at_least("envoy", "uvicorn")
def test_a_list_that_lapses_shuts_out_its_own_clients_alone(
    stack: ExitStack, which: str, tmp_path: Path
) -> None:
    partners, others = authority_of("partners", tmp_path), authority_of("others", tmp_path)
    (ann, _), (eve, eves) = partners.client("ann"), others.client("eve")
    partners.revoke(life=-HOUR)
    others.revoke()
    authorities = [listed("partners", partners, grace="2h"), listed("others", others)]
    site = started(stack, which, "usual", clients={"mode": "required", "authorities": authorities})
    assert fingerprints(site, ann) == {ann.fingerprint}, "within its grace"
    opened, good = kept(stack, site, ann), kept(stack, site, eve)

    partners.revoke(life=timedelta(seconds=6) - 2 * HOUR)
    looked(site)
    site.served.wait_for(lambda: "clients of partners are refused from now on" in site.served.err, 30.0)
    assert not [one for one in opened if answered(one)]
    refused(site, ann)
    assert [one for one in good if answered(one)] == good
    assert fingerprints(site, eve) == {eve.fingerprint}

    (partners.folder / "partners.crl").write_bytes(b"half a fi")
    others.revoke()
    refused(site, ann)
    assert fingerprints(site, eve) == {eve.fingerprint}
    partners.revoke()
    looked(site)
    assert "clients of partners are let in again" in site.served.err
    assert fingerprints(site, ann) == {ann.fingerprint}

    (partners.folder / "partners.pem").write_bytes(b"half a fi")  # keeps nobody else's list back
    others.revoke(eves)
    mark = len(site.served.err)
    site.served.wait_for(lambda: "trust-unreadable" in site.served.err[mark:], 60.0)
    refused(site, eve)
    assert fingerprints(site, ann) == {ann.fingerprint}


@every_engine
def test_cross_signed_and_re_keyed_authorities(stack: ExitStack, which: str, tmp_path: Path) -> None:
    """Whoever else vouches for an authority, its clients are judged by the file in which its key stands."""
    partners, guests = authority_of("partners", tmp_path), authority_of("guests", tmp_path)
    now = datetime.now(UTC)
    crossed = make(
        "partners",
        guests.authority,
        key=partners.authority.key,
        ca=True,
        usages=None,
        first=now - DAY,
        last=now + DAY,
        identified=True,
    )
    renewed = authority_of("guests", tmp_path, place="renewed")
    old = (guests.folder / "partners.pem").read_bytes()
    (guests.folder / "partners.pem").write_bytes(old + renewed.authority.pem)
    (ann, anns), (bob, _) = partners.client("ann", crossed), partners.client("bob", crossed)
    (gus, _), (eve, _) = guests.client("gus"), renewed.client("eve")
    partners.revoke(anns)
    authorities = [entry("guests", guests), listed("partners", partners)]
    groups = {
        name: [{"authority": name, "cn": cn} for cn in ("bob", "gus", "eve")]
        for name in ("guests", "partners")
    }
    site = started(
        stack, which, "usual", clients={"mode": "required", "authorities": authorities, "groups": groups}
    )
    refused(site, ann)
    assert [groups_of(site, one) for one in (bob, gus, eve)] == [
        {("partners",)},
        {("guests",)},
        {("guests",)},
    ]


@at_least("envoy", "gunicorn")
def test_another_authority_in_the_same_file_counts_without_a_word(
    stack: ExitStack, which: str, tmp_path: Path
) -> None:
    """The file was changed, and nothing else: server and guard take it over together."""
    partners, others = authority_of("partners", tmp_path), authority_of("others", tmp_path)
    (ann, _), (eve, _) = partners.client("ann"), others.client("eve")
    authorities = [{"name": "private"}, entry("partners", partners)]
    site = started(stack, which, "usual", clients={"mode": "required", "authorities": authorities})
    assert fingerprints(site, ann) == {ann.fingerprint}
    refused(site, eve)
    (partners.folder / "partners.pem").write_bytes(others.authority.pem)
    looked(site)
    site.served.wait_for(lambda: "other authorities of clients are in force" in site.served.err, 60.0)
    assert fingerprints(site, eve) == {eve.fingerprint}
    refused(site, ann)
    (partners.folder / "partners.pem").write_bytes(b"half a fi")
    looked_and_failed = site.served.err
    site.served.wait_for(lambda: "trust-unreadable" in site.served.err[len(looked_and_failed) :], 60.0)
    assert fingerprints(site, eve) == {eve.fingerprint}
