"""The examples, imported the way their users do: from their folder, by module name."""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(FOLDER))
import orders  # noqa: E402 - found by the line above
import orders_async  # noqa: E402 - same
import orders_store  # noqa: E402 - same

sys.path.remove(str(FOLDER))

__all__ = ["FOLDER", "LINE", "ORDER", "orders", "orders_async", "orders_store"]

LINE = {"sku": "tea", "quantity": 2, "price_cents": 450}
ORDER = {"customer": "Ada", "lines": [LINE]}
