"""Requests by an OpenAPI document: every style, every place, all mistakes at once, and no value repeated."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealgate.guard.decision import Deny
from sealgate.guard.validation.validator import Validation
from sealgate.policy.openapi.document import read
from sealgate.policy.openapi.operations import operations_of

ORDERS = Path(__file__).parents[3] / "examples" / "orders.openapi.yaml"
ID = "123e4567-e89b-12d3-a456-426614174000"
JSON = {"content-type": "application/json"}
LINE = {"sku": "tea", "quantity": 2, "price_cents": 450}
ORDER = {"customer": "Ada", "lines": [LINE]}


def made(document: dict[str, Any], **said: str) -> Validation:
    settings_ = {"mode": "enforce", "unknown": "refuse", **said}
    written = json.dumps({**settings_, **operations_of(document)})
    return Validation(json.loads(written))  # as workers get it


def one(parameter: dict[str, Any], path: str = "/a", version: str = "3.1.0") -> Validation:
    operation = {"parameters": [parameter], "responses": {}}
    return made({"openapi": version, "paths": {path: {"get": operation}}})


def ask(
    by: Validation, line: str, content: bytes | None = None, fields: dict[str, str] | None = None
) -> Deny | None:
    method, _, target = line.partition(" ")
    path, _, query = target.partition("?")
    given_ = fields or {}
    length = "" if content is None else str(len(content))
    found = by(method, path, query, length, lambda name: [given_[name]] if name in given_ else [])
    if isinstance(found, bytes):
        assert found == b""
        return None
    return found if found is None or isinstance(found, Deny) else found.body(content or b"")


def errors(deny: Deny | None) -> list[dict[str, Any]]:
    if deny is None:
        return []
    assert (deny.problem.slug, deny.problem.status) == ("request-invalid", 400)
    found: list[dict[str, Any]] = dict(deny.members)["errors"]  # type: ignore[assignment]
    return found


@pytest.fixture(scope="module")
def orders() -> Validation:
    return made(read(ORDERS))


def test_the_example(orders: Validation) -> None:
    assert orders.count == 9
    for line in (
        "GET /orders",
        "HEAD /orders",
        "GET /orders?limit=5&status=open&other=x",
        f"GET /orders/{ID}",
    ):
        assert ask(orders, line) is None
    assert ask(orders, "POST /orders", json.dumps(ORDER).encode(), JSON) is None
    assert ask(orders, f"PUT /orders/{ID}/attachment", b"\x00\xff", {"content-type": "image/png"}) is None
    assert ask(orders, f"PUT /orders/{ID}/attachment", b"\x00\xff") is None
    assert ask(orders, f"POST /orders/{ID}/cancel", b"") is None


def test_what_is_not_named(orders: Validation) -> None:
    for line in ("GET /", "GET /orders/", "GET /Orders", "GET /orders//x", "GET /admin", "OPTIONS *"):
        deny = ask(orders, line)
        assert deny is not None
        assert deny.problem.slug == "operation-unknown"
    for line in ("DELETE /orders", "OPTIONS /orders", "get /orders", "TRACE /orders"):
        deny = ask(orders, line)
        assert deny is not None
        assert (deny.problem.slug, deny.headers) == ("method-not-allowed", (("allow", "GET, HEAD, POST"),))
    by = made(read(ORDERS), unknown="pass")
    assert ask(by, "GET /nothing") is None
    assert ask(by, "DELETE /orders") is None
    assert errors(ask(by, "GET /orders?limit=0"))


def test_a_browser_may_ask_whether_it_may(orders: Validation) -> None:
    asking = {"origin": "https://a.test", "access-control-request-method": "POST"}
    assert ask(orders, "OPTIONS /orders", fields=asking) is None
    for wrong in ({"origin": "https://a.test"}, {**asking, "access-control-request-method": "DELETE"}):
        assert ask(orders, "OPTIONS /orders", fields=wrong) is not None


def test_all_mistakes_at_once_and_none_of_the_values(orders: Validation) -> None:
    hostile = "<script>hunter2</script>"
    body = {"customer": "", "lines": [{"sku": 1, "quantity": 0, hostile: 1}], hostile: hostile}
    found = errors(ask(orders, "POST /orders", json.dumps(body).encode(), JSON))
    assert {(one["in"], one.get("pointer")) for one in found} >= {
        ("body", ""),
        ("body", "/customer"),
        ("body", "/lines/0"),
        ("body", "/lines/0/sku"),
        ("body", "/lines/0/quantity"),
    }
    assert "hunter2" not in json.dumps(found)
    found = errors(ask(orders, f"GET /orders?limit={hostile}&after=-1&status={hostile}"))
    assert [(one["in"], one["name"]) for one in found] == [
        ("query", "after"),
        ("query", "limit"),
        ("query", "status"),
    ]
    assert "hunter2" not in json.dumps(found)


def test_mistakes_are_few_and_short(orders: Validation) -> None:
    lines = [{"sku": "x" * 65, "quantity": -1, "price_cents": "y"}] * 50
    found = errors(ask(orders, "POST /orders", json.dumps({"customer": "a", "lines": lines}).encode(), JSON))
    assert len(found) == 20
    assert len(json.dumps(found)) < 6000
    found = errors(
        ask(orders, "POST /orders", json.dumps({"customer": "a", "lines": lines * 4}).encode(), JSON)
    )
    assert len(found) == 1, "of a large body the first is enough"


def test_what_is_all_wrong_costs_little(orders: Validation) -> None:
    """The library finds all mistakes before it tells the first: 400,000 of them were a gigabyte."""
    wrong = b'{"customer":"a","lines":[' + b"0," * 400_000 + b"0]}"
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert errors(ask(orders, "POST /orders", wrong, JSON))
    assert time.process_time() - began < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


def test_bodies(orders: Validation) -> None:
    good = json.dumps(ORDER).encode()
    assert errors(ask(orders, "POST /orders", b"", JSON)) == [{"in": "body", "detail": "it is missing"}]
    assert errors(ask(orders, "POST /orders", None, JSON)) == [{"in": "body", "detail": "it is missing"}]
    for fields in ({}, {"content-type": "text/plain"}, {"content-type": "application/json; charset=utf-16"}):
        deny = ask(orders, "POST /orders", good, fields)
        assert deny is not None
        assert (deny.problem.slug, deny.headers) == (
            "media-type-unsupported",
            (("accept", "application/json"),),
        )
    for kind in ("application/json;charset=UTF-8", "Application/JSON", 'application/json; charset="utf-8"'):
        assert ask(orders, "POST /orders", good, {"content-type": kind}) is None
    assert errors(ask(orders, f"POST /orders/{ID}/cancel", b"{}", JSON)) == [
        {"in": "body", "detail": "none is expected"}
    ]
    assert errors(ask(orders, "GET /orders", b"{}", JSON)) == [{"in": "body", "detail": "none is expected"}]
    twice = b'{"customer":"a","customer":"b","lines":[]}'
    (error,) = errors(ask(orders, "POST /orders", twice, JSON))
    assert error == {"in": "body", "detail": "it has an object with a name twice"}


@settings(max_examples=300)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-5, 2000) | st.text("ab", max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["customer", "lines", "sku", "quantity", "price_cents", "x"]), inner
            )
        ),
        max_leaves=12,
    )
)
def test_another_library_says_the_same(orders: Validation, value: Any) -> None:
    document = read(ORDERS)
    schema = {"$ref": "#/components/schemas/NewOrder", "components": document["components"]}
    said = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert (ask(orders, "POST /orders", json.dumps(value).encode(), JSON) is None) is said


ARRAY = {"type": "array", "items": {"type": "integer"}}
OBJECT = {
    "type": "object",
    "properties": {"R": {"type": "integer"}, "G": {"type": "integer"}, "B": {"type": "integer"}},
    "required": ["R", "G", "B"],
    "additionalProperties": False,
}
TEXTS = {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 2}
# Style Values of OpenAPI 3.1.1 (Style Examples), with numbers where it has colours: they show what was read.
STYLES = [
    ("query", "form", True, ARRAY, "c=3&c=4&c=5", "c=3&c=x"),
    ("query", "form", False, ARRAY, "c=3,4,5", "c=3&c=4"),
    ("query", "form", True, OBJECT, "R=100&G=200&B=150", "R=100&G=200"),
    ("query", "form", False, OBJECT, "c=R,100,G,200,B,150", "c=R,100,G,200,B"),
    ("query", "spaceDelimited", False, ARRAY, "c=3%204%205", "c=3%20x"),
    ("query", "spaceDelimited", False, ARRAY, "c=3+4+5", "c=3,4"),
    ("query", "pipeDelimited", False, ARRAY, "c=3%7C4%7C5", "c=3%7C"),
    ("query", "pipeDelimited", False, ARRAY, "c=3|4|5", "c=|"),
    (
        "query",
        "deepObject",
        True,
        OBJECT,
        "c%5BR%5D=100&c%5BG%5D=200&c%5BB%5D=150",
        "c[R]=1&c[G]=2&c[B]=3&c[R]=1",
    ),
    ("query", "form", False, TEXTS, "c=a%2Cb,c", "c=a%2Cb"),
    ("query", "form", True, {"type": "integer"}, "c=5", "c=5&c=5"),
    ("query", "form", True, {"type": "integer"}, "%63=5", "c=05"),
    ("query", "form", True, {"type": "boolean"}, "c=true", "c=TRUE"),
    ("query", "form", True, {"type": "number"}, "c=-1.5e3", "c=1e"),
    ("query", "form", True, {"type": ["integer", "null"]}, "c=", "c=x"),
    ("query", "form", True, {"anyOf": [{"type": "integer"}, {"const": "all"}]}, "c=all", "c=some"),
    ("query", "form", True, {"type": "string", "pattern": "^5$"}, "c=5", "c=6"),
    ("query", "form", True, {"enum": [5, "5x"]}, "c=5", "c=5y"),
    ("query", "form", True, {"type": "string", "maxLength": 1}, "c=%C3%A9", "c=%C3"),
    ("query", "form", True, {"type": "string", "const": "a b"}, "c=a+b", "c=a%2Bb"),
    ("query", "form", True, {"type": "integer", "format": "int32"}, "c=2147483647", "c=2147483648"),
    ("path", "simple", False, {"type": "integer"}, "5", "5.0x"),
    ("path", "simple", False, ARRAY, "3,4,5", "3,,5"),
    ("path", "simple", False, OBJECT, "R,100,G,200,B,150", "R,100"),
    ("path", "simple", True, OBJECT, "R=100,G=200,B=150", "R=100,G=200,B"),
    ("path", "label", False, ARRAY, ".3,4,5", "3,4"),
    ("path", "label", True, ARRAY, ".3.4.5", ".3.x"),
    ("path", "label", True, OBJECT, ".R=100.G=200.B=150", ".R=100.R=1"),
    ("path", "matrix", False, {"type": "integer"}, ";c=5", ";d=5"),
    ("path", "matrix", False, ARRAY, ";c=3,4,5", "c=3"),
    ("path", "matrix", True, ARRAY, ";c=3;c=4;c=5", ";c=3;d=4"),
    ("path", "matrix", True, OBJECT, ";R=100;G=200;B=150", ";R=100;G=200;X=1"),
    ("path", "matrix", False, OBJECT, ";c=R,100,G,200,B,150", ";c=R"),
    ("header", "simple", False, ARRAY, "3, 4,5", "3;4"),
    ("header", "simple", True, OBJECT, "R=100,G=200,B=150", "R=100"),
    ("header", "simple", False, {"type": "integer"}, "5", "5, 5"),
    ("cookie", "form", False, ARRAY, "a=b; c=3,4", "c=3; c=4"),
    ("cookie", "form", True, {"type": "integer"}, "c=5", "c=5;c=6"),
]


@pytest.mark.parametrize(("place", "style", "explode", "schema", "good", "bad"), STYLES)
def test_styles(place: str, style: str, explode: bool, schema: Any, good: str, bad: str) -> None:
    by = one(
        {"name": "c", "in": place, "style": style, "explode": explode, "schema": schema, "required": True},
        "/a/{c}" if place == "path" else "/a",
    )

    def answer(value: str) -> Deny | None:
        if place == "query":
            return ask(by, f"GET /a?{value}")
        if place == "path":
            return ask(by, f"GET /a/{value}")
        return ask(by, "GET /a", fields={"cookie" if place == "cookie" else "c": value})

    assert answer(good) is None
    (error, *_) = errors(answer(bad))
    assert (error["in"], error["name"]) == (place, "c")
    if place != "path":
        (error,) = errors(ask(by, "GET /a"))
        assert error["detail"] == "it is missing"


def test_parameters_of_other_kinds() -> None:
    by = one({"name": "c", "in": "query", "content": {"application/json": {"schema": OBJECT}}})
    assert ask(by, "GET /a?c=%7B%22R%22:1,%22G%22:2,%22B%22:3%7D") is None
    for wrong in ("%7B", "%7B%22R%22:1%7D", "%7B%22R%22:1,%22R%22:1,%22G%22:2,%22B%22:3%7D"):
        assert errors(ask(by, f"GET /a?c={wrong}"))
    empty = {"name": "c", "in": "query", "allowEmptyValue": True, "schema": {"type": "integer"}}
    assert ask(one(empty), "GET /a?c") is None
    ignored = {"name": "Authorization", "in": "header", "required": True, "schema": {"type": "integer"}}
    assert ask(one(ignored), "GET /a") is None


def test_paths_that_are_named_come_before_templates() -> None:
    text = {"type": "string"}
    number = {"type": "integer"}

    def operation(*names: str, schema: Any = text) -> dict[str, Any]:
        listed = [{"name": n, "in": "path", "required": True, "schema": schema} for n in names]
        return {"get": {"parameters": listed, "responses": {}}}

    by = made(
        {
            "openapi": "3.1.0",
            "servers": [{"url": "https://a.test/v1/"}],
            "paths": {
                "/pets/{id}": operation("id", schema=number),
                "/pets/mine": operation(),
                "/caf%C3%A9": operation(),
                "/pets/{id}/files/{name}.{kind}": operation("id", "name", "kind"),
                "/{any}/other": operation("any"),
            },
        }
    )
    assert ask(by, "GET /v1/pets/mine") is None
    assert ask(by, "GET /v1/café") is None
    assert ask(by, "GET /v1/pets/5") is None
    assert errors(ask(by, "GET /v1/pets/yours"))
    assert ask(by, "GET /v1/pets/5/files/a.b.c") is None
    assert ask(by, "GET /v1/pets/other") is not None, (
        "the template with more written out, and it is not right"
    )
    for line in ("GET /pets/5", "GET /v1/pets/", "GET /v1/pets/5/files/.b", "GET /v1/pets/5/files/a"):
        deny = ask(by, line)
        assert deny is not None
        assert deny.problem.slug == "operation-unknown"


def body(schema: Any, kind: str = "application/json", version: str = "3.1.0", **further: Any) -> Validation:
    content = {kind: {"schema": schema}}
    operation = {"requestBody": {"required": True, "content": content}, "responses": {}}
    return made({"openapi": version, "paths": {"/a": {"post": operation}}, **further})


def says(by: Validation, value: Any, kind: str = "application/json") -> bool:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return ask(by, "POST /a", content, {"content-type": kind}) is None


def test_schemas_of_3_0() -> None:
    components = {"schemas": {"Id": {"type": "integer", "readOnly": True}}}
    by = body(
        {
            "type": "object",
            "properties": {
                "a": {"type": "integer", "minimum": 0, "exclusiveMinimum": True, "nullable": True},
                "b": {"type": "string", "readOnly": True},
                "c": {"$ref": "#/components/schemas/Id", "maximum": -1},
                "d": {"type": "string", "format": "byte"},
                "e": {"type": "integer", "format": "int32"},
            },
            "required": ["a", "b", "c"],
            "example": {"a": 5},
            "xml": {"name": "x"},
        },
        version="3.0.3",
        components=components,
    )
    assert says(by, {"a": 1})
    assert says(by, {"a": None, "c": 5, "d": "YWI=", "e": 2**31 - 1})
    for wrong in ({}, {"a": 0}, {"a": 1, "c": "x"}, {"a": 1, "d": "%"}, {"a": 1, "e": 2**31}):
        assert not says(by, wrong)


def test_schemas_that_refer_to_themselves() -> None:
    tree = {
        "type": "object",
        "properties": {"below": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}},
        "additionalProperties": False,
    }
    by = body({"$ref": "#/components/schemas/Tree"}, components={"schemas": {"Tree": tree}})
    assert says(by, {"below": [{"below": []}, {}]})
    assert not says(by, {"below": [{"below": [{"x": 1}]}]})


def test_forms_and_texts() -> None:
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "integer"},
            "t": {"type": "string", "maxLength": 3},
            "l": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["n"],
        "additionalProperties": False,
    }
    kind = "application/x-www-form-urlencoded"
    by = body(schema, kind)
    assert says(by, b"n=5&t=a+b&l=x&l=y", kind)
    for wrong in (b"t=a", b"n=x", b"n=5&n=6", b"n=5&t=abcd", b"n=5&x=1", b"n=%", b"n=5&t=\xff"):
        assert not says(by, wrong, kind)
    by = body({"type": "string", "maxLength": 3}, "text/plain")
    assert says(by, "äöü".encode(), "text/plain")
    for text in (b"abcd", b"\xff"):
        assert not says(by, text, "text/plain")


def test_a_pattern_costs_no_more_than_a_bound() -> None:
    by = body({"type": "string", "pattern": "^(a+)+$"})
    hard = body({"type": "string", "pattern": "^(?=a)(a+)+$"})
    for one_ in (by, hard):
        began = time.process_time()
        assert not says(one_, "a" * 50_000 + "b")
        assert time.process_time() - began < 5
    assert says(hard, "aaa")
