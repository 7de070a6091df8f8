"""Strict-Transport-Security of nginx's as ``http.hsts``: by a policy the server sends it, with every answer.

Browsers remember one value for a host, whichever of its answers said so: that a field stands in one location
only, or is shadowed at another level, makes no difference to them. So wherever it stands it is carried over,
or it is said what is sent instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sealgate.engines.configurations.directive import Directive
from sealgate.engines.proposals._nginx_site import Site, server_names
from sealgate.engines.proposals.proposal import Carried, Changed, Finding, Left
from sealgate.policy.model import Hsts, Http, Policy

__all__ = ["hsts"]

_FIELD = "strict-transport-security"
_LONGEST_AGE = 10 * 366 * 86400
_YEAR = 31536000
_AGE = re.compile(r'max-age\s*=\s*"?(\d{1,10})"?')


@dataclass(frozen=True, slots=True)
class _Said:
    """A field's value, as it was written (RFC 6797 §6.1)."""

    seconds: int
    below: bool
    preload: bool

    @classmethod
    def of(cls, text: str) -> _Said | None:
        """None: it says no number of seconds, or that is known only while nginx runs."""
        words = [word.strip().lower() for word in text.split(";")]
        age = next((_AGE.fullmatch(word) for word in words if "max-age" in word), None)
        return cls(int(age[1]), "includesubdomains" in words, "preload" in words) if age else None

    def hsts(self) -> Hsts:
        """As the policy has it."""
        seconds = min(self.seconds, _LONGEST_AGE)
        preload = self.preload and self.below and seconds >= _YEAR
        return Hsts(max_age=seconds, include_subdomains=self.below, preload=preload)


def hsts(site: Site, location: Directive | None) -> Iterator[Finding]:
    """The field that browsers got as ``http.hsts``; of each other one what is sent in its place."""
    effective = _effective(site, location)
    found = list(dict.fromkeys((*effective, *_everywhere(site))))
    carried = next((one for one in found if _Said.of(_value(one) or "")), None)
    said = _Said.of(_value(carried) or "") if carried else None
    sent = _sent(site, said.hsts() if said else Hsts())
    if carried is not None and said is not None:
        yield from _carried(carried, said)
        if carried not in effective:
            yield Changed(carried, f"http.hsts sends it with every answer, not there alone: {sent}")
    if not found:
        why = f"Strict-Transport-Security is sent now: {sent}; begin with http.hsts.max_age = 300 if unsure"
        yield Changed(site.server, why)
    yield from (Changed(one, _instead(one, said, sent)) for one in found if one is not carried)
    for one in (each for server in site.plain for each in server.walk() if _value(each) is not None):
        yield Left(one, "browsers ignore it over plain HTTP (RFC 6797 §8.1); http.hsts sends it over HTTPS")


def _instead(header: Directive, carried: _Said | None, sent: str) -> str:
    mine = _Said.of(_value(header) or "")
    if mine is None:
        return f"no number of seconds is known before nginx runs; http.hsts sends {sent} instead"
    other = "" if mine == carried else ": another value than is set here"
    return f"http.hsts sends {sent} with every answer{other}"


def _carried(header: Directive, said: _Said) -> Iterator[Finding]:
    wanted = said.hsts()
    yield Carried(("http", "hsts", "max_age"), wanted.max_age, header)
    if wanted.max_age != said.seconds:
        yield Changed(header, f"max-age={wanted.max_age} is sent: http.hsts.max_age is ten years at most")
    if wanted.include_subdomains:
        yield Carried(("http", "hsts", "include_subdomains"), value=True, source=header)
    if wanted.preload:
        yield Carried(("http", "hsts", "preload"), value=True, source=header)
    elif said.preload:
        yield Changed(header, "preload is left out: it needs includeSubDomains and a year")
    if header.name == "add_header" and "always" not in header.args[2:]:
        yield Changed(header, "sent with every status now, errors included")


def _sent(site: Site, wanted: Hsts) -> str:
    """What the proposed policy's server says; loopback names are told less."""
    name = next((word for word in server_names(site.server) if word not in {"", "_", "__"}), "localhost")
    return Policy(http=Http(hsts=wanted)).hsts_value(name)


def _value(directive: Directive) -> str | None:
    """Of this field, if it is set here; several in one ``more_set_headers`` are not taken apart."""
    if directive.name == "add_header" and directive.value.lower() == _FIELD:
        return directive.args[1] if len(directive.args) > 1 else ""
    if directive.name == "more_set_headers" and len(directive.args) == 1:
        name, _, value = directive.value.partition(":")
        return value.strip() if name.strip().lower() == _FIELD else None
    return None


def _effective(site: Site, location: Directive | None) -> tuple[Directive, ...]:
    """As nginx inherits it: a level with any ``add_header`` takes none from above."""
    for level in (location, site.server, site.http):
        found = level.own("add_header") if level else ()
        if found:
            return tuple(one for one in found if _value(one) is not None)
    return ()


def _everywhere(site: Site) -> tuple[Directive, ...]:
    """Wherever else it is set, in what belongs to the site."""
    inside = (*site.server.walk(), *(one for one in site.http.inside if one.block is None))
    return tuple(one for one in inside if _value(one) is not None)
