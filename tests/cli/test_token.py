"""`sealgate token` where no keeper runs; with one: tests/contract/test_api_keys.py."""

from __future__ import annotations

import json
import sqlite3
import stat
from pathlib import Path

import pytest

from sealgate._system.clock import system_clock
from sealgate.pki.api_keys.orders import catch_up, issued
from sealgate.pki.state import State
from sealgate.policy.api_keys import hashed, parts_of
from tests.cli.calls import Result, sealgate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sealgate.toml").write_text('site.app = "orders:app"\ntokens.api_keys = true\n')
    (tmp_path / "sealgate.toml").chmod(0o600)
    return tmp_path


def token(folder: Path, *words: str) -> Result:
    return sealgate("token", words[0], "--state", str(folder / "state"), *words[1:], cwd=folder)


def test_a_key_is_shown_once_and_kept_as_a_hash(folder: Path) -> None:
    made = token(folder, "add", "billing", "--scope", "read", "--scope", "write", "--days", "30")
    assert (made.status, made.err) == (0, "")
    (key,) = made.out.split()
    parts = parts_of(key)
    assert parts is not None
    kept = b"".join(path.read_bytes() for path in (folder / "state").rglob("*") if path.is_file())
    assert key.encode() not in kept
    assert hashed(key).encode() in kept
    (row,) = json.loads(token(folder, "list", "--json").out)
    assert (row["id"], row["name"], row["scopes"], row["status"]) == (
        parts.id,
        "billing",
        ["read", "write"],
        "valid",
    )
    assert row["expires_at"] is not None
    shown = token(folder, "list")
    assert parts.id in shown.out
    assert "billing" in shown.out
    assert key not in shown.out


def test_into_a_file(folder: Path) -> None:
    made = token(folder, "add", "ci", "--out", "ci.key")
    assert (made.status, made.out) == (0, "")
    path = folder / "ci.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert parts_of(path.read_text().strip()) is not None
    again = token(folder, "add", "ci", "--out", "ci.key")
    assert again.status == 2
    assert "token-file-exists" in again.err
    assert len(json.loads(token(folder, "list", "--json").out)) == 1


def test_two_at_a_time(folder: Path) -> None:
    """One is replaced without a gap, and a third is not forgotten."""
    made = [json.loads(token(folder, "add", name, "--json").out)["id"] for name in ("ci", "CI")]
    third = token(folder, "add", "ci")
    assert third.status == 2
    assert "token-exists" in third.err
    assert token(folder, "revoke", made[0]).status == 0
    assert token(folder, "add", "ci").status == 0
    rows = json.loads(token(folder, "list", "--all", "--json").out)
    assert sorted(row["status"] for row in rows) == ["revoked", "valid", "valid"]
    gone = token(folder, "revoke", "ci")
    assert gone.status == 0
    assert gone.err.count("revoked: ") == 2
    assert json.loads(token(folder, "list", "--json").out) == []
    for which in ("ci", made[0]):
        late = token(folder, "revoke", which)
        assert late.status == 2
        assert "token-unknown" in late.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("add", ""), "token-name"),
        (("add", "a\nb"), "token-name"),
        (("add", " a"), "token-name"),
        (("add", "x" * 65), "token-name"),
        (("add", "a", "--scope", "a b"), "token-scope"),
        (("add", "a", "--scope", '"'), "token-scope"),
        (("add", "a", "--scope", ""), "token-scope"),
        (("add", "a", *["--scope", "a"] * 65), "token-scope"),
        (("add", "a", "--days", "0"), "token-days"),
        (("add", "a", "--days", "99999"), "token-days"),
        (("add", "a", "--days", "soon"), "usage-wrong"),
        (("revoke", "nobody"), "token-unknown"),
        (("revoke", "x" * 100_000), "token-unknown"),
    ],
)
def test_what_is_refused(folder: Path, words: tuple[str, ...], code: str) -> None:
    token(folder, "add", "billing")
    result = token(folder, *words)
    assert result.status == 2
    assert f"{code}: " in result.err
    assert len(json.loads(token(folder, "list", "--all", "--json").out)) == 1
    assert max(map(len, result.err.splitlines())) < 1000


def test_a_name_that_was_nearly_right(folder: Path) -> None:
    token(folder, "add", "billing")
    assert 'did you mean "billing"?' in token(folder, "revoke", "biling").err


def test_where_no_key_counts_that_is_said(folder: Path) -> None:
    (folder / "sealgate.toml").write_text('site.app = "orders:app"\n')
    made = token(folder, "add", "billing")
    assert made.status == 0
    assert "tokens.api_keys = false" in made.err


def test_a_store_of_before_gets_the_table(folder: Path) -> None:
    token(folder, "add", "billing")
    store = folder / "state" / "store.db"
    with sqlite3.connect(store) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.execute("DROP TABLE api_keys")
        connection.execute(f"PRAGMA user_version={version - 1}")
    assert token(folder, "add", "again").status == 0
    assert [row["name"] for row in json.loads(token(folder, "list", "--json").out)] == ["again"]


def test_a_store_that_was_brought_back_does_not_bring_back_a_key(folder: Path) -> None:
    """Revoked after the backup was made: it is revoked again, and those of before stay."""
    billing, ci = (json.loads(token(folder, "add", name, "--json").out) for name in ("billing", "ci"))
    backup = (folder / "state" / "store.db").read_bytes()
    assert token(folder, "revoke", "billing").status == 0
    (folder / "state" / "store.db").write_bytes(backup)
    state = State.open(folder / "state", create=False)
    assert {one["id"] for one in issued(state, system_clock)} == {billing["id"], ci["id"]}
    assert catch_up(state, system_clock) == [billing["id"]]
    assert catch_up(state, system_clock) == []
    assert [one["id"] for one in issued(state, system_clock)] == [ci["id"]]
    rows = {row["name"]: row["status"] for row in json.loads(token(folder, "list", "--all", "--json").out)}
    assert rows == {"billing": "revoked", "ci": "valid"}
