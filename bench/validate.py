"""What validating a JSON body of 1 KiB costs, in json.loads of it: `python -m bench.validate`."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from sealgate.guard.validation.validator import Checked, Validation
from sealgate.policy.openapi.operations import operations_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DOCUMENT", "Validated", "measure_validation", "order"]

_ROUNDS = 31
_CALLS = 1000
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


@dataclass(frozen=True, slots=True)
class Validated:
    """CPU seconds of one, by round: json.loads of the body, and validating it.

    Attributes:
        size: bytes of the body.
    """

    size: int
    loads: tuple[float, ...]
    validated: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """Validating to json.loads, within each round."""
        return tuple(one / other for one, other in zip(self.validated, self.loads, strict=True))


def order() -> bytes:
    """A body of about 1 KiB that is right."""
    lines = [{"sku": f"tea-{n}", "quantity": n, "price_cents": 450 + n} for n in range(1, 19)]
    return json.dumps({"customer": "Ada Lovelace", "lines": lines}).encode()


def measure_validation(rounds: int = _ROUNDS) -> Validated:
    """Both by turns."""
    body = order()
    validation = Validation({"mode": "enforce", "unknown": "refuse", **operations_of(DOCUMENT)})
    fields = {"content-type": ["application/json"]}
    checked = validation("POST", "/x", "", str(len(body)), lambda name: fields.get(name, []))
    assert isinstance(checked, Checked)
    assert checked.body(body) is None
    turns = [(_cost(lambda: json.loads(body)), _cost(lambda: checked.body(body))) for _ in range(rounds)]
    return Validated(len(body), tuple(one for one, _ in turns), tuple(other for _, other in turns))


def _cost(call: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    begun = time.process_time()
    for _ in range(_CALLS):
        call()
    return (time.process_time() - begun) / _CALLS


def main() -> None:
    """Print the ratio."""
    found = measure_validation()
    loads, validated = median(found.loads), median(found.validated)
    print(f"{found.size} bytes: json.loads {loads * 1e6:.2f} us, validated {validated * 1e6:.2f} us")
    print(f"ratio {median(found.ratios):.2f}")


if __name__ == "__main__":
    main()
