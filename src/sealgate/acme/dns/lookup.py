"""Where a record really belongs, and which servers have it: asked as the authority will ask.

A resolver (the machine's, or the policy's) tells a zone's name servers; everything about the record itself is
asked of those servers, past every cache. An alias (CNAME) at ``_acme-challenge`` is followed: many let that
one name of a zone be kept elsewhere. Where a firewall is between us and those servers, the resolver is asked
about the record too, and believed: but not before the record is set, or it would remember for long that there
is none (RFC 2308 §5). So aliases are not followed there.

All of it is a stranger's word: a zone may name servers by the dozen whose addresses nobody tells, and each of
its aliases may lead to another such zone. So there is a time for a name, whatever it leads to.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import dns.exception
import dns.flags
import dns.inet
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver

from sealgate.acme.dns.errors import error, short
from sealgate.acme.dns.record import name_of
from sealgate.errors import AcmeError, Fault
from sealgate.policy.acme import resolver_of

__all__ = ["Look", "Lookup", "Place", "Server"]

_HOPS = 8
_SERVERS, _ADDRESSES = 16, 4
_PAYLOAD = 1232
_WHOLE, _ADDRESSED = 60.0, 20.0
"""Seconds for a name with all its aliases; for the addresses of one zone's servers."""
_EACH = 3
"""So many questions' time has a server, whatever the number of its addresses."""
_PLAIN = re.compile(r"[a-z0-9_][a-z0-9_-]*(\.[a-z0-9_][a-z0-9_-]*)*", re.ASCII | re.IGNORECASE)
"""What a stranger's alias may be: it becomes an argument of the operator's program, perhaps a shell's."""
_TROUBLE = (dns.exception.DNSException, OSError, EOFError, ValueError)
"""ValueError: of a resolv.conf that names no address, and of answers that dnspython cannot read."""


