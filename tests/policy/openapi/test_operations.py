"""Documents that nobody could judge requests by are refused, with the place and the way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sealgate.errors import PolicyError
from sealgate.policy.load import Loaded, loads
from sealgate.policy.openapi.document import read
from sealgate.policy.openapi.mistakes import Unusable
from sealgate.policy.openapi.operations import operations_of
from sealgate.runtime.described import described

GOOD: dict[str, Any] = {"openapi": "3.1.0", "paths": {"/a": {"get": {"responses": {}}}}}


def of(**said: Any) -> dict[str, Any]:
    return operations_of({**GOOD, **said})


def posted(content: Any, **further: Any) -> dict[str, Any]:
    operation = {"requestBody": {"content": content}, "responses": {}}
    return {"paths": {"/a": {"post": operation}}, **further}


def queried(**parameter: Any) -> dict[str, Any]:
    listed = [{"name": "c", "in": "query", **parameter}]
    return {"paths": {"/a": {"get": {"parameters": listed, "responses": {}}}}}


def test_what_it_says() -> None:
    assert of()["operations"] == [{"path": "/a", "method": "GET", "parameters": [], "body": None}]


@pytest.mark.parametrize(
    ("said", "where", "fact"),
    [
        ({"openapi": "2.0"}, "/openapi", "neither 3.0 nor 3.1"),
        ({"openapi": "3.2.0"}, "/openapi", "neither 3.0 nor 3.1"),
        ({"paths": {}}, "/paths", "no operation"),
        ({"paths": []}, "/paths", "no object"),
        ({"jsonSchemaDialect": "http://json-schema.org/draft-07/schema#"}, "/jsonSchemaDialect", "2020-12"),
        ({"paths": {"a": {"get": {}}}}, "/paths/a", "no template"),
        ({"paths": {"/a?b": {"get": {}}}}, "/paths/~1a?b", "no template"),
        ({"paths": {"/{a}": {"get": {}}}}, "/paths/~1{a}/get", "has ['a']"),
        ({"servers": [{"url": "https://{host}/{base}"}]}, "/paths/~1a/get", "no path"),
        (posted({}), "/paths/~1a/post/requestBody", "no content"),
        (posted({"json": {}}), "/paths/~1a/post/requestBody/content/json", "no media type"),
        (
            posted({"application/xml": {"schema": {"type": "object"}}}),
            "/paths/~1a/post/requestBody/content/application~1xml",
            "is not read here",
        ),
        (
            posted({"multipart/form-data": {"schema": {"type": "object"}}}),
            "/paths/~1a/post/requestBody/content/multipart~1form-data",
            "is not read here",
        ),
        (
            posted({"application/json": {"schema": {"$ref": "other.yaml#/A"}}}),
            "/paths/~1a/post/requestBody/content/application~1json/schema",
            "another document",
        ),
        (
            posted({"application/json": {"schema": {"$ref": "#/components/schemas/A"}}}),
            "/paths/~1a/post/requestBody/content/application~1json/schema",
            "which is not there",
        ),
        (
            posted({"application/json": {"schema": {"properties": {"a": {"$dynamicRef": "#x"}}}}}),
            "/paths/~1a/post/requestBody/content/application~1json/schema/properties/a/$dynamicRef",
            "changes what references",
        ),
        (
            posted({"application/json": {"schema": {"$id": "https://a.test"}}}),
            "/paths/~1a/post/requestBody/content/application~1json/schema/$id",
            "changes what references",
        ),
        (
            posted({"application/json": {"schema": []}}),
            "/paths/~1a/post/requestBody/content/application~1json/schema",
            "no schema",
        ),
        (queried(style="matrix"), "/paths/~1a/get/parameters/0", "a style that query does not know"),
        (
            queried(content={"application/xml": {}}),
            "/paths/~1a/get/parameters/0/content",
            "is application/xml",
        ),
        (queried(name=5), "/paths/~1a/get/parameters/0", "no parameter"),
        ({"paths": {"/a": {"get": {"parameters": [{"$ref": "#/a"}]}}}, "a": {"$ref": "#/a"}}, "/a", "itself"),
    ],
)
def test_what_nobody_could_judge_by(said: dict[str, Any], where: str, fact: str) -> None:
    with pytest.raises(Unusable) as caught:
        of(**said)
    assert (caught.value.where, fact in caught.value.fact) == (where, True), caught.value
    assert caught.value.remedy


def test_two_templates_that_are_one() -> None:
    def operation(name: str) -> dict[str, Any]:
        return {"get": {"parameters": [{"name": name, "in": "path", "required": True, "schema": {}}]}}

    with pytest.raises(Unusable, match="is the same as"):
        of(paths={"/x/{a}": operation("a"), "/x/{b}": operation("b")})


def test_yaml_is_read_as_json_has_it(tmp_path: Path) -> None:
    path = tmp_path / "api.yaml"
    path.write_text("a: 2020-01-01\n200: x\nb: &b [1]\nc: *b\ntrue: y\n")
    assert read(path) == {"a": "2020-01-01", "200": "x", "b": [1], "c": [1], "true": "y"}
    bomb = "a: &a [x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{f'*{chr(97 + n)}, ' * 9}]\n" for n in range(20)
    )
    for wrong in (
        "a: 1\na: 2",
        "a: [",
        "- 1",
        "",
        "\tx: 1",
        "a: &a {b: *a}",
        "a: !!python/object:os.system x",
        bomb,
    ):
        path.write_text(wrong)
        with pytest.raises(Unusable):
            read(path)
    path.write_bytes(b"\xff")
    with pytest.raises(Unusable):
        read(path)


def policy(folder: Path, document: str) -> Loaded:
    (folder / "api.yaml").write_text(document)
    text = '[site]\napp = "a:b"\n[validation]\nopenapi = "api.yaml"\n'
    return loads(text, path=folder / "sealgate.toml", environ={})


def test_a_policy_with_it(tmp_path: Path) -> None:
    found = described(policy(tmp_path, json.dumps(GOOD)))
    assert found is not None
    assert len(found["operations"]) == 1
    for wrong in (
        "{",
        json.dumps({**GOOD, "openapi": "2.0"}),
        json.dumps({**GOOD, **posted({"application/json": {"schema": {"type": "strin"}}})}),
        json.dumps({**GOOD, **posted({"application/json": {"schema": {"pattern": "("}}})}),
        json.dumps({**GOOD, **queried(schema={"minimum": "x"})}),
    ):
        with pytest.raises(PolicyError, match="openapi-unusable"):
            described(policy(tmp_path, wrong))
    loaded = policy(tmp_path, "")
    (tmp_path / "api.yaml").unlink()
    with pytest.raises(PolicyError, match="cannot be read"):
        described(loaded)
