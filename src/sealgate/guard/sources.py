"""Where the facts about a request come from: fixed by the engine, never by the request.

A source returns None where the engine did not say what it promised; adapters then fail closed. Header fields
of these names are the engine's alone: it removes what comes from outside, whatever the spelling, and the
socket is private. Still, other local processes may reach it (connect(2) is no matter of Landlock, and the
name of a socket is no secret), so nothing of a request counts without the deployment's proof.

A client's certificate that the engine does not vouch for, or that cannot be read, makes an origin with a
refusal: 403 `client-certificate-refused`, and never no certificate. A field that is missing or there twice is
the engine's mistake, not the client's: None, so 500.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from hmac import compare_digest
from typing import TYPE_CHECKING, Protocol

from sealgate.guard.client import Client
from sealgate.guard.decision import UNVERIFIED, Deny
from sealgate.guard.forwarded import Garbled, client_of
from sealgate.policy.identity import ADDRESS, CERTIFICATE, PATH, PROOF, VERIFIED
from sealgate.policy.problems import problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, MutableMapping, Sequence
    from typing import Any

    from sealgate.guard.certificate import Certificates
    from sealgate.guard.compiled import Compiled
    from sealgate.guard.groups import Given, Groups
    from sealgate.policy.network import Admitted

__all__ = ["EnvoySource", "InsideSource", "Origin", "ProxySource", "Source", "source"]

_ENDPOINT = re.compile(r"(?:([0-9.]+)|\[([0-9a-fA-F:.]+)\]):([0-9]{1,5})")
_MOST_REMEMBERED = 4096
_LONGEST_REMEMBERED = 8 * 1024
_SHORTEST_PROOF = 32
_SAID = (PROOF, ADDRESS, PATH, VERIFIED, CERTIFICATE)
_VARIABLES = tuple((name, "HTTP_" + name.upper().replace("-", "_")) for name in _SAID)
_FORWARDED = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR")
_FIELDS = {name.encode(): name for name in _SAID}


@dataclass(frozen=True, slots=True)
class Origin:
    """The caller's end of a connection: who, and its TCP or UDP port.

    `refusal` is there where whoever it is must not be let in, whatever is asked for; `lost` where a trusted
    proxy does not say from where the request comes: then the address is the proxy's.
    """

    client: Client
    port: int
    refusal: Deny | None = None
    lost: Deny | None = None


class Source(Protocol):
    """Facts of one engine: the origin and the raw target (as latin-1), or None: fail closed."""

    def use(self, compiled: Compiled) -> None:
        """From now on the issuers of this policy count."""

    def from_environ(self, environ: MutableMapping[str, Any]) -> tuple[Origin, str] | None:
        """For WSGI; takes the engine's fields out of the environ."""

    def from_scope(self, scope: Mapping[str, Any]) -> tuple[Origin, str] | None:
        """For ASGI; the adapter leaves the engine's fields out of what the app sees."""


def source(
    identity: str,
    proof: str = "",
    *,
    clients: bool = False,
    compiled: Compiled | None = None,
    given: Given = (),
) -> Source:
    """The source for an engine's ``identity`` (``engines/contract.py``).

    Args:
        identity: ``h2``, ``proof`` or ``inside``.
        proof: the deployment's proof; at least 32 characters but for ``inside``.
        clients: the policy asks for client certificates; without it, nothing is read about them.
        compiled: the policy in force, whose issuers count; see :meth:`Source.use`.
        given: the groups of single certificates (`policy.identity.membership_key`). One is in them before
            anybody has it, so they are asked once.
    """
    made = _made(identity, proof, clients=clients, given=given)
    if compiled is not None:
        made.use(compiled)
    return made


def _made(identity: str, proof: str, *, clients: bool, given: Given) -> Source:
    if identity == "h2":
        return EnvoySource(proof, clients=clients, given=given)
    if identity == "proof":
        return ProxySource(proof, clients=clients, given=given)
    if identity == "inside":
        return InsideSource(clients=clients, given=given)
    raise ValueError(f"there is no source of facts for {identity!r}")


