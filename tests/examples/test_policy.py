"""The example's policy file is one that loads."""

from __future__ import annotations

from sealgate.policy.load import loads
from tests.examples.served import FOLDER, orders


def test_it_loads_and_names_the_app() -> None:
    policy = loads((FOLDER / "sealgate.toml").read_text(), path=FOLDER / "sealgate.toml", environ={}).policy
    module, _, attribute = policy.site.app.partition(":")
    assert module == orders.__name__
    assert callable(getattr(orders, attribute))
