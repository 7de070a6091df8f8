"""A commented ``sealgate.toml``, written from the models: every key, what it means, its default.

What was chosen stands as a line in force; everything else as a comment with its default, so that the file
says what holds without repeating it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from inspect import getdoc
from textwrap import wrap
from typing import Any

from sealgate.policy.fields import Shape, shape_of, written
from sealgate.policy.model import Policy
from sealgate.policy.quoting import printable

__all__ = ["policy_template"]

_WIDTH = 100
_HEAD = """\
#: What secure means for this site. An empty file is valid and strict.
#:
#: Lines that begin with "#:" explain. Lines that begin with "# " show a default; take the "# " away
#: and write another value to change it. Then: `sealgate check`, `sealgate serve`.
#:
#: No secret belongs in here, so others may read this file; nobody else may write to it.

"""


def policy_template(
    chosen: Mapping[tuple[str, ...], Any],
    *,
    remarks: Mapping[tuple[str, ...], str] | None = None,
    preface: Iterable[str] = (),
) -> str:
    """The text of a policy file.

    Args:
        chosen: keys that are in force, with values as TOML would give them ("30s", not 30.0).
        remarks: what to say of a chosen key beside its meaning: where it came from.
        preface: sentences for the top of the file, each a paragraph or, after `- `, an item of a list.
    """
    said = [line for sentence in preface for line in _paragraph(printable(sentence))]
    lines = [_HEAD, *said, *([""] if said else []), *_table(shape_of(Policy), (), chosen, remarks or {})]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def _table(
    shape: Shape,
    path: tuple[str, ...],
    chosen: Mapping[tuple[str, ...], Any],
    remarks: Mapping[tuple[str, ...], str],
) -> Iterator[str]:
    model = shape.model
    if model is None:
        return
    if path:
        yield ""
        yield from _comment(getdoc(model) or "")
        if shape.optional and not any(key[: len(path)] == path for key in chosen):
            yield from _absent(shape, path)
            return
        yield f"[{'.'.join(path)}]"
    tables = []
    for name, info in model.model_fields.items():
        key = shape.key(name)
        if key is None:
            continue
        if key.model is not None:
            tables.append((key, (*path, name)))
        else:
            about = f"{info.description or ''} {printable(remarks.get((*path, name), ''))}".strip()
            yield from _key(key, (*path, name), about, info.default, chosen)
    for key, where in tables:
        yield from _table(key, where, chosen, remarks)


def _absent(shape: Shape, path: tuple[str, ...]) -> Iterator[str]:
    """A table that is either there as a whole or not at all: what it would hold, as an explanation."""
    yield f"#: [{'.'.join(path)}]"
    for name, info in (shape.model.model_fields if shape.model else {}).items():
        key = shape.key(name)
        if key is not None:
            value = "..." if info.is_required() else written(key, info.default)
            yield from _comment(f"{name} = {value}: {info.description or ''}")


def _key(
    shape: Shape,
    path: tuple[str, ...],
    about: str,
    default: Any,  # noqa: ANN401 - of any key
    chosen: Mapping[tuple[str, ...], Any],
) -> Iterator[str]:
    yield from _comment(about)
    if path in chosen or path == ("version",):
        yield f"{path[-1]} = {written(shape, chosen.get(path, default))}"
    else:
        yield f"# {path[-1]} = {written(shape, default)}"


def _paragraph(text: str) -> Iterator[str]:
    """A sentence or an item of a list; an empty one parts them."""
    hanging = "  " if text.startswith("- ") else ""
    for line in _wrapped(text, hanging) or [""]:
        yield f"#: {line}".rstrip()


def _comment(text: str) -> Iterator[str]:
    for line in _wrapped(text):
        yield f"#: {line}"


def _wrapped(text: str, hanging: str = "") -> list[str]:
    """Paths stay whole, so that they can be copied and searched for."""
    return wrap(text, _WIDTH, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False)