class _Origins:
    """Origins by what the engine said; connections are kept alive, so the same few come again and again.

    Bounded in number and length: who connects chooses the port and, within what authorities sign, the
    certificate.
    """

    __slots__ = ("_certificates", "_compiled", "_given", "_groups", "_known")

    def __init__(self, given: Given = ()) -> None:
        self._given = given
        self._groups: Groups | None = None
        self._known: dict[tuple[str, str | bytes], Origin] = {}
        self._certificates: Certificates | None = None
        self._compiled: Compiled | None = None

    def use(self, compiled: Compiled) -> None:
        """Read certificates by this policy, those of connections that are open too."""
        if self._identities_of(compiled) != self._identities_of(self._compiled):
            self._known, self._certificates, self._groups = {}, None, None
        self._compiled = compiled

    @staticmethod
    def _identities_of(compiled: Compiled | None) -> object:
        by = compiled
        return by and (by.authorities, by.former, by.groups)

    def __len__(self) -> int:
        return len(self._known)

    def __call__(self, address: str, certificate: str | bytes) -> Origin | None:
        """The origin of an address and a certificate, text or DER (empty: none); None: that is no address."""
        return self._known.get((address, certificate)) or self._afresh(address, certificate)

    def _afresh(self, address: str, certificate: str | bytes) -> Origin | None:
        origin = _parse(address)
        if origin is not None and certificate:
            origin = self._with(origin, certificate)
        if origin is not None and len(certificate) <= _LONGEST_REMEMBERED:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known = {}
            self._known[address, certificate] = origin
        return origin

    def by_environ(self, origin: Origin | None, environ: Mapping[str, Any]) -> Origin | None:
        """Whom a trusted proxy forwards for; servers join the fields of one name with commas."""
        proxies = self._compiled and self._compiled.proxies
        if origin is None or not proxies:
            return origin
        forwarded, listed = (environ.get(name) for name in _FORWARDED)
        return _forwarded(
            origin,
            proxies,
            [forwarded] if forwarded is not None else [],
            [listed] if listed is not None else [],
        )

    def by_headers(self, origin: Origin | None, headers: Iterable[tuple[bytes, bytes]]) -> Origin | None:
        """The same of a list of header fields."""
        proxies = self._compiled and self._compiled.proxies
        if origin is None or not proxies:
            return origin
        forwarded = [value.decode("latin-1") for name, value in headers if name == b"forwarded"]
        listed = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
        return _forwarded(origin, proxies, forwarded, listed)

    def _with(self, origin: Origin, text: str | bytes) -> Origin:
        # Most workers never see a certificate, and what reads them is large.
        from sealgate.guard.certificate import Certificates, Unreadable
        from sealgate.guard.groups import Groups
        from sealgate.guard.issuers import Issuers

        if self._certificates is None or self._groups is None:
            by = self._compiled
            issuers = Issuers(by.authorities, by.former) if by else Issuers()
            self._certificates = Certificates(issuers)
            self._groups = Groups(by.groups if by else (), self._given)
        read = self._certificates(text)
        if isinstance(read, Unreadable):
            return replace(origin, refusal=Deny(problem("client-certificate-refused"), read.reason))
        groups = self._groups.of(read)
        return replace(origin, client=replace(origin.client, certificate=read, groups=groups))


class EnvoySource:
    """``sealgate-address``, ``sealgate-path``, ``sealgate-certificate``: believed with ``sealgate-proof``.

    Envoy ends the handshake of a client whose certificate does not count, so one that is there is verified.

    Args:
        proof: at least 32 characters; compared in constant time.
        clients: the policy asks for client certificates.
        given: the groups of single certificates.
    """

    def __init__(self, proof: str, *, clients: bool = False, given: Given = ()) -> None:
        self._proof = _sufficient(proof)
        self._clients = clients
        self._origins = _Origins(given)
        self.use = self._origins.use

    def from_environ(self, environ: MutableMapping[str, Any]) -> tuple[Origin, str] | None:
        """Facts from a WSGI environ; servers join duplicates with commas, which nothing here contains."""
        shown = environ.pop("HTTP_SEALGATE_PROOF", "").encode("utf-8", "replace")
        address = environ.pop("HTTP_SEALGATE_ADDRESS", None)
        target = environ.pop("HTTP_SEALGATE_PATH", None)
        certificate = environ.pop("HTTP_SEALGATE_CERTIFICATE", "") if self._clients else ""
        if address is None or target is None or not compare_digest(shown, self._proof):
            return None
        origin = self._origins.by_environ(self._origins(address, certificate), environ)
        return (origin, target) if origin else None

    def from_scope(self, scope: Mapping[str, Any]) -> tuple[Origin, str] | None:
        """Facts from an ASGI scope's header list; each field exactly once, the certificate at most once."""
        address = target = certificate = ""
        shown = b""
        count = 0
        for name, value in scope["headers"]:
            if name == b"sealgate-address":
                address = value.decode("latin-1")
                count += 1
            elif name == b"sealgate-path":
                target = value.decode("latin-1")
                count += 16
            elif name == b"sealgate-proof":
                shown = value
                count += 256
            elif name == b"sealgate-certificate" and self._clients:
                if certificate:
                    return None
                certificate = value.decode("latin-1")
        if count != 273 or not compare_digest(shown, self._proof):
            return None
        origin = self._origins.by_headers(self._origins(address, certificate), scope["headers"])
        return (origin, target) if origin else None


