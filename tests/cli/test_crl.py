"""`sealgate crl`, and what `check` says of authorities whose lists are fetched."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealgate._system.conditional import Tag
from sealgate.pki.lists.judging import Accepted, judge
from sealgate.pki.lists.shelf import Shelf
from sealgate.pki.state import State
from sealgate.policy.identity import listed_key
from sealgate.policy.points import Point
from tests.cli.calls import sealgate
from tests.pki.lists.published import published
from tests.pki.making import DAY, make

NOW = datetime.now(UTC).replace(microsecond=0)
ROOT = make("partners", ca=True, usages=None, identified=True, first=NOW - DAY, last=NOW + 90 * DAY)
HERE = "http://crl.example.com/clients.crl"
POLICY = """\
version = 1
[site]
names = ["localhost"]
app = "orders:app"
[clients]
mode = "required"
[[clients.authorities]]
name = "partners"
file = "partners.pem"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "partners.pem").write_bytes(ROOT.pem)
    (tmp_path / "sealgate.toml").write_text(POLICY)
    return tmp_path


def fetched(folder: Path, *problems: str) -> None:
    """A list that was fetched, and places whose lists could not be had."""
    state = State.open(folder / "state")
    public = ROOT.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    issuer, point, shelf = sha256(public).digest(), Point.at(HERE), Shelf(state.fetched_lists)
    data = published(ROOT, 7, 8, last=NOW - DAY, until=NOW + DAY, number=12)
    found = judge(data, [ROOT.certificate], point=point, before=None, now=NOW)
    assert isinstance(found, Accepted)
    shelf.learn("partners", issuer, point)
    shelf.took(listed_key(issuer, point.mark), found, Tag(), timedelta(), at=NOW)
    for number, problem in enumerate(problems):
        other = Point.at(f"http://other.example.com/{number}.crl")
        shelf.learn("partners", issuer, other)
        shelf.failed(listed_key(issuer, other.mark), problem, at=NOW)
    shelf.keep()


@pytest.mark.parametrize("crl", ["", 'crl = "auto"', f'crl = "{HERE}"', f'crl = "{HERE}"\ngrace = "1h"'])
def test_lists_that_are_fetched_are_no_files(folder: Path, crl: str) -> None:
    (folder / "sealgate.toml").write_text(f"{POLICY}{crl}\n")
    done = sealgate("check", "--state", "state", cwd=folder)
    assert done.status == 0, done.err
    assert "lists of partners are fetched" in " ".join(done.out.split())


def test_a_list_within_its_grace_is_sound(folder: Path) -> None:
    ended = published(ROOT, last=NOW - 2 * DAY, until=NOW - DAY / 24)
    (folder / "partners.crl").write_bytes(ended)
    for grace, status in (("2h", 0), ("10m", 2)):
        (folder / "sealgate.toml").write_text(f'{POLICY}crl = "partners.crl"\ngrace = "{grace}"\n')
        assert sealgate("check", "--state", "state", cwd=folder).status == status


def test_show(folder: Path) -> None:
    fetched(folder, "it answered 500", "\x1b[31mred")
    done = sealgate("crl", "show", "--state", "state", cwd=folder)
    assert done.status == 0, done.err
    assert max(map(len, done.out.splitlines())) <= 80
    for text in (HERE, "number 12", "none yet", "it answered 500"):
        assert text in done.out
    assert "\x1b" not in done.out
    told = json.loads(sealgate("crl", "show", "--state", "state", "--json", cwd=folder).out)
    assert len(told) == 3
    assert (HERE, 2, "") in {(one["source"], one["entries"], one["problem"]) for one in told}


def test_refresh_needs_a_keeper(folder: Path) -> None:
    fetched(folder)
    done = sealgate("crl", "refresh", "--state", "state", cwd=folder)
    assert (done.status, "keeper-not-running" in done.err) == (3, True), done.err


def test_a_damaged_index_is_said(folder: Path) -> None:
    fetched(folder)
    (folder / "state/live/clients/fetched/index.json").write_text("{")
    done = sealgate("crl", "show", "--state", "state", cwd=folder)
    assert "crl-unreadable" in done.err
    assert "Traceback" not in done.err
