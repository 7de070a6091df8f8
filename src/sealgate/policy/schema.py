"""The JSON Schema (draft 2020-12) of the policy, for editors and for other people's checks.

It says what one key may hold. Combinations of keys are judged by ``rules`` alone: a policy that fits the
schema may still be refused by ``sealgate check``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

from sealgate.policy.fields import Shape, shape_of, written
from sealgate.policy.model import Policy
from sealgate.policy.profiles import profile_ids

__all__ = ["policy_schema"]


def policy_schema() -> dict[str, Any]:
    """The schema as plain data."""
    schema = Policy.model_json_schema(mode="validation")
    _plain_defaults(schema["$defs"])
    schema["$defs"]["Tls"]["properties"]["profile"]["enum"] = list(profile_ids())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:sealgate:policy:1",
        **schema,
        "title": "sealgate.toml",
        "description": "One site's whole policy. An empty file is valid and strict.",
    }


def _plain_defaults(tables: dict[str, Any]) -> None:
    """Defaults as a file would spell them: pydantic gives those of the model, in seconds and bytes."""
    for shape in _tables(shape_of(Policy)):
        model = shape.model
        if model is None or model.__name__ not in tables:
            continue
        for name, info in model.model_fields.items():
            key = shape.key(name)
            if key is not None and "default" in tables[model.__name__]["properties"][name]:
                default = _default(key, info.default)
                tables[model.__name__]["properties"][name]["default"] = default


def _default(shape: Shape, value: object) -> object:
    return tomllib.loads(f"v = {written(shape, value)}")["v"]


def _tables(shape: Shape) -> Iterator[Shape]:
    """The shapes of all tables, those in lists too."""
    inner = shape.element or shape
    if inner.model is None:
        return
    yield inner
    for name in inner.model.model_fields:
        key = inner.key(name)
        if key is not None:
            yield from _tables(key)
