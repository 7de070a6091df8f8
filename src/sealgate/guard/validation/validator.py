"""Requests judged by an OpenAPI document: the last question before the app. Pure.

All that is wrong with a request is told at once, with JSON Pointers, and quotes nothing of what came: an
answer that repeats a hostile value would carry it to whoever reads it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealgate.guard.decision import Deny
from sealgate.guard.validation.parameters import (
    Unreadable,
    cookies_of,
    decoded,
    form_of,
    of_query,
    of_segment,
    readings,
)
from sealgate.guard.validation.routes import Routes, places
from sealgate.guard.validation.text import Ambiguous, parse
from sealgate.policy.openapi import Json
from sealgate.policy.openapi.schemas import ROOT
from sealgate.policy.problems import problem

if TYPE_CHECKING:
    import jsonschema_rs

    from sealgate.guard.fields import Fields

__all__ = ["Checked", "Validation"]

_UNKNOWN = Deny(problem("operation-unknown"), "operation-unknown")
_MEDIA = problem("media-type-unsupported")
_METHOD = problem("method-not-allowed")
_INVALID = problem("request-invalid")
_MOST_ERRORS = 20
_LONGEST = 200
_ALL = 8 * 1024
"""Bytes of a body of which all mistakes are told; of larger ones the first."""
_BACKTRACKS = 100_000
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

Error = dict[str, object]


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known before the body came.

    Attributes:
        operation: whose body it is.
        errors: of the rest of the request.
        kind: of the body, as its operation calls it; empty: none that it may be.
    """

    operation: _Operation
    errors: list[Error]
    kind: str

    def body(self, content: bytes) -> Deny | None:
        """Judge the whole body, and the request with it."""
        return self.operation.body(content, self.kind, self.errors)


class Validation:
    """For one policy.

    Args:
        data: ``mode``, ``unknown``, ``definitions`` and ``operations``; see ``policy/openapi/operations.py``.

    Raises:
        ValueError: a schema that cannot be compiled; the text says why.

    Attributes:
        enforced: what is not right is refused; else it is said in the log.
        count: of operations.
    """

    def __init__(self, data: Mapping[str, Json]) -> None:
        import jsonschema_rs

        self.enforced = data["mode"] == "enforce"
        self._lets_pass = data["unknown"] == "pass"
        self.count = len(data["operations"])
        registry = jsonschema_rs.Registry([(ROOT, {"$defs": data["definitions"]})])
        compiler = _Compiler(jsonschema_rs, registry)
        self._routes: Routes[_Operation] = Routes()
        for one in data["operations"]:
            self._routes.add(one["path"], one["method"], _Operation(one, compiler))

    def __call__(
        self, method: str, path: str, query: str, length: str, fields: Fields
    ) -> Checked | Deny | bytes | None:
        """Judge what is known before the body.

        Bytes: all is right, and they are the body, whatever else may come. None: it is not judged.

        Args:
            method: as received.
            path: canonical, decoded once.
            query: raw.
            length: Content-Length in decimal; empty: there is none.
            fields: of the request.
        """
        found = self._routes.at(path)
        if found is None:
            return None if self._lets_pass else _UNKNOWN
        methods, values = found
        operation = methods.get(method)
        if operation is None and method == "HEAD":
            operation = methods.get("GET")
        if operation is None:
            if self._lets_pass or (method == "OPTIONS" and _is_preflight(methods, fields)):
                return None
            allow = sorted({*methods, *(("HEAD",) if "GET" in methods else ())})
            return Deny(_METHOD, "operation-method", (("allow", ", ".join(allow)),))
        return operation.head(method, values, query, length, fields)


def _is_preflight(methods: Mapping[str, object], fields: Fields) -> bool:
    """A browser asks whether it may (Fetch §3.3.2): for what there is, the app answers."""
    wanted = fields("access-control-request-method")
    return bool(fields("origin")) and len(wanted) == 1 and wanted[0] in methods


