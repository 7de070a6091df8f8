"""Request fields by which somebody else says who called, from where, or for what: the one list of them.

Sealgate is the only proxy in front of the app, so each of these comes from outside and is a claim at best:
Envoy, nginx, Apache and the guard take out what stands here, and nothing else says which names those are.
Names are in lower case and with hyphens; an underscore is a hyphen to a CGI variable, so it counts as one.
"""

from __future__ import annotations

from sealgate.policy.identity import PREFIX

__all__ = ["FAMILIES", "KNOWN", "NAMES", "OWN"]

OWN = (PREFIX, "x-envoy-")
"""Families of the engines themselves."""

_MEMBERS: dict[str, tuple[str, ...]] = {
    # Where the request came from, and by what (RFC 7239 and what was there before it).
    "forwarded": ("", "-for", "-host", "-proto", "-by"),
    "x-forwarded": (
        *("", "-for", "-host", "-proto", "-port", "-by", "-client-cert", "-client-cert-chain", "-email"),
        *("-groups", "-path", "-port-in", "-prefix", "-preferred-username", "-proto-version", "-protocol"),
        *("-scheme", "-server", "-ssl", "-tls-client-cert", "-tls-client-cert-info", "-uri", "-url"),
        *("-user", "-access-token", "-method", "-context"),
    ),
    "x-forward-": ("for", "proto", "host"),
    "x-real-": ("ip", "port", "proto", "host"),
    "x-client-": (
        *("ip", "cert", "dn", "verify", "verified", "cn", "s-dn", "i-dn", "serial", "port", "host"),
        *("fingerprint", "certificate", "subject", "issuer"),
    ),
    "x-cluster-client-": ("ip",),
    "x-proxyuser-": ("ip",),
    "true-client-": ("ip", "port"),
    "cf-connecting-": ("ip", "ipv6"),
    "fastly-client-": ("ip", "ssl"),
    "x-appengine-": ("user-ip", "remote-addr", "user-email", "user-id", "inbound-appid", "https"),
    "cloudfront-": ("forwarded-proto", "viewer-address"),
    # Who called (RFC 9440, XFCC, the usual nginx and Apache names).
    "client-cert": ("", "-chain", "-not-before", "-not-after", "-subject"),
    "x-ssl": (
        *("", "-cert", "-certificate", "-cipher", "-client", "-client-cert", "-client-cn", "-client-dn"),
        *("-client-verify", "-client-s-dn", "-client-i-dn", "-client-serial", "-client-sha1", "-verify"),
        *("-issuer", "-issuer-dn", "-subject", "-protocol", "-client-fingerprint", "-client-not-before"),
        *("-client-not-after", "-client-session-id", "-client-has-cert", "-client-der"),
    ),
    "ssl-": (
        *("client", "client-cert", "client-verify", "client-s-dn", "client-i-dn", "client-m-serial"),
        *("client-subject-dn", "client-issuer-dn", "client-fingerprint", "client-serial", "cert"),
        *("client-escaped-cert", "client-cn", "cipher", "protocol", "session-id", "clientcert"),
    ),
    "x-tls-": ("cert", "cipher", "client-cert", "client-verify", "protocol", "version", "client-dn"),
    "remote-": ("addr", "user", "host", "ident", "port", "email", "groups", "name"),
    "x-remote-": ("addr", "user", "ip", "group", "groups", "name", "email", "host", "port", "uid"),
    "x-auth-request-": (
        *("user", "email", "groups", "access-token", "preferred-username", "redirect", "token"),
    ),
    "x-amzn-mtls-": (
        *("clientcert", "clientcert-leaf", "clientcert-subject", "clientcert-issuer"),
        *("clientcert-validity", "clientcert-serial-number"),
    ),
    "x-authenticated-": ("user", "userid", "groups", "email", "scope"),
    "x-goog-authenticated-user-": ("email", "id"),
    "x-ms-client-principal": ("", "-id", "-name", "-idp"),
    "x-webauth-": ("user", "email", "name", "groups", "role"),
    "x-pomerium-": ("jwt-assertion", "claim-email", "claim-groups", "claim-user"),
    # What was asked for, in the words of a rewriting proxy.
    "x-original-": (
        *("url", "uri", "host", "method", "for", "forwarded-for", "proto", "path", "to", "remote-addr"),
    ),
    "x-rewrite-": ("url", "uri", "host"),
}
_OF_THE_ENGINES = (
    *("sealgate-client", "x-envoy-external-address", "x-envoy-original-path", "x-envoy-internal"),
    *("x-envoy-peer-metadata", "x-envoy-decorator-operation"),
)

FAMILIES: tuple[str, ...] = tuple(_MEMBERS)
"""What a name begins with that counts, whatever follows."""

NAMES = (
    *("via", "client-ip", "wl-proxy-client-ip", "proxy-client-ip", "incap-client-ip", "fly-client-ip"),
    *("x-azure-clientip", "x-azure-socketip", "x-consumer-id", "x-consumer-username"),
    *("x-consumer-custom-id", "x-arr-clientcert", "x-scheme", "x-url-scheme", "x-proto"),
    *("front-end-https", "x-arr-ssl", "x-host", "x-http-host-override"),
    "x-script-name",  # a known snippet cuts it off the path
    "proxy",  # becomes the variable HTTP_PROXY, which HTTP client libraries of old read
)
"""Names that count as a whole."""

KNOWN: tuple[str, ...] = tuple(
    sorted({head + tail for head, tails in _MEMBERS.items() for tail in tails} | {*NAMES, *_OF_THE_ENGINES})
)
"""All names in use that are known, for a server that can take out no family as a whole."""
