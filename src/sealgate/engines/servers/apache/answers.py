"""What Apache answers itself: RFC 9457 problem details.

Each is a file that says its own status and fields (mod_asis), named by an ErrorDocument: so the statuses
that Apache has for one and the same thing become the one that the policy's problem type has.
"""

from __future__ import annotations

from http import HTTPStatus

from sealgate.engines.published import UNKNOWN
from sealgate.engines.servers.apache.addresses import STRANGE
from sealgate.engines.servers.apache.facts import ANSWERS, FOLDER, block, quoted
from sealgate.policy.problems import CONTENT_TYPE, PROBLEMS

__all__ = ["CHALLENGE_ANSWERS", "CLEAR", "answer_files", "challenge_documents", "error_documents", "location"]

_SECURE = {
    400: "bad-request",
    401: "bad-request",
    403: "upgrade-refused",
    404: "bad-request",
    405: "bad-request",
    408: "request-timeout",
    411: "bad-request",
    413: "body-too-large",
    414: "headers-too-large",
    417: "bad-request",
    421: "unknown-host",
    426: "http-version-unsupported",
    431: "headers-too-large",
    500: "internal-error",
    501: "bad-request",
    502: "app-unavailable",
    503: "app-unavailable",
    504: "app-timeout",
    505: "http-version-unsupported",
}
_PLAIN = {**_SECURE, 403: "plain-http-refused"}
_STRANGER = "address-refused"
CLEAR = 511
"""A status that nobody here uses, for credentials over plain HTTP."""
_CLEAR = "credentials-in-the-clear"
CHALLENGE_ANSWERS = {403: "challenge-unknown", 404: "challenge-unknown", 405: "method-not-allowed"}
"""Below the path of challenges, where each is one of the files that are waited for or nothing."""
_REASONS = {421: "Misdirected Request", 431: "Request Header Fields Too Large"}


def location(slug: str) -> str:
    """The path of an answer below the document root."""
    return f"/{slug}.asis"


def error_documents(*, tls: bool, strangers: bool = False, clear: bool = False) -> list[str]:
    """Directives of a virtual host.

    Args:
        tls: of HTTPS.
        strangers: some addresses may not come in.
        clear: credentials are looked for, where they could be read on the way.
    """
    table = {**(_SECURE if tls else _PLAIN), **({STRANGE: _STRANGER} if strangers else {})}
    table |= {CLEAR: _CLEAR} if clear else {}
    folder = f"{FOLDER}/{ANSWERS}"
    rights = ["Require all granted", "SetHandler send-as-is", "AllowOverride None", "Options None"]
    documents = [
        f"ErrorDocument {status} {location(slug)}" for status, slug in table.items() if status != 502
    ]
    # mod_proxy leaves a note where a backend was silent for too long, and has one status for all its faults.
    documents.append(f"ErrorDocument 502 {location('app-unavailable%{note:proxy_timedout}')}")
    return [f"DocumentRoot {quoted(folder)}", *documents, *block("Directory", quoted("/"), rights)]


def challenge_documents() -> dict[int, str]:
    """The same below the path of challenges: status to where its answer is."""
    return {status: location(slug) for status, slug in CHALLENGE_ANSWERS.items()}


def answer_files(*, strangers: bool = False, listed: bool = False, clear: bool = False) -> dict[str, bytes]:
    """File name to content; ``listed``: a list of revoked clients is served; the others as before."""
    used = {*_SECURE.values(), *_PLAIN.values(), *CHALLENGE_ANSWERS.values(), "path-not-canonical"}
    used |= ({_STRANGER} if strangers else set()) | ({UNKNOWN} if listed else set())
    used |= {_CLEAR} if clear else set()
    named = {slug: slug for slug in used} | {"app-unavailable1": "app-timeout"}
    return {f"{ANSWERS}/{name}.asis": _answer(named[name]) for name in sorted(named)}


def _answer(slug: str) -> bytes:
    problem = PROBLEMS[slug]
    reason = _REASONS.get(problem.status) or HTTPStatus(problem.status).phrase
    fields = [
        f"Status: {problem.status} {reason}",
        f"Content-Type: {CONTENT_TYPE}",
        "Cache-Control: no-store",
        *(["Retry-After: 1"] if problem.status == 503 else []),
        *(["Allow: GET, HEAD"] if problem.status == 405 else []),
    ]
    return "".join(f"{line}\r\n" for line in fields).encode() + b"\r\n" + problem.as_json()
