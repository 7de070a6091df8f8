"""What a client may be called, and what else a certificate may say of it. Pure.

A client has one *name*: how commands, files and lists call it. What its certificate carries (a CommonName,
and alternative names) follows from it unless something else is asked for. Every text comes from somebody who
may mean ill: what a terminal, a file system or a verifier could misread is refused here, once, for all.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from sealgate.errors import UsageError
from sealgate.pki.issue import CLIENT_LIFETIME, check_common_name
from sealgate.policy.quoting import shown
from sealgate.policy.values import canonical_name

__all__ = ["LONGEST_DAYS", "Asked", "folded", "nearest"]

LONGEST_DAYS = 3650
"""Longer than any authority of ours lives."""

_NAME_MAX = 64
_LIST_MAX = 64
_TEXT_MAX = 512
_GROUP = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
_LIKE_A_SERIAL = re.compile(r"[0-9A-Fa-f]{16,}", re.ASCII)
# RFC 5280 §4.2.1.6: a URI has a scheme and, where it has an authority, a host; IA5String is ASCII.
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-Z\[\]_a-z~%]+", re.ASCII)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_EMAIL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@([A-Za-z0-9.-]{1,253})", re.ASCII)


def _wrong(code: str, text: str, why: str, remedy: str) -> UsageError:
    return UsageError(code, f"{text} {why}", remedy)


def folded(name: str) -> str:
    """By what two names are the same: `Alice` and `alice` are one file on some disks, and one for the eye."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def nearest(name: str, known: Iterable[str]) -> str:
    """The name that was probably meant; empty: none is near."""
    # Whoever types megabytes must not have them compared.
    found = difflib.get_close_matches(name[:_NAME_MAX], tuple(known), n=1, cutoff=0.6)
    return found[0] if found else ""


def _check_name(name: str) -> None:
    """Raises UsageError, code ``client-name``."""
    wrong = ""
    if "/" in name or "\\" in name:
        wrong = "has a slash, and files are called by it"
    elif name.startswith((".", "-")):
        wrong = "begins with a dot or hyphen, and files are called by it"
    elif folded(name) == "root":
        wrong = "is what the server's root is called among a client's files"
    elif _LIKE_A_SERIAL.fullmatch(name):
        wrong = "looks like a serial number"
    elif name != unicodedata.normalize("NFC", name):
        wrong = "is not in Unicode's composed form (NFC)"
    elif not 1 <= len(name.encode(errors="surrogatepass")) <= _NAME_MAX:
        wrong = f"is {len(name.encode(errors='surrogatepass'))} bytes long"
    elif not name.isprintable() or name != name.strip():
        wrong = "has control characters or blanks around it"
    if wrong:
        remedy = "use 1 to 64 bytes, such as worker-1 or worker-1@example.org"
        raise _wrong("client-name", f"the client's name {shown(name)}", wrong, remedy)


def _check_uri(uri: str) -> None:
    if len(uri) > _TEXT_MAX or not _URI.fullmatch(uri):
        raise _wrong(
            "client-name",
            f"the URI {shown(uri)}",
            "cannot stand in a certificate",
            "use ASCII with a scheme, such as spiffe://example.org/worker",
        )


def _check_email(email: str) -> None:
    match = _EMAIL.fullmatch(email)
    host = match[1] if match else ""
    if not match or len(email) > 254 or ".." in email or not _is_host(host):
        raise _wrong(
            "client-name",
            f"the mail address {shown(email)}",
            "cannot stand in a certificate",
            "use ASCII, such as alice@example.org",
        )


def _is_host(name: str) -> bool:
    """Plain names by their letters; what claims to be an A-label by the rules of IDNA."""
    if len(name) > 253 or not _HOST.fullmatch(name) or name.rpartition(".")[2].isdigit():
        return False
    if "xn--" not in name.lower():
        return True
    try:
        return canonical_name(name) == name.lower()
    except ValueError:
        return False


def _check_dns(name: str) -> None:
    # A wildcard would speak for clients that nobody asked for.
    if name.startswith("*") or not _is_host(name) or name != name.lower():
        raise _wrong(
            "client-name",
            f"the DNS name {shown(name)}",
            "cannot stand in a client's certificate",
            "use lower-case A-labels without a star, such as worker.example.org",
        )


def _check_group(group: str) -> None:
    if not _GROUP.fullmatch(group):
        raise _wrong(
            "client-name",
            f"the group {shown(group)}",
            "has other characters than lower-case letters, digits, dots, hyphens and underscores",
            "use 1 to 63 of them, such as ops",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a client's certificate shall say.

    Attributes:
        name: how commands and files call the client.
        common_name: the certificate's CN; empty: the name.
        dns, uris, emails: alternative names.
        groups: in which the holder of exactly this certificate is.
        days: its life.
    """

    name: str
    common_name: str = ""
    dns: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    days: int = CLIENT_LIFETIME.days

    @property
    def subject(self) -> str:
        """The CommonName it gets."""
        return self.common_name or self.name

    @property
    def lifetime(self) -> timedelta:
        """Of the certificate."""
        return timedelta(days=self.days)

    def check(self) -> None:
        """Refuse what no certificate of ours may say.

        Raises:
            UsageError: ``client-name``, ``client-days``.
        """
        _check_name(self.name)
        check_common_name(self.subject)
        kinds = ((self.dns, _check_dns), (self.uris, _check_uri), (self.emails, _check_email))
        for values, check in (*kinds, (self.groups, _check_group)):
            if len(values) > _LIST_MAX or len(set(values)) < len(values):
                fact = f"{shown(self.name)} has a name or group twice, or more than {_LIST_MAX}"
                raise UsageError("client-name", fact, "give each once")
            for value in values:
                check(value)
        if not 1 <= self.days <= LONGEST_DAYS:
            raise UsageError(
                "client-days",
                f"a certificate cannot live {self.days} days",
                f"give 1 to {LONGEST_DAYS}; 90 is the default, and renewing is easy",
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as it travels and is stored."""
        # By hand: of a table this is done for each row, and `asdict` copies what cannot change.
        return {
            "name": self.name,
            "common_name": self.common_name,
            "dns": self.dns,
            "uris": self.uris,
            "emails": self.emails,
            "groups": self.groups,
            "days": self.days,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From plain data that somebody sent.

        Raises:
            UsageError: ``order-unknown``: it is none of ours.
        """
        try:
            texts = {key: _texts(data.get(key, ())) for key in ("dns", "uris", "emails", "groups")}
            name, common = _text(data["name"]), _text(data.get("common_name", ""))
            return cls(name=name, common_name=common, days=_number(data.get("days", 90)), **texts)
        except (KeyError, TypeError):
            raise UsageError(
                "order-unknown", "an application is not complete", "use one version of Sealgate everywhere"
            ) from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise TypeError
    return tuple(value)
