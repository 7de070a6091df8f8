from __future__ import annotations

import time
from datetime import UTC

from sealgate._system.clock import system_clock


def test_it_is_aware_in_utc_and_now() -> None:
    before = time.time()
    now = system_clock()
    assert now.tzinfo is UTC
    assert before <= now.timestamp() <= time.time()
