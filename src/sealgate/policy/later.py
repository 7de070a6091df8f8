"""Keys that the design names and this version does not have.

Whoever copies one from a newer page is told that, instead of being asked whether a typing error was meant.
Each issue that adds a table takes its line out here.
"""

from __future__ import annotations

__all__ = ["LATER_KEYS"]

LATER_KEYS: frozenset[str] = frozenset()
