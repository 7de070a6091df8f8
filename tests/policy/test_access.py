"""``[access]`` of a policy: what it may say, and what it cannot mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sealgate.errors import PolicyError
from sealgate.policy.load import loads
from sealgate.policy.model import Policy

CLIENTS = '[clients]\nmode = "optional"\ngroups = { ops = [{ authority = "private", cn = "a" }] }\n'


def policy(text: str) -> Policy:
    return loads(text, path=Path("/p/sealgate.toml"), environ={}).policy


def mistakes(text: str) -> list[tuple[str, str]]:
    with pytest.raises(PolicyError) as caught:
        policy(text)
    return [(one.key, one.fact) for one in caught.value.problems]


def rule(**said: Any) -> str:
    def toml(value: Any) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, dict):
            return "{ " + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + " }"
        if isinstance(value, list):
            return "[" + ", ".join(map(toml, value)) + "]"
        return f'"{value}"'

    return "[[access.rules]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in said.items())


@pytest.mark.parametrize(
    ("mode", "default", "expected", "judged"),
    [
        ("off", "auto", "none", False),
        ("optional", "auto", "authenticated", True),
        ("required", "auto", "authenticated", False),
        ("optional", "none", "none", False),
        ("off", "deny", "deny", True),
        ("required", "authenticated", "authenticated", False),
    ],
)
def test_the_default(mode: str, default: str, expected: str, judged: bool) -> None:
    made = policy(f'clients.mode = "{mode}"\naccess.default = "{default}"\n')
    assert (made.access_default, made.judges_access) == (expected, judged)


@pytest.mark.parametrize(
    ("require", "needs"),
    [
        ("none", ()),
        ("authenticated", ({},)),
        ({"group": ["ops"]}, ({"group": ("ops",)},)),
        ([{"group": ["ops"]}, {"address": ["::1"]}], ({"group": ("ops",)}, {"address": ("::1/128",)})),
    ],
)
def test_whom_a_rule_is_for(require: Any, needs: Any) -> None:
    (made,) = policy(CLIENTS + rule(path="/a", require=require)).access.rules
    assert tuple(one.model_dump(exclude_unset=True) for one in made.require or ()) == needs
    assert not made.deny


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ({"path": "/a"}, "access.rules[0]"),
        ({"path": "/a", "deny": False}, "access.rules[0]"),
        ({"path": "/a", "deny": True, "require": "none"}, "access.rules[0]"),
        ({"require": "none"}, "access.rules[0].path"),
        ({"path": "a", "deny": True}, "access.rules[0].path"),
        ({"path": "/a/../b", "deny": True}, "access.rules[0].path"),
        ({"path": "/a", "deny": True, "methods": []}, "access.rules[0].methods"),
        ({"path": "/a", "deny": True, "methods": ["get"]}, "access.rules[0].methods[0]"),
        ({"path": "/a", "deny": True, "methods": ["G T"]}, "access.rules[0].methods[0]"),
        ({"path": "/a", "deny": True, "methods": ["G*"]}, "access.rules[0].methods[0]"),
        ({"path": "/a", "require": "all"}, "access.rules[0].require"),
        ({"path": "/a", "require": {}}, "access.rules[0].require"),
        ({"path": "/a", "require": []}, "access.rules[0].require"),
        ({"path": "/a", "require": [{}]}, "access.rules[0].require"),
        ({"path": "/a", "require": True}, "access.rules[0].require"),
        ({"path": "/a", "require": {"scope": ["a b"]}}, "access.rules[0].require.scope[0]"),
        ({"path": "/a", "require": [{"scope": ["a b"]}]}, "access.rules[0].require[0].scope[0]"),
        ({"path": "/a", "require": {"address": ["10.0.0.1/8"]}}, "access.rules[0].require.address[0]"),
        ({"path": "/a", "require": {"grup": ["ops"]}}, "access.rules[0].require.grup"),
        ({"path": "/a", "require": {"group": ["opps"]}}, "access.rules[0].require.group[0]"),
        ({"path": "/a", "require": {"authority": ["x"]}}, "access.rules[0].require.authority[0]"),
    ],
)
def test_what_is_a_mistake(said: dict[str, Any], key: str) -> None:
    assert [where for where, _ in mistakes(CLIENTS + rule(**said))] == [key]


def test_nobody_can_be_known_where_nobody_is_asked() -> None:
    assert mistakes('access.default = "authenticated"') == [
        ("access.default", "callers cannot show who they are")
    ]
    assert mistakes(rule(path="/a", require="authenticated"))[0][0] == "access.rules[0].require"
    assert mistakes(rule(path="/a", require={"group": ["ops"], "address": ["::1"]}))[0][0] == (
        "access.rules[0].require.group"
    )
    assert policy(rule(path="/a", require={"address": ["::1"]})).judges_access


@pytest.mark.parametrize(
    ("first", "second", "never"),
    [
        ({"path": "/a"}, {"path": "/a"}, True),
        ({"path": "/**"}, {"path": "/a/b"}, True),
        ({"path": "/a", "methods": ["GET", "PUT"]}, {"path": "/a", "methods": ["PUT"]}, True),
        ({"path": "/a", "methods": ["GET"]}, {"path": "/a"}, False),
        ({"path": "/**", "methods": ["OPTIONS"]}, {"path": "/a"}, False),
        ({"path": "/a/**"}, {"path": "/b"}, False),
    ],
)
def test_a_rule_that_never_decides_is_a_mistake(
    first: dict[str, Any], second: dict[str, Any], never: bool
) -> None:
    text = rule(**first, deny=True) + rule(**second, require="none")
    if never:
        ((key, fact),) = mistakes(text)
        assert key == "access.rules[1].path"
        assert "never decides: access.rules[0]" in fact
    else:
        policy(text)
