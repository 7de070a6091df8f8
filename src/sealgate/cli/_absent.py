"""Files that a policy names and that are not there, told beside its other mistakes.

``load`` judges keys and touches no other file; a policy that it refuses is never examined further. Who mends
its mistakes should not learn only then that the certificate is missing as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sealgate.errors import PolicyError, Problem
from sealgate.policy.document import parse, read
from sealgate.policy.load import invalid
from sealgate.policy.quoting import printable, shown

__all__ = ["with_absent_files"]

_TABLE = ("certificate", "files")


def with_absent_files(error: PolicyError, path: Path) -> PolicyError:
    """The same refusal of this policy file, and what ``certificate.files`` names and is not there."""
    if error.code != "policy-invalid":
        return error
    try:
        absent = list(_absent(path))
    except PolicyError:  # changed meanwhile, or there is no file: what was found counts
        return error
    told = {problem.key for problem in error.problems}
    more = [problem for problem in absent if problem.key not in told]
    return invalid(printable(path.name), [*error.problems, *more]) if more else error


def _absent(path: Path) -> Iterator[Problem]:
    document = parse(read(path, euid=os.geteuid()), name=printable(path.name))
    table = document.data
    for name in _TABLE:
        inner = table.get(name)
        if not isinstance(inner, dict):
            return
        table = inner
    for name in ("chain", "key"):
        value = table.get(name)
        if isinstance(value, str) and value and "\0" not in value and not (path.parent / value).exists():
            line = document.positions.line((*_TABLE, name))
            fact = f"found {shown(value)}, which is not there"
            yield Problem(".".join((*_TABLE, name)), line, fact, "the path of a PEM file")
