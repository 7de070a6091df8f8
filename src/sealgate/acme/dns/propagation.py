"""Do all of a zone's own servers show the records? Asked before the authority is: its failures are counted.

A server that answers without the value is waited for. One that gives no answer at all is waited for too, but
not for ever: a resolver would pass it over as well, so after a while it is enough that all others have it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from sealgate.acme.dns.errors import error, short
from sealgate.acme.dns.lookup import Look, Lookup, Place
from sealgate.errors import AcmeError, Fault

__all__ = ["until_seen"]

_FIRST, _LONGEST, _FACTOR = 0.5, 15.0, 1.5
_SILENT = 20.0
"""Seconds that a server without an answer is waited for."""
_ROUND = 60.0
"""Seconds that all of them may take to be asked once: a zone may name many that are gone."""


_NOT_ASKED = Look(None, "it was not asked any more")


def until_seen(
    wanted: Mapping[Place, frozenset[str]],
    lookup: Lookup,
    *,
    seconds: float,
    wait: Callable[[float], None],
    say: Callable[[str], None],
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Block until all servers show all values.

    Args:
        wanted: the values, by where they stand.
        lookup: asks.
        seconds: the longest that this may take; they are asked once at least, which may take a minute more.
        wait: sleeps at most so long.
        say: told which server was passed over, and why.
        now: counts seconds.

    Raises:
        AcmeError: ``acme-dns-unseen``: which server lacks what.
    """
    began, pause = now(), _FIRST
    while True:
        lacking, silent, shown = _round(wanted, lookup, wait, now)
        passed = now() - began
        if not lacking and not silent:
            return
        if not lacking and shown and passed >= min(_SILENT, seconds):
            say(f"passed over: {', '.join(silent)}; the zone's other servers show the records")
            return
        if passed >= seconds:
            raise _unseen([*lacking, *silent], seconds)
        wait(max(min(pause, seconds - passed), 0.01))
        pause = min(pause * _FACTOR, _LONGEST)


def _round(
    wanted: Mapping[Place, frozenset[str]],
    lookup: Lookup,
    wait: Callable[[float], None],
    now: Callable[[], float],
) -> tuple[list[str], list[str], int]:
    """Who lacks something, who is silent, and how many show everything."""
    lacking, silent, shown = [], [], 0
    end = now() + _ROUND
    for place, values in wanted.items():
        for server in place.servers:
            wait(0)  # servers that are gone take their time: who stops is heard in between
            look = lookup.look(server, place.name) if now() < end else _NOT_ASKED
            if look.values is None:
                silent.append(f"{short(server.name)} gives no answer ({look.reason})")
            elif values <= look.values:
                shown += 1
            else:
                lacking.append(f"{short(server.name)} lacks {short(place.name)}")
    return lacking, silent, shown


def _unseen(servers: Sequence[str], seconds: float) -> AcmeError:
    return error(
        "acme-dns-unseen",
        f"the TXT records are set but not seen everywhere after {seconds:g} s: {short('; '.join(servers))}",
        "see why that is so (dig +norecurse TXT NAME @SERVER), or raise certificate.acme.dns.propagation",
        fault=Fault.CONFIGURATION,
        servers=tuple(servers),
    )
