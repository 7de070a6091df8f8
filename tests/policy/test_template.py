"""A commented policy file."""

from __future__ import annotations

import tomllib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sealgate.policy.fields import leaves, shape_at, shape_of
from sealgate.policy.load import loads
from sealgate.policy.model import Policy
from sealgate.policy.template import policy_template


def test_untouched_it_says_nothing_but_its_version() -> None:
    assert tomllib.loads(policy_template({})) == {
        "version": 1,
        "site": {},
        "listen": {},
        "certificate": {"acme": {"dns": {}}, "files": {}},
        "tls": {},
        "http": {"hsts": {}},
        "clients": {},
        "network": {},
        "limits": {},
        "timeouts": {},
        "tokens": {},
        "access": {},
        "validation": {},
        "monitor": {},
    }


def _optional(path: tuple[str, ...]) -> bool:
    shape = shape_at(shape_of(Policy), path)
    return shape is not None and shape.optional


def test_every_key_is_there_once_with_a_comment_above() -> None:
    lines = policy_template({}).splitlines()
    for path, _ in leaves(shape_of(Policy)):
        if path == ("version",):
            continue
        whole = next((n for n in range(len(path)) if _optional(path[:n])), None)
        if whole is not None:  # there as a whole or not at all: explained, as taking "# " away would not do
            start = lines.index(f"#: [{'.'.join(path[:whole])}]")
            assert any(line.startswith(f"#: {path[whole]} = ") for line in lines[start:]), path
            continue
        start = lines.index(f"[{'.'.join(path[:-1])}]")
        places = [n for n, line in enumerate(lines[start:], start) if line.startswith(f"# {path[-1]} = ")]
        assert places, path
        assert lines[places[0] - 1].startswith("#: "), path


def test_what_was_chosen_is_in_force() -> None:
    text = policy_template(
        {("site", "app"): "orders:app", ("timeouts", "idle"): "2m", ("listen", "http"): ()}
    )
    policy = loads(text, path=Path("/p/sealgate.toml"), environ={}).policy
    assert (policy.site.app, policy.timeouts.idle, policy.listen.http) == ("orders:app", 120, ())


def test_no_line_is_too_long_for_a_terminal() -> None:
    assert max(map(len, policy_template({}).splitlines())) <= 110


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_no_chosen_text_breaks_out_of_its_quotes(text: str) -> None:
    data = tomllib.loads(policy_template({("site", "app"): text}))
    assert data["site"]["app"] == text
