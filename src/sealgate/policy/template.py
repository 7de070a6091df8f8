"""A commented ``sealgate.toml``, written from the models: every key, what it means, its default.

What was chosen stands as a line in force; everything else as a comment with its default, so that the file
says what holds without repeating it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from inspect import getdoc
from textwrap import wrap
from typing import Any

from sealgate.policy.fields import Shape, shape_of, written
from sealgate.policy.model import Policy

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


def policy_template(chosen: Mapping[tuple[str, ...], Any]) -> str:
    """The text of a policy file.

    Args:
        chosen: keys that are in force, with values as TOML would give them ("30s", not 30.0).
    """
    lines = [_HEAD, *_table(shape_of(Policy), (), chosen)]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def _table(shape: Shape, path: tuple[str, ...], chosen: Mapping[tuple[str, ...], Any]) -> Iterator[str]:
    model = shape.model
    if model is None:
        return
    if path:
        yield ""
        yield from _comment(getdoc(model) or "")
        yield f"[{'.'.join(path)}]"
    tables = []
    for name, info in model.model_fields.items():
        key = shape.key(name)
        if key is None:
            continue
        if key.model is not None:
            tables.append((key, (*path, name)))
        else:
            yield from _key(key, (*path, name), info.description or "", info.default, chosen)
    for key, where in tables:
        yield from _table(key, where, chosen)


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


def _comment(text: str) -> Iterator[str]:
    for line in wrap(text, _WIDTH):
        yield f"#: {line}"
