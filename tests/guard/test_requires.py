"""`sealgate.falcon.requires`: whom one responder is for."""

from __future__ import annotations

from typing import Any

import falcon
import falcon.asgi
import pytest
from falcon import testing

import sealgate.falcon
from sealgate.guard.client import Client, Token
from sealgate.policy.problems import CONTENT_TYPE
from tests.guard.test_access import KNOWN, OPS, READER

WRITER = Client("::1", token=Token("https://issuer.test", "w", frozenset({"orders:read", "orders:write"})))
requires = sealgate.falcon.requires


class Orders:
    def on_get(self, req: Any, resp: Any) -> None:
        resp.text = "for all"

    @requires(scope=["orders:read", "orders:write"])
    def on_post(self, req: Any, resp: Any) -> None:
        resp.text = "written"

    @requires(group=("ops", "dev"))
    def on_delete(self, req: Any, resp: Any) -> None:
        resp.text = "gone"

    @requires()
    def on_put(self, req: Any, resp: Any) -> None:
        resp.text = "known"


class Later:
    @requires(group="ops")
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.text = "ops"


@requires(token=True)
class Whole:
    def on_get(self, req: Any, resp: Any, *, name: str) -> None:
        resp.text = name

    def on_post(self, req: Any, resp: Any, *, name: str) -> None:
        resp.text = name


@pytest.fixture
def client() -> testing.TestClient:
    app = falcon.App()
    app.add_route("/orders", Orders())
    app.add_route("/whole/{name}", Whole())
    return testing.TestClient(app)


@pytest.mark.parametrize(
    ("method", "caller", "status", "slug"),
    [
        ("GET", None, 200, ""),
        ("POST", None, 401, "authentication-required"),
        ("POST", OPS, 401, "authentication-required"),
        ("POST", READER, 403, "scope-insufficient"),
        ("POST", WRITER, 200, ""),
        ("DELETE", None, 403, "client-certificate-required"),
        ("DELETE", KNOWN, 403, "access-denied"),
        ("DELETE", OPS, 200, ""),
        ("PUT", None, 401, "authentication-required"),
        ("PUT", KNOWN, 200, ""),
        ("PUT", READER, 200, ""),
    ],
)
def test_wsgi(client: testing.TestClient, method: str, caller: Client | None, status: int, slug: str) -> None:
    extras = {} if caller is None else {"sealgate.client": caller}
    result = client.simulate_request(method, "/orders", extras=extras)
    assert result.status_code == status
    if slug:
        assert result.headers["content-type"] == CONTENT_TYPE
        assert result.json["type"].endswith(f":{slug}")
        assert ("www-authenticate" in result.headers) == (status == 401 or slug == "scope-insufficient")


def test_a_resource(client: testing.TestClient) -> None:
    for method in ("GET", "POST"):
        assert client.simulate_request(method, "/whole/x").status_code == 401
        assert client.simulate_request(method, "/whole/x", extras={"sealgate.client": READER}).text == "x"


def test_asgi() -> None:
    app = falcon.asgi.App()
    app.add_route("/", Later())
    client = testing.TestClient(app)
    assert client.simulate_get("/").status_code == 403
    assert client.simulate_get("/", extras={"sealgate": {"client": OPS}}).text == "ops"
    assert client.simulate_get("/", extras={"sealgate": {"client": KNOWN}}).json["status"] == 403


def on_get(self: object, req: Any, resp: Any) -> None:
    raise AssertionError


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"group": "Ops"}, ValueError),
        ({"group": ""}, ValueError),
        ({"scope": "a b"}, ValueError),
        ({"scope": ['"']}, ValueError),
        ({"authority": {"private"}}, TypeError),
        ({"group": 7}, TypeError),
        ({"group": [7]}, TypeError),
        ({"token": "yes"}, TypeError),
        ({"grup": "ops"}, TypeError),
    ],
)
def test_mistakes_are_found_at_import(said: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        requires(**said)(on_get)


def test_nor_before_what_is_no_responder() -> None:
    class Empty:
        def get(self) -> None: ...

    class Default:
        def on_request(self, req: Any, resp: Any) -> None: ...

    for wrong in (Empty, Default, 7, Empty.get, "on_get"):
        with pytest.raises(TypeError):
            requires(group="ops")(wrong)
