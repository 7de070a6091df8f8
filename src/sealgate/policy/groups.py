"""``[clients.groups]``: who is in a group, by what an authority wrote into a certificate.

A name is worth what the authority is worth that put it there, so every pattern names its authority. A star
stands for one whole part of a name and never for more: what a pattern lets in can be read off it.
"""

from __future__ import annotations

import re
from typing import Annotated, get_args

from pydantic import AfterValidator, Field, StrictStr, model_validator

from sealgate.policy.base import Model
from sealgate.policy.membership import Kind
from sealgate.policy.values import Expected, canonical_name, is_address

__all__ = ["GroupName", "Groups", "Member"]

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-Z\[\]_a-z~%]+", re.ASCII)
_EMAIL = re.compile(r"(?:\*|[A-Za-z0-9!#$%&'+/=?^_`{|}~.-]{1,64})@([A-Za-z0-9.-]{1,253})", re.ASCII)
_FINGERPRINT = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LONGEST = 512
_LONGEST_CN = 64


def _common_name(value: str) -> str:
    if value and (len(value) > _LONGEST_CN or not value.isprintable() or value != value.strip()):
        raise ValueError("no common name: 1 to 64 characters that can be printed, no blanks around them")
    if "*" in value:
        raise ValueError("a star, which stands for nothing in a common name")
    return value


def _uri(value: str) -> str:
    if not value:
        return value
    if len(value) > _LONGEST or not _URI.fullmatch(value):
        raise ValueError("no URI in ASCII with a scheme")
    path = re.split(r"[?#]", value, maxsplit=1)[0]
    segments = path.split("/")
    host = 2 if value.partition(":")[2].startswith("//") else 0
    wild = any("*" in part and (part != "*" or index <= host) for index, part in enumerate(segments))
    if wild or "*" in value[len(path) :]:
        raise ValueError("a star that is not a whole segment of the path")
    return value


def _dns(value: str) -> str:
    try:
        name = canonical_name(value) if value else value
    except ValueError as error:
        raise ValueError(f"no host name: {error}") from None
    if is_address(name):
        raise ValueError("no host name: an address")
    return name


def _email(value: str) -> str:
    local, _, domain = value.rpartition("@")
    known = _domain(domain)
    if value and (not known or ".." in local or not _EMAIL.fullmatch(value)):
        raise ValueError("no mail address, nor *@ before a domain")
    return f"{local}@{known}" if value else value


def _domain(text: str) -> str:
    """Of a mail address, in lower case; empty: it is none."""
    try:
        name = canonical_name(text)
    except ValueError:
        return ""
    return "" if is_address(name) or "*" in name else name


def _fingerprint(value: str) -> str:
    text = value.replace(":", "").lower()
    if value and not _FINGERPRINT.fullmatch(text):
        raise ValueError("not 64 hexadecimal digits")
    return text


GroupName = Annotated[
    StrictStr,
    Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$"),
    Expected("a name of lower-case letters, digits, dots, hyphens and underscores", "ops"),
]


class Member(Model):
    """Certificates of one authority: by one name in them, or a single one by its fingerprint."""

    authority: Annotated[StrictStr, Field(min_length=1), Expected("the name of an authority", "private")]
    """Whose certificates: a name in clients.authorities."""
    cn: Annotated[StrictStr, AfterValidator(_common_name), Expected("a common name", "alice")] = ""
    """The subject's common name, exactly; one that has two has none."""
    uri: Annotated[StrictStr, AfterValidator(_uri), Expected("a URI", "spiffe://example.org/ops/*")] = ""
    """A URI among its alternative names; * is one whole segment of the path."""
    dns: Annotated[StrictStr, AfterValidator(_dns), Expected("a host name", "*.workers.example.org")] = ""
    """A host name among its alternative names; * is the whole first label."""
    email: Annotated[StrictStr, AfterValidator(_email), Expected("a mail address", "*@example.org")] = ""
    """A mail address among its alternative names; * is all that may stand before the @."""
    fingerprint: Annotated[
        StrictStr, AfterValidator(_fingerprint), Expected("64 hexadecimal digits of SHA-256")
    ] = ""
    """One certificate, by the SHA-256 of it; colons may stand between the digits."""

    @model_validator(mode="after")
    def _one(self) -> Member:
        if sum(bool(getattr(self, kind)) for kind in get_args(Kind)) != 1:
            raise ValueError("not exactly one of cn, uri, dns, email and fingerprint")
        return self

    @property
    def kind(self) -> Kind:
        """By what it is known."""
        return next(kind for kind in get_args(Kind) if getattr(self, kind))

    @property
    def pattern(self) -> str:
        """What that must be."""
        return str(getattr(self, self.kind))


Groups = Annotated[
    dict[GroupName, tuple[Annotated[Member, Expected('{ authority = "private", cn = "alice" }')], ...]],
    Field(max_length=256),
    Expected('lists of members, each such as { authority = "private", cn = "alice" }'),
]
