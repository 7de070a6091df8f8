"""A request over plain HTTP, judged: a redirect to a configured name, a refusal, an answer to a challenge.

Pure: the whole header in, an answer out. Other rules than HTTP's most generous are not needed here: every
line ends in CRLF (RFC 9112 §2.2), no folded lines (§5.2), one Host (§3.2), the host of an absolute target
counts (§3.2.2), HTTP/1.1 only.

http-01 challenges (RFC 8555 §8.3) stand before all that, whatever Host says and wherever they come from: an
authority may come by a name or a port that is not the site's yet, and tells nobody its addresses. Below their
path nothing exists but the tokens that are waited for. So does the list of revoked clients, where there is
one (``engines/published.py``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus

from sealgate.engines.challenges import PATH
from sealgate.engines.published import CONTENT_TYPE, FIELDS, FOLDER, UNKNOWN
from sealgate.engines.published import PATH as LIST
from sealgate.engines.redirect import TOKEN, Redirect
from sealgate.guard.compiled import Compiled
from sealgate.guard.host import is_site_host
from sealgate.guard.problems import answer
from sealgate.policy.api_keys import id_of
from sealgate.policy.problems import problem

__all__ = [
    "Answer",
    "Challenge",
    "Opened",
    "Published",
    "judge",
    "no_challenge",
    "nothing_published",
    "refused",
    "site_of",
]

Challenge = Callable[[str], bytes | None]
"""The answer to an http-01 challenge of this token, or None: nobody waits for it."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A file to be sent, which whoever sends it closes: descriptor, and bytes."""

    descriptor: int
    size: int


Published = Callable[[], Opened | None]
"""The list of revoked clients that is in force now, or None: there is none."""

