"""What validating a JSON body of 1 KiB costs, in json.loads of it: `python -m bench.validate`."""

from __future__ import annotations

import json
import time
from statistics import median
from typing import TYPE_CHECKING

from sealgate.guard.validation.validator import Checked, Validation
from sealgate.policy.openapi.operations import operations_of

if TYPE_CHECKING:
    from collections.abc import Callable

LINE = {
    "type": "object",
    "properties": {
        "sku": {"type": "string", "minLength": 1, "maxLength": 64},
        "quantity": {"type": "integer", "minimum": 1, "maximum": 1000},
        "price_cents": {"type": "integer", "minimum": 0},
    },
    "required": ["sku", "quantity", "price_cents"],
    "additionalProperties": False,
}
ORDER = {
    "type": "object",
    "properties": {"customer": {"type": "string"}, "lines": {"type": "array", "items": LINE}},
    "required": ["customer", "lines"],
    "additionalProperties": False,
}
DOCUMENT = {
    "openapi": "3.1.0",
    "paths": {"/x": {"post": {"requestBody": {"content": {"application/json": {"schema": ORDER}}}}}},
}


def cost(call: Callable[[], object]) -> float:
    """CPU seconds, the median of 31 rounds."""
    found = []
    for _ in range(31):
        begun = time.process_time()
        for _ in range(2000):
            call()
        found.append((time.process_time() - begun) / 2000)
    return median(found)


def main() -> None:
    """Print the ratio."""
    lines = [{"sku": f"tea-{n}", "quantity": n, "price_cents": 450 + n} for n in range(1, 19)]
    body = json.dumps({"customer": "Ada Lovelace", "lines": lines}).encode()
    validation = Validation({"mode": "enforce", "unknown": "refuse", **operations_of(DOCUMENT)})
    fields = {"content-type": ["application/json"]}
    checked = validation("POST", "/x", "", str(len(body)), lambda name: fields.get(name, []))
    assert isinstance(checked, Checked)
    assert checked.body(body) is None
    loads, validated = cost(lambda: json.loads(body)), cost(lambda: checked.body(body))
    print(f"{len(body)} bytes: json.loads {loads * 1e6:.2f} us, validated {validated * 1e6:.2f} us")
    print(f"ratio {validated / loads:.2f}")


if __name__ == "__main__":
    main()
