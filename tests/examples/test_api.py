"""Both examples do the same over HTTP, and exactly what their OpenAPI document says."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from typing import Any

import falcon.inspect
import pytest
import yaml
from falcon import testing
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from tests.examples.served import FOLDER, ORDER, orders, orders_async, orders_store

SPEC: dict[str, Any] = yaml.safe_load((FOLDER / "orders.openapi.yaml").read_text())
MISSING = str(uuid.UUID(int=0))


@pytest.fixture(params=(orders, orders_async), ids=("wsgi", "asgi"))
def client(request: pytest.FixtureRequest) -> testing.TestClient:
    return testing.TestClient(request.param.create_app(orders_store.OrderStore(most=25)))


def resolved(node: Any) -> Any:
    """Every reference replaced by what it names; the document has no recursive ones."""
    if isinstance(node, dict):
        if "$ref" in node:
            target: Any = SPEC
            for step in node["$ref"].removeprefix("#/").split("/"):
                target = target[step]
            return resolved(target)
        return {key: resolved(value) for key, value in node.items()}
    return [resolved(item) for item in node] if isinstance(node, list) else node


def check(result: testing.Result, method: str, template: str) -> Any:
    """Is this answer one that the document promises? Returns the JSON."""
    described = resolved(SPEC["paths"][template][method]["responses"])
    assert str(result.status_code) in described, f"{method} {template}: {result.status} is not described"
    response = described[str(result.status_code)]
    for name, header in response.get("headers", {}).items():
        assert not header["required"] or name in result.headers
    media_type = result.headers["content-type"].partition(";")[0]
    assert media_type in response["content"]
    if media_type != "application/json":
        return result.content
    schema = response["content"][media_type]["schema"]
    OAS31Validator(schema, format_checker=OAS31Validator.FORMAT_CHECKER).validate(result.json)
    return result.json


def create(client: testing.TestClient, document: Any = ORDER) -> Any:
    return check(client.simulate_post("/orders", json=document), "post", "/orders")


def test_the_document_is_valid() -> None:
    validate(SPEC)
    assert SPEC["openapi"].startswith("3.1.")


@pytest.mark.parametrize("module", (orders, orders_async), ids=("wsgi", "asgi"))
def test_document_and_routes_agree(module: Any) -> None:
    served = {
        (method.method.lower(), re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path))
        for route in falcon.inspect.inspect_routes(module.app)
        for method in route.methods
        if not method.internal and method.method != "WEBSOCKET"
    }
    described = {
        (method, path)
        for path, item in SPEC["paths"].items()
        for method, operation in item.items()
        if method != "parameters" and (module is orders_async or "async" not in operation["tags"])
    }
    assert served == described


def test_health(client: testing.TestClient) -> None:
    assert check(client.simulate_get("/health"), "get", "/health") == {"status": "ok"}


def test_create_and_read(client: testing.TestClient) -> None:
    result = client.simulate_post("/orders", json=ORDER)
    made = check(result, "post", "/orders")
    assert result.status_code == 201
    assert result.headers["location"] == f"/orders/{made['id']}"
    assert made["total_cents"] == 900
    assert check(client.simulate_get(f"/orders/{made['id']}"), "get", "/orders/{order_id}") == made


@pytest.mark.parametrize("path", (f"/orders/{MISSING}", "/orders/17", "/orders/%00"))
def test_an_order_that_is_not_there(client: testing.TestClient, path: str) -> None:
    result = client.simulate_get(path)
    assert result.status_code == 404
    check(result, "get", "/orders/{order_id}")


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    (
        (json.dumps(ORDER | {"customer": ""}), "application/json", 422),
        ("[]", "application/json", 422),
        ("{", "application/json", 400),
        ("", "application/json", 400),
        ("customer=Ada", "text/plain", 415),
    ),
)
def test_what_is_no_order(client: testing.TestClient, body: str, content_type: str, status: int) -> None:
    result = client.simulate_post("/orders", body=body, content_type=content_type)
    assert result.status_code == status
    check(result, "post", "/orders")


def test_no_room(client: testing.TestClient) -> None:
    for _ in range(25):
        create(client)
    result = client.simulate_post("/orders", json=ORDER)
    assert (result.status_code, result.headers["retry-after"]) == (503, "60")
    check(result, "post", "/orders")


def test_paging(client: testing.TestClient) -> None:
    for _ in range(25):
        create(client)
    pages = []
    query = "limit=10"
    while True:
        page = check(client.simulate_get("/orders", query_string=query), "get", "/orders")
        pages.append([order["number"] for order in page["orders"]])
        if page["next_after"] is None:
            break
        query = f"limit=10&after={page['next_after']}"
    assert pages == [list(range(1, 11)), list(range(11, 21)), list(range(21, 26))]
    assert len(check(client.simulate_get("/orders"), "get", "/orders")["orders"]) == 20


@pytest.mark.parametrize("query", ("limit=0", "limit=101", "limit=x", "after=-1", "status=lost"))
def test_parameters_out_of_range(client: testing.TestClient, query: str) -> None:
    result = client.simulate_get("/orders", query_string=query)
    assert result.status_code == 400
    check(result, "get", "/orders")


def test_cancel_once(client: testing.TestClient) -> None:
    path = f"/orders/{create(client)['id']}/cancel"
    template = "/orders/{order_id}/cancel"
    assert check(client.simulate_post(path), "post", template)["status"] == "cancelled"
    result = client.simulate_post(path)
    assert result.status_code == 409
    check(result, "post", template)
    found = check(client.simulate_get("/orders", query_string="status=cancelled"), "get", "/orders")
    assert len(found["orders"]) == 1
    result = client.simulate_post(f"/orders/{MISSING}/cancel")
    assert result.status_code == 404
    check(result, "post", template)


def test_upload(client: testing.TestClient) -> None:
    path = f"/orders/{(made := create(client))['id']}/attachment"
    template = "/orders/{order_id}/attachment"
    for body in (b"", b"x", bytes(range(256)) * 1000):
        said = check(client.simulate_put(path, body=body), "put", template)
        assert said == {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        order = check(client.simulate_get(f"/orders/{made['id']}"), "get", "/orders/{order_id}")
        assert order["attachment"] == said
    result = client.simulate_put(f"/orders/{MISSING}/attachment", body=b"x")
    assert result.status_code == 404
    check(result, "put", template)


def test_exports(client: testing.TestClient) -> None:
    made = [create(client) for _ in range(3)]
    result = client.simulate_get("/exports/orders")
    assert result.headers["content-disposition"] == 'attachment; filename="orders.csv"'
    assert len(check(result, "get", "/exports/orders").splitlines()) == 4
    result = client.simulate_get("/exports/orders", query_string="format=ndjson")
    lines = check(result, "get", "/exports/orders").splitlines()
    assert [json.loads(line) for line in lines] == made
    result = client.simulate_get("/exports/orders", query_string="format=xml")
    assert result.status_code == 400
    check(result, "get", "/exports/orders")


def test_report(client: testing.TestClient) -> None:
    assert check(client.simulate_get("/admin/report"), "get", "/admin/report")["orders"] == 0
    create(client)
    assert check(client.simulate_get("/admin/report"), "get", "/admin/report")["revenue_cents"] == 900
