"""What each operation of a document takes, as data for the guard. Pure.

The data are JSON: ``{"definitions": {...}, "operations": [...]}``, an operation with ``path`` (template, with
its server's own path before it), ``method``, ``parameters`` and ``body``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit

from sealgate.policy.openapi import Json
from sealgate.policy.openapi.mistakes import Unusable, pointer
from sealgate.policy.openapi.schemas import Schemas, resolved

__all__ = ["METHODS", "operations_of"]

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

_VERSION = re.compile(r"3\.([01])(\.\d+)?(-.+)?", re.ASCII)
_TEMPLATE = re.compile(r"(?:/(?:[^/{}?#]|\{[^/{}]+\})*)+")
_NAME = re.compile(r"\{([^/{}]+)\}")
_TYPE = re.compile(r"[a-z0-9!#$&^_.+*-]+/[a-z0-9!#$&^_.+*-]+")
_STYLES = {
    "path": ("simple", "label", "matrix"),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form",),
}
_IGNORED = frozenset({"accept", "content-type", "authorization"})
"""Header parameters of these names say nothing (OpenAPI 3.1.1, Parameter Object)."""
_MOST = 5000


def operations_of(document: Mapping[str, Json]) -> dict[str, Json]:
    """All that a document says about requests.

    Raises:
        Unusable: it is no OpenAPI 3.0 or 3.1 document, or says what nobody could judge.
    """
    version = _VERSION.fullmatch(str(document.get("openapi", "")))
    if version is None:
        raise Unusable("/openapi", "names neither 3.0 nor 3.1", "convert the document to 3.1")
    dialect = document.get("jsonSchemaDialect")
    if dialect is not None and "2020-12" not in str(dialect) and "oas/3.1" not in str(dialect):
        raise Unusable("/jsonSchemaDialect", "is not JSON Schema 2020-12", "leave it out")
    paths = document.get("paths", {})
    if not isinstance(paths, dict):
        raise Unusable("/paths", "is no object", "write an object")
    reading = _Reading(document, Schemas(document, former=version[1] == "0"))
    operations = [one for path, item in paths.items() for one in reading.path(path, item)]
    if not operations:
        raise Unusable("/paths", "names no operation", "describe the API there")
    if len(operations) > _MOST:
        raise Unusable("/paths", f"names more than {_MOST} operations", "split the service")
    _told_apart(operations)
    return {"definitions": reading.schemas.definitions, "operations": operations}


def _told_apart(operations: list[dict[str, Json]]) -> None:
    """Templates that differ in the names alone are one (OpenAPI 3.1.1, Paths Object)."""
    seen: dict[tuple[str, str], str] = {}
    for one in operations:
        path, method = one["path"], one["method"]
        before = seen.setdefault((_NAME.sub("{}", path), method), path)
        if before != path:
            raise Unusable(pointer("paths", path), f"is the same as {before}", "name it once")


class _Reading:
    def __init__(self, document: Mapping[str, Json], schemas: Schemas) -> None:
        self._document, self.schemas = document, schemas

    def path(self, path: str, item: Json) -> Iterator[dict[str, Json]]:
        """The operations at one path, for each server's own."""
        where = pointer("paths", path)
        if path.startswith("x-"):
            return
        if not _TEMPLATE.fullmatch(path):
            raise Unusable(where, "is no template of a path", "write /name/{parameter}")
        item, place = resolved(self._document, item, where)
        if not isinstance(item, dict):
            raise Unusable(where, "is no object", "write an object")
        common = self._parameters(item.get("parameters", []), place + "/parameters")
        for method in METHODS:
            if method not in item:
                continue
            at, operation = place + pointer(method), item[method]
            if not isinstance(operation, dict):
                raise Unusable(at, "is no object", "write an object")
            own = self._parameters(operation.get("parameters", []), at + "/parameters")
            parameters = list({(one["in"], one["name"]): one for one in (*common, *own)}.values())
            self._check_names(path, parameters, at)
            body = self._body(operation.get("requestBody"), at + "/requestBody")
            servers = operation.get("servers", item.get("servers", self._document.get("servers", [])))
            for base in self._bases(servers, at):
                yield {
                    "path": unquote(base + path),  # as requests are judged: decoded once
                    "method": method.upper(),
                    "parameters": parameters,
                    "body": body,
                }

    def _bases(self, servers: Json, where: str) -> list[str]:
        """The paths before all paths: of ``servers``, without their hosts, which are the site's affair."""
        found: dict[str, None] = {}
        listed: list[Json] = servers if isinstance(servers, list) and servers else [{"url": "/"}]
        for server in listed:
            url = server.get("url") if isinstance(server, dict) else None
            if not isinstance(url, str):
                raise Unusable(where, "has a server without an address", "write url: /")
            for name, variable in (server.get("variables") or {}).items():
                url = url.replace("{" + str(name) + "}", str(variable.get("default", "")))
            base = urlsplit(url).path.rstrip("/")
            if "{" in base or (base and not _TEMPLATE.fullmatch(base)):
                raise Unusable(where, f"has a server at {url}, which is no path", "write it out")
            found[base] = None
        return list(found)

    def _check_names(self, path: str, parameters: list[dict[str, Json]], where: str) -> None:
        named = _NAME.findall(path)
        declared = [one["name"] for one in parameters if one["in"] == "path"]
        if sorted(named) != sorted(declared):
            fact = f"declares the path parameters {sorted(declared)}, and its path has {sorted(named)}"
            raise Unusable(where, fact, "declare each once, required: true")

    def _parameters(self, listed: Json, where: str) -> list[dict[str, Json]]:
        if not isinstance(listed, list):
            raise Unusable(where, "is no list", "write a list")
        found = [self._parameter(one, where + pointer(at)) for at, one in enumerate(listed)]
        return [one for one in found if one is not None]

    def _parameter(self, said: Json, where: str) -> dict[str, Json] | None:
        said, where = resolved(self._document, said, where)
        if (
            not isinstance(said, dict)
            or not isinstance(said.get("name"), str)
            or said.get("in") not in _STYLES
        ):
            raise Unusable(where, "is no parameter", "give it a name, and in: path, query, header or cookie")
        name, place = said["name"], said["in"]
        if place == "header":
            name = name.lower()
            if name in _IGNORED:
                return None
        style = said.get("style", _STYLES[place][0])
        if style not in _STYLES[place]:
            raise Unusable(where, f"has a style that {place} does not know", " or ".join(_STYLES[place]))
        made = {
            "name": name,
            "in": place,
            "required": place == "path" or said.get("required") is True,
            "style": style,
            "explode": said.get("explode", style in {"form", "deepObject"}) is True,
            "empty": said.get("allowEmptyValue") is True,
            "content": "content" in said,
        }
        if made["content"]:
            schema, at = self._content(said["content"], where + "/content")
        else:
            schema, at = said.get("schema", {}), where + "/schema"
        made["schema"] = self.schemas.of(schema, at)
        return made | self._kinds(made["schema"])

    def _content(self, content: Json, where: str) -> tuple[Json, str]:
        if not isinstance(content, dict) or len(content) != 1:
            raise Unusable(where, "names not exactly one media type", "name application/json")
        ((kind, media),) = content.items()
        if _kind_of(kind.lower()) != "json" or not isinstance(media, dict):
            raise Unusable(where, f"is {kind}, which is not judged in a parameter", "use application/json")
        return media.get("schema", {}), where + pointer(kind, "schema")

    def _kinds(self, schema: Json) -> dict[str, Json]:
        """What text may be read as: of the value, of items, of each property."""
        types = self.schemas.types
        names = self.schemas.names(schema)
        return {
            "types": types(schema),
            "items": types(self.schemas.member(schema, "")),
            "properties": {name: types(self.schemas.member(schema, name)) for name in names},
        }

    def _body(self, said: Json, where: str) -> dict[str, Json] | None:
        if said is None:
            return None
        said, where = resolved(self._document, said, where)
        content = said.get("content") if isinstance(said, dict) else None
        if not isinstance(content, dict) or not content:
            raise Unusable(where, "has no content", "name a media type")
        contents = [self._media(kind, one, where + pointer("content", kind)) for kind, one in content.items()]
        return {"required": said.get("required") is True, "contents": contents}

    def _media(self, name: str, said: Json, where: str) -> dict[str, Json]:
        kind = name.partition(";")[0].strip().lower()
        if not _TYPE.fullmatch(kind):
            raise Unusable(where, "is no media type", "write application/json")
        said = said if isinstance(said, dict) else {}
        schema = self.schemas.of(said.get("schema", {}), where + "/schema")
        judged = _kind_of(kind)
        if judged == "form" and said.get("encoding"):
            raise Unusable(where + "/encoding", "is not judged", "leave it out, or use application/json")
        if judged == "raw" and not _is_any(schema):
            fact = f"has a schema, and {kind} is not read here"
            raise Unusable(where, fact, "schema: {} says that it passes as it is")
        made = {"type": kind, "kind": judged, "schema": schema}
        return made | (self._kinds(schema) if judged == "form" else {})


def _kind_of(kind: str) -> str:
    """How a body is read."""
    if kind == "application/json" or kind.endswith("+json"):
        return "json"
    if kind == "application/x-www-form-urlencoded":
        return "form"
    return "text" if kind.startswith("text/") and "*" not in kind else "raw"


def _is_any(schema: Json) -> bool:
    """Is every content right? Of bytes ``type: string, format: binary`` says no more (OpenAPI 3.0.3)."""
    if schema is True or schema == {}:
        return True
    return isinstance(schema, dict) and schema.keys() <= {"type", "format"} and schema.get("type") == "string"
