"""What a request says of the version that we have, and an answer of when to come again (RFC 9110). Pure.

Both are the server's own words: kept as they came, sent back only where they are what they should be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

__all__ = ["Tag", "conditions_of", "retry_after"]

_ETAG = re.compile(r'(W/)?"[!#-~]{0,254}"', re.ASCII)  # RFC 9110 §8.8.3
_DATE = re.compile(r"[A-Za-z0-9,: +-]{1,64}", re.ASCII)
_LONGEST_WAIT = timedelta(days=366)
"""A longer Retry-After is taken for this one."""


@dataclass(frozen=True, slots=True)
class Tag:
    """What a server calls the version that we have: ETag and Last-Modified, sent back as they came."""

    etag: str = ""
    modified: str = ""


def conditions_of(tag: Tag) -> dict[str, str]:
    """Fields for a request that asks for something newer (RFC 9110 §13.1). What is no tag is left out."""
    fields = {}
    if _ETAG.fullmatch(tag.etag):
        fields["If-None-Match"] = tag.etag
    if _DATE.fullmatch(tag.modified):
        fields["If-Modified-Since"] = tag.modified
    return fields


def retry_after(fields: Mapping[str, str], now: datetime) -> timedelta | None:
    """RFC 9110 §10.2.3. A date is measured from the answer's own: the two clocks need not agree."""
    text = fields.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return min(timedelta(seconds=int(text[:9])), _LONGEST_WAIT)
    then = _date(text)
    if then is None:
        return None
    return min(max(then - (_date(fields.get("date", "")) or now), timedelta()), _LONGEST_WAIT)


def _date(text: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(text)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
