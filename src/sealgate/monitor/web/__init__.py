"""What the watcher serves: the page, the metrics, the probes."""

from __future__ import annotations

__all__: list[str] = []
