from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sealgate.errors import StateError, StateInsecure
from sealgate.pki.store import _MIGRATIONS, Store
from tests.pki.killing import die_at
from tests.pki.making import DAY, NOW, make

CA = make("ca", ca=True)


def test_what_goes_in_comes_out(store: Store) -> None:
    one = make("a.test", CA, names=["a.test", "10.0.0.1"])
    two = make("b.test", CA, names=["b.test"])
    store.add_certificate(one.certificate, kind="server", site="a.test", issuer=CA.certificate, now=NOW)
    store.add_certificate(two.certificate, kind="imported", site="b.test", issuer=None, now=NOW + DAY)
    rows = store.certificates()
    assert [row.site for row in rows] == ["b.test", "a.test"]
    assert rows[1].names == ("a.test", "10.0.0.1")
    assert (rows[1].not_before, rows[1].issued_at) == (one.certificate.not_valid_before_utc, NOW)
    assert int(rows[1].serial, 16) == one.certificate.serial_number
    assert rows[1].pem.encode() == one.pem
    assert rows[0].issuer_key == ""
    assert [row.site for row in store.certificates(kind="server")] == ["a.test"]
    assert [row.kind for row in store.certificates(site="b.test")] == ["imported"]


def test_adding_twice_changes_nothing(store: Store) -> None:
    made = make("a.test", CA)
    for _ in range(2):
        store.add_certificate(made.certificate, kind="server", site="a", issuer=CA.certificate, now=NOW)
        store.add_authorities({"root": CA.certificate}, now=NOW)
    assert len(store.certificates()) == 1
    assert [event.kind for event in store.events()] == ["authority-made", "certificate-issued"]


def test_events_are_newest_first_and_limited(store: Store) -> None:
    for number in range(5):
        store.add_event("something", str(number), now=NOW, number=number)
    assert [event.detail["number"] for event in store.events(limit=2)] == [4, 3]


def test_nobody_else_reads_it(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        Store.open(tmp_path / "store.db").close()
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "store.db").stat().st_mode) == 0o600
    (tmp_path / "store.db").chmod(0o644)
    with pytest.raises(StateInsecure):
        Store.open(tmp_path / "store.db")


def test_a_newer_schema_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    Store.open(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute(f"PRAGMA user_version={len(_MIGRATIONS) + 1}")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(StateError) as caught:
        Store.open(path)
    assert caught.value.code == "store-newer"
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["garbage", "middle"])
def test_a_damaged_file_is_refused_untouched(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "store.db"
    with Store.open(path) as store:
        for number in range(20):
            store.add_certificate(
                make(f"{number}").certificate, kind="server", site="a", issuer=None, now=NOW
            )
    data = bytearray(path.read_bytes())
    if damage == "garbage":
        data = bytearray(b"no database at all" * 100)
    else:
        data[4096:12288] = os.urandom(8192)
    path.write_bytes(data)
    with pytest.raises(StateError) as caught:
        Store.open(path)
    assert caught.value.code == "store-damaged"
    assert path.read_bytes() == bytes(data)


def test_reading_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StateError) as caught:
        Store.open(tmp_path / "store.db", read_only=True)
    assert caught.value.code == "state-missing"
    assert list(tmp_path.iterdir()) == []


def test_read_only_reads_while_the_keeper_has_it_open(store: Store) -> None:
    store.add_event("x", "y", now=NOW)
    with Store.open(store.path, read_only=True) as reader:
        assert [event.kind for event in reader.events()] == ["x"]
        with pytest.raises(StateError) as caught:
            reader.add_event("a", "b", now=NOW)
        assert caught.value.code == "state-read-only"


def test_what_was_added_survives_a_process_that_dies_at_once(tmp_path: Path) -> None:
    path, made = tmp_path / "store.db", make("a.test", CA)

    def work(step) -> None:
        store = Store.open(path)
        store.add_certificate(made.certificate, kind="server", site="a", issuer=CA.certificate, now=NOW)
        step("handed out")

    assert die_at(0, work) == 9
    with Store.open(path) as store:
        assert [row.pem for row in store.certificates()] == [made.pem.decode()]


_DIES_WRITING = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=1")
connection.execute("BEGIN IMMEDIATE")
connection.executemany(
    "INSERT INTO events (at, kind, subject, detail) VALUES ('2030-01-01', ?, '', '{}')", [("x" * 4000,)] * 200
)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_who_only_reads_rolls_back_what_a_killed_writer_left(tmp_path: Path) -> None:
    """Else `status` after a crash would say that the store is not writable."""
    path = tmp_path / "store.db"
    with Store.open(path) as store:
        store.add_event("before", "it", now=NOW)
    done = subprocess.run([sys.executable, "-c", _DIES_WRITING, str(path)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "store.db-journal").stat().st_size, "nothing was left half done"
    with Store.open(path, read_only=True) as store:
        assert [one.kind for one in store.events(limit=9)] == ["before"]
