"""TXT records by signed DNS updates (RFC 2136, TSIG RFC 8945) at the zone's primary server."""

from __future__ import annotations

import binascii
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.update

from sealgate.acme.dns.errors import error, short
from sealgate.acme.dns.record import Record, name_of
from sealgate.errors import AcmeError, Fault
from sealgate.policy.acme import Rfc2136
from sealgate.policy.secrets import Secret

__all__ = ["Primary", "Updates", "primary_of"]

_TTL = 60
_UDP, _TCP = 3.0, 15.0
_DISAGREEMENTS = (dns.tsig.BadSignature, dns.tsig.BadKey, dns.tsig.BadAlgorithm, dns.message.UnknownTSIGKey)


@dataclass(frozen=True, slots=True)
class Primary:
    """Where updates go."""

    address: str
    port: int = 53


def primary_of(server: str) -> Primary:
    """Read ``address``, ``address:port`` or ``[address]:port``; a name is looked up.

    Raises:
        AcmeError: ``acme-dns-server``: it is none of these, or the name has no address.
    """
    host, port = server, "53"
    if server.startswith("["):
        host, _, rest = server[1:].partition("]")
        port = rest.removeprefix(":") or "53"
    elif server.count(":") == 1:
        host, _, port = server.partition(":")
    if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536 and host):
        raise _server(server, "that is not an address, or address:port")
    try:
        return Primary(str(ipaddress.ip_address(host)), int(port))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as problem:
        raise _server(server, short(problem)) from None
    return Primary(str(found[0][4][0]), int(port))


class Updates:
    """Sets records by updates; one exchange for each.

    Args:
        table: of the policy.
        secret: reads the TSIG key; called for each update, so that a changed key counts at once.
    """

    def __init__(self, table: Rfc2136, secret: Callable[[], Secret]) -> None:
        self._table = table
        self._secret = secret

    def add(self, record: Record) -> None:
        """Add the value beside others."""
        self._change(record, lambda update, name: update.add(name, _TTL, "TXT", record.value))

    def remove(self, record: Record) -> None:
        """Remove this value; the others at the name stay (RFC 2136 §2.5.4)."""
        self._change(record, lambda update, name: update.delete(name, "TXT", record.value))

    def _change(
        self, record: Record, change: Callable[[dns.update.UpdateMessage, dns.name.Name], None]
    ) -> None:
        primary = primary_of(self._table.server)
        key = self._key()
        name = name_of(record.name)
        zone = self._zone(primary, name)
        update = dns.update.UpdateMessage(zone, keyring=key)
        change(update, name)
        self._judge(self._sent(update, primary), zone)

    def _key(self) -> dns.tsig.Key:
        secret = self._secret().reveal()
        try:
            value = binascii.a2b_base64(b"".join(secret.split()), strict_mode=True)
        except ValueError:  # not chained, nor its text shown: it has the key
            value = b""
        if not value:
            fact = "the TSIG key in certificate.acme.dns.rfc2136.key is not base64"
            raise _key_error(fact, "put the `secret` of the server's key statement there")
        return dns.tsig.Key(name_of(self._table.key_name), value, dns.name.from_text(self._table.algorithm))

    def _zone(self, primary: Primary, name: dns.name.Name) -> dns.name.Name:
        """The zone that the primary has the name in: the nearest SOA upwards."""
        codes = set()
        zone = name
        while zone != dns.name.root:
            answer = self._sent(dns.message.make_query(zone, dns.rdatatype.SOA), primary)
            codes.add(dns.rcode.to_text(answer.rcode()))
            if answer.flags & dns.flags.AA and any(
                rrset.rdtype == dns.rdatatype.SOA and rrset.name == zone for rrset in answer.answer
            ):
                return zone
            zone = zone.parent()
        raise error(
            "acme-dns-zone",
            f"{self._table.server} has no zone with {short(name)} (it answers {', '.join(sorted(codes))})",
            "name the primary server of the zone in certificate.acme.dns.rfc2136.server",
            fault=Fault.CONFIGURATION,
        )

    def _sent(self, message: dns.message.Message, primary: Primary) -> dns.message.Message:
        """An exchange by UDP, or by TCP where that brings nothing or not all.

        Sending an update twice does no harm: what is there already is not added again.
        """
        try:
            try:
                return dns.query.udp(
                    message,
                    primary.address,
                    _UDP,
                    primary.port,
                    ignore_unexpected=True,
                    raise_on_truncation=True,
                )
            except (dns.exception.Timeout, dns.message.Truncated):
                return dns.query.tcp(message, primary.address, _TCP, primary.port)
        except (dns.tsig.PeerBadTime, dns.tsig.BadTime):
            raise _clock(self._table.server) from None
        except (dns.tsig.PeerError, *_DISAGREEMENTS) as problem:
            raise self._refused_key(problem) from None
        except (dns.exception.DNSException, OSError, EOFError, ValueError) as problem:
            raise _server(self._table.server, short(problem) or type(problem).__name__) from None

    def _refused_key(self, problem: Exception) -> AcmeError:
        fact = (
            f"{self._table.server} and this machine do not agree on the TSIG key "
            f"{short(self._table.key_name)} ({type(problem).__name__})"
        )
        remedy = "compare name, algorithm and secret with the key statement of the server"
        return _key_error(fact, remedy)

    def _judge(self, answer: dns.message.Message, zone: dns.name.Name) -> None:
        code = dns.rcode.to_text(answer.rcode())
        if answer.rcode() == dns.rcode.NOERROR and answer.had_tsig:
            return
        if answer.rcode() == dns.rcode.NOERROR:  # anybody could have said so
            raise _server(self._table.server, "its answer is not signed")
        if answer.rcode() == dns.rcode.SERVFAIL:
            raise _server(self._table.server, f"it answers SERVFAIL for the zone {short(zone)}")
        raise error(
            "acme-dns-refused",
            f"{self._table.server} refuses to update TXT records in the zone {short(zone)} ({code})",
            f"allow it there for the key {short(self._table.key_name)} (BIND: update-policy); the log of the "
            "server says why",
            fault=Fault.CONFIGURATION,
            rcode=code,
        )


def _server(server: str, reason: str) -> AcmeError:
    return error(
        "acme-dns-server",
        f"the DNS server {short(server)} cannot be used for updates ({reason})",
        "see that it runs, and that UDP and TCP reach it: dig SOA ZONE @SERVER; it is tried again by itself",
        fault=Fault.ENVIRONMENT,
    )


def _clock(server: str) -> AcmeError:
    return error(
        "acme-dns-clock",
        f"{short(server)} refuses the signature of the update as too old or too new (BADTIME)",
        "set the clocks of this machine and of that server: timedatectl",
        fault=Fault.ENVIRONMENT,
    )


def _key_error(fact: str, remedy: str) -> AcmeError:
    return error("acme-dns-key", fact, remedy, fault=Fault.CONFIGURATION)
