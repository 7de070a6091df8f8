"""Facts of a server that Sealgate does not run: what it knows itself of a connection, or no answer.

Nothing here is guessed. A server that does not tell how a target was spelled, that was told by a header field
who calls, or that says nothing of certificates where the policy asks for them, is no source: 500, and the
log's ``rule`` says which.

WSGI (PEP 3333): ``REMOTE_ADDR``, ``wsgi.url_scheme``, ``RAW_URI`` or ``REQUEST_URI``, and Gunicorn's
``gunicorn.socket``. ASGI 3: ``client``, ``scheme``, ``raw_path``, and the ``tls`` extension.
"""

from __future__ import annotations

import ipaddress
import ssl
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from sealgate.guard.decision import Deny
from sealgate.guard.sources import InsideSource, Origin
from sealgate.policy.problems import problem

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from typing import Any

    from sealgate.guard.compiled import Compiled
    from sealgate.guard.groups import Given

__all__ = ["OwnSource"]

_PROXIED = ("forwarded", "x-forwarded-for", "x-forwarded-proto")
_VARIABLES = tuple("HTTP_" + name.upper().replace("-", "_") for name in _PROXIED)
_NAMES = tuple(name.encode() for name in _PROXIED)
_SECURE = {"https", "wss"}

_PLAIN = Deny(problem("plain-http-refused"), "plain-http")
_EXPOSED = Deny(problem("credentials-in-the-clear"), "plain-http")


def _no(reason: str) -> Deny:
    return Deny(problem("internal-error"), reason)


_UNTRUSTED_PROXY = _no("proxy-not-in-trusted-proxies")
_REWRITTEN = _no("address-by-header")
_NO_CERTIFICATES = _no("server-tells-no-certificates")


class OwnSource(InsideSource):
    """What a server says itself, each way that it could have been told by a header field left out.

    Args:
        compiled: the policy.
        given: the groups of single certificates.
    """

    def __init__(self, compiled: Compiled, given: Given = ()) -> None:
        super().__init__(clients=compiled.clients != "off", given=given)
        self._proxies = compiled.proxies
        self._key = compiled.api_key_header.lower() if compiled.api_keys else ""
        self.use(compiled)

    def from_environ(self, environ: MutableMapping[str, Any]) -> tuple[Origin, str] | None:
        """Facts from a WSGI environ; whatever request id came with it is nobody's."""
        environ["HTTP_X_REQUEST_ID"] = str(uuid.uuid4())
        environ["RAW_URI"] = environ.get("RAW_URI") or environ.get("REQUEST_URI")
        # As others' text, or nothing: only what this server's own TLS says counts.
        shown = _peer_certificate(environ.get("gunicorn.socket")) if self._clients else b""
        environ["sealgate.peer_certificate"] = shown or b""
        environ["REMOTE_PORT"] = str(environ.get("REMOTE_PORT") or "0")
        told = super().from_environ(environ)
        if told is None:
            return None
        fields = {
            name: str(environ[variable])
            for name, variable in zip(_PROXIED, _VARIABLES, strict=True)
            if variable in environ
        }
        peer = str(environ.get("REMOTE_ADDR", ""))
        key = "HTTP_" + self._key.upper().replace("-", "_")
        exposed = "HTTP_AUTHORIZATION" in environ or (bool(self._key) and key in environ)
        deny = self._judged(peer, str(environ.get("wsgi.url_scheme", "")), fields, exposed=exposed)
        if shown is None:
            deny = deny or _NO_CERTIFICATES
        return _lost(told, deny)

    def from_scope(self, scope: Mapping[str, Any]) -> tuple[Origin, str] | None:
        """Facts from an ASGI scope; its header list gets a request id of ours."""
        headers = [pair for pair in scope["headers"] if pair[0] != b"x-request-id"]
        headers.append((b"x-request-id", str(uuid.uuid4()).encode()))
        scope["headers"][:] = headers
        extensions = scope.get("extensions") or {}
        silent = self._clients and extensions.get("tls") is None
        seen: dict[str, Any] = {**scope, "extensions": {**extensions, "tls": extensions.get("tls") or {}}}
        client = scope.get("client")
        told = super().from_scope(seen)
        if told is None or client is None:
            return None
        fields = {
            name: b",".join(value for found, value in headers if found == field).decode("latin-1")
            for name, field in zip(_PROXIED, _NAMES, strict=True)
            if any(found == field for found, _ in headers)
        }
        names = {found for found, _ in headers}
        exposed = b"authorization" in names or (bool(self._key) and self._key.encode() in names)
        deny = self._judged(str(client[0]), str(scope.get("scheme", "")), fields, exposed=exposed)
        # A server that lets a header field say who calls (uvicorn's --proxy-headers) knows no port of theirs.
        if not client[1]:
            deny = _REWRITTEN
        if silent:
            deny = deny or _NO_CERTIFICATES
        return _lost(told, deny)

    def _judged(self, peer: str, scheme: str, fields: Mapping[str, str], *, exposed: bool) -> Deny | None:
        """Did this come over HTTPS, from whom it says?"""
        trusted = bool(self._proxies) and _admits(self._proxies, peer)
        if fields and not trusted and _is_loopback(peer):
            # A proxy of this machine for whom the policy does not vouch: all callers would be one.
            return _UNTRUSTED_PROXY
        if trusted and (said := _said_scheme(fields)):
            scheme = said
        if scheme in _SECURE:
            return None
        return _EXPOSED if exposed else _PLAIN


def _lost(told: tuple[Origin, str], deny: Deny | None) -> tuple[Origin, str]:
    origin, target = told
    return (origin, target) if deny is None or origin.lost else (replace(origin, lost=deny), target)


def _admits(proxies: Any, peer: str) -> bool:  # noqa: ANN401 - of `Compiled.proxies`
    try:
        return bool(proxies.admits(str(ipaddress.ip_address(peer.partition("%")[0]))))
    except ValueError:
        return False


def _is_loopback(peer: str) -> bool:
    try:
        return ipaddress.ip_address(peer.partition("%")[0]).is_loopback
    except ValueError:  # a unix socket: whoever is behind it speaks by header fields, if at all
        return True


def _said_scheme(fields: Mapping[str, str]) -> str:
    """The nearest proxy's word on how it was reached (RFC 7239 §5.4); empty: it says nothing."""
    if "x-forwarded-proto" in fields:
        return fields["x-forwarded-proto"].rpartition(",")[2].strip().lower() or "unknown"
    for pair in fields.get("forwarded", "").rpartition(",")[2].split(";"):
        name, _, value = pair.partition("=")
        if name.strip().lower() == "proto":
            return value.strip().strip('"').lower() or "unknown"
    return ""


def _peer_certificate(sock: object) -> bytes | None:
    """DER of the certificate that the TLS library verified; empty: none was shown; None: nobody asked."""
    if not isinstance(sock, ssl.SSLSocket) or sock.context.verify_mode == ssl.CERT_NONE:
        return None
    return sock.getpeercert(binary_form=True) or b""
