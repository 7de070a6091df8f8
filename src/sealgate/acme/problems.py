"""An authority's problem documents (RFC 7807, RFC 8555 §6.7): what, whose fault, what to do, when again.

Texts of an authority are hostile: they are escaped and shortened before they stand in a sentence of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from sealgate.errors import AcmeError, Fault
from sealgate.policy.quoting import printable

__all__ = ["Problem", "error_of", "host_of", "quoted"]

_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem document, its shape checked.

    Attributes:
        kind: the last part of ``type`` where it is one of ACME's (``rateLimited``), else empty.
        detail: for people; hostile.
        status: of HTTP; 0: it said none.
        instance: an address for people (terms that changed); hostile.
        name: the identifier it is about; empty: all.
        parts: the problems it is made of (RFC 8555 §6.7.1).
    """

    kind: str
    detail: str = ""
    status: int = 0
    instance: str = ""
    name: str = ""
    parts: tuple[Problem, ...] = ()

    def all(self) -> Iterator[Problem]:
        """The problem and its parts."""
        yield self
        yield from self.parts


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What a kind of problem means to the people here. ``fact`` may name {host} and {names}."""

    code: str
    fault: Fault
    fact: str
    remedy: str


_PORTS = "port 80 for http-01, port 443 for tls-alpn-01"
_MEANINGS = {
    "rateLimited": _Meaning(
        "acme-rate-limited",
        Fault.PEER,
        "{host} has had too many requests for now",
        "wait until then, it is tried again by itself; ask for less often, or name a fallback authority",
    ),
    "userActionRequired": _Meaning(
        "acme-action-required",
        Fault.CONFIGURATION,
        "{host} waits for something that a person must do{instance}",
        "read what stands there and agree to it, then: sealgate cert renew",
    ),
    "externalAccountRequired": _Meaning(
        "acme-external-account-required",
        Fault.CONFIGURATION,
        "{host} makes accounts only for customers of its shop",
        "get a key identifier and an HMAC key there, and name both in certificate.acme.external_account",
    ),
    "accountDoesNotExist": _Meaning(
        "acme-account-missing",
        Fault.PEER,
        "{host} does not know the account any more",
        "nothing is to be done: the next try makes a new one",
    ),
    "caa": _Meaning(
        "acme-caa",
        Fault.CONFIGURATION,
        "a CAA record forbids {host} to issue for {names}",
        "add the authority to the CAA records of the zone, or take another authority",
    ),
    "dns": _Meaning(
        "acme-dns",
        Fault.CONFIGURATION,
        "{host} could not look up {names} in the DNS",
        "check the records of that name as the world sees them: dig A NAME, dig AAAA NAME, dig TXT NAME",
    ),
    "connection": _Meaning(
        "acme-connection",
        Fault.CONFIGURATION,
        "{host} could not connect to {names}",
        "this machine was asked first, and saw the right answer: what keeps others from it is a firewall, "
        "a forwarding that is missing, or an address that leads elsewhere; let the whole internet reach this "
        f"server there ({_PORTS}), at every address the DNS gives",
    ),
    "tls": _Meaning(
        "acme-tls",
        Fault.CONFIGURATION,
        "{host} connected to {names} and found no TLS that it could use",
        "look who terminates TLS before this server: with tls-alpn-01 nobody may",
    ),
    "unauthorized": _Meaning(
        "acme-unauthorized",
        Fault.CONFIGURATION,
        "{host} found something else than our answer at {names}",
        f"the name must lead to this server at every address the DNS gives ({_PORTS})",
    ),
    "rejectedIdentifier": _Meaning(
        "acme-name-refused",
        Fault.CONFIGURATION,
        "{host} does not issue for {names}",
        "take that name out of site.names, or ask another authority",
    ),
    "invalidProfile": _Meaning(
        "acme-profile-unknown",
        Fault.CONFIGURATION,
        "{host} has no such certificate profile",
        "take one of its own for certificate.acme.profile, or leave it empty",
    ),
    "badCSR": _Meaning(
        "acme-request-refused",
        Fault.CONFIGURATION,
        "{host} does not accept the request for a certificate",
        "most often the key's type: try another certificate.key_type",
    ),
    "invalidContact": _Meaning(
        "acme-contact-refused",
        Fault.CONFIGURATION,
        "{host} does not accept the mail addresses in certificate.acme.contact",
        "name one that exists, or none",
    ),
    "alreadyReplaced": _Meaning(
        "acme-already-replaced",
        Fault.PEER,
        "{host} says that the certificate is already replaced by another order",
        "nothing is to be done: it is asked for without that",
    ),
    "badNonce": _Meaning(
        "acme-nonces-refused",
        Fault.PEER,
        "{host} refused every nonce that it gave out",
        "the authority is in trouble; it is tried again by itself",
    ),
    "serverInternal": _Meaning(
        "acme-authority-failed",
        Fault.PEER,
        "{host} failed",
        "it is tried again by itself; look at the authority's status page, or name a fallback authority",
    ),
}
_SAME = {
    "unsupportedContact": "invalidContact",
    "unsupportedIdentifier": "rejectedIdentifier",
    "incorrectResponse": "unauthorized",
    "badPublicKey": "badCSR",
    "invalidReplacementCertID": "alreadyReplaced",
}
_ANY = _Meaning(
    "acme-refused",
    Fault.PEER,
    "{host} refused to go on",
    "read what it says; it is tried again by itself",
)


def host_of(url: str) -> str:
    """The authority's host, for sentences."""
    try:
        return printable(urlsplit(url).hostname or url)[:100]
    except ValueError:
        return printable(url)[:100]


