"""What a client may be called: property tests over hostile text."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.errors import UsageError
from sealgate.pki.clients.naming import Asked, folded, nearest


def refusal(call: Callable[[], object]) -> UsageError | None:
    """What it says; None where it takes it."""
    try:
        call()
    except UsageError as error:
        return error
    return None


GOOD = ("alice", "worker-1", "worker-1@example.org", "Alice Miller", "Ä", "日本", "w" * 64)
BAD = (
    *("", " a", "a ", "a\nb", "a\x00", "a\x7f", "\x1b[31m", "a" * 65, "ä" * 33, "a" * 65536),
    *("../x", "a/b", "a\\b", ".hidden", "-rf", "root", "ROOT", "0123456789abcdef", "AB" * 20),
    *("\u202egnp", "a\u200bb", "\ud800", "a\u0308", "worker.prod"),
)


@pytest.mark.parametrize("name", GOOD)
def test_names(name: str) -> None:
    Asked(name=name).check()


@pytest.mark.parametrize("name", BAD)
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        Asked(name=name).check()
    assert caught.value.code == "client-name"
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_a_name_like_a_host_is_fine_with_another_common_name() -> None:
    Asked(name="worker.prod", common_name="worker prod").check()


@given(st.text(st.characters()))
def test_whatever_is_taken_is_safe_to_show_and_to_write(text: str) -> None:
    if error := refusal(Asked(name=text).check):
        assert str(error).isprintable()
        return
    assert text.isprintable()
    assert "/" not in text
    assert not text.startswith((".", "-"))
    assert len(text.encode()) <= 64
    assert folded(folded(text)) == folded(text)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("uris", ("spiffe://example.org/a", "urn:uuid:f81d4fae")),
        ("emails", ("alice@example.org", "a.b+c@mail.example.org")),
        ("dns", ("worker.example.org", "localhost", "xn--mnchen-3ya.example")),
        ("groups", ("ops", "a.b-c_d")),
    ],
)
def test_other_names(field: str, values: tuple[str, ...]) -> None:
    Asked(name="alice", **{field: values}).check()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("uris", bad)
            for bad in ("", "example.org", "a b:c", "http://ä", "x:\n", "http:" + "a" * 600, ":a")
        ),
        *(
            ("emails", bad)
            for bad in ("", "alice", "a@", "@b", "a@b..c", "ä@b", "a@b\n", "a a@b", "a@[1.2.3.4]")
        ),
        *(
            ("dns", bad)
            for bad in ("", "*.example.org", "a b", "10.0.0.1", "::1", "ä.example", "A.example", "a..b")
        ),
        *(("groups", bad) for bad in ("", "Ops", "a b", "ä", "-x", "a\n", "a" * 64, 'a","b')),
    ],
)
def test_other_names_that_are_refused(field: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        Asked(name="alice", **{field: (value,)}).check()  # type: ignore[arg-type]
    assert caught.value.code == "client-name"
    assert str(caught.value).isprintable()


@given(st.text(st.characters()), st.sampled_from(["uris", "emails", "dns", "groups", "common_name"]))
def test_no_text_is_taken_that_could_be_misread(text: str, field: str) -> None:
    value = text if field == "common_name" else (text,)
    error = refusal(Asked(name="alice", **{field: value}).check)  # type: ignore[arg-type]
    assert str(error).isprintable() if error else text.isprintable()


@pytest.mark.parametrize("days", [0, -1, 3651, 10**30])
def test_days(days: int) -> None:
    with pytest.raises(UsageError) as caught:
        Asked(name="a", days=days).check()
    assert caught.value.code == "client-days"


def test_twice_and_too_many() -> None:
    for groups in (("a", "a"), tuple(f"g{n}" for n in range(65))):
        with pytest.raises(UsageError):
            Asked(name="a", groups=groups).check()


def test_it_travels() -> None:
    asked = Asked(name="a", dns=("b.test",), groups=("c",), days=3)
    assert Asked.from_dict(json.loads(json.dumps(asked.as_dict()))) == asked


@given(
    st.dictionaries(
        st.sampled_from(["name", "common_name", "dns", "uris", "groups", "days", "x"]),
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.integers() | st.text())),
    )
)
def test_an_application_of_a_stranger_is_whole_or_refused(data: dict[str, object]) -> None:
    if error := refusal(lambda: Asked.from_dict(data)):
        assert error.code == "order-unknown"
        return
    asked = Asked.from_dict(data)
    assert isinstance(asked.name, str)
    assert all(isinstance(one, str) for one in (*asked.dns, *asked.groups))


def test_the_nearest() -> None:
    assert nearest("alcie", ["bob", "alice"]) == "alice"
    assert not nearest("x" * 10_000_000, ["alice"])
