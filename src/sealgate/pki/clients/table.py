"""Many clients from a table: CSV (RFC 4180) with a header, judged as a whole before anything is issued. Pure.

::

    name,cn,dns,uri,email,groups,days
    worker-1,,,spiffe://example.org/worker-1,,workers,30
    alice,Alice Miller,,,alice@example.org,ops;staff,

Only ``name`` must be there. Several values in one field stand between semicolons.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sealgate.errors import SealgateError, UsageError
from sealgate.pki.clients.naming import Asked, folded
from sealgate.policy.quoting import printable, shown

__all__ = ["LARGEST", "read_table"]

LARGEST = 256 * 1024 * 1024
_COLUMNS = {"name", "cn", "dns", "uri", "email", "groups", "days"}
_TOLD = 5
_MOST_WRONG = 1000
"""More is not read: a file that is no table of clients has as many mistakes as lines."""


@dataclass(slots=True)
class _Judged:
    """What a table holds so far, and what is wrong with it."""

    asked: list[Asked] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)

    @property
    def hopeless(self) -> bool:
        """Enough is wrong."""
        return len(self.wrong) >= _MOST_WRONG

    def add(self, line: int, row: Asked) -> None:
        row.check()
        before = self.lines.setdefault(folded(row.name), line)
        if before != line:
            raise UsageError("client-table", f"{shown(row.name)} stands in line {before} too", "")
        self.asked.append(row)


def read_table(data: bytes, origin: str, defaults: Asked) -> list[Asked]:
    """All rows of a table, every one of them sound.

    Args:
        data: the file's bytes, UTF-8.
        origin: its name, for messages.
        defaults: days and groups of rows that say nothing of them.

    Raises:
        UsageError: ``client-table``: the first few of what is wrong, with their lines.
    """
    judged = _Judged()
    try:
        for line, fields in _rows(data, judged):
            try:
                judged.add(line, _asked(fields, defaults))
            except SealgateError as error:
                judged.wrong.append(f"line {line}: {error.fact}")
            if judged.hopeless:
                break
    except (csv.Error, UnicodeDecodeError) as error:
        judged.wrong.append(f"it is no CSV in UTF-8 ({printable(str(error))})")
    if not judged.asked and not judged.wrong:
        judged.wrong.append("it has no rows")
    if judged.wrong:
        more = len(judged.wrong) - _TOLD
        least = "at least " if judged.hopeless else ""
        fact = "; ".join(judged.wrong[:_TOLD]) + (f"; and {least}{more} more" if more > 0 else "")
        raise UsageError(
            "client-table",
            f"in {shown(origin)} {fact}",
            "mend all of it, then run it again: nothing was issued",
            lines=tuple(judged.wrong),
        )
    return judged.asked


def _rows(data: bytes, judged: _Judged) -> Iterator[tuple[int, Mapping[str, str]]]:
    if len(data) > LARGEST:
        judged.wrong.append(f"it is larger than {LARGEST // 1024**2} MiB")
        return
    reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
    header = [column.strip().lower() for column in next(reader, [])]
    unknown = [column for column in header if column not in _COLUMNS]
    if "name" not in header or unknown or len(set(header)) < len(header):
        named = f" ({shown(unknown[0])})" if unknown else ""
        judged.wrong.append(f"line 1 must name the columns, of {', '.join(sorted(_COLUMNS))}{named}")
        return
    for row in reader:
        line = reader.line_num
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            judged.wrong.append(f"line {line}: {len(row)} fields, and the header has {len(header)}")
            if judged.hopeless:
                return
            continue
        yield line, dict(zip(header, row, strict=True))


def _several(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(";") if part.strip())


def _asked(row: Mapping[str, str], defaults: Asked) -> Asked:
    days = row.get("days", "").strip()
    if days and not (days.isascii() and days.isdigit() and len(days) <= 5):
        raise UsageError("client-days", f"{shown(days)} is no number of days", "")
    return Asked(
        name=row["name"],
        common_name=row.get("cn", ""),
        dns=_several(row.get("dns", "")),
        uris=_several(row.get("uri", "")),
        emails=_several(row.get("email", "")),
        groups=_several(row.get("groups", "")) or defaults.groups,
        days=int(days) if days else defaults.days,
    )
