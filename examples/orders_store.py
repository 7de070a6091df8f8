"""Orders, kept in memory: what both examples share. Nothing in here knows about HTTP."""

from __future__ import annotations

import csv
import io
import json
import threading
import uuid
from collections import Counter
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST_ORDERS = 10_000
MOST_LINES = 100
CSV_FIELDS = ("number", "id", "customer", "status", "created", "total_cents")

Status = Literal["open", "cancelled"]


class NotFoundError(Exception):
    """There is no such order."""


class AlreadyCancelledError(Exception):
    """An order is cancelled once."""


class FullError(Exception):
    """The store holds as many orders as it will."""


class InvalidError(ValueError):
    """What was sent is not an order; the text says what to mend."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an order; prices are in cents."""

    sku: str
    quantity: int
    price_cents: int


@dataclass(frozen=True, slots=True)
class Attachment:
    """What is remembered of an uploaded file."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Order:
    """One order. ``number`` counts up from 1, ``created`` is an RFC 3339 time in UTC."""

    id: str
    number: int
    customer: str
    lines: tuple[Line, ...]
    created: str
    status: Status = "open"
    attachment: Attachment | None = None

    @property
    def total_cents(self) -> int:
        """The price of all lines together."""
        return sum(line.quantity * line.price_cents for line in self.lines)

    def as_dict(self) -> dict[str, Any]:
        """The order as JSON members."""
        return {
            **asdict(self),
            "lines": [asdict(line) for line in self.lines],
            "total_cents": self.total_cents,
        }


class OrderStore:
    """A bounded collection of orders, safe to use from several threads."""

    def __init__(self, most: int = MOST_ORDERS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._orders: dict[str, Order] = {}

    def create(self, document: object) -> Order:
        """Check what was sent and keep it as an order."""
        customer, lines = _parse(document)
        with self._lock:
            if len(self._orders) >= self._most:
                raise FullError
            order = Order(
                id=str(uuid.uuid4()),
                number=len(self._orders) + 1,
                customer=customer,
                lines=lines,
                created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            )
            self._orders[order.id] = order
        return order

    def get(self, order_id: str) -> Order:
        """One order by its id."""
        try:
            return self._orders[order_id]
        except KeyError:
            raise NotFoundError from None

    def cancel(self, order_id: str) -> Order:
        """Cancel an open order."""
        with self._lock:
            order = self.get(order_id)
            if order.status == "cancelled":
                raise AlreadyCancelledError
            self._orders[order_id] = replace(order, status="cancelled")
            return self._orders[order_id]

    def attach(self, order_id: str, attachment: Attachment) -> Order:
        """Remember an uploaded file; a later one takes the place of an earlier one."""
        with self._lock:
            self._orders[order_id] = replace(self.get(order_id), attachment=attachment)
            return self._orders[order_id]

    def page(self, *, after: int, limit: int, status: str | None) -> tuple[list[Order], int | None]:
        """Orders with a number above ``after``, and what to pass as ``after`` for the next page."""
        wanted = (order for order in self._snapshot()[after:] if status in (None, order.status))
        page = [order for order, _ in zip(wanted, range(limit + 1), strict=False)]
        return page[:limit], page[limit - 1].number if len(page) > limit else None

    def export(self, kind: str) -> Iterator[bytes]:
        """All orders, a line at a time; ``kind`` is csv or ndjson."""
        if kind == "csv":
            yield _csv_line(CSV_FIELDS)
        for order in self._snapshot():
            document = order.as_dict()
            if kind == "csv":
                yield _csv_line(_harmless(document[field]) for field in CSV_FIELDS)
            else:
                yield json.dumps(document).encode() + b"\n"

    def report(self) -> dict[str, Any]:
        """Figures over all orders."""
        orders = self._snapshot()
        sold = Counter[str]()
        for order in orders:
            if order.status == "open":
                sold.update({line.sku: line.quantity for line in order.lines})
        return {
            "orders": len(orders),
            "open": sum(order.status == "open" for order in orders),
            "cancelled": sum(order.status == "cancelled" for order in orders),
            "revenue_cents": sum(order.total_cents for order in orders if order.status == "open"),
            "best_sellers": [{"sku": sku, "quantity": quantity} for sku, quantity in sold.most_common(5)],
        }

    def _snapshot(self) -> list[Order]:
        with self._lock:
            return list(self._orders.values())


def _parse(document: object) -> tuple[str, tuple[Line, ...]]:
    if not isinstance(document, dict) or document.keys() != {"customer", "lines"}:
        raise InvalidError("an order is an object with exactly 'customer' and 'lines'")
    customer, lines = document["customer"], document["lines"]
    if not isinstance(customer, str) or not 1 <= len(customer) <= 200:
        raise InvalidError("'customer' is a text of 1 to 200 characters")
    if not isinstance(lines, list) or not 1 <= len(lines) <= MOST_LINES:
        raise InvalidError(f"'lines' is a list of 1 to {MOST_LINES} lines")
    return customer, tuple(_parse_line(line, f"lines[{index}]") for index, line in enumerate(lines))


def _parse_line(line: object, where: str) -> Line:
    if not isinstance(line, dict) or line.keys() != {"sku", "quantity", "price_cents"}:
        raise InvalidError(f"{where} is an object with exactly 'sku', 'quantity' and 'price_cents'")
    sku = line["sku"]
    if not isinstance(sku, str) or not 1 <= len(sku) <= 64 or not sku.isprintable():
        raise InvalidError(f"{where}.sku is a printable text of 1 to 64 characters")
    quantity = _integer(line["quantity"], 1, 1000, f"{where}.quantity")
    return Line(sku, quantity, _integer(line["price_cents"], 0, 100_000_000, f"{where}.price_cents"))


def _integer(value: object, least: int, most: int, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidError(f"{where} is an integer from {least} to {most}")
    return value


def _csv_line(values: Iterable[object]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow(values)
    return line.getvalue().encode()


def _harmless(value: object) -> object:
    """A text that a spreadsheet will not run as a formula."""
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if formula else value
