"""An nginx configuration as a policy: what carries over, what changes, and what is left, each with its place.

Every directive of the site is accounted for: carried, changed, left, or in :data:`PLUMBING`, the names of
what any server decides for itself. A directive that nobody thought of is left, never dropped.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence

from sealgate.engines.configurations.directive import Configuration, Directive
from sealgate.engines.proposals._nginx_addresses import addresses
from sealgate.engines.proposals._nginx_backend import limits, location_of, timeouts, upstream
from sealgate.engines.proposals._nginx_hsts import hsts
from sealgate.engines.proposals._nginx_open import opened
from sealgate.engines.proposals._nginx_site import Site, choose, listeners, names, plain_http, server_names
from sealgate.engines.proposals._nginx_time import shorter
from sealgate.engines.proposals._nginx_tls import certificate, clients, profile
from sealgate.engines.proposals._nginx_words import ELSE, PLUMBING, PROGRAM, SET_ANYWAY, WHY
from sealgate.engines.proposals.proposal import (
    Carried,
    Changed,
    Finding,
    Key,
    Left,
    Opened,
    Proposal,
    Shorter,
)

__all__ = ["propose_nginx"]


_CHALLENGES = "/.well-known/acme-challenge"
_ANSWERED = (
    "an ACME client of yours answers there; Sealgate's site does from now on, for certificates that it "
    'obtains itself (certificate.source = "acme")'
)


def propose_nginx(configuration: Configuration, *, wanted: str = "") -> Proposal | None:
    """The policy that says what the configuration says, as far as one can.

    Args:
        configuration: see :func:`sealgate.engines.configurations.nginx.read_nginx`.
        wanted: the site's name among several; empty: the first with TLS and a backend.

    Returns:
        None where there is no such server block.
    """
    site = choose(configuration, wanted)
    if site is None:
        return None
    folder = posixpath.dirname(configuration.root.file)
    location = location_of(site.server)
    findings = [
        *names(site), *listeners(site), *plain_http(site), *upstream(site, location),
        *certificate(site, folder), *profile(site), *clients(site, folder), *hsts(site, location),
        *limits(site, location), *timeouts(site, location), *addresses(site),
    ]  # fmt: skip
    findings = list(_consistent(findings))
    findings += _rest(site, location, {_key(one.source) for one in findings})
    carried = {one.key: one.value for one in findings if isinstance(one, Carried)}
    asked = ("clients", "mode") in carried
    ruled = bool({("network", "allow"), ("network", "deny")} & carried.keys())
    findings += [*opened(site, location, clients=asked, addresses=ruled), *shorter(site, carried)]
    return _proposal(findings, configuration)


def _consistent(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Without HTTP/3 where the policy could not have it beside client certificates or the PROXY protocol."""
    findings = list(findings)
    carried = {one.key: one.value for one in findings if isinstance(one, Carried)}
    clash = ("clients", "mode") in carried or ("listen", "proxy_protocol") in carried
    for one in findings:
        if clash and isinstance(one, Carried) and one.key == ("listen", "http3"):
            yield Left(
                one.source, "no HTTP/3 together with client certificates or the PROXY protocol for now"
            )
        else:
            yield one


def _rest(site: Site, location: Directive | None, seen: set[_Identity]) -> Iterator[Left]:
    """Everything of the site that nobody has spoken of."""
    for level in (site.http, site.server, *site.plain, location):
        for one in level.inside if level else ():
            if one is location or _key(one) in seen or one.name in PLUMBING or _holds_anyway(one):
                continue
            if level is site.http and one.block is None and site.server.own(one.name):
                continue  # the server has its own, and does not inherit this
            if any(level is plain for plain in site.plain) and one.name in {"location", "if", "return"}:
                if one.name != "location" or _CHALLENGES not in " ".join(one.args):
                    continue  # plain HTTP: what it answers is `http.mode`
                yield Left(one, _ANSWERED)
                continue
            yield Left(one, WHY.get(one.name) or (PROGRAM if _is_program(one.name) else ELSE))
    for other in site.others:
        said = ", ".join(server_names(other)[:3]) or "no name"
        yield Left(other, f"another site ({said}): a policy is about one; `--name` chooses which")


def _is_program(name: str) -> bool:
    return "_by_lua" in name or name.startswith(("lua_", "js_", "perl"))


def _holds_anyway(directive: Directive) -> bool:
    """Does every engine do the same, whatever the policy says?"""
    if directive.name == "underscores_in_headers":
        return directive.value == "off"
    return directive.name == "proxy_set_header" and directive.value.lower() in SET_ANYWAY


_Identity = tuple[str, int, str, int, tuple[str, ...]]
_WORDS = 20
"""So many of a directive's words tell it from others in its line, and fill a line of ours."""


def _key(directive: Directive) -> _Identity:
    return directive.file, directive.line, directive.name, len(directive.args), directive.args[:_WORDS]


def _proposal(findings: Sequence[Finding], configuration: Configuration) -> Proposal:
    chosen: dict[Key, object] = {}
    origins: dict[Key, str] = {}
    opened: dict[tuple[str, str], None] = {}
    shorter: dict[tuple[str, str], None] = {}
    changed: dict[tuple[str, str], None] = {}
    left: dict[tuple[str, str, str], None] = {}
    said = {Opened: opened, Shorter: shorter, Changed: changed}
    for one in sorted(findings, key=lambda each: (each.source.file, each.source.line)):
        if isinstance(one, Left):
            left[one.source.place, _said(one.source), one.why] = None
        elif not isinstance(one, Carried):
            said[type(one)][one.source.place, one.why] = None
    for one in findings:  # in the order in which they were said: a later word on a key counts
        if isinstance(one, Carried):
            chosen[one.key], origins[one.key] = one.value, one.source.place
    unread = {(one.place, "", one.why): None for one in configuration.unread}
    return Proposal(
        chosen=chosen,
        origins=origins,
        opened=tuple(opened),
        shorter=tuple(shorter),
        changed=tuple(changed),
        left=(*unread, *left),
    )


def _said(directive: Directive) -> str:
    """The directive, shortened; most values are left out: they may be secrets, and a policy file has none."""
    words = directive.args if directive.name in {"location", "server_name", "listen"} else directive.args[:1]
    if directive.name == "if" or _is_program(directive.name):
        words = ()
    text = " ".join((directive.name, *words[:_WORDS], *("…" for _ in words[_WORDS : _WORDS + 1])))
    return text if len(text) <= 80 else f"{text[:79]}…"
