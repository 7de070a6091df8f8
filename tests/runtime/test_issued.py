"""Keys by which tokens count: a file that is wrong never replaces one that is in force."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sealgate._system.board import BoardReader
from sealgate.errors import CertificateError, SealgateError, StateInsecure
from sealgate.policy.load import Loaded, loads
from sealgate.runtime.issued import Issued, key_set
from tests.guard.tokens.issuing import jwk

ISSUER = "https://i.test"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    write(path, jwk("ES256", "one"))
    return path


def write(path: Path, *jwks: object) -> None:
    path.write_text(json.dumps({"keys": jwks}))
    path.chmod(0o644)


def loaded(folder: Path, *names: str) -> Loaded:
    said = (f'{{ issuer = "{one}", jwks_file = "keys.json", audience = ["a"] }}' for one in names)
    return loads(f"[tokens]\nissuers = [{', '.join(said)}]\n", path=folder / "sealgate.toml", environ={})


def published(issued: Issued) -> dict[str, list[str]]:
    _, text = BoardReader(issued.board.fd).read()
    return {name: [one["kid"] for one in jwks] for name, jwks in json.loads(text)["issuers"].items()}


def test_files_are_followed(keys: Path) -> None:
    said: list[str] = []
    issued = Issued(said.append)
    policy = loaded(keys.parent, ISSUER)
    issued.follow(policy, strict=True)
    assert published(issued) == {ISSUER: ["one"]}
    generation = issued.board.generation
    issued.follow(policy)
    assert issued.board.generation == generation, "nothing changed: nobody need look"
    write(keys, jwk("ES256", "two", "two"))
    issued.follow(policy)
    assert published(issued) == {ISSUER: ["two"]}
    for wrong in ("{", '{"keys": []}', "[]", ""):
        keys.write_text(wrong)
        issued.follow(policy)
        assert published(issued) == {ISSUER: ["two"]}
        with pytest.raises(CertificateError, match="key-set-unreadable"):
            issued.follow(policy, strict=True)
    assert all("the keys before still count" in line for line in said)
    assert len(said) == 4, "each reason once"
    issued.follow(policy)
    assert len(said) == 4


def test_what_does_not_count_is_said(keys: Path) -> None:
    said: list[str] = []
    write(keys, jwk("ES256", "one"), jwk("ES256", "two", d="AAAA"))
    Issued(said.append).follow(loaded(keys.parent, ISSUER))
    (line,) = said
    assert "key 1 is a private key" in line
    assert "AAAA" not in line


def test_before_another_policy_is_in_force_issuers_of_the_one_before_stay(keys: Path) -> None:
    issued = Issued(lambda _: None)
    issued.follow(loaded(keys.parent, ISSUER), strict=True)
    other = loaded(keys.parent, "https://other.test")
    issued.follow(other, strict=True)
    assert set(published(issued)) == {ISSUER, "https://other.test"}
    issued.follow(other)
    assert set(published(issued)) == {"https://other.test"}


def test_a_file_that_others_may_change(keys: Path) -> None:
    keys.chmod(0o666)
    with pytest.raises(StateInsecure, match="key-set-insecure"):
        key_set(keys)
    keys.unlink()
    with pytest.raises(SealgateError, match="key-set-unreadable"):
        key_set(keys)
