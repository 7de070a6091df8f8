"""Which request header fields never reach an app: those that an app might take for a proxy's word.

Sealgate is the only proxy in front of the app and says what it has to say in ``REMOTE_ADDR``, ``client``,
``scheme`` and ``sealgate.client``. Any field below therefore comes from outside and is a claim at best.
WSGI servers turn ``-`` and ``_`` into the same name, so a name counts in every spelling.
``X-HTTP-Method-Override`` stays: it is the app's affair, not a claim about who calls. ``X-Request-Id`` stays:
the engine makes it.
"""

from __future__ import annotations

import re

__all__ = ["is_spoofable", "is_spoofable_variable"]

_SPOOFABLE = re.compile(
    r"sealgate.*"
    # Where the request came from, and by what (RFC 7239 and what was there before it).
    r"|forwarded.*|x-forwarded.*|x-forward-.*|x-real-.*|x-client-.*|x-cluster-client-.*|x-proxyuser-.*"
    r"|true-client-.*|cf-connecting-.*|fastly-client-.*|x-envoy-.*|client-ip"
    r"|(?:wl-proxy|proxy|incap|fly)-client-ip|x-azure-(?:client|socket)ip|x-appengine-.*|cloudfront-.*"
    r"|x-scheme|x-url-scheme|x-proto|front-end-https|x-arr-ssl"
    # Who called (RFC 9440, XFCC, the usual nginx and Apache names).
    r"|client-cert.*|x-ssl.*|ssl-.*|x-tls-.*|remote-.*|x-remote-.*|x-auth-request-.*|x-amzn-mtls-.*"
    r"|x-authenticated-.*|x-goog-authenticated-user-.*|x-ms-client-principal.*|x-webauth-.*|x-pomerium-.*"
    r"|x-consumer-(?:id|username|custom-id)|x-arr-clientcert"
    # What was asked for, in the words of a rewriting proxy. X-Script-Name: a known snippet cuts it off.
    r"|x-script-name"
    r"|x-original-.*|x-rewrite-.*|x-host|x-http-host-override"
    # Becomes the variable HTTP_PROXY, which HTTP client libraries of old read.
    r"|proxy"
)

# Variables that CGI servers set about the caller; a WSGI server that copies its environment may carry them.
_VARIABLES = frozenset({"REMOTE_USER", "REMOTE_HOST", "REMOTE_IDENT", "AUTH_TYPE"})


def is_spoofable(name: str) -> bool:
    """Must a header field of this name, in any spelling, be kept from the app?"""
    return _SPOOFABLE.fullmatch(name.lower().replace("_", "-")) is not None


def is_spoofable_variable(name: str) -> bool:
    """The same for a variable of a WSGI environ."""
    if name.startswith("HTTP_"):
        return is_spoofable(name[5:])
    return name in _VARIABLES or name.startswith("SSL_CLIENT_")
