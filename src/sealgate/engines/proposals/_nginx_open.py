"""What nginx refuses to some today and would not any more: doors that a proposed policy opens.

A policy sends every path to one app or upstream. Whatever stands between a client and a path of nginx's, and
is neither client certificates nor the app's own, is gone then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sealgate.engines.configurations.directive import Directive
from sealgate.engines.proposals._nginx_fields import spoofable
from sealgate.engines.proposals._nginx_site import Site
from sealgate.engines.proposals.proposal import Opened

__all__ = ["opened"]

_REFUSAL = re.compile(r"4\d\d")
_VARIABLE = re.compile(r"\$\{?(\w+)")
_HOST = {"host", "http_host", "server_name", "scheme"}  # what a policy refuses and redirects by itself
_SWITCHED = {
    "auth_basic": "asks for a password (auth_basic)",
    "auth_request": "asks another server (auth_request)",
    "auth_jwt": "asks for a token (auth_jwt)",
    "auth_jwt_require": "asks for claims of a token (auth_jwt_require)",
}
_PLAIN = {
    "deny": "lets in by address only (allow, deny)",
    "limit_except": "refuses methods (limit_except)",
    "secure_link": "asks for a signed link (secure_link)",
    "secure_link_secret": "asks for a signed link (secure_link_secret)",
    "internal": "is not reached from outside (internal)",
}


def opened(
    site: Site, location: Directive | None, *, clients: bool, addresses: bool = False
) -> Iterator[Opened]:
    """Every block of the site that refuses somebody, once for each way in which it does.

    Args:
        site: the one that is proposed.
        location: whose backend becomes the policy's.
        clients: was ``ssl_verify_client`` carried over.
        addresses: were ``allow`` and ``deny``, which then stand nowhere else in the site.
    """
    if location is not None:
        yield from _whole_backend(location)
    for block in (site.http, *site.server.walk()):
        if block is site.http or block.block is not None:
            where = _named(block)
            for source, what in _refusals(block):
                if addresses and source.name == "deny":
                    continue
                yield Opened(source, f"{where} {what}; under this policy everybody gets through")
    verify = site.effective("ssl_verify_client")
    if verify is not None and verify.value != "off" and not clients:
        yield Opened(verify, f"{verify.name} {verify.value} is not carried over; no certificate is asked for")
    yield from spoofable(site)


def _whole_backend(location: Directive) -> Iterator[Opened]:
    """A backend of which nginx passes some paths on, and a policy all: its own /admin, its /metrics."""
    *how, where = location.args or ("/",)
    passed = location.own("proxy_pass")[0]
    path = re.search(r"(?<=[^:/])(?:/.*)$", passed.value.partition("://")[2].removeprefix("unix:/"))
    reached = path[0] if path and not how else where
    if reached == "/" or where.startswith("@"):
        return
    below = "what matches " if how and how[0].startswith("~") else ""
    yield Opened(
        passed,
        f"of this backend only {below}{reached[:60]} is passed on by {_named(location)}; "
        "under this policy everybody reaches every path of it",
    )


def _named(block: Directive) -> str:
    if block.name == "http":
        return "every site"
    return "the whole site" if block.name == "server" else " ".join((block.name, *block.args))[:80]


def _refusals(block: Directive) -> Iterator[tuple[Directive, str]]:
    seen = set()
    for one in block.inside:
        what = _what(one, block)
        if what and what not in seen:
            seen.add(what)
            yield one, what


def _what(one: Directive, block: Directive) -> str:
    if one.name == "deny" and one.value == "all" and not block.own("allow"):
        return "refuses everybody (deny)"
    if one.name in _SWITCHED:
        return "" if one.value == "off" else _SWITCHED[one.name]
    if one.name == "return" and _REFUSAL.fullmatch(one.value) and block.name == "location":
        return f"answers {one.value} to all (return)"
    if one.name == "if" and not _HOST & set(_VARIABLE.findall(" ".join(one.args))):
        refuses = any(each.name == "return" and _REFUSAL.fullmatch(each.value) for each in one.walk())
        return "refuses by a rule (if)" if refuses else ""
    return _PLAIN.get(one.name, "")