class ProxySource:
    """All fields of ``policy/identity.py``, believed only together with the deployment's proof.

    Args:
        proof: at least 32 characters; compared in constant time.
        clients: the policy asks for client certificates.
        given: the groups of single certificates.
    """

    def __init__(self, proof: str, *, clients: bool = False, given: Given = ()) -> None:
        self._proof = _sufficient(proof)
        self._clients = clients
        self._origins = _Origins(given)
        self.use = self._origins.use

    def from_environ(self, environ: MutableMapping[str, Any]) -> tuple[Origin, str] | None:
        """Facts from a WSGI environ; duplicates come joined with commas, and no such text is right."""
        said = {name: environ.pop(variable, None) for name, variable in _VARIABLES}
        told = self._told(said)
        origin = self._origins.by_environ(told and told[0], environ)
        return (origin, told[1]) if told and origin else None

    def from_scope(self, scope: Mapping[str, Any]) -> tuple[Origin, str] | None:
        """Facts from an ASGI scope's header list; each field once.

        Others that begin like them may come from outside, any number of times: nginx takes out no names that
        it is not told of. They say nothing here, and no app is told of them (``guard/headers.py``).
        """
        said: dict[str, str | None] = {}
        for name, value in scope["headers"]:
            if name[:9] == b"sealgate-" and (field := _FIELDS.get(name)):
                if field in said:
                    return None
                said[field] = value.decode("latin-1")
        told = self._told(said)
        origin = self._origins.by_headers(told and told[0], scope["headers"])
        return (origin, told[1]) if told and origin else None

    def _told(self, said: Mapping[str, str | None]) -> tuple[Origin, str] | None:
        proof = said.get(PROOF)
        if proof is None or not compare_digest(proof.encode("utf-8", "replace"), self._proof):
            return None
        address, target = said.get(ADDRESS), said.get(PATH)
        if address is None or target is None:
            return None
        if not self._clients:
            origin = self._origins(address, "")
        else:
            origin = self._verified(address, said.get(VERIFIED), said.get(CERTIFICATE) or "")
        return (origin, target) if origin else None

    def _verified(self, address: str, verdict: str | None, certificate: str) -> Origin | None:
        """By the server's verdict: one of two words, and each with what belongs to it."""
        if verdict is None:
            return None
        if (verdict == "SUCCESS" and certificate) or (verdict == "NONE" and not certificate):
            return self._origins(address, certificate)
        origin = self._origins(address, "")
        return replace(origin, refusal=UNVERIFIED) if origin else None


class InsideSource:
    """What the server around the guard knows itself: the guard and the app are in its own process.

    WSGI: ``REMOTE_ADDR``, ``REMOTE_PORT``, ``RAW_URI`` and ``sealgate.peer_certificate`` (DER, empty where
    none was shown), which no header field can become. ASGI: ``client``, ``raw_path`` with ``query_string``,
    and the ``tls`` extension's ``client_cert_chain`` (PEM, the client's own first).
    """

    def __init__(self, *, clients: bool = False, given: Given = ()) -> None:
        self._clients = clients
        self._origins = _Origins(given)
        self.use = self._origins.use

    def from_environ(self, environ: MutableMapping[str, Any]) -> tuple[Origin, str] | None:
        """Facts from a WSGI environ."""
        certificate = environ.pop("sealgate.peer_certificate", None)
        target = environ.get("RAW_URI")
        if target is None or certificate is None:
            return None
        peer = (environ.get("REMOTE_ADDR", ""), environ.get("REMOTE_PORT", ""))
        origin = self._origins.by_environ(self._told(peer, certificate), environ)
        return (origin, target) if origin else None

    def from_scope(self, scope: Mapping[str, Any]) -> tuple[Origin, str] | None:
        """Facts from an ASGI scope."""
        tls = (scope.get("extensions") or {}).get("tls")
        path, query, client = scope.get("raw_path"), scope.get("query_string", b""), scope.get("client")
        if tls is None or not path or not client:
            return None
        chain = tls.get("client_cert_chain") or ("",)
        target = (path + b"?" + query if query else path).decode("latin-1")
        origin = self._origins.by_headers(self._told(client, chain[0]), scope["headers"])
        return (origin, target) if origin else None

    def _told(self, client: Sequence[object], certificate: str | bytes) -> Origin | None:
        host, port = str(client[0]).partition("%")[0], client[1]  # without the zone of a link-local address
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return self._origins(address, certificate if self._clients else "")


def _forwarded(origin: Origin, proxies: Admitted, forwarded: list[str], listed: list[str]) -> Origin:
    """Who it is for; only the address is a proxy's word, and the port of whom it names is nobody's."""
    peer = origin.client.address
    try:
        address = client_of(peer, proxies, forwarded, listed)
    except Garbled as garbled:
        return replace(origin, lost=Deny(problem("forwarding-header-invalid"), str(garbled)))
    if address == peer:
        return origin
    return replace(origin, client=replace(origin.client, address=address), port=0)


def _sufficient(proof: str) -> bytes:
    if len(proof) < _SHORTEST_PROOF:
        raise ValueError(f"a proof has at least {_SHORTEST_PROOF} characters")
    return proof.encode()


def _parse(text: str) -> Origin | None:
    """``192.0.2.1:50000`` or ``[2001:db8::1]:50000``; an IPv4 address in IPv6 clothes is an IPv4 address."""
    match = _ENDPOINT.fullmatch(text)
    if not match:
        return None
    try:
        address = ipaddress.ip_address(match[1] or match[2])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    port = int(match[3])
    return Origin(Client(str(address)), port) if port <= 65535 else None
