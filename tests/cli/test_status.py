"""What `sealgate status` prints, of friends and of strangers."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from sealgate.cli.status import show
from sealgate.monitor.judge import judge
from sealgate.monitor.snapshot import Client, Drift, Listener, ListFacts, Snapshot
from sealgate.monitor.words import view
from tests.cli.calls import sealgate
from tests.monitor.made import DAY, NOW, by_kind, everything, held, listener, snapshot

HOSTILE = "\x1b[31m[red]\u202e\r\nall is well[/]"


def printed(one: Snapshot, width: int = 120) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False, emoji=False, color_system=None)
    show(view(one, judge(one, NOW), NOW), console)
    return out.getvalue()


def test_when_all_is_well_it_is_one_screen() -> None:
    text = printed(snapshot())
    assert "✓ All is well: https://api.example.com" in text
    assert "What needs a look" not in text
    assert len(text.splitlines()) < 40


def test_two_certificates_and_lists_are_one_screen_of_eighty_columns_too() -> None:
    first, second = held(40), replace(held(30), key="RSA 3072")
    well = listener(first, kinds=by_kind(first, second))
    plain = Listener("127.0.0.1:8080", "http", "", NOW)
    (root,) = snapshot().authorities
    several = (root, replace(root, name="servers"), replace(root, name="clients"))
    listed = ListFacts("private", NOW - DAY / 48, NOW + DAY / 2, 7)
    both = snapshot(second=second, listeners=(well, plain), authorities=several, lists=(listed,))
    text = printed(both, 80)
    assert "the same names" in text
    assert "authorities root, servers, clients" in text
    assert len(text.splitlines()) <= 40, text


@pytest.mark.parametrize("width", [60, 80, 200])
def test_bothis_said_in_words_at_any_width(width: int) -> None:
    text = printed(everything(), width)
    assert "\x1b" not in text
    for word in ("things need a look", "warning", "days left", "tested", "issued"):
        assert word in text, word


def test_in_eighty_columns_no_address_and_no_name_is_broken() -> None:
    text = printed(snapshot(), 80)
    for whole in ("https://127.0.0.1:8443", "api.example.com, *.example.com", "authority root"):
        assert whole in text, whole
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) < 40


def test_what_does_not_fit_goes_on_below_its_beginning_and_facts_stay_whole() -> None:
    names = ("a-rather-long-name.orders.api.example.com", "*.orders.api.example.com", "b.example.com")
    certificate = replace(held(), names=names)
    one = snapshot(certificate=certificate, listeners=(listener(certificate, names=names),))
    lines = [line.rstrip() for line in printed(one, 80).splitlines()]
    at = next(number for number, line in enumerate(lines) if "https://127.0.0.1:8443" in line)
    column = lines[at].index("https:")
    assert lines[at + 1].index(names[0]) == column
    assert lines[at + 3].lstrip().startswith("2027-01-01") or "until 2027-01-01" in lines[at + 2]
    assert all(line[:column].strip() == "" for line in lines[at + 1 : at + 4])


@pytest.mark.parametrize(
    "text",
    [
        "\\[/]x",
        "a\\[red]b[/red]",
        "\\\\[/x]",
        "end\\",
        "[link=https://evil.test]click[/link]",
        "[/",
        "\\",
        "[\\[/]]",
    ],
)
@pytest.mark.parametrize("width", [80, 200])
def test_a_name_that_is_markup_is_shown_as_it_is(text: str, width: int) -> None:
    """A client may be called so: nothing may end in a traceback, vanish, or become a link."""
    one = snapshot(
        clients=(Client(text, "01", NOW - 80 * DAY, NOW + DAY),), drift=(Drift("x", text, "mend"),)
    )
    assert text in printed(one, width)


def test_hostile_text_reaches_no_terminal() -> None:
    certificate = replace(held(2), names=(HOSTILE,), issuer=HOSTILE)
    text = printed(
        snapshot(
            certificate=certificate,
            listeners=(listener(certificate, HOSTILE),),
            clients=(Client(HOSTILE, HOSTILE, NOW - 80 * DAY, NOW + DAY),),
            drift=(Drift(HOSTILE, HOSTILE, HOSTILE),),
        ),
        400,
    )
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\r" not in text
    assert "[red]" in text  # shown, not obeyed


def test_without_a_state_directory_it_says_so(tmp_path: Path) -> None:
    result = sealgate("status", "--state", f"{tmp_path}/none", cwd=tmp_path)
    assert result.status == 3
    assert "state-missing" in result.err
