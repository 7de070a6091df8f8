"""Schema Objects as JSON Schema 2020-12 for requests. Pure.

OpenAPI 3.1's are that already. 3.0's are near to it and are rewritten (OpenAPI 3.0.3, Schema Object):
``nullable``, exclusive bounds that are true or false, nothing beside ``$ref``. In both, a ``readOnly``
property need not be sent, ``int32`` and ``int64`` are bounds, and what says nothing about validity is left
out. What could not be judged here as it is meant is refused: it would let everything pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sealgate.policy.openapi import Json
from sealgate.policy.openapi.mistakes import Unusable, pointer

__all__ = ["ROOT", "TYPES", "Schemas", "resolved"]

ROOT = "urn:sealgate:openapi"
"""By what schemas refer to each other."""

TYPES = ("integer", "number", "boolean", "null", "string", "array", "object")

_ONE = frozenset(
    {
        *("not", "if", "then", "else", "items", "contains", "additionalProperties", "propertyNames"),
        *("unevaluatedItems", "unevaluatedProperties"),
    }
)
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas"})
_PLAIN = frozenset(
    {
        *("type", "enum", "const", "format", "pattern", "required", "dependentRequired"),
        *(
            "minLength",
            "maxLength",
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
            "multipleOf",
        ),
        *("minItems", "maxItems", "uniqueItems", "minContains", "maxContains"),
        *("minProperties", "maxProperties"),
    }
)
_ELSEWHERE = frozenset(
    {"$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary"}
)
_DIALECTS = (
    "https://json-schema.org/draft/2020-12/schema",
    "https://spec.openapis.org/oas/3.1/dialect/base",
)
_BOUNDS = {
    "int32": {"minimum": -(1 << 31), "maximum": (1 << 31) - 1},
    "int64": {"minimum": -(1 << 63), "maximum": (1 << 63) - 1},
}
_MOST_STEPS = 32


def resolved(document: Mapping[str, Json], value: Json, where: str) -> tuple[Json, str]:
    """What is meant, and where it stands; ``$ref`` within the document is followed.

    Raises:
        Unusable: it leads nowhere.
    """
    for _ in range(_MOST_STEPS):
        if not isinstance(value, dict) or "$ref" not in value:
            return value, where
        reference = value["$ref"]
        if not isinstance(reference, str) or not reference.startswith("#/"):
            fact = "refers to another document, which nobody fetches"
            raise Unusable(where, fact, "bundle all into one (redocly bundle)")
        value, where = _at(document, reference, where), reference[1:]
    raise Unusable(where, "refers to itself", "write what is meant")


def _at(document: Mapping[str, Json], reference: str, where: str) -> Json:
    from urllib.parse import unquote

    value: Json = document
    for token in reference[2:].split("/"):
        key = unquote(token).replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            raise Unusable(where, f"refers to {reference}, which is not there", "mend the reference")
    return value


class Schemas:
    """The schemas of one document that requests are judged by.

    Args:
        document: as it was read.
        former: it is OpenAPI 3.0.

    Attributes:
        definitions: those that others refer to, by number.
    """

    def __init__(self, document: Mapping[str, Json], *, former: bool) -> None:
        self._document, self._former = document, former
        self._numbers: dict[str, str] = {}
        self.definitions: dict[str, Json] = {}

    def of(self, schema: Json, where: str) -> Json:
        """One schema, ready to be compiled; what it refers to is in :attr:`definitions`.

        Raises:
            Unusable: it cannot be judged as it is meant.
        """
        if isinstance(schema, bool) and not self._former:
            return schema
        if not isinstance(schema, dict):
            raise Unusable(where, "is no schema", "write an object")
        made: dict[str, Json] = {}
        if "$ref" in schema:
            made["$ref"] = f"{ROOT}#/$defs/{self._number(schema, where)}"
            if self._former:  # 3.0.3, Reference Object: what stands beside it counts for nothing
                return made
        for key, value in schema.items():
            made |= self._keyword(key, value, where + pointer(key))
        if self._former:
            _rewrite(made, schema)
        bounds = _BOUNDS.get(str(schema.get("format")))
        if bounds and made.get("type", "integer") != "string":
            made["allOf"] = [*made.get("allOf", ()), bounds]
        if "required" in made:
            made["required"] = self._required(schema, made["required"], where)
        return made

    def _keyword(self, key: str, value: Json, where: str) -> dict[str, Json]:
        if key in _ELSEWHERE or (key == "$schema" and str(value).rstrip("#") not in _DIALECTS):
            raise Unusable(where, "changes what references or words mean", "leave it out")
        if key in _ONE:
            return {key: self.of(value, where)}
        if key in _LISTS:
            if not isinstance(value, list):
                raise Unusable(where, "is no list of schemas", "write a list")
            return {key: [self.of(one, where + pointer(at)) for at, one in enumerate(value)]}
        if key in _MAPS:
            if not isinstance(value, dict):
                raise Unusable(where, "is no object of schemas", "write an object")
            return {key: {name: self.of(one, where + pointer(name)) for name, one in value.items()}}
        return {key: value} if key in _PLAIN else {}

    def _number(self, schema: Mapping[str, Json], where: str) -> str:
        """Of the definition that a reference leads to, by one step: chains stay chains."""
        reference = schema["$ref"]
        if reference not in self._numbers:
            if not isinstance(reference, str) or not reference.startswith("#/"):
                fact = "refers to another document, which nobody fetches"
                raise Unusable(where, fact, "bundle all into one (redocly bundle)")
            target = _at(self._document, reference, where)
            self._numbers[reference] = number = str(len(self._numbers))
            self.definitions[number] = True  # it may refer to itself
            self.definitions[number] = self.of(target, reference[1:])
        return self._numbers[reference]

    def _required(self, schema: Mapping[str, Json], names: Json, where: str) -> list[str]:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise Unusable(where + "/required", "is no list of names", "write a list")
        properties = schema.get("properties", {})
        return [name for name in names if not self._is_read_only(properties.get(name), where)]

    def _is_read_only(self, schema: Json, where: str) -> bool:
        if not isinstance(schema, dict):
            return False
        if schema.get("readOnly") is True and not (self._former and "$ref" in schema):
            return True
        if "$ref" not in schema:
            return False
        meant, _ = resolved(self._document, schema, where)
        return isinstance(meant, dict) and meant.get("readOnly") is True

    def types(self, schema: Json) -> list[str]:
        """Of what types a value may be, as far as it is said; of schemas as :meth:`of` made them."""
        found = set(TYPES)
        for one in self._all_of(schema, 0):
            found &= one
        return [one for one in TYPES if one in found]

    def member(self, schema: Json, name: str) -> Json:
        """The schema of a property, or with an empty name of the items; True: any value."""
        for one in self._parts(schema, 0):
            if not name and "items" in one:
                return one["items"]
            if name and name in one.get("properties", {}):
                return one["properties"][name]
        return True

    def names(self, schema: Json) -> list[str]:
        """Of the properties that are named."""
        return list(dict.fromkeys(n for one in self._parts(schema, 0) for n in one.get("properties", {})))

    def _parts(self, schema: Json, depth: int) -> Iterator[Mapping[str, Json]]:
        """It, and all that must or may hold beside it."""
        if not isinstance(schema, dict) or depth > _MOST_STEPS:
            return
        yield schema
        if "$ref" in schema:
            yield from self._parts(self._definition(schema), depth + 1)
        for key in ("allOf", "anyOf", "oneOf"):
            for one in schema.get(key, ()):
                yield from self._parts(one, depth + 1)

    def _all_of(self, schema: Json, depth: int) -> Iterator[set[str]]:
        if not isinstance(schema, dict) or depth > _MOST_STEPS:
            return
        if "type" in schema:
            said = schema["type"]
            named = set(said if isinstance(said, list) else [said])
            yield named | ({"integer"} if "number" in named else set())
        if "$ref" in schema:
            yield from self._all_of(self._definition(schema), depth + 1)
        for one in schema.get("allOf", ()):
            yield from self._all_of(one, depth + 1)
        for key in ("anyOf", "oneOf"):
            if options := schema.get(key):
                union: set[str] = set()
                for one in options:
                    possible = set(TYPES)
                    for narrowed in self._all_of(one, depth + 1):
                        possible &= narrowed
                    union |= possible
                yield union

    def _definition(self, schema: Mapping[str, Json]) -> Json:
        return self.definitions.get(schema["$ref"].rpartition("/")[2], True)


def _rewrite(made: dict[str, Json], schema: Mapping[str, Json]) -> None:
    """3.0's own words in 2020-12's."""
    for name, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if made.pop(name, False) is True and bound in made:
            made[name] = made.pop(bound)
    if schema.get("nullable") is True and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