class _Until:
    """An end, by a clock that nobody sets."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self, most: float) -> float:
        """Seconds until it, ``most`` at most; 0: it is over."""
        return max(min(most, self._end - time.monotonic()), 0.0)


@dataclass(frozen=True, slots=True)
class Server:
    """One name server of a zone; ``addresses`` may be empty."""

    name: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands: its name after all aliases, and the servers of its zone."""

    name: str
    zone: str
    servers: tuple[Server, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What one server said.

    Attributes:
        values: of the TXT records; None: it gave no answer, and ``reason`` says why.
        alias: where the name leads instead.
    """

    values: frozenset[str] | None
    reason: str = ""
    alias: str = ""


class Lookup:
    """Asks the DNS.

    Args:
        resolver: finds zones and their servers; None: the machine's own.
        port: of name servers; another one in tests.
        timeout: seconds for one question.
        through: the resolver is asked about records too, instead of the zone's own servers.
        whole: seconds for finding a name's place.
    """

    def __init__(
        self,
        resolver: dns.resolver.Resolver | None = None,
        *,
        port: int = 53,
        timeout: float = 3.0,
        through: bool = False,
        whole: float = _WHOLE,
    ) -> None:
        self._given = resolver
        self._port = port
        self._timeout = timeout
        self._through = through
        self._whole = whole

    @classmethod
    def of(cls, resolver: str, *, through: bool = False) -> Self:
        """By a policy's words: ``address`` or ``address:port``; empty: the machine's own resolver."""
        if not resolver:
            return cls(through=through)
        address, port = resolver_of(resolver)
        given = dns.resolver.Resolver(configure=False)
        given.nameservers, given.port = [address], port
        return cls(given, port=port if through else 53, through=through)

    def _resolver(self) -> dns.resolver.Resolver:
        """Made anew for each question: /etc/resolv.conf may have changed."""
        resolver = self._given or dns.resolver.Resolver()
        resolver.lifetime = 3 * self._timeout
        return resolver

    def place(self, name: str) -> Place:
        """Follow aliases from a name to where a TXT record belongs; in a minute at most.

        Raises:
            AcmeError: ``acme-dns-lookup``: zone or servers cannot be found, or none answers;
                ``acme-dns-alias``: aliases lead in a circle, too far, or to what is no host's name;
                ``acme-dns-name``.
        """
        if self._through:
            return Place(name_of(name).to_text(omit_final_dot=True), "", (self._as_server(name),))
        seen: list[str] = []
        until = _Until(self._whole)
        while True:
            seen.append(name)
            if len(seen) > _HOPS + 1:
                raise _circle(seen)
            place = self._without_alias(name, until)
            alias = self._alias(place, until)
            if not alias:
                return place
            if not _PLAIN.fullmatch(alias):
                raise _odd(name, alias)
            name = alias

    def _without_alias(self, name: str, until: _Until) -> Place:
        try:
            resolver = self._resolver()
            lifetime = until.left(resolver.lifetime)
            zone = dns.resolver.zone_for_name(name_of(name), resolver=resolver, lifetime=lifetime)
            servers = self._servers(zone, resolver, until)
        except _TROUBLE as problem:
            raise _lost(name, short(problem)) from None
        if not any(server.addresses for server in servers):
            raise _lost(name, f"the servers of {short(zone)} have no address")
        return Place(name, _text(zone), servers)

    def _as_server(self, name: str) -> Server:
        """The resolver itself."""
        try:
            known = self._resolver().nameservers
        except _TROUBLE as problem:
            raise _lost(name, short(problem)) from None
        addresses = tuple(str(one) for one in known if dns.inet.is_address(str(one)))[:_ADDRESSES]
        return Server(f"the resolver {', '.join(addresses)}", addresses)

    def _servers(
        self, zone: dns.name.Name, resolver: dns.resolver.Resolver, until: _Until
    ) -> tuple[Server, ...]:
        found = resolver.resolve(zone, "NS", lifetime=until.left(resolver.lifetime))
        names = sorted(record.target for record in found)[:_SERVERS]
        addressed = _Until(until.left(self._whole / _WHOLE * _ADDRESSED))
        return tuple(Server(_text(name), _addresses(name, resolver, addressed)) for name in names)

    def _alias(self, place: Place, until: _Until) -> str:
        """Where the name leads, by the first server that answers."""
        reasons = []
        for server in place.servers:
            look = self._look(server, place.name, _Until(until.left(_EACH * self._timeout)))
            if look.values is not None:
                return look.alias
            reasons.append(f"{short(server.name)}: {look.reason}")
        raise _lost(place.name, "; ".join(reasons)[:300])

    def look(self, server: Server, name: str) -> Look:
        """Ask a server for a name's TXT records, at its addresses in turn until one answers."""
        return self._look(server, name, _Until(_EACH * self._timeout))

    def _look(self, server: Server, name: str, until: _Until) -> Look:
        reason = "it has no address"
        for address in server.addresses:
            seconds = until.left(self._timeout)
            if not seconds:
                return Look(None, "its time is over")
            look = self._at(address, name, seconds)
            if look.values is not None:
                return look
            reason = look.reason
        return Look(None, reason)

    def _at(self, address: str, name: str, seconds: float) -> Look:
        wanted = name_of(name)
        query = dns.message.make_query(wanted, dns.rdatatype.TXT, use_edns=0, payload=_PAYLOAD)
        if not self._through:
            query.flags &= ~dns.flags.RD
        try:
            answer, _ = dns.query.udp_with_fallback(
                query, address, seconds, self._port, ignore_unexpected=True, ignore_errors=True
            )
        except _TROUBLE as problem:
            return Look(None, short(str(problem) or type(problem).__name__, 100))
        if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            return Look(None, dns.rcode.to_text(answer.rcode()))
        if not self._through and not answer.flags & dns.flags.AA:
            return Look(None, "it does not have the zone")
        return _read(answer, wanted)


def _read(answer: dns.message.Message, wanted: dns.name.Name) -> Look:
    values, alias = [], ""
    for rrset in answer.answer:
        if rrset.name != wanted:
            continue
        if rrset.rdtype == dns.rdatatype.TXT:
            values += [b"".join(record.strings).decode("latin-1") for record in rrset]
        elif rrset.rdtype == dns.rdatatype.CNAME:
            alias = _text(next(iter(rrset)).target)
    return Look(frozenset(values), alias=alias)


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True)


def _addresses(name: dns.name.Name, resolver: dns.resolver.Resolver, until: _Until) -> tuple[str, ...]:
    return tuple(_found(name, resolver, until))[:_ADDRESSES]


def _found(name: dns.name.Name, resolver: dns.resolver.Resolver, until: _Until) -> Iterable[str]:
    for kind in ("A", "AAAA"):
        try:
            answer = resolver.resolve(name, kind, lifetime=until.left(resolver.lifetime))
        except (dns.exception.DNSException, OSError):
            continue
        yield from (record.address for record in answer)


def _lost(name: str, reason: str) -> AcmeError:
    return error(
        "acme-dns-lookup",
        f"the name servers for {short(name)} cannot be found or asked ({reason})",
        "see that the resolver works, and that this machine may ask name servers (UDP and TCP, port 53), or "
        "set certificate.acme.dns.resolver and seen_at",
        fault=Fault.ENVIRONMENT,
        name=name,
    )


def _odd(name: str, alias: str) -> AcmeError:
    return error(
        "acme-dns-alias",
        f"the alias (CNAME) of {short(name)} is no host's name ({short(alias)})",
        "mend the CNAME record there",
        fault=Fault.CONFIGURATION,
        name=name,
    )


def _circle(names: list[str]) -> AcmeError:
    path = short(" → ".join(names))
    return error(
        "acme-dns-alias",
        f"the aliases (CNAME) of {short(names[0])} lead in a circle, or further than {_HOPS} steps ({path})",
        "mend the CNAME records there",
        fault=Fault.CONFIGURATION,
        name=names[0],
    )
