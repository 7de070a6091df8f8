"""An authority's JSON, its shape checked: what is not as RFC 8555 has it ends here, with a sentence.

Nothing is guessed: a field that must be there and is not, an address that is not https, more than any
honest authority would send, all are ``acme-answer-invalid`` (or ``acme-directory-insecure``). Unknown fields,
statuses and kinds of challenges are let through: later standards add them, and ``flow.py`` judges.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from sealgate.acme.network import Reply, insecure
from sealgate.acme.order import Authorization, Identifier, Offer, Order
from sealgate.acme.problems import Problem, quoted
from sealgate.errors import AcmeError

__all__ = [
    "Account",
    "Directory",
    "https_address",
    "is_problem",
    "odd",
    "read_account",
    "read_authorization",
    "read_directory",
    "read_order",
    "read_orders",
    "read_problem",
    "read_status",
]

_ADDRESS = re.compile(r"https://[!-~]{1,2000}", re.ASCII)
_PREFIX = "urn:ietf:params:acme:error:"
_MANY = 200


@dataclass(frozen=True, slots=True)
class Directory:
    """Where what is asked (RFC 8555 §7.1.1); an address that the authority does not have is empty.

    Attributes:
        profiles: name to description.
    """

    url: str
    new_nonce: str
    new_account: str
    new_order: str
    revoke_cert: str = ""
    renewal_info: str = ""
    terms: str = ""
    external_account_required: bool = False
    profiles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Account:
    """An account at an authority (RFC 8555 §7.1.2).

    Attributes:
        url: names it in signatures (``kid``).
        contact: as the authority has it, with ``mailto:``.
        orders: address of the list of its orders; empty where the authority has none.
    """

    url: str
    status: str
    contact: tuple[str, ...] = ()
    orders: str = ""


def odd(host: str, fact: str) -> AcmeError:
    """The error for an answer that is not ACME."""
    return AcmeError(
        "acme-answer-invalid",
        f"{host} {fact}",
        "check that certificate.acme.directory is an ACME directory; else the authority is in trouble",
        authority=host,
    )


def https_address(value: object, host: str, what: str) -> str:
    """An address that an authority gave out; it is asked there only by https.

    Raises:
        AcmeError: ``acme-directory-insecure``, ``acme-answer-invalid``.
    """
    if isinstance(value, str) and _ADDRESS.fullmatch(value) and _names_a_place(value):
        return value
    if isinstance(value, str) and value.lower().startswith("http:"):
        raise insecure(host, value)
    raise odd(host, f"sent {what} is missing or wrong")


def _names_a_place(url: str) -> bool:
    """Can host and port be read? (``https://[x`` and port 99999 are addresses of nothing.)"""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


class _Table:
    """A JSON object of an authority, field by field."""

    def __init__(self, host: str, what: str, value: object) -> None:
        if not isinstance(value, dict):
            raise odd(host, f"sent {what} that is no JSON object")
        self.host, self.what, self.fields = host, what, value

    def wrong(self, name: str) -> AcmeError:
        return odd(self.host, f"sent {self.what} whose {name} is missing or wrong")

    def text(self, name: str, default: str | None = None) -> str:
        value = self.fields.get(name, default)
        if isinstance(value, str):
            return value[:4096]
        if value is None and default is not None:
            return default
        raise self.wrong(name)

    def address(self, name: str, default: str | None = None) -> str:
        value = self.text(name, default)
        return value if value == default else self.https(value, name)

    def https(self, value: object, name: str) -> str:
        return https_address(value, self.host, f"{self.what} whose {name}")

    def list(self, name: str) -> list[Any]:
        value = self.fields.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > _MANY:
            raise self.wrong(name)
        return value

    def table(self, name: str) -> _Table:
        return _Table(self.host, f"{self.what} with {name}", self.fields.get(name) or {})


def _json(reply: Reply, host: str, what: str) -> _Table:
    try:
        value = json.loads(reply.body)
    except (ValueError, RecursionError):
        raise odd(host, f"sent no JSON where {what} belongs (HTTP {reply.status})") from None
    return _Table(host, what, value)


def read_directory(reply: Reply, host: str) -> Directory:
    """The directory.

    Raises:
        AcmeError: ``acme-answer-invalid``, ``acme-directory-insecure``.
    """
    table = _json(reply, host, "a directory")
    meta = table.table("meta")
    profiles = meta.table("profiles").fields
    return Directory(
        url=reply.url,
        new_nonce=table.address("newNonce"),
        new_account=table.address("newAccount"),
        new_order=table.address("newOrder"),
        revoke_cert=table.address("revokeCert", ""),
        renewal_info=table.address("renewalInfo", ""),
        terms=meta.text("termsOfService", ""),
        external_account_required=meta.fields.get("externalAccountRequired") is True,
        profiles={name: str(text) for name, text in list(profiles.items())[:_MANY]},
    )


def read_account(reply: Reply, host: str, url: str = "") -> Account:
    """An account; its address is the answer's ``Location``, or `url`.

    Raises:
        AcmeError: as above.
    """
    table = _json(reply, host, "an account")
    contact = tuple(text for text in table.list("contact") if isinstance(text, str))
    where = table.https(reply.headers.get("location") or url, "Location")
    return Account(where, table.text("status", "valid"), contact, table.address("orders", ""))


def _identifier(table: _Table) -> Identifier:
    kind, value = table.text("type"), table.text("value")
    ours = Identifier.of(value)
    return ours if ours.kind == kind else Identifier(kind, value)


def read_order(reply: Reply, host: str, url: str = "") -> Order:
    """An order; its address is the answer's ``Location`` where it was just made, else `url`.

    Raises:
        AcmeError: as above.
    """
    table = _json(reply, host, "an order")
    status = table.text("status")
    return Order(
        url=url or table.https(reply.headers.get("location"), "Location"),
        status=status,
        identifiers=tuple(
            _identifier(_Table(host, "an identifier", one)) for one in table.list("identifiers")
        ),
        authorizations=tuple(
            dict.fromkeys(table.https(one, "authorizations") for one in table.list("authorizations"))
        ),
        # RFC 8555 wants it always; an order that is over needs none.
        finalize=table.address("finalize", "" if status in ("invalid", "valid") else None),
        certificate=table.address("certificate", ""),
        problem=_problem(table.fields.get("error")),
        expires=_instant(table.fields.get("expires")),
    )


def read_orders(reply: Reply, host: str) -> tuple[str, ...]:
    """A page of the list of an account's orders (RFC 8555 §7.1.2.1).

    Raises:
        AcmeError: as above.
    """
    table = _json(reply, host, "a list of orders")
    return tuple(table.https(one, "orders") for one in table.list("orders"))


def read_authorization(reply: Reply, host: str) -> Authorization:
    """An authorization.

    Raises:
        AcmeError: as above.
    """
    table = _json(reply, host, "an authorization")
    return Authorization(
        url=reply.url,
        identifier=_identifier(table.table("identifier")),
        status=table.text("status"),
        offers=tuple(_offer(_Table(host, "a challenge", one)) for one in table.list("challenges")),
        wildcard=table.fields.get("wildcard") is True,
    )


def _offer(table: _Table) -> Offer:
    return Offer(
        kind=table.text("type"),
        url=table.address("url"),
        token=table.text("token", ""),
        status=table.text("status", "pending"),
        problem=_problem(table.fields.get("error")),
    )


def read_status(reply: Reply, host: str) -> str:
    """The status of an account or authorization, whichever it is.

    Raises:
        AcmeError: ``acme-answer-invalid``.
    """
    return _json(reply, host, "an account or authorization").text("status")


def is_problem(reply: Reply) -> bool:
    """Is this a problem document (RFC 8555 §6.7), whatever the status says?"""
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/problem+json":
        return True
    if reply.body[:1] != b"{":
        return False
    try:
        value = json.loads(reply.body)
    except (ValueError, RecursionError):
        return False
    typ = value.get("type") if isinstance(value, dict) else None
    return isinstance(typ, str) and typ.startswith(_PREFIX)


def read_problem(reply: Reply) -> Problem:
    """The problem of an answer that is no success; one without a kind where none can be read."""
    try:
        value = json.loads(reply.body)
    except (ValueError, RecursionError):
        value = None
    found = _problem(value) or Problem("", quoted(reply.body[:200].decode("utf-8", "replace")).strip('"'))
    return Problem(found.kind, found.detail, reply.status, found.instance, found.name, found.parts)


def _problem(value: object, *, inner: bool = False) -> Problem | None:
    if not isinstance(value, dict):
        return None

    def text(name: str, table: Mapping[str, Any] = value) -> str:
        found = table.get(name)
        return found[:2000] if isinstance(found, str) else ""

    typ, who, parts = text("type"), value.get("identifier"), value.get("subproblems")
    status = value.get("status")
    return Problem(
        kind=typ.removeprefix(_PREFIX) if typ.startswith(_PREFIX) else "",
        detail=text("detail") or text("title"),
        status=status if isinstance(status, int) else 0,
        instance=text("instance"),
        name=text("value", who) if isinstance(who, dict) else "",
        parts=()
        if inner or not isinstance(parts, list)
        else tuple(part for one in parts[:_MANY] if (part := _problem(one, inner=True))),
    )


def _instant(value: object) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return parsed if parsed is not None and parsed.tzinfo else None