class _Compiler:
    """Schemas to validators: in linear time where the patterns allow it, else within a bound."""

    def __init__(self, library: Json, registry: Json) -> None:
        self._library, self._registry = library, registry

    def of(self, schema: Json) -> jsonschema_rs.Draft202012Validator:
        rs = self._library
        options: dict[str, Json] = {
            "registry": self._registry,
            "validate_formats": True,
            "formats": {"byte": _is_base64},
            "ignore_unknown_formats": True,
            "mask": "the value",
            "offline": True,
        }
        made: jsonschema_rs.Draft202012Validator
        try:
            made = rs.Draft202012Validator(schema, pattern_options=rs.RegexOptions(), **options)
        except (ValueError, rs.ValidationError):
            patterns = rs.FancyRegexOptions(backtrack_limit=_BACKTRACKS)
            try:
                made = rs.Draft202012Validator(schema, pattern_options=patterns, **options)
            except rs.ValidationError as error:
                raise ValueError(str(error).partition("\n")[0]) from None
        return made


def _is_base64(text: str) -> bool:
    import base64
    import binascii

    try:
        base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return False
    return True


class _Operation:
    """One, with its validators."""

    __slots__ = ("_body", "_contents", "_parameters", "_places", "_required", "_types")

    def __init__(self, said: Mapping[str, Json], compiler: _Compiler) -> None:
        self._parameters = [(one, compiler.of(one["schema"])) for one in said["parameters"]]
        self._places = {name: at for at, name in places(said["path"]).items()}
        body = said["body"]
        self._body = body is not None
        self._required = bool(body and body["required"])
        self._contents: dict[str, tuple[Mapping[str, Json], Json]] = {
            one["type"]: (one, compiler.of(one["schema"])) for one in (body["contents"] if body else ())
        }
        self._types = ", ".join(self._contents)

    def head(
        self, method: str, values: Mapping[str, str], query: str, length: str, fields: Fields
    ) -> Checked | Deny | bytes:
        errors = self._parameters_of(values, query, fields) if self._parameters else []
        if length == "0" or (not length and method in _BODILESS):
            # An empty file is a file, if it is called one.
            named = self._body and (self._kind(fields("content-type")) if fields("content-type") else None)
            return self.body(b"", named or "", errors) or b""
        if not self._body:
            if length:
                return _refused([*errors, {"in": "body", "detail": "none is expected"}])
            return Checked(self, errors, "")
        kind = self._kind(fields("content-type"))
        if kind is None and length:
            return Deny(_MEDIA, "media-type", (("accept", self._types),))
        return Checked(self, errors, kind or "")

    def _kind(self, fields: list[str]) -> str | None:
        """Which of the contents it is: the most that is said of it counts; None: none of them."""
        if not fields and "*/*" in self._contents:
            return "*/*"
        if len(fields) != 1:
            return None
        name, *parameters = (part.strip(" \t") for part in fields[0].lower().split(";"))
        for one in (name, name.partition("/")[0] + "/*", "*/*"):
            if one in self._contents:
                judged = self._contents[one][0]["kind"]
                return one if judged == "raw" or _is_utf8(parameters) else None
        return None

    def body(self, content: bytes, kind: str, errors: list[Error]) -> Deny | None:
        if not content and (not kind or self._contents[kind][0]["kind"] == "json"):
            missing: list[Error] = [{"in": "body", "detail": "it is missing"}] if self._required else []
            return _invalid([*errors, *missing])
        if not self._body:
            return _invalid([*errors, {"in": "body", "detail": "none is expected"}])
        if not kind:
            return Deny(_MEDIA, "media-type", (("accept", self._types),))
        said, validator = self._contents[kind]
        try:
            if said["kind"] == "json":
                value = parse(content)
                if not errors and validator.is_valid(value):
                    return None
                errors = [*errors, *_told(validator, value, all_=len(content) <= _ALL)]
            elif said["kind"] == "form":
                errors = [*errors, *_form(said, validator, content)]
            elif said["kind"] == "text":
                errors = [*errors, *_told(validator, content.decode("utf-8"))]
        except (Ambiguous, Unreadable) as error:
            errors = [*errors, {"in": "body", "detail": f"it {error}"}]
        except UnicodeDecodeError:
            errors = [*errors, {"in": "body", "detail": "it is not UTF-8"}]
        return _invalid(errors)

    def _parameters_of(self, values: Mapping[str, str], query: str, fields: Fields) -> list[Error]:
        errors: list[Error] = []
        pairs: list[tuple[str, str]] | None = None
        cookies: list[tuple[str, str]] | None = None
        for said, validator in self._parameters:
            place = said["in"]
            try:
                if place == "query":
                    if pairs is None:
                        pairs = form_of(query)
                    value = of_query(said, pairs) if not said["content"] else _single(said, pairs)
                elif place == "path":
                    value = values[self._places[said["name"]]]
                    value = value if said["content"] else of_segment(said, value)
                elif place == "header":
                    found = fields(said["name"])
                    if len(found) > 1 and "array" not in said["types"]:
                        raise Unreadable("is there more than once")  # noqa: TRY301 - told as the others
                    value = None if not found else ",".join(found)
                    value = value if said["content"] or value is None else of_segment(said, value)
                else:
                    if cookies is None:
                        cookies = cookies_of(fields("cookie"))
                    value = of_query(said, cookies)
                errors += _parameter(said, validator, value)
            except (Unreadable, Ambiguous) as error:
                errors.append({"in": place, "name": said["name"], "detail": f"it {error}"})
                if pairs is None and place == "query":
                    break
        return errors


