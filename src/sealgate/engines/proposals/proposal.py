"""What comes of reading a configuration: keys of a policy, and everything that is none of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sealgate.engines.configurations.directive import Directive

__all__ = ["Carried", "Changed", "Finding", "Key", "Left", "Opened", "Proposal", "Shorter"]

Key = tuple[str, ...]
"""Of a policy: ``("listen", "https")``."""


@dataclass(frozen=True, slots=True)
class Carried:
    """A key of the policy, its value as TOML would give it, and the directive that said so."""

    key: Key
    value: Any
    source: Directive


@dataclass(frozen=True, slots=True)
class Changed:
    """A directive whose meaning is carried over, but not to the letter."""

    source: Directive
    why: str


@dataclass(frozen=True, slots=True)
class Left:
    """A directive that is not carried over."""

    source: Directive
    why: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A directive that refuses somebody today, and that nothing stands for in the policy."""

    source: Directive
    why: str


@dataclass(frozen=True, slots=True)
class Shorter:
    """A time that is shorter by the policy than it is today, or a size that is smaller."""

    source: Directive
    why: str


Finding = Carried | Changed | Left | Opened | Shorter


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A proposed policy.

    Attributes:
        chosen: keys that are in force, as :func:`sealgate.policy.template.policy_template` takes them.
        origins: where each of them was found: ``/etc/nginx/nginx.conf:12``.
        opened: what is refused to some today and would be open to all; place and sentence.
        shorter: what is waited for less long than today, or may be less large; place and sentence.
        changed: what will hold otherwise than before; place and sentence.
        left: what was not carried over; place, the directive, why.
    """

    chosen: Mapping[Key, Any]
    origins: Mapping[Key, str] = field(default_factory=dict)
    opened: tuple[tuple[str, str], ...] = ()
    shorter: tuple[tuple[str, str], ...] = ()
    changed: tuple[tuple[str, str], ...] = ()
    left: tuple[tuple[str, str, str], ...] = ()
