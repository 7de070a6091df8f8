"""Every answer that says no, as data: RFC 9457 problem types, shared by the guard and the engines.

A ``detail`` tells a caller what to mend and an attacker nothing: it names no rule, no version, no name that
was not asked for. Each type has its page: ``docs/problems/<slug>.md``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["CONTENT_TYPE", "PROBLEMS", "ProblemType", "problem"]

CONTENT_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One kind of refusal.

    ``slug`` is stable: scripts compare ``type``. ``status`` is the HTTP status, ``title`` the same for every
    occurrence, ``detail`` the way out. ``retry_after``: seconds of Retry-After (RFC 9110 §10.2.3); 0: none.
    """

    slug: str
    status: int
    title: str
    detail: str
    retry_after: int = 0

    @property
    def type(self) -> str:
        """The stable URN of RFC 9457 §3.1.1."""
        return f"urn:problem-type:sealgate:{self.slug}"

    def as_dict(self) -> dict[str, str | int]:
        """The members of the JSON object, in the order people read them."""
        return {"type": self.type, "title": self.title, "status": self.status, "detail": self.detail}

    def as_json(self) -> bytes:
        """The body of an answer: ASCII only, one line, with a final newline for terminals."""
        return json.dumps(self.as_dict()).encode("ascii") + b"\n"


_TABLE = (
    ProblemType(
        "bad-request",
        400,
        "The request is not valid HTTP",
        "Send one well-formed HTTP request: one Host, one length, no stray bytes.",
    ),
    ProblemType(
        "path-not-canonical",
        400,
        "The path is not canonical",
        "Send the path without '.', '..' or empty segments, and percent-encode exactly what RFC 3986 asks "
        "for; encoded slashes, backslashes, dots and control characters are not accepted.",
    ),
    ProblemType(
        "request-invalid",
        400,
        "The request is not what the API takes",
        "Mend what the member errors names, by the service's API description.",
    ),
    ProblemType(
        "credentials-malformed",
        400,
        "The credentials cannot be read",
        "Send one Authorization field: Bearer, a space, and one token.",
    ),
    ProblemType(
        "forwarding-header-invalid",
        400,
        "The proxy does not say whom it forwards",
        "Have the proxy in front write the caller's address into Forwarded or X-Forwarded-For, as RFC 7239 "
        "has it, and into one of the two alone.",
    ),
    ProblemType(
        "authentication-required",
        401,
        "This needs credentials",
        "Send a token that the service accepts, as the WWW-Authenticate header field says.",
    ),
    ProblemType(
        "token-refused",
        401,
        "The token is not accepted",
        "Get a new token from its issuer, for this service, and send it as it is.",
    ),
    ProblemType(
        "client-certificate-required",
        403,
        "This needs a client certificate",
        "Present a client certificate by an authority that the service trusts.",
    ),
    ProblemType(
        "access-denied",
        403,
        "The caller may not do this",
        "Ask whoever runs the service for the right, or use credentials that have it.",
    ),
    ProblemType(
        "scope-insufficient",
        403,
        "The token may not do this",
        "Get a token with the scope that the WWW-Authenticate header field names.",
    ),
    ProblemType(
        "credentials-in-the-clear",
        403,
        "Credentials were sent over plain HTTP",
        "They could be read on the way: have them replaced, and send the new ones to https:// only.",
    ),
    ProblemType(
        "plain-http-refused",
        403,
        "Plain HTTP is refused",
        "Use https:// instead. If this request carried a password, key or token, replace it: it was readable "
        "on the way.",
    ),
    ProblemType(
        "address-refused",
        403,
        "This address may not come in",
        "Call from a network that the service is open to; credentials make no difference.",
    ),
    ProblemType(
        "upgrade-refused",
        403,
        "This upgrade is not offered",
        "Send a plain HTTP request; WebSocket or other protocols are not offered here.",
    ),
    ProblemType(
        "client-certificate-refused",
        403,
        "The client certificate is not accepted",
        "Present a valid certificate by an authority that the service trusts; to be a stranger where that is "
        "allowed, present none.",
    ),
    ProblemType(
        "challenge-unknown",
        404,
        "Nobody waits for this challenge",
        "This path is for an ACME authority that was asked for a certificate just now; use another path.",
    ),
    ProblemType(
        "list-unknown",
        404,
        "There is no such list",
        "The list of revoked client certificates is at /.well-known/sealgate/clients.crl, spelled exactly "
        "so; where that is missing, try again later.",
    ),
    ProblemType(
        "operation-unknown",
        404,
        "There is no such operation",
        "Use a path that the service's API description names.",
    ),
    ProblemType(
        "method-not-allowed",
        405,
        "This method is not offered here",
        "Use one of the methods in the Allow header field.",
    ),
    ProblemType(
        "request-timeout",
        408,
        "The request took too long to arrive",
        "Send the whole request without long pauses; it may be repeated.",
    ),
    ProblemType(
        "body-too-large",
        413,
        "The request body is too large",
        "Send a smaller body, or split it into several requests.",
    ),
    ProblemType(
        "media-type-unsupported",
        415,
        "This kind of content is not taken here",
        "Send the content in one of the media types in the Accept header field, in UTF-8.",
    ),
    ProblemType(
        "unknown-host",
        421,
        "This host is not served here",
        "Use the name and port of the service's published URL.",
    ),
    ProblemType(
        "http-version-unsupported",
        426,
        "This version of HTTP is not supported",
        "Use HTTP/1.1 or HTTP/2.",
    ),
    ProblemType(
        "rate-limited",
        429,
        "Too many requests",
        "Wait as long as the Retry-After header field says, then send fewer at a time.",
    ),
    ProblemType(
        "headers-too-large",
        431,
        "The request header fields are too large",
        "Send fewer or shorter header fields; cookies are the usual cause.",
    ),
    ProblemType(
        "internal-error",
        500,
        "The service could not judge the request",
        "This is not the caller's mistake; try again later and tell whoever runs the service.",
    ),
    ProblemType(
        "app-unavailable",
        503,
        "The application is not available",
        "Try again in a few seconds.",
    ),
    ProblemType(
        "rates-unavailable",
        503,
        "The service cannot count requests now",
        "This is not the caller's mistake; send the same request again in a few seconds.",
        retry_after=2,
    ),
    ProblemType(
        "issuer-unavailable",
        503,
        "The token cannot be judged yet",
        "The service waits for the keys of the token's issuer: send the same request again.",
        retry_after=2,
    ),
    ProblemType(
        "client-status-unknown",
        503,
        "The client certificate is not known to be good yet",
        "Whether it was revoked is being asked; send the same request again in a few seconds.",
        retry_after=2,
    ),
    ProblemType(
        "app-timeout",
        504,
        "The application did not answer in time",
        "Try again later; whether the request had an effect is not known.",
    ),
)

PROBLEMS: Mapping[str, ProblemType] = MappingProxyType({entry.slug: entry for entry in _TABLE})
"""Every problem type by its slug."""


def problem(slug: str) -> ProblemType:
    """The problem type of that slug.

    Raises:
        KeyError: no such type; a mistake in Sealgate, never in a request.
    """
    return PROBLEMS[slug]
