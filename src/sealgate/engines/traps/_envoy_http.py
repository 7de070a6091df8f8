"""Traps of one HTTP connection manager of Envoy: paths, fields, addresses, slow clients."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sealgate.engines.configurations.directive import Directive
from sealgate.engines.traps.trap import Known, Trap

__all__ = ["KNOWN", "http_traps", "never", "on", "typed"]

PATHS = Known(
    "envoy-path-not-normalised",
    "paths are judged as they were sent",
    "normalize_path is off unless it is set: /items/../admin passes a rule for /items, and the app behind "
    "may answer as /admin",
    "normalize_path: true",
)
SLASHES = Known(
    "envoy-slashes-not-merged",
    "empty segments count in rules",
    "//admin is not under the prefix /admin: its rules are passed by, and many apps answer both alike",
    "merge_slashes: true",
)
ESCAPED = Known(
    "envoy-escaped-slashes",
    "escaped slashes are kept",
    "/items%2F..%2Fadmin is one segment to Envoy's rules, and three to an app that decodes it",
    "path_with_escaped_slashes_action: REJECT_REQUEST",
)
XFCC = Known(
    "envoy-client-field-passes",
    "x-forwarded-client-cert comes in from outside",
    "FORWARD_ONLY and APPEND_FORWARD keep what any client with a certificate of its own sends, "
    "ALWAYS_FORWARD_ONLY what anybody sends: a client can be anybody",
    "forward_client_cert_details: SANITIZE_SET where clients connect; the others only behind a proxy that "
    "is the one client",
)
ADDRESS = Known(
    "envoy-address-believed",
    "a client says its own address",
    "without use_remote_address the last address of x-forwarded-for is believed, whoever sent it: in rules "
    "and rate limits by address, in the log, and for who may send the x-envoy fields that change timeouts",
    "use_remote_address: true, with xff_num_trusted_hops for the proxies in front",
)
UNDERSCORES = Known(
    "envoy-underscores",
    "fields with underscores are let in",
    "X_Forwarded_Client_Cert and x-forwarded-client-cert are one and the same to a WSGI app: what Envoy sets "
    "or removes can be imitated",
    "common_http_protocol_options: { headers_with_underscores_action: REJECT_REQUEST } (else ALLOW holds)",
)
SLOW_HEADERS = Known(
    "envoy-headers-slow",
    "a request's head may take for ever",
    "request_headers_timeout is off unless it is set: a client that sends a byte now and then keeps a "
    "connection and its memory",
    "request_headers_timeout: 10s",
)
NEVER_IDLE = Known(
    "envoy-never-idle",
    "an idle time of 0",
    "0s is no time at all but none: clients that send nothing are kept for ever (the defaults are 5 "
    "minutes for a stream and an hour for a connection)",
    "stream_idle_timeout: 0s only on the routes that stream; a time for the rest, and an idle_timeout",
)
REVOKED_STAYS = Known(
    "envoy-revoked-stays",
    "a revoked client stays connected",
    "the revocation list is looked at in handshakes only: a connection that is open goes on for as long as "
    "the client uses it",
    "common_http_protocol_options: { max_connection_duration: 600s }; or ask for each request, by ext_authz",
)
AUTHZ_OPEN = Known(
    "envoy-authz-fails-open",
    "failure_mode_allow: true",
    "where the program that decides is down, slow or overwhelmed, everybody is let in",
    "take it out (the default is false), and status_on_error for 503 in place of 403",
)

KNOWN = (
    PATHS, SLASHES, ESCAPED, XFCC, ADDRESS, UNDERSCORES, SLOW_HEADERS, NEVER_IDLE, REVOKED_STAYS, AUTHZ_OPEN,
)  # fmt: skip

_MANAGER = "HttpConnectionManager"
_TRUE = frozenset({"true", "yes", "on", "y", "1"})
# Names and numbers of the enumerations, as either may be written.
_PASSING = frozenset({"FORWARD_ONLY", "APPEND_FORWARD", "ALWAYS_FORWARD_ONLY", "1", "2", "4"})
_KEPT = frozenset({"IMPLEMENTATION_SPECIFIC_DEFAULT", "KEEP_UNCHANGED", "0", "1"})
_REFUSING = frozenset({"REJECT_REQUEST", "DROP_HEADER", "1", "2"})
_DECIDING = re.compile(r"\b(ext_authz|rbac|jwt_authn|lua|ext_proc|wasm|golang|dynamic_modules|oauth2)\b")
_NOT_PATHS = frozenset(
    {"prefix", "headers", "case_sensitive", "grpc", "query_parameters", "runtime_fraction"}
)


def on(one: Directive | None) -> bool:
    """Is it there and true? YAML knows several words for it, and Envoy takes them."""
    return one is not None and one.value.lower() in _TRUE


def never(one: Directive) -> bool:
    """A duration of nothing, which switches off what it bounds."""
    return re.fullmatch(r"0*(\.0*)?s?", one.value) is not None


def typed(one: Directive, message: str) -> bool:
    """Is it a value of this message, whatever its version?"""
    kind = one.last("@type")
    return kind is not None and kind.value.endswith(f".{message}")


def http_traps(chain: Directive, *, listed: bool) -> Iterator[Trap]:
    """Of everything in one filter chain.

    Args:
        chain: with its filters.
        listed: are its clients' certificates held against a revocation list?
    """
    for one in chain.walk():
        if typed(one, _MANAGER):
            yield from _of_manager(one, listed=listed)
        kind, allowed = one.last("@type"), one.last("failure_mode_allow")
        if allowed is not None and on(allowed) and kind is not None and ".ext_authz." in kind.value:
            yield AUTHZ_OPEN.on(allowed)


def _of_manager(manager: Directive, *, listed: bool) -> Iterator[Trap]:
    common = manager.last("common_http_protocol_options")
    yield from _paths(manager)
    for one in manager.walk():
        if one.name == "forward_client_cert_details" and one.value in _PASSING:
            yield XFCC.on(one)
    remote = manager.last("use_remote_address")
    if not on(remote) and not manager.own("original_ip_detection_extensions"):
        yield ADDRESS.on(remote or manager)
    underscores = common.last("headers_with_underscores_action") if common else None
    if underscores is None or underscores.value not in _REFUSING:
        yield UNDERSCORES.on(underscores or common or manager)
    headers = manager.last("request_headers_timeout")
    if headers is None or never(headers):
        yield SLOW_HEADERS.on(headers or manager)
    for idle in (manager.last("stream_idle_timeout"), common.last("idle_timeout") if common else None):
        if idle is not None and never(idle):
            yield NEVER_IDLE.on(idle)
    longest = common.last("max_connection_duration") if common else None
    if listed and (longest is None or never(longest)) and not _asked(manager):
        yield REVOKED_STAYS.on(longest or common or manager)


def _asked(manager: Directive) -> bool:
    """Does another program decide on each request?"""
    return any(".ext_authz." in one.value for one in manager.walk() if one.name == "@type")


def _paths(manager: Directive) -> Iterator[Trap]:
    if not _judges_paths(manager):
        return
    normalised, merged = manager.last("normalize_path"), manager.last("merge_slashes")
    if not on(normalised):
        yield PATHS.on(normalised or manager)
    if not on(merged):
        yield SLASHES.on(merged or manager)
    escaped = manager.last("path_with_escaped_slashes_action")
    if escaped is None or escaped.value in _KEPT:
        yield ESCAPED.on(escaped or manager)


def _judges_paths(manager: Directive) -> bool:
    """Does anything depend on the path: a route for some, a filter that decides, routes not seen here?"""
    for one in manager.walk():
        if one.name == "match" and any(not _everything(each) for each in one.inside):
            return True
        if one.name == "@type" and _DECIDING.search(one.value):
            return True
    return not any(one.name in {"virtual_hosts", "routes"} for one in manager.walk())


def _everything(match: Directive) -> bool:
    return match.name in _NOT_PATHS and (match.name != "prefix" or match.value == "/")
