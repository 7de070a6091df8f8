"""The main job, end to end: a Falcon app answers over HTTPS."""

from __future__ import annotations

from tests.live.served import Served


def test_the_example_answers_over_https(orders: Served) -> None:
    answer = orders.client().get("/orders")
    assert answer.status_code == 200
    assert answer.headers["strict-transport-security"] == "max-age=300"
    assert answer.headers["content-type"].startswith("application/json")


def test_plain_http_is_redirected(orders: Served) -> None:
    answer = orders.client().get(f"{orders.plain}/orders?limit=1")
    assert answer.status_code == 308
    assert answer.headers["location"] == f"{orders.url}/orders?limit=1"
