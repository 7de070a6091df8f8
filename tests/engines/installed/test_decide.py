"""From what is on disk to what shall be, in an order in which every moment loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.engines.installed.decide import Act, Disk, acts, rollback_to
from sealgate.engines.installed.drift import file_drift
from sealgate.engines.installed.expected import Expected
from sealgate.engines.installed.journal import Journal, Pending, Record, Stamp, Version
from sealgate.errors import EngineError, StateError
from sealgate.policy.model import Endpoint

EXPECTED = Expected(
    https=(Endpoint("127.0.0.1", 8443),),
    http=(Endpoint("::1", 8080),),
    name="localhost",
    protocols=("TLSv1.2", "TLSv1.3"),
    hsts="max-age=300",
    plain=308,
    location="https://localhost:8443/",
    clients="off",
    proxy_protocol=False,
    chain="/s/chain.pem",
)
CONTENTS = st.none() | st.sampled_from([b"old", b"new"])


def version(number: int) -> Version:
    return Version(number, "0" * 64, EXPECTED, (Endpoint("0.0.0.0", 80),))


@given(own=CONTENTS, wanted=CONTENTS, lines=st.integers(0, 3))
def test_every_moment_loads(own: bytes | None, wanted: bytes | None, lines: int) -> None:
    """A line without its file would keep the server from starting; the file alone is nothing to it."""
    loads = own is not None or not lines
    for act in acts(Disk(own, b"", lines), wanted):
        match act:
            case Act.WRITE:
                own = wanted
            case Act.REMOVE:
                own = None
            case Act.INCLUDE:
                lines += 1
            case Act.EXCLUDE:
                lines = 0
            case Act.RELOAD:
                assert lines == (0 if wanted is None else 1)
                assert wanted is None or own == wanted
        assert own is not None or not lines or not loads
    assert own == wanted
    assert lines == (0 if wanted is None else 1)


def test_nothing_to_write_where_all_is_there() -> None:
    assert acts(Disk(b"x", b"", 1), b"x") == (Act.RELOAD, Act.LOOK)
    assert acts(Disk(None, b"", 0), None) == (Act.RELOAD, Act.LOOK)


@pytest.mark.parametrize(
    ("record", "everything", "to"),
    [
        (Record("m", version(1)), False, None),
        (Record("m", version(2), (version(1),)), False, 1),
        (Record("m", version(2), (version(1),)), True, None),
        # Broken off: an apply is taken back, a rollback goes on.
        (Record("m", None, (), Pending("apply", "reload", version(1))), False, None),
        (Record("m", version(1), (), Pending("apply", "look", version(2))), False, 1),
        (Record("m", version(2), (version(1),), Pending("rollback", "look", version(1))), False, 1),
        (Record("m", version(2), (version(1),), Pending("rollback", "look", None)), False, None),
    ],
)
def test_where_a_rollback_leads(record: Record, everything: bool, to: int | None) -> None:
    found = rollback_to(record, everything=everything)
    assert (found.number if found else None) == to


@pytest.mark.parametrize("everything", [True, False])
def test_nothing_to_roll_back(everything: bool) -> None:
    with pytest.raises(EngineError, match="nothing-applied"):
        rollback_to(Record(), everything=everything)


def test_what_is_committed() -> None:
    record = Record("m", version(2), (version(1),), Pending("apply", "look", version(3)))
    assert record.committed(version(3)) == Record("m", version(3), (version(1), version(2)))
    assert record.committed(version(1)) == Record("m", version(1))
    assert record.committed(version(2)) == Record("m", version(2), (version(1),))
    assert record.committed(None) == Record()


def test_the_journal_comes_back_as_it_was(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "installed" / "nginx")
    assert journal.load() == Record()
    journal.prepare()
    first = journal.keep(b"one", EXPECTED, ())
    second = journal.keep(b"two", EXPECTED, (Endpoint("::", 80),))
    record = Record("/etc/x.conf", second, (first,), Pending("rollback", "look", None))
    journal.save(record)
    assert journal.load() == record
    assert journal.content(first) == b"one"
    journal.sweep(Record("m", second))
    with pytest.raises(StateError, match="journal-damaged"):
        journal.content(first)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 2}', '{"format": 1, "standing": 1}'])
def test_a_damaged_journal_is_not_guessed_at(tmp_path: Path, text: str) -> None:
    (tmp_path / "journal.json").write_text(text)
    with pytest.raises(StateError, match="journal-damaged"):
        Journal(tmp_path).load()


def test_another_content_under_a_number_is_damage(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "installed" / "nginx")
    journal.prepare()
    kept = journal.keep(b"one", EXPECTED, ())
    next((tmp_path / "installed" / "nginx" / "versions").iterdir()).write_bytes(b"other")
    with pytest.raises(StateError, match="journal-damaged"):
        journal.content(kept)


def test_a_file_that_was_touched_is_told_whatever_its_bytes_are(tmp_path: Path) -> None:
    """By equality alone: an older ctime, of a clock that was put back, is another one too."""
    journal = Journal(tmp_path)
    journal.prepare()
    journal.save(Record("/etc/main", version(1), read=Stamp(7, 100)))
    record = journal.load()
    assert record.read == Stamp(7, 100)

    def kinds(stamp: Stamp | None, own: bytes = b"x", of: Record = record) -> list[str]:
        disk = Disk(own, b"", 1, stamp)
        return [one.kind for one in file_drift(disk, of, b"x", b"x", ("own", "main"))]

    assert kinds(Stamp(7, 100)) == []
    assert (
        kinds(Stamp(7, 101)) == kinds(Stamp(7, 99)) == kinds(Stamp(8, 100)) == kinds(None) == ["file-touched"]
    )
    assert kinds(Stamp(7, 101), b"y") == ["file-edited"]
    assert kinds(Stamp(7, 101), of=Record("/etc/main", version(1))) == [], "not known"


@pytest.mark.parametrize("read", ["[1]", '["a", 2]', "{}x", "7"])
def test_a_stamp_that_is_none_is_damage(tmp_path: Path, read: str) -> None:
    journal = Journal(tmp_path)
    journal.prepare()
    journal.save(Record("/etc/main", version(1), read=Stamp(7, 100)))
    path = tmp_path / "journal.json"
    text = json.dumps(json.loads(path.read_text()) | {"read": "@"}).replace('"@"', read)
    path.write_text(text)
    with pytest.raises(StateError, match="journal-damaged"):
        journal.load()