_NAME = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST = re.compile(rb"(" + _NAME + rb") (\S+) HTTP/([0-9])\.([0-9])")
_FIELD = re.compile(rb"(" + _NAME + rb"):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_ORIGIN = re.compile(r"/[!-~]*")
_ABSOLUTE = re.compile(r"(?i)https?://([^/?#]*)(/[!-~]*)?")
_HTTP_0_9 = re.compile(rb"GET \S+")
_LONGEST_SHOWN = 256
_READS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered, and what the log says of the request; ``file`` is what follows the header."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    method: str = ""
    host: str = ""
    path: str = ""
    protocol: str = ""
    user_agent: str = ""
    exposed_key: str = ""
    file: Opened | None = None

    def to_bytes(self, date: str) -> bytes:
        """As it goes over the wire; the connection ends after it."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines += [f"date: {date}", "connection: close", "", ""]
        return "\r\n".join(lines).encode("latin-1") + self.body


def no_challenge(token: str) -> bytes | None:
    """Nobody waits for one."""
    del token
    return None


def nothing_published() -> Opened | None:
    """There is no list."""
    return None


def site_of(orders: Redirect) -> Compiled:
    """The site's names, as the guard knows them, with the ports of plain HTTP."""
    return Compiled(
        generation=0,
        names=frozenset(name for name in orders.names if not name.startswith("*.")),
        wildcards=frozenset(name[2:] for name in orders.names if name.startswith("*.")),
        ports=frozenset(map(str, orders.ports)),
        public_host="",
        public_port=orders.public_port,
        body_limit=0,
        clients="off",
    )


def judge(
    head: bytes,
    orders: Redirect,
    site: Compiled,
    challenge: Challenge = no_challenge,
    published: Published = nothing_published,
    *,
    admitted: bool = True,
) -> Answer:
    """The answer to a whole header, without its empty line. Never raises.

    Args:
        head: what came.
        orders: what to answer.
        site: its names.
        challenge: asked about http-01 challenges.
        published: asked for the list of revoked clients.
        admitted: may this address come in?
    """
    first, *lines = head.split(b"\r\n")
    request = _REQUEST.fullmatch(first)
    if not request:
        return refused("http-version-unsupported" if _HTTP_0_9.fullmatch(first) else "bad-request")
    method, target = request[1].decode("ascii"), request[2].decode("latin-1")
    protocol = f"HTTP/{int(request[3])}.{int(request[4])}"
    fields = [_FIELD.fullmatch(line) for line in lines]
    values = [(found[1].lower(), found[2].decode("latin-1")) for found in fields if found]
    hosts = [value for name, value in values if name == b"host"]
    agents = [value for name, value in values if name == b"user-agent"]
    seen = _Seen(method, hosts[0] if len(hosts) == 1 else "", target, protocol, "".join(agents[:1]))
    if len(values) != len(fields):
        return seen.refused("bad-request")
    if protocol != "HTTP/1.1":
        return seen.refused("http-version-unsupported")
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute:
        seen = _Seen(method, absolute[1], absolute[2] or "/", protocol, seen.user_agent)
    if len(hosts) != 1 or not _ORIGIN.fullmatch(seen.target):
        return seen.refused("bad-request")
    if seen.target.startswith(PATH):
        return _proven(seen, challenge)
    if orders.publishes and seen.target.startswith(FOLDER):
        return _listed(seen, published)
    shown = [value for name, value in values if name.decode("ascii") in orders.credentials and value]
    if admitted and shown:
        exposed = "".join(map(_exposed, shown))
        return replace(seen.refused("credentials-in-the-clear"), exposed_key=exposed)
    return _answered(seen, orders, site) if admitted else seen.refused("address-refused")


def _exposed(value: str) -> str:
    """The public part of an API key in a field; empty: there is none."""
    return id_of(re.sub(r"(?i)^bearer +", "", value))


@dataclass(frozen=True, slots=True)
class _Seen:
    """A request as far as it was understood."""

    method: str
    host: str
    target: str
    protocol: str
    user_agent: str

    def refused(self, slug: str) -> Answer:
        """A problem, which the log shows with what was seen."""
        said = answer(problem(slug), method=self.method)
        return self.said(said.status, said.headers, said.body)

    def said(self, status: int, headers: tuple[tuple[str, str], ...], body: bytes = b"") -> Answer:
        path = self.target.partition("?")[0]
        return Answer(
            status,
            headers,
            body,
            self.method,
            self.host,
            path,
            self.protocol,
            self.user_agent[:_LONGEST_SHOWN],
        )


def refused(slug: str) -> Answer:
    """A problem about something that is no request."""
    said = answer(problem(slug), method="")
    return Answer(said.status, said.headers, said.body)


def _answered(seen: _Seen, orders: Redirect, site: Compiled) -> Answer:
    if not is_site_host(site, seen.host):
        return seen.refused("unknown-host")
    if orders.mode == "refuse":
        return seen.refused("plain-http-refused")
    location = f"https://{_authority(seen.host, orders.public_port)}{seen.target}"
    return seen.said(308, (("location", location), ("content-length", "0")))


def _only_read(seen: _Seen) -> Answer:
    said = seen.refused("method-not-allowed")
    return replace(said, headers=(*said.headers, ("allow", "GET, HEAD")))


def _listed(seen: _Seen, published: Published) -> Answer:
    """The list, for its path spelled exactly, without a query; it is opened for its length, by HEAD too."""
    if seen.target != LIST:
        return seen.refused(UNKNOWN)
    if seen.method not in _READS:
        return _only_read(seen)
    file = published()
    if file is None:
        return seen.refused(UNKNOWN)
    fields = tuple((name.lower(), value) for name, value in FIELDS.items())
    headers = (("content-type", CONTENT_TYPE), ("content-length", str(file.size)), *fields)
    return replace(seen.said(200, headers), file=file)


def _proven(seen: _Seen, challenge: Challenge) -> Answer:
    if seen.method not in _READS:
        return _only_read(seen)
    token = seen.target.removeprefix(PATH)
    content = challenge(token) if TOKEN.fullmatch(token) else None
    if content is None:
        return seen.refused("challenge-unknown")
    headers = (
        ("content-type", "application/octet-stream"),
        ("content-length", str(len(content))),
        ("cache-control", "no-store"),
    )
    return seen.said(200, headers, content if seen.method == "GET" else b"")


def _authority(host: str, port: int) -> str:
    """The same name with the port of HTTPS; the usual one is left out where the client left its out too."""
    name, colon, after = host.rpartition(":")
    bare = not colon or after.endswith("]")
    name = host if bare else name
    return name if bare and port == 443 else f"{name}:{port}"
