"""What was asked and answered, in words: rows for `words.py`. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from sealgate.engines.counts import BOUNDS, Counters, bound_names

__all__ = ["lines", "within"]

_SHARES = ((0.95, "95 of 100"), (0.99, "99 of 100"))
_MOST = 4


def lines(counters: Counters) -> tuple[tuple[str, tuple[str, str]], ...]:
    """Each a word and its two cells: how many, what, of which kinds."""
    found = []
    for name, what in (("requests", "answered"), ("denials", "refused")):
        counts = _of(counters, name)
        if name == "requests" and not any(counts.values()):
            return ()
        if counts:
            found.append((f"{sum(counts.values()):,}", (what, _kinds(counts))))
    for name, who in (("server_seconds", "the server sees"), ("worker_seconds", "the app's workers see")):
        counts = _of(counters, name)
        if counts.keys() >= set(bound_names()) and any(counts[bound] for bound in bound_names()):
            shares = [f"{title} {within(counts, share)}" for share, title in _SHARES]
            found.append((f"half {within(counts, 0.5)}", (f"time, as {who} it", ", ".join(shares))))
    return tuple(found)


def _of(counters: Counters, name: str) -> dict[str, int]:
    return {label: value for one, label, value in counters if one == name}


def _kinds(counts: Mapping[str, int]) -> str:
    """The most frequent first."""
    some = sorted((item for item in counts.items() if item[1]), key=lambda item: (-item[1], item[0]))
    more = f", {len(some) - _MOST} more kinds" if len(some) > _MOST else ""
    return ", ".join(f"{label} {value:,}" for label, value in some[:_MOST]) + more


def within(counts: Mapping[str, int], share: float) -> str:
    """The bound within which so large a share of the answers came."""
    total, upto = sum(counts[bound] for bound in bound_names()), 0
    for bound, name in zip(BOUNDS, bound_names(), strict=False):
        upto += counts[name]
        if upto >= share * total:
            return f"within {bound:g} s" if bound >= 1 else f"within {bound * 1000:g} ms"
    return f"within more than {BOUNDS[-1]:g} s"
