"""What both examples share: orders in memory."""

from __future__ import annotations

import csv
import io
import json
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples.served import LINE, ORDER, orders_store

OrderStore = orders_store.OrderStore


def test_numbers_count_up_and_ids_differ() -> None:
    store = OrderStore()
    orders = [store.create(ORDER) for _ in range(3)]
    assert [order.number for order in orders] == [1, 2, 3]
    assert len({order.id for order in orders}) == 3


@pytest.mark.parametrize(
    ("document", "says"),
    (
        (None, "exactly 'customer' and 'lines'"),
        ([], "exactly 'customer' and 'lines'"),
        ({}, "exactly 'customer' and 'lines'"),
        (ORDER | {"discount": 100}, "exactly 'customer' and 'lines'"),
        (ORDER | {"customer": ""}, "'customer' is a text"),
        (ORDER | {"customer": 7}, "'customer' is a text"),
        (ORDER | {"customer": "x" * 201}, "'customer' is a text"),
        (ORDER | {"lines": []}, "'lines' is a list"),
        (ORDER | {"lines": [LINE] * 101}, "'lines' is a list"),
        (ORDER | {"lines": [LINE, 7]}, "lines[1] is an object"),
        (ORDER | {"lines": [LINE | {"sku": ""}]}, "lines[0].sku"),
        (ORDER | {"lines": [LINE | {"sku": "a\nb"}]}, "lines[0].sku"),
        (ORDER | {"lines": [LINE | {"quantity": 0}]}, "lines[0].quantity"),
        (ORDER | {"lines": [LINE | {"quantity": True}]}, "lines[0].quantity"),
        (ORDER | {"lines": [LINE | {"quantity": 1.5}]}, "lines[0].quantity"),
        (ORDER | {"lines": [LINE | {"price_cents": -1}]}, "lines[0].price_cents"),
        (ORDER | {"lines": [LINE | {"price_cents": "450"}]}, "lines[0].price_cents"),
    ),
)
def test_what_is_no_order_is_refused_with_a_reason(document: object, says: str) -> None:
    with pytest.raises(orders_store.InvalidError) as caught:
        OrderStore().create(document)
    assert says in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["customer", "lines", "sku", "quantity", "price_cents"]), inner)
    ),
    max_leaves=10,
)


@given(JSON)
def test_any_json_is_an_order_or_invalid(document: Any) -> None:
    store = OrderStore()
    try:
        order = store.create(document)
    except orders_store.InvalidError:
        assert store.report()["orders"] == 0
    else:
        assert order.as_dict()["lines"] == document["lines"]


def test_it_is_bounded() -> None:
    store = OrderStore(most=2)
    store.create(ORDER)
    store.create(ORDER)
    with pytest.raises(orders_store.FullError):
        store.create(ORDER)


def test_pages_follow_each_other_without_gaps() -> None:
    store = OrderStore()
    for _ in range(7):
        store.create(ORDER)
    store.cancel(store.page(after=1, limit=1, status=None)[0][0].id)
    seen: list[int] = []
    after: int | None = 0
    while after is not None:
        orders, after = store.page(after=after, limit=2, status="open")
        assert len(orders) <= 2
        seen += [order.number for order in orders]
    assert seen == [1, 3, 4, 5, 6, 7]


def test_a_full_last_page_is_the_last() -> None:
    store = OrderStore()
    for _ in range(4):
        store.create(ORDER)
    assert store.page(after=2, limit=2, status=None)[1] is None
    assert store.page(after=9, limit=2, status=None) == ([], None)


def test_one_of_many_threads_cancels() -> None:
    store = OrderStore()
    order = store.create(ORDER)
    outcomes: list[str] = []

    def cancel() -> None:
        try:
            store.cancel(order.id)
            outcomes.append("cancelled")
        except orders_store.AlreadyCancelledError:
            outcomes.append("already")

    threads = [threading.Thread(target=cancel) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(outcomes) == ["already"] * 7 + ["cancelled"]


def test_exports_can_be_read_again() -> None:
    store = OrderStore()
    orders = [store.create(ORDER | {"customer": name}) for name in ('Ada "A"', "=1+1", "Ü,\n")]
    rows = list(csv.DictReader(io.StringIO(b"".join(store.export("csv")).decode(), newline="")))
    assert [row["customer"] for row in rows] == ['Ada "A"', "'=1+1", "Ü,\n"]
    assert [row["id"] for row in rows] == [order.id for order in orders]
    lines = [json.loads(line) for line in store.export("ndjson")]
    assert lines == [order.as_dict() for order in orders]


def test_the_report_counts_open_orders() -> None:
    store = OrderStore()
    store.create(ORDER)
    store.cancel(store.create(ORDER).id)
    assert store.report() == {
        "orders": 2,
        "open": 1,
        "cancelled": 1,
        "revenue_cents": 900,
        "best_sellers": [{"sku": "tea", "quantity": 2}],
    }
