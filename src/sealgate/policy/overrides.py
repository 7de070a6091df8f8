"""Policy keys set from the environment: ``SEALGATE_<TABLE>__<KEY>``.

``SEALGATE_HTTP__HSTS__MAX_AGE=300`` is ``max_age = 300`` under ``[http.hsts]``. Lists are comma-separated, or
JSON where they begin with ``[``. A name that is meant as an override and fits no key is a mistake, like a
misspelt key in the file: a container that silently ran without it would run another policy than was meant.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sealgate.errors import Problem
from sealgate.policy.fields import Shape, leaves
from sealgate.policy.quoting import printable
from sealgate.policy.secrets import SecretRef

__all__ = ["Override", "read_overrides", "variable"]

_PREFIX = "SEALGATE_"
# Settings of the program, and SEALGATE_VERSION, which images like to set to the program's own version.
_NOT_POLICY = frozenset({"STATE", "CACHE", "CONFIG", "ENVOY", "NGINX", "APACHE", "DEBUG", "VERSION"})
# What Kubernetes puts into every container beside a Service whose name begins with "sealgate".
_SERVICE_LINK = re.compile(
    r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)", re.ASCII
)
_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Override:
    """One key set elsewhere than in the file.

    Attributes:
        path: of the key.
        variable: the environment variable, or the command line's own name for it (``--upstream``).
        value: what TOML would have given.
    """

    path: tuple[str, ...]
    variable: str
    value: Any


def variable(path: tuple[str, ...]) -> str:
    """The name of the environment variable of a key."""
    return _PREFIX + "__".join(path).upper()


def read_overrides(root: Shape, environ: Mapping[str, str]) -> tuple[list[Override], list[Problem]]:
    """The overrides in an environment, and what is wrong with them."""
    known = {variable(path): (path, shape) for path, shape in leaves(root, whole=SecretRef) if len(path) > 1}
    found: list[Override] = []
    problems: list[Problem] = []
    for name in sorted(environ):
        if not _is_meant(name, known):
            continue
        if name not in known:
            problems.append(_unknown(name, list(known)))
            continue
        path, shape = known[name]
        if shape.model is SecretRef:
            problems.append(_secret(name, path))
        else:
            found.append(Override(path, name, _value(shape, environ[name])))
    return found, problems


def _is_meant(name: str, known: Mapping[str, object]) -> bool:
    if not name.startswith(_PREFIX) or name in known:
        return name in known
    rest = name.removeprefix(_PREFIX)
    return rest not in _NOT_POLICY and not _SERVICE_LINK.fullmatch(rest)


def _unknown(name: str, known: list[str]) -> Problem:
    # One underscore where two belong is the commonest mistake.
    flat = {re.sub("_+", "_", k): k for k in (*known, *(f"{_PREFIX}{name}" for name in sorted(_NOT_POLICY)))}
    close = difflib.get_close_matches(re.sub("_+", "_", name.upper()), list(flat), n=1, cutoff=0.75)
    return Problem(
        key=printable(name)[:80],
        line=None,
        fact="no policy key has this variable",
        expected=f"{_PREFIX}<TABLE>__<KEY>",
        remedy=f"did you mean {flat[close[0]]}?"
        if close
        else "unset it, or see `sealgate schema` for the keys",
        origin="environment",
    )


def _secret(name: str, path: tuple[str, ...]) -> Problem:
    return Problem(
        key=".".join(path),
        line=None,
        fact="a secret cannot be given by an override",
        expected='{ file = "..." } or { env = "..." } in the policy file',
        remedy="name any variable there with { env = ... }",
        origin=name,
    )


def _value(shape: Shape, text: str) -> Any:  # noqa: ANN401 - whatever TOML might have given
    """The text as the key's kind; where it does not fit it stays text, and validation says so."""
    if shape.element is not None:
        return _list(shape.element, text)
    if shape.value is not None:
        return _table(text)
    if shape.annotation is bool and text in {"true", "false"}:
        return text == "true"
    return int(text) if shape.annotation is int and _WHOLE.fullmatch(text) else text


def _table(text: str) -> Any:  # noqa: ANN401 - as above
    """JSON; TOML's inline tables would need a parser for one value."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _list(element: Shape, text: str) -> Any:  # noqa: ANN401 - as above
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    return [_value(element, part) for part in parts]
