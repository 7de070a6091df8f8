"""From a file and an environment to a policy in force, or to every mistake in them at once.

Order: read the file (``document``), lay the environment over it (``overrides``), validate the keys
(``model``, told in the words of ``wording``), then the combinations (``rules``). Keys that are wrong are set
aside so that the combinations of all others are still judged.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sealgate.errors import PolicyError, Problem
from sealgate.policy.document import Document, parse, read
from sealgate.policy.fields import Shape, leaves, shape_of
from sealgate.policy.model import Policy
from sealgate.policy.overrides import Override, read_overrides
from sealgate.policy.positions import KeyPath, Positions
from sealgate.policy.quoting import dotted, printable
from sealgate.policy.rules import RULES
from sealgate.policy.wording import OF_A_KEY, Describer

__all__ = ["DEFAULT_NAME", "Loaded", "invalid", "load", "loads"]

DEFAULT_NAME = "sealgate.toml"
_ROOT = shape_of(Policy)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A policy and where it came from.

    Attributes:
        policy: valid as a whole.
        path: the file read, absolute; None where there was none and none was demanded.
        base: directory that relative paths in the policy start from.
        sources: for every key "line 12", the name of a variable, or "default".
    """

    policy: Policy
    path: Path | None
    base: Path
    sources: Mapping[str, str]


def load(
    path: Path | None,
    *,
    environ: Mapping[str, str],
    euid: int,
    missing_ok: bool = False,
    arguments: Sequence[Override] = (),
) -> Loaded:
    """Load and judge a policy.

    Args:
        path: the file; None for ``sealgate.toml`` in the current directory.
        environ: where ``SEALGATE_<TABLE>__<KEY>`` overrides are looked for.
        euid: with 0, a file that others than root may change is refused.
        missing_ok: an absent file is the empty (strict) policy.
        arguments: keys that the call itself sets; they win over the environment.

    Raises:
        PolicyError: ``policy-missing``, ``policy-unreadable``, ``policy-insecure``, ``policy-syntax``,
            ``policy-invalid`` (its ``problems`` are all mistakes).
    """
    where = (path or Path(DEFAULT_NAME)).absolute()
    try:
        text = read(where, euid=euid)
    except PolicyError as error:
        if error.code != "policy-missing" or not missing_ok:
            raise
        policy, sources = _judge(Document({}, Positions({})), environ, arguments, name="the policy")
        return Loaded(policy, None, where.parent, sources)
    return loads(text, path=where, environ=environ, arguments=arguments)


def loads(text: str, *, path: Path, environ: Mapping[str, str], arguments: Sequence[Override] = ()) -> Loaded:
    """Judge a text as the policy that would stand at ``path`` (absolute); no file is touched.

    Raises:
        PolicyError: ``policy-syntax``, ``policy-invalid``.
    """
    name = printable(path.name)
    policy, sources = _judge(parse(text, name=name), environ, arguments, name=name)
    return Loaded(policy, path, path.parent, sources)


def _judge(
    document: Document, environ: Mapping[str, str], arguments: Sequence[Override], *, name: str
) -> tuple[Policy, dict[str, str]]:
    overrides, problems = read_overrides(_ROOT, environ)
    overrides += arguments
    data = copy.deepcopy(document.data)
    origins: dict[KeyPath, str] = {o.path: o.variable for o in overrides if _lay(data, o)}
    describer = Describer(_ROOT, data, document.positions, origins)
    policy, broken, wrong = _validated(data, describer)
    problems += wrong
    if policy is not None:
        problems += _contradictions(policy, broken, describer)
    if policy is None or problems:
        raise invalid(name, problems)
    return policy, _sources(policy, document.positions, origins)


def _lay(data: dict[str, Any], override: Override) -> bool:
    """Put an override in its place; not where the file has something else than a table on the way."""
    *tables, key = override.path
    for table in tables:
        inner = data.setdefault(table, {})
        if not isinstance(inner, dict):
            return False
        data = inner
    data[key] = override.value
    return True


def _validated(
    data: dict[str, Any], describer: Describer
) -> tuple[Policy | None, list[KeyPath], list[Problem]]:
    """The policy, or what remains of it without its wrong keys; those keys; and their problems."""
    try:
        return Policy.model_validate(data), [], []
    except ValidationError as error:
        found = error.errors(include_url=False)
    found = [item for item in found if not _follows(item, found)]
    broken = [_prunable(item["loc"]) for item in found]
    problems = [describer.describe(item) for item in found]
    rest = copy.deepcopy(data)
    for path in broken:
        _prune(rest, path)
    try:
        return Policy.model_validate(rest), broken, problems
    except ValidationError:
        return None, broken, problems


def _follows(item: ErrorDetails, found: list[ErrorDetails]) -> bool:
    """Is a list too short only because pydantic does not count its wrong elements?"""
    loc = item["loc"]
    inside = any(len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc for other in found)
    return item["type"] == "too_short" and inside


def _prunable(loc: tuple[str | int, ...]) -> KeyPath:
    """Of a wrong list element the whole list: its indexes would no longer be the file's."""
    first = next((n for n, part in enumerate(loc) if isinstance(part, int) or part == OF_A_KEY), len(loc))
    return loc[:first]


def _prune(data: Any, path: KeyPath) -> None:  # noqa: ANN401 - parsed TOML
    for part in path[:-1]:
        if not isinstance(data, dict) or part not in data:
            return
        data = data[part]
    if isinstance(data, dict) and path:
        data.pop(path[-1], None)


def _contradictions(policy: Policy, broken: list[KeyPath], describer: Describer) -> Iterator[Problem]:
    wrong = [".".join(map(str, path)) for path in broken]
    for rule in RULES:
        if any(_touches(key, bad) for key in rule.reads for bad in wrong):
            continue
        for finding in rule.judge(policy):
            yield describer.problem(
                finding.key, fact=finding.fact, expected=finding.expected, remedy=finding.remedy
            )


def _touches(key: str, bad: str) -> bool:
    return key == bad or key.startswith(f"{bad}.") or bad.startswith(f"{key}.")


def invalid(name: str, problems: list[Problem]) -> PolicyError:
    """``policy-invalid`` with all of them, in the order of the file (called ``name``)."""
    problems = sorted(problems, key=lambda p: (p.line is None, p.line or 0))
    place = name
    if all(problem.origin for problem in problems):
        # Nothing is wrong in the file: name what is.
        theirs = all(p.origin == "environment" or p.origin.startswith("SEALGATE_") for p in problems)
        place = "the environment" if theirs else "the call"
    if len(problems) == 1:
        fact, them = f"{place} has a mistake: {problems[0]}", "it"
    else:
        fact, them = f"{place} has {len(problems)} mistakes", "them"
    return PolicyError("policy-invalid", fact, f"mend {them} and run `sealgate check`", tuple(problems))


def _sources(policy: Policy, positions: Positions, origins: Mapping[KeyPath, str]) -> dict[str, str]:
    sources: dict[str, str] = {}
    for path in _paths(policy, _ROOT):
        line = positions.line(path)
        sources[dotted(path)] = origins.get(path) or (f"line {line}" if line else "default")
    return sources


def _paths(policy: Policy, root: Shape) -> Iterator[KeyPath]:
    for path, shape in leaves(root):
        element = shape.element
        if element is None or element.model is None:
            yield path
            continue
        elements: Any = policy
        for part in path:
            elements = getattr(elements, part)
        for index in range(len(elements)):
            for inner, _ in leaves(element):
                yield (*path, index, *inner)
