"""Lists that were fetched, over restarts: nothing on the shelf is believed, and nothing on it is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealgate._system.conditional import Tag
from sealgate.pki.lists.judging import Accepted, judge
from sealgate.pki.lists.shelf import MOST, Shelf, places_in
from sealgate.policy.identity import listed_key, revocation_key
from sealgate.policy.points import Point
from tests.pki.lists.published import published, scope
from tests.pki.making import DAY, NOW, Made, make

ROOT = make("root", ca=True, identified=True)
OTHER = make("other", ca=True, identified=True)
POINT = Point.at("http://a.example/l.crl", "ldap://a.example/cn=l")
PUBLIC = ROOT.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
ISSUER = sha256(PUBLIC).digest()
KEY = listed_key(ISSUER, POINT.mark)
NOTHING = timedelta()


def judged(data: bytes) -> Accepted:
    found = judge(data, [ROOT.certificate], point=POINT, before=None, now=NOW)
    assert isinstance(found, Accepted)
    return found


def kept(folder: Path, data: bytes) -> Shelf:
    shelf = Shelf(folder)
    assert shelf.learn("them", ISSUER, POINT)
    shelf.took(KEY, judged(data), Tag('"1"', ""), NOTHING, at=NOW)
    shelf.keep()
    return shelf


def loaded(folder: Path, by: Made = ROOT, *, now: datetime = NOW) -> tuple[Shelf, str]:
    shelf, said = Shelf(folder), list[str]()
    shelf.load({"them": ([by.certificate], NOTHING)}, now=now, say=said.append)
    return shelf, " ".join(said)


def test_it_is_in_force_again(tmp_path: Path) -> None:
    before = kept(tmp_path / "fetched", published(ROOT, 7, 9))
    shelf, said = loaded(tmp_path / "fetched")
    assert (shelf.places, shelf.fetched, said) == (before.places, before.fetched, "")
    (one,) = shelf.fetched.values()
    assert set(one.keys()) == {revocation_key(ISSUER, 7), revocation_key(ISSUER, 9)}
    assert one.counts(NOW)
    assert not one.counts(NOW + 2 * DAY)
    assert places_in(tmp_path / "fetched")[0].point == POINT
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "fetched").iterdir()} == {0}


def test_one_that_ended_is_stale_and_its_number_is_remembered(tmp_path: Path) -> None:
    kept(tmp_path, published(ROOT, 7, number=5))
    shelf, _ = loaded(tmp_path, now=NOW + 2 * DAY)
    (one,), (place,) = shelf.fetched.values(), shelf.places.values()
    assert not one.counts(NOW + 2 * DAY)
    assert place.before is not None
    assert place.before.number == 5
    assert one.counts(NOW), "and was in force"


@pytest.mark.parametrize("damage", ["other bytes", "gone", "another authority", "another list"])
def test_what_does_not_count_any_more_is_unknown(tmp_path: Path, damage: str) -> None:
    kept(tmp_path, published(ROOT, 7))
    (path,) = tmp_path.glob("*.crl")
    if damage == "gone":
        path.unlink()
    elif damage != "another authority":
        path.write_bytes(b"x" * 100 if damage == "other bytes" else published(OTHER, 7))
    shelf, said = loaded(tmp_path, OTHER if damage == "another authority" else ROOT)
    assert not shelf.fetched
    assert "fetched anew" in said
    assert [one.file for one in shelf.places.values()] == [""]
    assert [one.facts.asked for one in shelf.places.values()] == [None], "it is due at once"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": 2}', '{"schema": 1, "places": [{}]}', '{"schema": 1, "places": 3}']
)
def test_a_damaged_index_is_an_empty_shelf(tmp_path: Path, text: str) -> None:
    kept(tmp_path, published(ROOT, 7))
    (tmp_path / "index.json").write_text(text)
    shelf, said = loaded(tmp_path)
    assert (shelf.places, shelf.fetched) == ({}, {})
    assert "cannot be read" in said
    shelf.keep()
    assert not list(tmp_path.glob("*.crl"))


def test_a_name_in_the_index_leads_nowhere_else(tmp_path: Path) -> None:
    shelf = kept(tmp_path / "fetched", published(ROOT, 7))
    (tmp_path / "out.crl").write_bytes(published(ROOT, 7))
    index = tmp_path / "fetched" / "index.json"
    index.write_text(index.read_text().replace(shelf.places[KEY].file, "../out"))
    again, said = loaded(tmp_path / "fetched")
    assert not again.fetched
    assert "cannot be read" in said


def test_files_come_before_the_index_and_go_after_it(tmp_path: Path) -> None:
    shelf = kept(tmp_path, published(ROOT, 7))
    shelf.took(KEY, judged(published(ROOT, 7, 8, number=8)), Tag(), NOTHING, at=NOW)
    killed, _ = loaded(tmp_path)  # before the index was written
    assert [len(list(one.keys())) for one in killed.fetched.values()] == [1]
    shelf.keep()
    after, _ = loaded(tmp_path)
    assert [len(list(one.keys())) for one in after.fetched.values()] == [2]
    assert len(list(tmp_path.glob("*.crl"))) == 1


def test_a_list_of_authorities_alone_vouches_for_no_client(tmp_path: Path) -> None:
    shelf = kept(tmp_path, published(ROOT, 7, extensions=[scope(authorities=True)]))
    assert [one.key for one in shelf.fetched.values()] == [b""]
    assert [list(one.keys()) for one in shelf.fetched.values()] == [[revocation_key(ISSUER, 7)]]


def test_there_are_not_too_many() -> None:
    shelf = Shelf(Path("nowhere"))
    learned = [shelf.learn("them", ISSUER, Point.at(f"http://a.example/{n}")) for n in range(MOST + 5)]
    assert learned == [True] * MOST + [False] * 5
    assert shelf.learn("others", ISSUER, Point.at("http://a.example/others"))
    assert not shelf.learn("others", ISSUER, Point.at("http://a.example/others")), "it is known"
    shelf.forget(lambda one: one.authority == "others")
    assert len(shelf.places) == 1


# What strangers and odd times do


def test_an_end_that_is_as_far_as_dates_go_has_a_grace_too(tmp_path: Path) -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    shelf = Shelf(tmp_path)
    assert shelf.learn("them", ISSUER, POINT)
    shelf.took(KEY, judged(published(ROOT, until=last)), Tag(), timedelta(days=7), at=NOW)
    shelf.keep()
    again, said = Shelf(tmp_path), list[str]()
    again.load({"them": ([ROOT.certificate], timedelta(days=7))}, now=NOW, say=said.append)
    assert [one.counts(NOW) for one in again.fetched.values()] == [True], said


def test_a_clock_that_is_behind_forgets_no_number(tmp_path: Path) -> None:
    kept(tmp_path, published(ROOT, 7, number=6))
    early, said = loaded(tmp_path, now=NOW - 30 * DAY)
    assert not early.fetched
    assert "clock" in said
    early.failed(KEY, "no answer", at=NOW - 30 * DAY)
    early.keep()
    right, _ = loaded(tmp_path)
    assert [one.counts(NOW) for one in right.fetched.values()] == [True]
    (place,) = right.places.values()
    assert place.before is not None
    assert place.before.number == 6


def test_a_file_that_is_damaged_brings_no_older_list_in(tmp_path: Path) -> None:
    kept(tmp_path, published(ROOT, 7, number=6))
    (path,) = tmp_path.glob("*.crl")
    path.write_bytes(b"garbage")
    shelf, _ = loaded(tmp_path)
    assert shelf.is_older(KEY, judged(published(ROOT, number=5)))
    assert not shelf.is_older(KEY, judged(published(ROOT, number=6)))


def test_of_two_on_their_way_the_newer_stays(tmp_path: Path) -> None:
    shelf = kept(tmp_path, published(ROOT, 7, number=6))
    for older in (published(ROOT, number=5), published(ROOT, number=None)):
        assert shelf.is_older(KEY, judged(older))
    late = judged(published(ROOT, number=9, last=NOW - 3 * DAY))
    assert shelf.is_older(KEY, late), "a higher number of an earlier date"


def test_the_index_of_one_authority_can_be_read_by_all() -> None:
    shelf, other = Shelf(Path("nowhere")), "x" * 2000
    learned = [shelf.learn("them", ISSUER, Point.at(f"http://a.example/{n}/{other}")) for n in range(100)]
    assert 0 < sum(learned) < 40
    shelf.failed(next(iter(shelf.places)), "y" * 5000, at=NOW)
    assert max(len(one.problem) for one in shelf.places.values()) == 300


def test_who_reloads_asks_again_at_once(tmp_path: Path) -> None:
    shelf = kept(tmp_path, published(ROOT, 7))
    shelf.failed(KEY, "no answer", at=NOW)
    shelf.anew()
    (one,) = shelf.places.values()
    assert (one.problem, one.facts.asked, one.facts.failures) == ("", None, 0)
    assert one.facts.next_update is not None
    assert one.before is not None