def quoted(text: str, longest: int = _LONGEST) -> str:
    """A hostile text as one quoted, printable, short piece of a sentence."""
    short = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return '"' + printable(" ".join(short.split())).replace('"', "'") + '"'


def _meaning(problem: Problem) -> _Meaning:
    if problem.kind:
        return _MEANINGS.get(_SAME.get(problem.kind, problem.kind), _ANY)
    if problem.status == 429:
        return _MEANINGS["rateLimited"]
    return _MEANINGS["serverInternal"] if problem.status >= 500 else _ANY


def error_of(
    problem: Problem, host: str, *, names: tuple[str, ...] = (), retry_at: datetime | None = None
) -> AcmeError:
    """The error that a problem is to us.

    Args:
        problem: the authority's.
        host: the authority's, for the sentence.
        names: which it is about, where it does not say.
        retry_at: the authority's word on when to try again.
    """
    main = _main(problem)
    meaning = _meaning(main)
    about = tuple(dict.fromkeys(part.name for part in problem.all() if part.name)) or names
    instance = f", at {quoted(main.instance)}" if main.instance else ""
    fact = meaning.fact.format(
        host=host, names=printable(", ".join(about))[:_LONGEST] or "a name", instance=instance
    )
    said = "; ".join(quoted(part.detail) for part in list(problem.all())[:4] if part.detail)
    until = f" until {retry_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if retry_at else ""
    details: dict[str, object] = {"authority": host, "problem": main.kind, "names": about}
    if said:
        details["said"] = said
    if retry_at is not None:
        details["retry_at"] = retry_at.astimezone(UTC).isoformat()
    if main.instance:
        details["instance"] = main.instance
    error = AcmeError(
        meaning.code, f"{fact}{until}{f' (it says {said})' if said else ''}", meaning.remedy, **details
    )
    error.fault = meaning.fault
    return error


def _main(problem: Problem) -> Problem:
    """The problem that says most: one with a meaning of its own, the parts of a "compound" one before it."""
    known = [part for part in problem.all() if _SAME.get(part.kind, part.kind) in _MEANINGS]
    if problem.kind in {"compound", "malformed"} and known:
        return known[0]
    return problem
