"""Requests that the API's description does not know, on every engine: none of them reaches the app."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

from tests.contract.sites import Site, at_least, started
from tests.live.wire import H2, Answer, get, parse, read_until_closed

ORDERS = Path(__file__).parents[2] / "examples" / "orders.openapi.yaml"
ID = "123e4567-e89b-12d3-a456-426614174000"
LINE = {"sku": "tea", "quantity": 2, "price_cents": 450}
GOOD = json.dumps({"customer": "Ada", "lines": [LINE]}).encode()
JSON = "Content-Type: application/json"


def ask(site: Site, method: str, path: str, body: bytes | None = None, *fields: str) -> Answer:
    length = () if body is None else (f"Content-Length: {len(body)}",)
    request = get("localhost", path, *fields, *length, method=method) + (body or b"")
    return _sent(site, request)


def chunked(site: Site, path: str, body: bytes, *fields: str) -> Answer:
    head = get("localhost", path, *fields, "Transfer-Encoding: chunked", method="POST")
    pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
    return _sent(site, head + b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n")


def _sent(site: Site, request: bytes) -> Answer:
    with site.served.connect() as tls:
        tls.sendall(request)
        (answer,) = parse(read_until_closed(tls))
    return answer


@at_least("envoy")
def test_nothing_invalid_reaches_the_app_and_nothing_valid_is_refused(which: str) -> None:
    with ExitStack() as stack:
        site = started(stack, which, "usual", validation={"openapi": str(ORDERS)})
        mark = site.witness.mark
        for method, path, body, fields, status in (
            ("GET", "/nothing", None, (), 404),
            ("GET", "/orders/", None, (), 404),
            ("DELETE", "/orders", None, (), 405),
            ("GET", "/orders?limit=0", None, (), 400),
            ("GET", "/orders?limit=1&limit=2", None, (), 400),
            ("GET", "/orders?lim%69t=x", None, (), 400),
            ("GET", "/orders/5", None, (), 400),
            ("POST", "/orders", b"", (JSON,), 400),
            ("POST", "/orders", b"{}", (JSON,), 400),
            ("POST", "/orders", GOOD[:-1], (JSON,), 400),
            ("POST", "/orders", GOOD.replace(b'"lines"', b'"customer":"b","lines"'), (JSON,), 400),
            ("POST", "/orders", GOOD, (), 415),
            ("POST", "/orders", GOOD, ("Content-Type: text/plain",), 415),
            ("POST", f"/orders/{ID}/cancel", b"x", (), 400),
            ("POST", "/orders", b'{"customer":"' + b"[" * 200_000 + b'"}', (JSON,), 400),
        ):
            answer = ask(site, method, path, body, *fields)
            assert answer.status == status, (method, path, answer)
            assert answer.one("content-type") == "application/problem+json"
        assert chunked(site, "/orders", b'{"customer":5}', JSON).slug == "request-invalid"
        said = ask(site, "POST", "/orders", b'{"customer":5,"lines":[{"sku":""}]}', JSON).problem["errors"]
        assert {one["pointer"] for one in said} >= {"/customer", "/lines/0", "/lines/0/sku"}
        assert ask(site, "DELETE", "/orders").one("allow") == "GET, HEAD, POST"
        assert site.witness.since(mark) == [], "none of them"

        large = json.dumps({"customer": "A", "lines": [LINE] * 100}).encode()
        for body in (GOOD, large):
            assert ask(site, "POST", "/orders", body, JSON).status == 200
            assert chunked(site, "/orders", body, JSON).status == 200
        assert [line["size"] for line in site.witness.since(mark)] == [len(GOOD)] * 2 + [len(large)] * 2
        mark = site.witness.mark
        file = bytes(range(256)) * 2000
        assert ask(site, "PUT", f"/orders/{ID}/attachment", file, "Content-Type: image/png").status == 200
        assert ask(site, "GET", "/orders?limit=5").status == 200
        assert ask(site, "HEAD", "/orders").status == 200
        assert [line["size"] for line in site.witness.since(mark)] == [len(file), 0, 0]
        if "h2" in site.alpns:
            context = site.served.context()
            context.set_alpn_protocols(["h2"])
            with site.served.connect(context, alpn="h2") as tls:
                found = H2(tls).ask("/orders?limit=0", "localhost")
            assert found is not None
            assert found.status == 400


@at_least("envoy")
def test_it_can_be_tried_out_before(which: str) -> None:
    """Mode report: all of it reaches the app, and stands in the log without a word of its content."""
    with ExitStack() as stack:
        site = started(stack, which, "usual", validation={"openapi": str(ORDERS), "mode": "report"})
        mark = site.witness.mark
        secret = b'{"customer":"hunter2-in-a-body"}'
        assert ask(site, "POST", "/orders?token=hunter2-in-a-query", secret, JSON).status == 200
        assert ask(site, "GET", "/nothing").status == 200
        assert [line["size"] for line in site.witness.since(mark)] == [len(secret), 0]
        site.served.wait_for(lambda: site.served.err.count('"enforced": false') == 2)
        assert "hunter2" not in site.served.err
