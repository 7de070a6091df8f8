"""`req.context.client`: in a Falcon app without a line of its own, and nothing of a request makes one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import falcon
import falcon.asgi
import falcon.testing
import pytest

from sealgate.falcon import Caller, introduce
from sealgate.guard.client import Client
from sealgate.runtime.app import load

WHO = Client("192.0.2.1", groups=("ops",))
SYNC = """
import falcon
class Who:
    def on_get(self, req, resp):
        resp.media = req.context.client and req.context.client.groups
app = falcon.App()
app.add_route("/", Who())
class Own(falcon.App):
    pass
own = Own()
own.add_route("/", Who())
"""


class Who:
    """Says the caller's groups."""

    async def on_get(self, req: Any, resp: Any) -> None:
        resp.media = req.context.client and req.context.client.groups

    async def on_websocket(self, req: Any, ws: Any) -> None:
        await ws.accept()
        await ws.send_media(req.context.client and list(req.context.client.groups))


@pytest.mark.parametrize("name", ("app", "own"))
def test_wsgi(tmp_path: Path, name: str) -> None:
    (tmp_path / "falcon_here.py").write_text(SYNC)
    try:
        app, interface = load(f"falcon_here:{name}", tmp_path)
    finally:
        sys.modules.pop("falcon_here", None)
        sys.path.remove(str(tmp_path))
    assert interface == "wsgi"
    client = falcon.testing.TestClient(app)
    assert client.simulate_get("/", extras={"sealgate.client": WHO}).json == ["ops"]
    headers = {"Sealgate-Client": "x", "Sealgate.Client": "x"}
    assert client.simulate_get("/", headers=headers).json is None


def asgi() -> Any:
    app = falcon.asgi.App()
    app.add_route("/", Who())
    introduce(app)
    return app


def test_asgi() -> None:
    app = asgi()
    assert falcon.testing.TestClient(app).simulate_get("/").json is None

    class Guarded(falcon.asgi.App):
        async def __call__(  # type: ignore[override]  # as its base class
            self, scope: Any, receive: Any, send: Any
        ) -> None:
            scope = {**scope, "sealgate": {"client": WHO}} if scope["type"] != "lifespan" else scope
            await super().__call__(scope, receive, send)

    guarded = Guarded()
    guarded.add_route("/", Who())
    introduce(guarded)
    assert falcon.testing.TestClient(guarded).simulate_get("/").json == ["ops"]


class Mapping(falcon.Request):
    """Falcon lets an app choose what its context is."""

    context_type = dict


class Frozen(falcon.Request):
    """One that takes nothing."""

    context_type = tuple


class Earlier:
    """An app's own middleware, with a word of its own for it."""

    def process_request(self, req: Any, resp: Any) -> None:
        req.context.client = "oauth"


class Shows:
    """What an app sees."""

    def on_get(self, req: Any, resp: Any) -> None:
        context = req.context
        found = context.get("client") if isinstance(context, dict) else getattr(context, "client", "nothing")
        resp.text = str(getattr(found, "groups", found))


@pytest.mark.parametrize(
    ("settings", "seen"),
    (
        ({}, "('ops',)"),
        ({"request_type": Mapping}, "('ops',)"),
        ({"request_type": Frozen}, "nothing"),
        ({"middleware": [Earlier()]}, "oauth"),
    ),
)
def test_no_app_breaks(settings: dict[str, Any], seen: str) -> None:
    app = falcon.App(**settings)
    app.add_route("/", Shows())
    introduce(app)
    answer = falcon.testing.TestClient(app).simulate_get("/", extras={"sealgate.client": WHO})
    assert (answer.status_code, answer.text) == (200, seen)


@pytest.mark.parametrize("app", (object(), lambda environ, start: [], Caller()))
def test_other_apps_are_left_alone(app: object) -> None:
    introduce(app)
