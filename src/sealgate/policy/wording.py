"""What is wrong with a policy, in plain words: pydantic's findings become :class:`~sealgate.errors.Problem`.

None of pydantic's own texts reaches people: a problem says what was found, what the key expects (by the
model's annotations) and, where it can be guessed, what was meant.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import ErrorDetails

from sealgate.errors import Problem
from sealgate.policy.fields import Shape, leaves, shape_at
from sealgate.policy.positions import KeyPath, Positions
from sealgate.policy.quoting import dotted, printable, shown
from sealgate.policy.secrets import SecretRef

__all__ = ["OF_A_KEY", "Describer"]

OF_A_KEY = "[key]"
"""How pydantic calls the place of a key itself."""

_RANGE = frozenset({"greater_than_equal", "less_than_equal"})
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Describer:
    """Knows the policy's shape, the data that was given and where it came from."""

    root: Shape
    data: Mapping[str, Any]
    positions: Positions
    origins: Mapping[KeyPath, str] = field(default_factory=dict)

    def place(self, path: KeyPath) -> tuple[int | None, str]:
        """Line and origin of a key: a variable's name instead of a line where one set it."""
        origin = next(
            (self.origins[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.origins), ""
        )
        return (None, origin) if origin else (self.positions.nearest(path), "")

    def problem(self, path: KeyPath, *, fact: str, expected: str, remedy: str = "") -> Problem:
        """A problem at a key, with its line or origin."""
        line, origin = self.place(path)
        return Problem(dotted(path) or "the policy", line, fact, expected, remedy, origin)

    def describe(self, error: ErrorDetails) -> Problem:
        """One of pydantic's findings."""
        path = error["loc"]
        shape = shape_at(self.root, path)
        if error["type"] == "extra_forbidden":
            return self._unknown(path)
        if path[-1:] == (OF_A_KEY,):
            return self._misnamed(path[:-1])
        path = _as_written(self.data, path)
        value = _lookup(self.data, path)
        if shape is None:
            return self.problem(path, fact=f"found {_found(value)}", expected="something else")
        if self._is_secret(path):
            return self._secret(path)
        if value is _MISSING:
            return self.problem(path, fact="is missing", expected=shape.expected())
        return self.problem(
            path,
            fact=f"found {_found(value)}{_reason(error)}",
            expected=shape.expected(bounds=error["type"] in _RANGE or shape.words is None),
            remedy=_hint(shape, value),
        )

    def _misnamed(self, path: KeyPath) -> Problem:
        """A key that the user chose, and that is no name."""
        table = shape_at(self.root, path[:-1])
        name = table.name if table else None
        expected = name.expected(bounds=False) if name else "another one"
        return self.problem(path, fact=f"found the name {shown(path[-1])}", expected=expected)

    def _is_secret(self, path: KeyPath) -> bool:
        shapes = (shape_at(self.root, path[:n]) for n in range(1, len(path) + 1))
        return any(shape is not None and shape.model is SecretRef for shape in shapes)

    def _secret(self, path: KeyPath) -> Problem:
        # Whatever stands there may be the secret itself.
        return self.problem(
            path,
            fact="found something else (not shown)",
            expected='{ file = "..." } or { env = "..." }',
            remedy="if the secret itself stands there, move it to a file with mode 0600 and change it",
        )

    def _unknown(self, path: KeyPath) -> Problem:
        table = shape_at(self.root, path[:-1])
        known = sorted(table.model.model_fields) if table and table.model else []
        return self.problem(
            _as_written(self.data, path),
            fact="unknown key",
            expected=f"one of {', '.join(known)}",
            remedy=_meant(str(path[-1]), known) or self._elsewhere(str(path[-1])),
        )

    def _elsewhere(self, name: str) -> str:
        """The right key in the wrong table."""
        homes = [where for where, _ in leaves(self.root) if where[-1] == name and len(where) > 1]
        return f"it belongs in [{'.'.join(homes[0][:-1])}]" if len(homes) == 1 else ""


def _as_written(data: Any, path: KeyPath) -> KeyPath:  # noqa: ANN401 - parsed TOML
    """Without the place in a list where a single table stands instead of one."""
    made: list[str | int] = []
    for part in path:
        if isinstance(part, int) and isinstance(data, Mapping):
            continue
        made.append(part)
        data = _lookup(data, (part,))
    return tuple(made)


def _lookup(data: Any, path: KeyPath) -> object:  # noqa: ANN401 - parsed TOML
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return _MISSING
    return data


def _found(value: object) -> str:
    if isinstance(value, list) and value:
        return f"a list of {len(value)}"
    return "nothing" if value is _MISSING else shown(value)


def _reason(error: ErrorDetails) -> str:
    """Our own validators' words; nobody else's."""
    if error["type"] != "value_error":
        return ""
    cause = error.get("ctx", {}).get("error")
    return f" ({printable(str(cause))[:120]})" if cause else ""


def _meant(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name.lower().replace("-", "_"), list(known), n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else ""


_Hint = Callable[[Shape, Any], str]
# By how an annotation's bounds are written: the unit that a bare number most likely meant.
_UNITS = {"duration": "s", "size": "B"}


def _hint(shape: Shape, value: Any) -> str:  # noqa: ANN401 - whatever stood in the file
    return next((text for hint in _HINTS if (text := hint(shape, value))), "")


def _hint_choice(shape: Shape, value: Any) -> str:  # noqa: ANN401 - whatever TOML can say
    texts = [c for c in shape.choices if isinstance(c, str)]
    return _meant(value, texts) if isinstance(value, str) and texts else ""


def _hint_brackets(shape: Shape, value: Any) -> str:  # noqa: ANN401 - whatever TOML can say
    wrong = (
        shape.element is not None
        and shape.words is None
        and isinstance(value, str | int)
        and not isinstance(value, bool)
    )
    return f"put it in brackets: [{shown(value)}]" if wrong else ""


def _hint_quotes(shape: Shape, value: Any) -> str:  # noqa: ANN401 - whatever TOML can say
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if unit := _UNITS.get(shape.words.bounds if shape.words is not None else ""):
        return f'write it with a unit: "{value}{unit}"' if value > 0 else ""
    return f'put it in quotes: "{value}"' if shape.annotation is str else ""


def _hint_unit(shape: Shape, value: Any) -> str:  # noqa: ANN401 - whatever TOML can say
    """For text that has no unit, or one of thousands where the policy has those of 1024."""
    bounds = shape.words.bounds if shape.words is not None else ""
    if not isinstance(value, str):
        return ""
    if bounds == "duration" and re.fullmatch(r"0*[1-9]\d{0,8}", value, re.ASCII):
        return f'write it with a unit: "{value}s"'
    if bounds == "size" and (match := re.fullmatch(r"(\d{1,9}) ?([kKMG])[bB]?", value, re.ASCII)):
        return f'did you mean "{match[1]}{match[2].upper()}iB"?'
    if bounds == "size" and re.fullmatch(r"\d{1,15} ?[TPE]i?B?", value, re.ASCII | re.IGNORECASE):
        return f"GiB is the largest unit: {shape.expected()}"
    return ""


def _hint_no_quotes(shape: Shape, value: Any) -> str:  # noqa: ANN401 - whatever TOML can say
    if not isinstance(value, str):
        return ""
    if shape.words is not None and shape.words.bounds in _UNITS:
        return ""  # those are text
    number = shape.annotation is int and value.isdecimal()
    truth = shape.annotation is bool and value in {"true", "false"}
    return "leave the quotes out" if number or truth else ""


def _hint_port(shape: Shape, value: Any) -> str:  # noqa: ANN401 - whatever TOML can say
    is_address = shape.words is not None and shape.words.noun.startswith("an IP address and")
    if is_address and isinstance(value, str) and value.startswith(":") and value[1:].isdecimal():
        return f'for every address write "0.0.0.0{value}"'
    return ""


_HINTS: tuple[_Hint, ...] = (
    _hint_choice,
    _hint_brackets,
    _hint_quotes,
    _hint_unit,
    _hint_no_quotes,
    _hint_port,
)
