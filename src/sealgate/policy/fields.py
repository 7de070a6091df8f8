"""The policy's own shape, asked of its models: which keys there are, and what each expects.

The loader, the reference page and the environment overrides all read this; none keeps a list of keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from sealgate.policy.base import Model
from sealgate.policy.quoting import shown
from sealgate.policy.values import Expected

__all__ = ["Shape", "leaves", "shape_at", "shape_of", "written"]

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text in quotes"}


@dataclass(frozen=True, slots=True)
class Shape:
    """What stands at one place of the policy; ``optional``: a table that may be absent as a whole."""

    annotation: Any
    metadata: tuple[Any, ...] = ()
    optional: bool = False

    @property
    def model(self) -> type[BaseModel] | None:
        """The table's model, where this is a table."""
        kind = self.annotation
        return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None

    @property
    def element(self) -> Shape | None:
        """What the elements look like, where this is a list."""
        return _bare(get_args(self.annotation)[0], ()) if get_origin(self.annotation) is tuple else None

    @property
    def value(self) -> Shape | None:
        """What stands behind each key, where this is a table whose keys are the user's own names."""
        return _bare(get_args(self.annotation)[1], ()) if get_origin(self.annotation) is dict else None

    @property
    def inner(self) -> Shape:
        """What stands in it in the end, where this is a list, or lists by name."""
        return self.element or (self if self.value is None else self.value.inner)

    @property
    def name(self) -> Shape | None:
        """What such a key looks like."""
        return _bare(get_args(self.annotation)[0], ()) if get_origin(self.annotation) is dict else None

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values allowed, where they can be counted."""
        return get_args(self.annotation) if get_origin(self.annotation) is Literal else ()

    def key(self, name: str) -> Shape | None:
        """The shape of one key of this table."""
        if self.value is not None:
            return self.value
        if self.model is None or name not in self.model.model_fields:
            return None
        info = self.model.model_fields[name]
        return _bare(info.annotation, tuple(info.metadata))

    @property
    def words(self) -> Expected | None:
        """The marker that the model put there, if any."""
        return next((m for m in reversed(self.metadata) if isinstance(m, Expected)), None)

    def expected(self, *, bounds: bool = True) -> str:
        """What a value must be, as the end of a sentence that begins with "expected"."""
        if self.choices:
            return _either(self.choices)
        if self.model is not None:
            return f"a table such as {self.words.noun}" if self.words else "a table"
        if self.element is not None:
            return self.words.noun if self.words else self._list()
        limits = self._limits() if bounds else ""
        if words := self.words:
            such = f' such as "{words.example}"' if words.example and not limits else ""
            return f"{words.noun}{limits}{such}"
        return _KINDS.get(self.annotation, "something else") + limits

    def _list(self) -> str:
        words = self.element.words if self.element else None
        least = " with at least one element" if self._bound("min_length") else ""
        most = (
            f" with exactly {self._bound('max_length')} element"
            if least and self._bound("max_length") == 1
            else ""
        )
        return (
            "a list" + (most or least) + (f' such as ["{words.example}"]' if words and words.example else "")
        )

    def _bound(self, name: str) -> Any:  # noqa: ANN401 - annotated_types' markers are of several kinds
        return next((getattr(m, name) for m in reversed(self.metadata) if hasattr(m, name)), None)

    def _limits(self) -> str:
        low, high = self._bound("ge"), self._bound("le")
        if low is None or high is None:
            return ""
        how = self.words.bounds if self.words else "plain"
        if low == high:
            return f": {_bound_text(low, how)}"
        return f" from {_bound_text(low, how)} to {_bound_text(high, how)}"


def _bare(annotation: Any, metadata: tuple[Any, ...]) -> Shape:  # noqa: ANN401 - any annotation
    """Without Annotated, and without the None of an optional."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _bare(inner, (*more, *metadata))
    if get_origin(annotation) in {Union, UnionType}:
        some = [a for a in get_args(annotation) if a is not NoneType]
        if len(some) == 1:
            return replace(_bare(some[0], metadata), optional=len(some) < len(get_args(annotation)))
    return Shape(annotation, metadata)


def _either(choices: tuple[Any, ...]) -> str:
    names = [shown(c) for c in choices]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


_SIZES = ((1024**3, 1024**3, "GiB"), (1024**2, 1024**2, "MiB"), (1024, 1024, "KiB"))
# In milliseconds, and from where on: "60s" and "90s", not "1m" and "1.5m".
_DURATIONS = (
    (86_400_000, 86_400_000, "d"),
    (3_600_000, 3_600_000, "h"),
    (60_000, 120_000, "m"),
    (1000, 1000, "s"),
)


def _bound_text(value: float, how: str) -> str:
    if how == "size":
        return _scaled(int(value), _SIZES, "B")
    if how == "duration":
        return _scaled(round(value * 1000), _DURATIONS, "ms")
    return str(value)


def _scaled(value: int, units: tuple[tuple[int, int, str], ...], smallest: str) -> str:
    for factor, least, unit in units:
        if value >= least and value % factor == 0:
            return f'"{value // factor}{unit}"'
    return f'"{value}{smallest}"'


def written(shape: Shape, value: Any) -> str:  # noqa: ANN401 - any value of a policy
    """A value of the model as TOML: 5.0 of a duration is ``"5s"``."""
    if isinstance(value, BaseModel):
        return _inline(shape, value)
    if isinstance(value, dict) and shape.value is not None:
        inner = shape.value
        pairs = (f"{written(Shape(str), key)} = {written(inner, item)}" for key, item in value.items())
        return f"{{ {', '.join(pairs)} }}" if value else "{}"
    if isinstance(value, tuple) and shape.element is not None:
        element = shape.element
        return f"[{', '.join(written(element, item) for item in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    how = shape.words.bounds if shape.words else "plain"
    if isinstance(value, int | float):
        return _bound_text(value, how)
    # JSON's escapes are TOML's, but for DEL, which JSON leaves as it is.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _inline(shape: Shape, value: BaseModel) -> str:
    """An inline table of what is not empty."""
    word = value.as_word if isinstance(value, Model) else lambda _: ""
    names = type(value).model_fields
    keys = [name for name in names if getattr(value, name) not in {"", (), None} or word(name)]
    pairs = (
        f"{name} = {written(shape.key(name) or shape, word(name) or getattr(value, name))}" for name in keys
    )
    return f"{{ {', '.join(pairs)} }}"


def shape_of(model: type[BaseModel]) -> Shape:
    """The shape of a whole policy."""
    return Shape(model)


def shape_at(root: Shape, path: tuple[str | int, ...]) -> Shape | None:
    """The shape at a key path, or None where the policy has no such key."""
    shape: Shape | None = root
    for part in path:
        if shape is None:
            return None
        shape = shape.element if isinstance(part, int) else shape.key(part)
    return shape


def leaves(
    root: Shape, path: tuple[str, ...] = (), *, whole: type[BaseModel] | None = None
) -> Iterator[tuple[tuple[str, ...], Shape]]:
    """Every key that is not itself a table, with its path.

    Args:
        root: where to begin.
        path: of ``root`` itself.
        whole: tables of this kind count as one key, as lists do.
    """
    if root.model is None or root.model is whole:
        yield path, root
        return
    for name in root.model.model_fields:
        shape = root.key(name)
        if shape is not None:
            yield from leaves(shape, (*path, name), whole=whole)
