"""The example's document against the example, by schemathesis, with the guard between them.

Nothing that schemathesis makes invalid reaches the app, and nothing that it makes valid is refused.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, given, settings
from requests import Request
from schemathesis import GenerationMode

from sealgate.guard.compiled import Compiled, compile_policy
from sealgate.guard.sources import EnvoySource
from sealgate.guard.wsgi import Guard
from sealgate.policy.model import Policy
from sealgate.policy.openapi.document import read
from sealgate.policy.openapi.operations import operations_of
from tests.guard.exchange import PROOF, Log, Reply, call_wsgi, environ

EXAMPLES = Path(__file__).parents[3] / "examples"
TEXT = (EXAMPLES / "orders.openapi.yaml").read_text()
HTTPS = "https://localhost:8443"


def schema() -> Any:
    document = yaml.safe_load(TEXT)
    del document["paths"]["/events"]  # only in the ASGI version
    return schemathesis.openapi.from_dict(document)


def site() -> Compiled:
    policy = Policy.model_validate({"validation": {"openapi": "orders.openapi.yaml"}})
    operations = operations_of(read(EXAMPLES / "orders.openapi.yaml"))
    return Compiled.from_json(compile_policy(policy, 1, operations=operations).to_json())


class Behind:
    """The example, and what reached it."""

    def __init__(self, app: Any) -> None:
        self._app, self.reached = app, 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.reached += 1
        return self._app(environ, start_response)


@pytest.fixture(scope="module")
def behind() -> Behind:
    sys.path.insert(0, str(EXAMPLES))
    try:
        from orders import app
    finally:
        sys.path.remove(str(EXAMPLES))
    return Behind(app)


@pytest.fixture(scope="module")
def guard(behind: Behind) -> Guard:
    return Guard(behind, site(), EnvoySource(PROOF), Log())


def sent(guard: Guard, prepared: Any) -> Reply:
    url = urlsplit(str(prepared.url))
    body = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body
    further: dict[str, Any] = {}
    for name, value in prepared.headers.items():
        key = name.upper().replace("-", "_")
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        if key in ("HOST", "TRANSFER_ENCODING"):
            continue
        further[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = text
    target = url.path + (f"?{url.query}" if url.query else "")
    content = body if isinstance(body, bytes) else b"" if body is None else b"".join(body)
    made = environ(target, method=str(prepared.method), host="localhost:8443", body=content, **further)
    if body is None and "CONTENT_LENGTH" not in further:
        made.pop("CONTENT_LENGTH", None)
    return call_wsgi(guard, made)


OPERATIONS = [
    (path, method.upper())
    for path, item in yaml.safe_load(TEXT)["paths"].items()
    for method in item
    if method in ("get", "post", "put") and path != "/events"
]


CASES = [
    (path, method, valid)
    for path, method in OPERATIONS
    for valid in (True, False)
    if valid or path not in {"/health", "/admin/report"}  # which take nothing that could be wrong
]


def as_described(query: str) -> bool:
    """Of these parameters; others, which schemathesis adds and calls wrong, the document does not forbid."""
    known = {
        "after": lambda text: text.isascii() and text.isdigit(),
        "limit": lambda text: text.isascii() and text.isdigit() and 1 <= int(text) <= 100,
        "status": lambda text: text in ("open", "cancelled"),
        "format": lambda text: text in ("csv", "ndjson"),
    }
    given_ = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] in known]
    names = [name for name, _ in given_]
    return len(set(names)) == len(names) and all(known[name](text) for name, text in given_)


@pytest.mark.parametrize(("path", "method", "valid"), CASES)
def test_schemathesis(guard: Guard, behind: Behind, path: str, method: str, valid: bool) -> None:
    operation = schema()[path][method]
    mode = GenerationMode.POSITIVE if valid else GenerationMode.NEGATIVE
    seen = []

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def judge(case: Any) -> None:
        arguments = case.as_transport_kwargs(base_url=HTTPS)
        wanted = ("method", "url", "headers", "cookies", "params", "json", "data", "files")
        kept = {key: arguments[key] for key in wanted if key in arguments}
        before = behind.reached
        prepared = Request(**kept).prepare()
        reply = sent(guard, prepared)
        arrived = behind.reached - before
        seen.append(arrived)
        if valid:
            assert arrived, (reply.status, reply.body[:500])
        elif not (path in {"/orders", "/exports/orders"} and method == "GET") or not as_described(
            urlsplit(str(prepared.url)).query
        ):
            assert not arrived, (kept, reply.status, case.meta)

    judge()
    assert seen
