"""`sealgate.falcon.requires`: whom one responder is for."""

from __future__ import annotations

from typing import Any

import falcon
import falcon.asgi
import pytest
from falcon import testing

import sealgate.falcon
from sealgate._system.rate_table import RateTable
from sealgate.guard.client import Client, Token
from sealgate.guard.rates import Counting
from sealgate.policy.problems import CONTENT_TYPE
from sealgate.runtime.means import means_by
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


class Limited:
    @requires(rate="2/h")
    def on_get(self, req: Any, resp: Any) -> None:
        resp.text = "one"

    @requires(scope="orders:read", rate="1/h", burst=3)
    def on_post(self, req: Any, resp: Any) -> None:
        resp.text = "one"


class LimitedLater:
    @requires(rate="2/h")
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.text = "one"

    @requires(rate="1/h")
    async def on_websocket(self, req: Any, ws: Any) -> None:
        await ws.accept()
        await ws.close()


def counting() -> Counting:
    store = means_by(None, RateTable().fd).store
    assert store is not None
    return Counting(store)


def test_rates() -> None:
    app = falcon.App()
    app.add_route("/", Limited())
    client, counts = testing.TestClient(app), counting()

    def ask(method: str, caller: Client) -> testing.Result:
        extras = {"sealgate.client": caller, "sealgate.rates": counts}
        return client.simulate_request(method, "/", extras=extras)

    ann, bob = Client("192.0.2.1"), Client("192.0.2.2")
    assert [ask("GET", ann).status_code for _ in range(4)] == [200, 200, 429, 429]
    assert [ask("GET", bob).status_code for _ in range(3)] == [200, 200, 429]
    # By what is known of who calls, for each responder by itself; who may not costs nothing.
    assert [ask("POST", ann).status_code for _ in range(9)] == [401] * 9
    assert [ask("POST", READER).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert ask("GET", READER).headers["ratelimit"] == '"Limited.on_get";r=1;t=1800'
    refused = ask("GET", ann)
    assert refused.json["type"].endswith(":rate-limited")
    assert refused.headers["ratelimit-policy"] == '"Limited.on_get";q=2;w=3600'
    assert 0 < int(refused.headers["retry-after"]) <= 1800


def test_rates_where_nobody_counts() -> None:
    app = falcon.App()
    app.add_route("/", Limited())
    client = testing.TestClient(app)
    assert client.simulate_get("/").json["type"].endswith(":rates-unavailable")
    assert client.simulate_post("/").status_code == 401


def test_rates_asgi() -> None:
    app = falcon.asgi.App()
    app.add_route("/", LimitedLater())
    client, counts = testing.TestClient(app), counting()
    extras = {"sealgate": {"client": Client("192.0.2.1"), "rates": counts}}
    assert [client.simulate_get("/", extras=extras).status_code for _ in range(3)] == [200, 200, 429]
    assert client.simulate_get("/").status_code == 503


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
        ({"rate": "10"}, ValueError),
        ({"rate": "10/day"}, ValueError),
        ({"rate": "0/s"}, ValueError),
        ({"rate": "9000000/s"}, ValueError),
        ({"rate": 10}, TypeError),
        ({"rate": "1/s", "burst": -1}, ValueError),
        ({"rate": "1/s", "burst": True}, TypeError),
        ({"burst": 7}, ValueError),
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
