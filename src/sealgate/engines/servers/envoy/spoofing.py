"""Request fields that pretend to come from a proxy: removed before anything reads them.

Field names with underscores never get here: such requests are refused.
"""

from __future__ import annotations

from sealgate.engines.servers.envoy.facts import Json

__all__ = ["removals"]

_ENGINE_ONLY = ("sealgate-", "x-envoy-")
_PREFIXES = (
    "forwarded",
    "x-forward",
    "x-real-",
    "x-client-",
    "x-cluster-client-",
    "x-proxyuser-",
    "true-client-",
    "cf-connecting-",
    "fastly-client-",
    "x-appengine-",
    "cloudfront-",
    "client-cert",
    "x-ssl",
    "ssl-",
    "x-tls-",
    "remote-",
    "x-remote-",
    "x-auth-request-",
    "x-amzn-mtls-",
    "x-authenticated-",
    "x-goog-authenticated-user-",
    "x-ms-client-principal",
    "x-webauth-",
    "x-pomerium-",
    "x-original-",
    "x-rewrite-",
)
_NAMES = (
    "via",
    "client-ip",
    "wl-proxy-client-ip",
    "proxy-client-ip",
    "incap-client-ip",
    "fly-client-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-consumer-id",
    "x-consumer-username",
    "x-consumer-custom-id",
    "x-arr-clientcert",
    "x-script-name",
    "x-scheme",
    "x-url-scheme",
    "x-proto",
    "front-end-https",
    "x-arr-ssl",
    "x-host",
    "x-http-host-override",
    "proxy",
)


def removals(*, guarded: bool) -> list[Json]:
    """Mutations that remove them; with a guard behind, only the engine's own names, the rest is its."""
    prefixes = _ENGINE_ONLY if guarded else _ENGINE_ONLY + _PREFIXES
    names = () if guarded else _NAMES
    matches = ({"key_matcher": {"prefix": prefix, "ignore_case": True}} for prefix in prefixes)
    return [*({"remove_on_match": match} for match in matches), *({"remove": name} for name in names)]
