"""How long nginx waits today, and how much shorter a proposed policy would."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pydantic import TypeAdapter, ValidationError

from sealgate.engines.configurations.directive import Directive
from sealgate.engines.proposals._nginx_site import Site
from sealgate.engines.proposals.proposal import Key, Shorter
from sealgate.policy.model import Policy
from sealgate.policy.values import Duration

__all__ = ["SECOND", "milliseconds", "shorter", "written"]

SECOND = 1000
_DURATION: TypeAdapter[float] = TypeAdapter(Duration)
_TIME = re.compile(r"(\d{1,9})(ms|[smhdwMy]?)", re.ASCII)
_UNITS = {
    "ms": 1, "": 1000, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000,
    "M": 30 * 86_400_000, "y": 365 * 86_400_000,
}  # fmt: skip

# Directive, its default in nginx where that is longer than ours, the keys whose shortest counts, in words.
_TIMERS = (
    ("client_header_timeout", "", ("handshake", "headers"), "a request header may take"),
    ("client_body_timeout", "", ("request", "idle"), "a pause in a request body may last"),
    ("proxy_read_timeout", "60s", ("request", "idle"), "a pause before or in an answer may last"),
    ("proxy_send_timeout", "", ("request", "idle"), "the backend may take"),
    ("send_timeout", "", ("idle",), "a client may take nothing for"),
    ("keepalive_timeout", "75s", ("idle",), "a connection without a request is kept for"),
)


def shorter(site: Site, chosen: Mapping[Key, object]) -> Iterator[Shorter]:
    """Every time of the site that gets shorter by a proposal, its defaults among them.

    Args:
        site: the one that is proposed.
        chosen: the keys of the proposal; the others have their defaults.
    """
    for name, default, keys, words in _TIMERS:
        holds = min(_holds(key, chosen) for key in keys)
        said = [one for one in site.server.walk() if one.name == name] or list(site.http.own(name)[-1:])
        for one in said or ([_default(site, name, default)] if default else []):
            today = _total(one.value)
            if today is not None and today > holds:
                by = " and ".join(f"timeouts.{key}" for key in keys)
                yield Shorter(
                    one,
                    f"{name} {one.value}{'' if said else ' (the default)'}: {words} {written(holds)} at most"
                    f" now, by {by}",
                )


def _default(site: Site, name: str, value: str) -> Directive:
    """What nginx does where nothing is said, at the place of the server block."""
    return Directive(name, (value,), site.server.file, site.server.line)


def _holds(key: str, chosen: Mapping[Key, object]) -> int:
    said = chosen.get(("timeouts", key))
    seconds = _DURATION.validate_python(said) if said is not None else getattr(Policy().timeouts, key)
    return round(seconds * SECOND)


def _total(text: str) -> int | None:
    """``1m30s`` in milliseconds; None: it is no time, or known only while nginx runs."""
    parts = _TIME.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


def milliseconds(text: str) -> int | None:
    """``1m30s`` in milliseconds, as far as a policy can say it."""
    total = _total(text)
    try:
        _DURATION.validate_python(written(total or 0))
    except ValidationError:
        return None
    return total


def written(milliseconds: int) -> str:
    """As a policy has it: ``1500ms``, ``90s``."""
    return f"{milliseconds}ms" if milliseconds % SECOND else f"{milliseconds // SECOND}s"
