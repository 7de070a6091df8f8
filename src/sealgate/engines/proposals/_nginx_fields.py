"""Request fields that nginx sets or blanks towards the backend: by a policy clients can send them.

What a client sends under such a name never reaches the backend today, so the app may well believe it.
Sealgate sets or takes out :mod:`sealgate.policy.claims` alone; every other field arrives
as the client wrote it.
"""

from __future__ import annotations

from collections.abc import Iterator

from sealgate.engines.configurations.directive import Directive
from sealgate.engines.proposals._nginx_site import Site
from sealgate.engines.proposals._nginx_words import SET_ANYWAY
from sealgate.engines.proposals.proposal import Opened
from sealgate.policy.claims import KNOWN

__all__ = ["spoofable"]

# Of one hop alone, or the server's own: what a client says there is never passed on as it is.
_SAFE = SET_ANYWAY.union(KNOWN, {"content-length", "transfer-encoding", "keep-alive"})
_FIELDS = frozenset({"proxy_set_header", "grpc_set_header"})
# Variables of CGI: those that begin with HTTP_ are request fields, the others no client can name.
_PARAMETERS = frozenset({"uwsgi_param", "fastcgi_param", "scgi_param"})
_MORE = frozenset({"more_set_input_headers", "more_clear_input_headers"})
_ALL = _FIELDS | _PARAMETERS | _MORE
_NOTHING_PASSED = frozenset(f"{way}_pass_request_headers" for way in ("proxy", "uwsgi", "fastcgi", "scgi"))


def spoofable(site: Site) -> Iterator[Opened]:
    """Each such field once, at the first place that names it; no value is repeated: it may be a secret."""
    seen: set[str] = set()
    for one in _directives(site):
        if one.name in _NOTHING_PASSED and one.value == "off":
            yield Opened(one, f"no request field is passed on today ({one.name}); {_NOW.format('any')}")
        for name in _names(one):
            plain = name.lower().replace("_", "-")  # to a CGI variable they are the same
            if plain not in seen and plain not in _SAFE and not _passed_on(one, name):
                seen.add(plain)
                yield Opened(one, f"{name[:60]} is the server's to set today; {_NOW.format('it')}")


_NOW = "a client can now send {} itself: the app must not trust it"


def _directives(site: Site) -> Iterator[Directive]:
    """In the order of the files, what is inherited first."""
    names = _ALL | _NOTHING_PASSED
    for one in site.http.inside:
        if one.name in names and not site.server.own(one.name):
            yield one
    for server in (site.server, *site.plain):
        yield from (one for one in server.walk() if one.name in names)


def _names(one: Directive) -> Iterator[str]:
    if one.name in _FIELDS and one.value:
        yield one.value
    elif one.name in _PARAMETERS and one.value.upper().startswith("HTTP_"):
        yield one.value[len("HTTP_") :].replace("_", "-").title()
    elif one.name in _MORE:
        # 'Name: value' or 'Name'; what has a slash is a media type after -t.
        words = (word.partition(":")[0].strip() for word in one.args if not word.startswith("-"))
        yield from (word for word in words if word and "/" not in word)


def _passed_on(one: Directive, name: str) -> bool:
    """Is it the client's own already?"""
    variable = f"http_{name.lower().replace('-', '_')}"
    return len(one.args) > 1 and one.args[1].lower() in {f"${variable}", f"${{{variable}}}"}