def _single(said: Mapping[str, Json], pairs: Iterable[tuple[str, str]]) -> str | None:
    own = [value for name, value in pairs if name == said["name"]]
    if len(own) > 1:
        raise Unreadable("is there more than once")
    return decoded(own[0]) if own else None


def _parameter(said: Mapping[str, Json], validator: Json, value: Json) -> list[Error]:
    where: Error = {"in": said["in"], "name": said["name"]}
    if value is None:
        return [{**where, "detail": "it is missing"}] if said["required"] else []
    if value == "" and said["empty"]:
        return []
    if said["content"]:
        candidates = [parse(value.encode("utf-8", "surrogatepass"))]
    else:
        candidates = list(readings(said, value))
    if any(validator.is_valid(one) for one in candidates):
        return []
    one = candidates[0] if candidates else value
    return [{**where, **error} for error in _told(validator, one, place=None)] or [
        {**where, "detail": "it is of another type"}
    ]


def _found(validator: Json, value: Json, *, all_: bool) -> Iterable[Json]:
    """The library finds all mistakes before it tells the first: of a million, too. So of large values one."""
    if all_:
        yield from validator.iter_errors(value)
        return
    import jsonschema_rs

    try:
        validator.validate(value)
    except jsonschema_rs.ValidationError as error:
        yield error


def _told(validator: Json, value: Json, place: str | None = "body", *, all_: bool = True) -> list[Error]:
    """What is wrong, without a word of the value's own."""
    errors: list[Error] = []
    for error in _found(validator, value, all_=all_):
        pointer = "".join(
            "/" + str(token).replace("~", "~0").replace("/", "~1") for token in error.instance_path
        )
        detail = _sentence(error)
        said: Error = {"pointer": pointer[:_LONGEST], "detail": detail[:_LONGEST]}
        errors.append({"in": place, **said} if place else said)
        if len(errors) >= _MOST_ERRORS:
            break
    return errors


def _sentence(error: Json) -> str:
    kind = error.kind.name
    if kind in {"additionalProperties", "unevaluatedProperties"}:
        return "it has properties that are not expected"
    if kind == "propertyNames":
        return "the name of a property is not right"
    if kind in {"enum", "const"}:
        return "it is none of the expected values"
    return str(error.message)


def _form(said: Mapping[str, Json], validator: Json, content: bytes) -> list[Error]:
    try:
        pairs = form_of(content.decode("ascii"))
    except UnicodeDecodeError:
        raise Unreadable("is not percent-encoded") from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(decoded(value))
    kinds = said["properties"]
    made: dict[str, Json] = {}
    for name, texts in found.items():
        types = kinds.get(name, ("string",))
        if "array" in types:
            made[name] = texts
        elif len(texts) > 1:
            raise Unreadable("has a field more than once")
        else:
            made[name] = texts[0]
    typed = {
        name: next(readings({"types": kinds.get(name, ("string",)), "items": ("string",)}, value), value)
        if isinstance(value, str)
        else value
        for name, value in made.items()
    }
    if any(validator.is_valid(one) for one in (typed, made)):
        return []
    return _told(validator, typed, all_=len(content) <= _ALL)


def _is_utf8(parameters: list[str]) -> bool:
    """RFC 8259 §8.1: JSON has no charset, and an app may believe one."""
    charsets = [part.partition("=")[2].strip('" \t') for part in parameters if part.startswith("charset")]
    return all(one in {"utf-8", "utf8", "us-ascii"} for one in charsets)


def _invalid(errors: list[Error]) -> Deny | None:
    return _refused(errors) if errors else None


def _refused(errors: list[Error]) -> Deny:
    kept = errors[:_MOST_ERRORS]
    return Deny(_INVALID, "request-invalid", (), (("errors", json.loads(json.dumps(kept))),))
