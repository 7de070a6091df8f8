"""The JSON Schema (draft 2020-12) of the policy, for editors and for other people's checks.

It says what one key may hold. Combinations of keys are judged by ``rules`` alone: a policy that fits the
schema may still be refused by ``sealgate check``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any, get_args

from sealgate.policy.fields import Shape, shape_of, written
from sealgate.policy.membership import Kind
from sealgate.policy.model import Policy
from sealgate.policy.profiles import profile_ids

__all__ = ["policy_schema"]


def policy_schema() -> dict[str, Any]:
    """The schema as plain data."""
    schema = Policy.model_json_schema(mode="validation")
    _plain_defaults(schema["$defs"])
    _no_nulls(schema["$defs"])
    fallback = schema["$defs"]["Acme"]["properties"]["fallback"]
    fallback["items"] = {"anyOf": [{"type": "string", "pattern": "^https://"}, fallback["items"]]}
    schema["$defs"]["Clients"]["properties"]["groups"]["additionalProperties"] = False
    schema["$defs"]["Member"]["oneOf"] = [{"required": [kind]} for kind in get_args(Kind)]
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
            if (
                key is not None
                and not key.optional
                and "default" in tables[model.__name__]["properties"][name]
            ):
                default = _default(key, info.default)
                tables[model.__name__]["properties"][name]["default"] = default


def _no_nulls(tables: dict[str, Any]) -> None:
    """TOML has no null: a table that may be absent is absent."""
    for table in tables.values():
        for key in table["properties"].values():
            kinds = [kind for kind in key.get("anyOf", ()) if kind != {"type": "null"}]
            if len(kinds) == 1:
                del key["anyOf"], key["default"]
                key.update(kinds[0])


def _default(shape: Shape, value: object) -> object:
    return tomllib.loads(f"v = {written(shape, value)}")["v"]


def _tables(shape: Shape) -> Iterator[Shape]:
    """The shapes of all tables, those in lists too."""
    inner = shape.inner
    if inner.model is None:
        return
    yield inner
    for name in inner.model.model_fields:
        key = inner.key(name)
        if key is not None:
            yield from _tables(key)
