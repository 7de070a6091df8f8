"""What a rule about a whole policy finds (``rules.py``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sealgate.policy.model import Policy
from sealgate.policy.positions import KeyPath

__all__ = ["Finding", "Rule"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A contradiction, at the key where people would mend it."""

    key: KeyPath
    fact: str
    expected: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A judge, and the keys it reads (dotted)."""

    reads: tuple[str, ...]
    judge: Callable[[Policy], Iterator[Finding]]
