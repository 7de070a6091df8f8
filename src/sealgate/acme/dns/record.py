"""The TXT record that proves a name (RFC 8555 §8.4), and who can set it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Protocol

import dns.exception
import dns.name

from sealgate.acme.dns.errors import error, short
from sealgate.acme.order import Answer
from sealgate.errors import Fault

__all__ = ["Record", "Records", "name_of", "record_of"]


@dataclass(frozen=True, slots=True)
class Record:
    """One TXT record.

    Attributes:
        name: where it stands, without the final dot; where that is an alias, what it leads to.
        value: base64url.
        domain: the name that is proven.
        token: of the answer.
        remaining: how many are still to be set after this one.
        domains: all names that are proven in one go.
    """

    name: str
    value: str
    domain: str
    token: str = ""
    remaining: int = 0
    domains: tuple[str, ...] = ()


class Records(Protocol):
    """Sets and removes records."""

    def add(self, record: Record) -> None:
        """Add it beside those that are there: a name and its wildcard are proven by two values at one name.

        Raises:
            AcmeError: it cannot be set.
        """

    def remove(self, record: Record) -> None:
        """Remove this value and no other; one that is not there is removed already.

        Raises:
            AcmeError: it cannot be removed.
        """


def record_of(answer: Answer) -> Record:
    """The record of an answer, where its name is no alias."""
    digest = hashlib.sha256(answer.key_authorization.encode()).digest()
    value = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return Record(f"_acme-challenge.{answer.name}", value, answer.name, answer.token)


def name_of(text: str) -> dns.name.Name:
    """A name of the DNS.

    Raises:
        AcmeError: ``acme-dns-name``: it is too long for the record.
    """
    try:
        return dns.name.from_text(text)
    except dns.exception.DNSException:
        raise error(
            "acme-dns-name",
            f"{short(text)} is no name that the DNS can hold",
            "prove that name by http-01, or take it out of site.names",
            fault=Fault.CONFIGURATION,
        ) from None
