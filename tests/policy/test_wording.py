"""Words for what the policy itself has no example of yet: secrets, and keys that must be there."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sealgate.policy.fields import leaves, shape_at, shape_of
from sealgate.policy.model import Model
from sealgate.policy.positions import Positions
from sealgate.policy.secrets import SecretRef
from sealgate.policy.wording import Describer


class _Alert(Model):
    webhook: str
    secret: SecretRef | None = None


class _Root(Model):
    alert: _Alert
    weight: float = 1


def said(data: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        _Root.model_validate(data)
    describer = Describer(shape_of(_Root), data, Positions({("alert",): 3}))
    return [str(describer.describe(error)) for error in caught.value.errors(include_url=False)]


@pytest.mark.parametrize(
    "secret", ["hunter2", {"file": "a", "env": "hunter2"}, {"env": "hunter2 "}, ["hunter2"], 7]
)
def test_what_stands_in_place_of_a_reference_is_never_shown(secret: object) -> None:
    (text,) = said({"alert": {"webhook": "", "secret": secret}})
    assert text.startswith("alert.secret")
    assert "(not shown)" in text
    assert "hunter2" not in text
    assert '{ file = "..." } or { env = "..." }' in text


def test_an_unknown_key_in_a_reference_shows_no_value() -> None:
    for text in said({"alert": {"webhook": "", "secret": {"value": "hunter2"}}}):
        assert "hunter2" not in text


def test_a_key_that_must_be_there() -> None:
    assert said({"alert": {}}) == ["alert.webhook (line 3): is missing; expected a text in quotes"]
    assert said({}) == ["alert (line 3): is missing; expected a table"]


def test_a_kind_without_words_of_its_own() -> None:
    assert said({"alert": {"webhook": ""}, "weight": "x"}) == ['weight: found "x"; expected a number']


def test_shapes_of_places_that_are_not_there() -> None:
    root = shape_of(_Root)
    assert shape_at(root, ("alert", "nothing", "below")) is None
    assert shape_at(root, ("weight", 0)) is None
    assert [path for path, _ in leaves(root, whole=SecretRef)] == [
        ("alert", "webhook"),
        ("alert", "secret"),
        ("weight",),
    ]
