"""When an authority would like a certificate to be renewed (ACME Renewal Information, RFC 9773).

The authority answers for each certificate with a window of time. We renew at one instant in it, the same
at every look (``spread``), so that the certificates of one bad day do not all come back in one hour. A window
that lies in the past means "now": that is how an authority says that it is about to revoke.

An answer is the authority's word on time alone. It is never let to keep a certificate until it ends (see
``renewal.py``), and an answer that cannot be understood is no answer: a :class:`Window` without dates and
with the reason, never an exception.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from cryptography import x509

from sealgate.errors import SealgateError
from sealgate.policy.quoting import printable

__all__ = ["Get", "Window", "absent", "address", "ask", "certificate_id", "chosen", "parse", "retry_after"]

Get = Callable[[str], tuple[int, Mapping[str, str], bytes]]
"""Fetches an address: status, header fields (lower-case names), body; its owner bounds size and time."""

_SOONEST, _LATEST, _USUAL = timedelta(minutes=1), timedelta(hours=24), timedelta(hours=6)
"""RFC 9773 §4.3.2: limits to Retry-After; §4.3.3: six hours where there is no other word."""
_DATE = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_LARGEST = 64 * 1024
_LONGEST = 200
# datetime can neither hold nor compare more; nobody's certificate lives outside of it.
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Window:
    """What an authority said about one certificate.

    Attributes:
        certificate: the certificate's id (:func:`certificate_id`).
        again: when it may be asked the next time; not before.
        start, end: the window; both None where there is none, and ``note`` says why.
        explanation: address of a page for people, escaped; empty where there is none.
        note: why the last question brought nothing, escaped; dates that stand beside it are from before.
    """

    certificate: str
    again: datetime
    start: datetime | None = None
    end: datetime | None = None
    explanation: str = ""
    note: str = ""


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def certificate_id(certificate: x509.Certificate) -> str:
    """The certificate's id for ARI and ``replaces``; empty where it names no authority key (RFC 9773 §4.1).

    It is the keyIdentifier of the Authority Key Identifier and the content octets of the serial's DER, which
    has a zero octet in front where the first bit is set.
    """
    try:
        extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except (x509.ExtensionNotFound, ValueError):
        return ""
    if not extension.key_identifier:
        return ""
    serial = certificate.serial_number
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big", signed=True)
    return f"{_base64url(extension.key_identifier)}.{_base64url(octets)}"


def address(renewal_info: str, certificate: str) -> str:
    """Where to ask about a certificate; ``renewal_info`` is the directory's ``renewalInfo``."""
    return f"{renewal_info.rstrip('/')}/{certificate}"


def retry_after(value: str | None, *, now: datetime) -> datetime:
    """When to ask again (RFC 9110 §10.2.3: seconds or a date), after a minute to a day; else six hours."""
    wait = _USUAL
    text = (value or "").strip()
    if text.isascii() and text.isdecimal():
        wait = timedelta(seconds=min(int(text[:12]), _LATEST.total_seconds()))
    elif text:
        try:
            date = parsedate_to_datetime(text)
            wait = (date if date.tzinfo else date.replace(tzinfo=UTC)) - now
        except (ValueError, TypeError, OverflowError, IndexError):
            wait = _USUAL
    return now + min(max(wait, _SOONEST), _LATEST)


def _instant(value: object) -> datetime:
    """A date of RFC 3339, with its zone.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise ValueError("no date of RFC 3339 with its zone")
    try:
        date = datetime.fromisoformat(value.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError("a date outside of time") from None
    if not _FIRST <= date <= _LAST:
        raise ValueError("a date outside of time")
    return date


def _shown(text: object) -> str:
    return printable(str(text)[:_LONGEST])


def _read(status: int, body: bytes) -> tuple[datetime, datetime, str]:
    """Start, end and page of an answer.

    Raises:
        ValueError: it is not of the form of RFC 9773 §4.2.
    """
    if status != 200:
        raise ValueError(f"status {status}")
    if len(body) > _LARGEST:
        raise ValueError("more than 64 KiB")
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("no JSON") from None
    window = data.get("suggestedWindow") if isinstance(data, dict) else None
    if not isinstance(window, dict):
        raise ValueError("no suggestedWindow")
    start, end = _instant(window.get("start")), _instant(window.get("end"))
    if end <= start:  # §4.2: such an answer is none
        raise ValueError("a window that ends before it starts")
    page = data.get("explanationURL", "")
    return start, end, _shown(page) if isinstance(page, str) else ""


def parse(
    body: bytes, certificate: str, *, again: datetime, before: Window | None = None, status: int = 200
) -> Window:
    """An answer of the authority; what cannot be understood leaves the dates of ``before``, and says why."""
    try:
        start, end, page = _read(status, body)
    except ValueError as error:
        return _nothing(certificate, again, before, f"the authority answered with {_shown(error)}")
    return Window(certificate, again, start, end, page)


def _nothing(certificate: str, again: datetime, before: Window | None, note: str) -> Window:
    if before is not None and before.certificate == certificate:
        return replace(before, again=again, note=note)
    return Window(certificate, again, note=note)


def ask(get: Get, url: str, certificate: str, *, now: datetime, before: Window | None = None) -> Window:
    """Ask about a certificate; nothing is raised.

    Args:
        get: see :data:`Get`; whatever it raises becomes the answer's note.
        url: the directory's ``renewalInfo``.
        certificate: its id.
        now: the present.
        before: the last answer.
    """
    try:
        status, fields, body = get(address(url, certificate))
    except SealgateError as error:
        return _nothing(certificate, now + _USUAL, before, _shown(error.fact))
    except Exception as error:  # noqa: BLE001 - a renewal must not depend on what an authority answers here
        return _nothing(certificate, now + _USUAL, before, _shown(f"{type(error).__name__}: {error}"))
    again = retry_after(fields.get("retry-after"), now=now)
    return parse(body, certificate, again=again, before=before, status=status)


def chosen(window: Window | None, certificate: str, *, spread: float) -> datetime | None:
    """The instant in the window at which this certificate is renewed; None where no window is known.

    Args:
        window: the last answer; one about another certificate counts for nothing.
        certificate: the id of the one there is.
        spread: in [0, 1), fixed for the certificate.
    """
    if window is None or window.start is None or window.end is None or window.certificate != certificate:
        return None
    part = spread if math.isfinite(spread) else 0.0
    return window.start + (window.end - window.start) * min(max(part, 0.0), 1.0)


def absent(certificate: str, *, now: datetime) -> Window:
    """What stands for an answer where an authority offers no renewal information."""
    return Window(certificate, now + _LATEST, note="the authority offers no renewal information")
