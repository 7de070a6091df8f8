"""Values of parameters from the text of a request, by their styles (OpenAPI 3.1.1, Style Values). Pure.

Text has no types: ``5`` may be a number or two characters long. So a value has readings, the likeliest first,
and it is right if one of them is. What the document does not name is not looked at; what it names once and is
there twice is refused, since nobody knows which of the two an app takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import unquote_to_bytes

from sealgate.policy.openapi import Json

__all__ = [
    "Unreadable",
    "cookies_of",
    "decoded",
    "form_of",
    "of_query",
    "of_segment",
    "read_text",
    "readings",
]

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,38})", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,300})(?:\.[0-9]{1,300})?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_SEPARATORS = {"spaceDelimited": " ", "pipeDelimited": "|"}
_MOST_ITEMS = 1000

Pairs = Sequence[tuple[str, str]]


class Unreadable(ValueError):
    """Not in the form that the document says; a sentence part that quotes nothing."""


def form_of(text: str) -> list[tuple[str, str]]:
    """Names and raw values of a query or a form, names decoded (WHATWG URL §5.1, without its guesses).

    Raises:
        Unreadable: bytes that are not UTF-8, or a percent sign that encodes nothing.
    """
    found = []
    for pair in text.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            found.append((decoded(name), value))
    return found


def decoded(text: str) -> str:
    """``+`` is a space. Raises :class:`Unreadable`."""
    if "%" not in text and "+" not in text:
        return text
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise Unreadable("has a percent sign that encodes nothing")
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable("is not UTF-8") from None


def cookies_of(fields: Sequence[str]) -> list[tuple[str, str]]:
    """Names and values (RFC 6265 §4.2.1)."""
    pairs = (pair.strip(" \t").partition("=") for field in fields for pair in field.split(";"))
    return [(name.strip(" \t"), value.strip(" \t")) for name, equals, value in pairs if equals]


def read_text(text: str, types: Sequence[str]) -> Iterator[Json]:
    """What a text may be, of these types, the narrowest first."""
    if "integer" in types and _INTEGER.fullmatch(text):
        yield int(text)
    elif "number" in types and _NUMBER.fullmatch(text):
        yield float(text)
    if "boolean" in types and text in {"true", "false"}:
        yield text == "true"
    if "null" in types and text in {"", "null"}:
        yield None
    if "string" in types:
        yield text


def readings(said: Mapping[str, Json], values: Json) -> Iterator[Json]:
    """Values that a parameter may mean, the likeliest first.

    Args:
        said: the parameter: ``types``, ``items``, ``properties``.
        values: a text, a list of texts, or an object of them.
    """
    if isinstance(values, str):
        yield from read_text(values, said["types"])
    elif isinstance(values, list):
        yield [_first(text, said["items"]) for text in values]
        if "string" in said["items"]:
            yield list(values)
    else:
        kinds = said["properties"]
        yield {name: _first(text, kinds.get(name, ("string",))) for name, text in values.items()}
        if any("string" in kind for kind in kinds.values()):
            yield dict(values)


def _first(text: str, types: Sequence[str]) -> Json:
    return next(read_text(text, types), text)


def of_query(said: Mapping[str, Json], pairs: Pairs) -> Json:
    """What a query, form or cookie says of a parameter: None, a text, a list, or an object.

    Raises:
        Unreadable: not in its style.
    """
    name, style, types = said["name"], said["style"], said["types"]
    if style == "deepObject":
        return _deep(name, pairs) or None
    own = [value for key, value in pairs if key == name]
    if _is_array(types):
        return _listed(said, own, style)
    if _is_object(types):
        return _members(said, own, pairs)
    if not own:
        return None
    if len(own) > 1:
        raise Unreadable("is there more than once")
    return decoded(own[0])


def _is_array(types: Sequence[str]) -> bool:
    return "array" in types and not {"string", "integer", "number", "boolean"} & set(types)


def _is_object(types: Sequence[str]) -> bool:
    return "object" in types and not {"string", "integer", "number", "boolean", "array"} & set(types)


def _listed(said: Mapping[str, Json], own: list[str], style: str) -> Json:
    if not own:
        return None
    if said["explode"]:
        found = [decoded(one) for one in own]
    else:
        if len(own) > 1:
            raise Unreadable("is there more than once")
        found = _split(own[0], style)
    if len(found) > _MOST_ITEMS:
        raise Unreadable(f"has more than {_MOST_ITEMS} items")
    return found


def _split(text: str, style: str) -> list[str]:
    separator = _SEPARATORS.get(style)
    if separator is not None:  # it is not allowed in a query as it is, so it comes encoded (RFC 3986 §2.2)
        return decoded(text).split(separator)
    return [decoded(one) for one in text.split(",")]


def _members(said: Mapping[str, Json], own: list[str], pairs: Pairs) -> Json:
    if said["explode"]:
        found = [(key, decoded(value)) for key, value in pairs if key in said["properties"]]
        return _object(found) or None
    if not own:
        return None
    if len(own) > 1:
        raise Unreadable("is there more than once")
    return _object(_paired(_split(own[0], said["style"])))


def _deep(name: str, pairs: Pairs) -> dict[str, str]:
    found = []
    for key, value in pairs:
        if key.startswith(name + "[") and key.endswith("]"):
            member = key[len(name) + 1 : -1]
            if "[" in member or "]" in member:
                raise Unreadable("is nested, which no style says")
            found.append((member, decoded(value)))
    return _object(found)


def _paired(parts: list[str]) -> list[tuple[str, str]]:
    if len(parts) % 2:
        raise Unreadable("has a name without a value")
    return list(zip(parts[::2], parts[1::2], strict=True))


def _object(pairs: Pairs) -> dict[str, str]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unreadable("has a property twice")
    return found


def of_segment(said: Mapping[str, Json], text: str) -> Json:
    """What a part of the path, or a header field, says: of the styles simple, label and matrix.

    Raises:
        Unreadable: not in its style.
    """
    style, explode, types = said["style"], said["explode"], said["types"]
    between = ","
    if style == "label":
        text, between = _without(text, "."), "." if explode else ","
    elif style == "matrix":
        return _matrix(said, _without(text, ";"))
    if _is_array(types):
        return [one.strip(" \t") if said["in"] == "header" else one for one in text.split(between)]
    if _is_object(types):
        parts = text.split(between)
        return _object([_equal(one) for one in parts] if explode else _paired(parts))
    return text


def _matrix(said: Mapping[str, Json], text: str) -> Json:
    pairs = [_equal(one) for one in text.split(";")]
    types = said["types"]
    if _is_object(types) and said["explode"]:
        return _object(pairs)
    values = [value for key, value in pairs if key == said["name"]]
    if len(values) != len(pairs):
        raise Unreadable("has another name")
    if _is_array(types):
        return values if said["explode"] else _single(values).split(",")
    if _is_object(types):
        return _object(_paired(_single(values).split(",")))
    return _single(values)


def _single(values: list[str]) -> str:
    if len(values) != 1:
        raise Unreadable("is there more than once")
    return values[0]


def _without(text: str, first: str) -> str:
    if not text.startswith(first):
        raise Unreadable("does not begin as its style says")
    return text[1:]


def _equal(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise Unreadable("has a name without a value")
    return name, value
