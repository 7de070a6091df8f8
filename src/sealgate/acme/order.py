"""What ACME talks about, as plain data: names, questions, answers, orders (RFC 8555 §7.1).

Everything an authority said is here only after ``answers.py`` has checked its shape; its texts are still
hostile, and are escaped where they are shown.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sealgate.acme.problems import Problem
from sealgate.pki.keys import KeyType
from sealgate.policy.acme import Challenge

__all__ = [
    "Answer",
    "Authorization",
    "Identifier",
    "Obtained",
    "Offer",
    "Order",
    "Wanted",
    "identifiers",
]


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """A name as an order spells it (RFC 8555 §9.7.7, RFC 8738 §3).

    Attributes:
        kind: ``dns`` or ``ip``; whatever else an authority says is kept as it is.
        value: lower case; a wildcard with its ``*.``; addresses in the form of RFC 5952.
    """

    kind: str
    value: str

    @classmethod
    def of(cls, name: str) -> Identifier:
        """The identifier of a site's name."""
        try:
            return cls("ip", str(ipaddress.ip_address(name)))
        except ValueError:
            return cls("dns", name.lower())


def identifiers(names: Sequence[str]) -> tuple[Identifier, ...]:
    """The identifiers of a site's names, in their order, each once."""
    return tuple(dict.fromkeys(map(Identifier.of, names)))


@dataclass(frozen=True, slots=True)
class Answer:
    """What proves one name, until the authority has looked.

    Attributes:
        name: the DNS name or address, a wildcard's without its ``*.``: so two answers may have one name.
        kind: which solver's it is.
        token: base64url characters only, checked (RFC 8555 §8.1).
        key_authorization: the token, a dot, and the thumbprint of the account's key.
    """

    name: str
    kind: Challenge
    token: str
    key_authorization: str


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to prove a name, as the authority offers it (a "challenge", RFC 8555 §8)."""

    kind: str
    url: str
    token: str
    status: str
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Authorization:
    """Whether one name is proven (RFC 8555 §7.1.4).

    Attributes:
        identifier: never with ``*.``: ``wildcard`` says so instead.
        status: ``pending valid invalid deactivated expired revoked``, or anything.
    """

    url: str
    identifier: Identifier
    status: str
    offers: tuple[Offer, ...]
    wildcard: bool = False

    @property
    def asked(self) -> Identifier:
        """The identifier of the order that this is about."""
        return (
            Identifier(self.identifier.kind, f"*.{self.identifier.value}")
            if self.wildcard
            else self.identifier
        )


@dataclass(frozen=True, slots=True)
class Order:
    """A request for one certificate (RFC 8555 §7.1.3).

    Attributes:
        status: ``pending ready processing valid invalid``, or anything.
        authorizations: their URLs.
        certificate: URL; empty until there is one.
    """

    url: str
    status: str
    identifiers: tuple[Identifier, ...]
    authorizations: tuple[str, ...]
    finalize: str
    certificate: str = ""
    problem: Problem | None = None
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """The certificate to be had.

    Attributes:
        names: of the site, canonical: DNS names, wildcards, addresses.
        challenge: how they are proven.
        profile: of the authority; empty is its default.
        preferred_chain: common name of the root or issuer whose chain is taken, where several are offered.
        index: which of the site's certificates it is; the second has a key of another family.
    """

    names: tuple[str, ...]
    key_type: KeyType
    challenge: Challenge
    profile: str = ""
    preferred_chain: str = ""
    index: int = 0


@dataclass(frozen=True, slots=True)
class Obtained:
    """A certificate, checked against its key, names, dates and order; published by nobody yet.

    Attributes:
        chain_pem: the leaf and its issuers, without the root.
        key_pem: PKCS#8.
        authority: address of the directory.
        order: URL.
    """

    chain_pem: bytes
    key_pem: bytes
    authority: str
    order: str

    def __repr__(self) -> str:
        return f"Obtained(authority={self.authority!r}, order={self.order!r})"
