"""The list of revoked clients as anybody may fetch it: its path, and its address where it is known. Pure.

It is served on plain HTTP: a list is signed, needs no secrecy, and who verified HTTPS to fetch one might need
another list for that (RFC 5280 §8 warns of the circle). It is served to every address: who relies on our
clients' certificates may be anywhere, and without the list he takes the revoked for good, or refuses all.
What it tells is serial numbers, moments and reasons (RFC 5280 §5.1).

The address stands in certificates for their whole life, so it is never a guess: a name that only means
something here, or a port that a forwarding might change, leaves it out.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from sealgate.policy.model import Policy
from sealgate.policy.values import is_public_name

__all__ = ["CONTENT_TYPE", "FOLDER", "FRESH", "NAME", "PATH", "list_url", "publishes"]

FOLDER = "/.well-known/sealgate/"
"""Below it nothing else is on plain HTTP."""
NAME = "clients.crl"
PATH = FOLDER + NAME
"""Where the list is (RFC 8615 would have it registered: the name is the product's)."""
CONTENT_TYPE = "application/pkix-crl"
"""RFC 2585 §4; DER, as RFC 5280 §4.2.1.13 wants of HTTP."""
FRESH = 300
"""Seconds for which caches may keep it: a list is good for half a day and more when it is replaced."""

_HTTP = 80


def publishes(policy: Policy) -> bool:
    """Is there a list of ours, and plain HTTP to serve it on?"""
    return policy.own_list and bool(policy.listen.http)


def list_url(policy: Policy) -> str:
    """The list's public address, for certificates; empty: there is none, or it cannot be known."""
    host, port = _host(policy), _port(policy)
    if not (publishes(policy) and host and port):
        return ""
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}" + ("" if port == _HTTP else f":{port}") + PATH


def _host(policy: Policy) -> str:
    """That of ``site.url``, else the first name, that means the same everywhere."""
    typed = (urlsplit(policy.site.url).hostname or "",) if policy.site.url else ()
    names = (*typed, *(name for name in policy.site.names if not name.startswith("*.")))
    return next((name for name in names if is_public_name(name)), "")


def _port(policy: Policy) -> int:
    """The port of plain HTTP that others reach; 0: not known.

    An authority that asks by http-01 comes to port 80 (RFC 8555 §8.3), so it leads to us, and so does a
    listener there. Another port counts only where ``site.url`` says that of HTTPS is a listener's own: then
    nothing in between changes ports.
    """
    certificate, listen = policy.certificate, policy.listen
    ports = [endpoint.port for endpoint in listen.http if not endpoint.is_loopback]
    if _HTTP in ports or (certificate.source == "acme" and certificate.acme.challenge == "http-01"):
        return _HTTP
    secure = {endpoint.port for endpoint in listen.https if not endpoint.is_loopback}
    unchanged = bool(policy.site.url) and policy.public_port in secure
    return ports[0] if ports and unchanged else 0
