"""Which rule of ``[access]`` is the first that fits a method and a path. Pure, and without pydantic.

A pattern is made of whole segments: ``*`` is one, ``**`` is any number of them, none too; within a segment a
star stands for any characters. So ``/admin/**`` fits ``/admin`` as well, and what a pattern fits can be read
off it. A last slash makes no difference: frameworks that route ``/admin/`` as ``/admin`` would be open by it.

Theory: rules are asked in their order, and most of them begin with a word that the path does not begin with.
They are kept by that word, so a hundred rules cost little more than the few that could fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["ANY", "Fitting", "Pattern", "PatternError", "readings", "segments_of"]

ANY = "*"
"""Any method."""
_LONGEST = 512
_PLAIN = re.compile(r"[^\x00-\x1f\x7f*/\\?#%;]*")

_Kept = TypeVar("_Kept")


class PatternError(ValueError):
    """No pattern; the text is a part of a sentence."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Paths, decoded once, as the guard and the app see them.

    Attributes:
        text: as it was written.
        parts: its segments.
    """

    text: str
    parts: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Pattern:
        """Read one. Raises :class:`PatternError`."""
        if not text.startswith("/"):
            raise PatternError("does not begin with a slash")
        if len(text) > _LONGEST:
            raise PatternError(f"has more than {_LONGEST} characters")
        parts = text[1:].removesuffix("/").split("/") if text != "/" else []
        for part in parts:
            _check(part)
        return cls(text, tuple(parts))

    @property
    def first(self) -> str:
        """The word that every path of its begins with; empty: any."""
        return self.parts[0] if self.parts and "*" not in self.parts[0] else ""

    def fits(self, path: str) -> bool:
        """Is this path one of them?"""
        return path.startswith("/") and self.fits_segments(segments_of(path))

    def fits_segments(self, found: Sequence[str]) -> bool:
        """As :meth:`fits`, of what :func:`segments_of` says.

        Only the last ``**`` ever takes one more segment: time grows with the path's length times the
        pattern's, whatever a caller sends (an expression with several would take its power).
        """
        wanted, at, one = self.parts, 0, 0
        star, after = -1, 0
        while at < len(found):
            if one < len(wanted) and wanted[one] == "**":
                star, after, one = one, at, one + 1
            elif one < len(wanted) and _is_like(wanted[one], found[at]):
                one, at = one + 1, at + 1
            elif star >= 0:
                after += 1
                one, at = star + 1, after
            else:
                return False
        return all(part == "**" for part in wanted[one:])


def segments_of(path: str) -> tuple[str, ...]:
    """Without the last slash, which is nobody's difference."""
    return tuple(path[1:].removesuffix("/").split("/")) if len(path) > 1 else ()


def _check(part: str) -> None:
    if part in {"", ".", ".."}:
        raise PatternError("has an empty segment, or one of dots, which no canonical path has")
    if part == "**":
        return
    if "**" in part:
        raise PatternError("has ** within a segment; it stands for whole ones")
    if not all(map(_PLAIN.fullmatch, part.split("*"))):
        raise PatternError("has a character that no decoded path is matched by (? # % ; \\ or a control)")


def _is_like(wanted: str, found: str) -> bool:
    """One segment. Each text between two stars is taken where it comes first: nothing is tried again."""
    if "*" not in wanted:
        return wanted == found
    head, *middle, tail = wanted.split("*")
    if len(found) < len(head) + len(tail) or not (found.startswith(head) and found.endswith(tail)):
        return False
    at, end = len(head), len(found) - len(tail)
    for text in middle:
        at = found.find(text, at, end)
        if at < 0:
            return False
        at += len(text)
    return True


class Fitting(Generic[_Kept]):
    """Finds the first that fits.

    Args:
        rules: pattern, methods (:data:`ANY`: all), and what is kept under them, in their order.
    """

    __slots__ = ("_by_first", "_others")

    def __init__(self, rules: Iterable[tuple[Pattern, Sequence[str], _Kept]]) -> None:
        every = [(pattern, frozenset(methods), kept) for pattern, methods, kept in rules]
        firsts = {pattern.first for pattern, _, _ in every} - {""}
        # A rule without a word of its own is asked with each word, in its place.
        self._by_first = {
            first: tuple(rule for rule in every if rule[0].first in {"", first}) for first in firsts
        }
        self._others = tuple(rule for rule in every if not rule[0].first)

    def of(self, method: str, path: str) -> _Kept | None:
        """What is kept under the first rule that fits; None: none does.

        Args:
            method: as received: methods are case-sensitive (RFC 9110 §9.1).
            path: canonical, decoded once.
        """
        if not path.startswith("/"):  # OPTIONS *: no path
            return None
        found = segments_of(path)
        rules = self._by_first.get(found[0], self._others) if found else self._others
        for pattern, methods, kept in rules:
            if (ANY in methods or method in methods) and pattern.fits_segments(found):
                return kept
        return None


def readings(path: str) -> tuple[str, ...]:
    """The path, and what else an app might take it for: one that cuts path parameters off (RFC 3986 §3.3).

    Each of them is judged, and all must be allowed: else ``/admin;x`` would get around a rule for ``/admin``,
    or ``/public;x`` in by the rule for ``/public``.
    """
    if ";" not in path:
        return (path,)
    return path, "/".join(part.partition(";")[0] for part in path.split("/"))
