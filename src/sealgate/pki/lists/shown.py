"""The lists of the revoked that there are: our own, those in files, those that are fetched. Blocking."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from sealgate.pki.lists.file import age_of, lists_of
from sealgate.pki.lists.shelf import places_in
from sealgate.pki.state import State
from sealgate.policy.model import Policy

__all__ = ["Shown", "shown"]

_LARGEST = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Shown:
    """A list, in force or wanted.

    Attributes:
        authority: how the policy calls it.
        source: ``own``, the path of a file, or an address.
        number: its CRL number; None: it has none, or there is none yet.
        this_update, next_update: of the list in force; None: there is none yet, or it does not say.
        entries: who is on it.
        asked: when it was last asked for; None: never, or it is not fetched.
        problem: why the last answer did not count; empty: it did.
    """

    authority: str
    source: str
    number: int | None = None
    this_update: datetime | None = None
    next_update: datetime | None = None
    entries: int = 0
    asked: datetime | None = None
    problem: str = ""


def shown(state: State, policy: Policy) -> tuple[Shown, ...]:
    """In the policy's order.

    Raises:
        ValueError: one cannot be read.
    """
    return () if policy.clients.mode == "off" else tuple(_shown(state, policy))


def _shown(state: State, policy: Policy) -> Iterator[Shown]:
    places = places_in(state.fetched_lists) if policy.fetched_lists else ()
    for one in policy.clients.authorities:
        if one.own:
            yield from _of(one.name, "own", state.live_clients / "crl.pem")
        elif one.listed:
            yield from _of(one.name, one.crl, state.live_client_lists / f"{one.name}.pem")
        for place in places:
            if place.authority == one.name and one.fetched:
                before = place.before
                yield Shown(
                    authority=one.name,
                    source=" ".join(place.point.urls),
                    number=before.number if before else None,
                    this_update=before.this_update if before else None,
                    next_update=place.facts.next_update,
                    entries=place.count,
                    asked=place.facts.asked,
                    problem=place.problem,
                )


def _of(name: str, source: str, path: Path) -> Iterator[Shown]:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ValueError(f"{path.name}: {error.strerror}") from None
    if len(data) > _LARGEST:  # half of it would look as if the rest had gone
        raise ValueError(f"{path.name} is larger than {_LARGEST >> 20} MiB")
    for crl in lists_of(data) if data else ():
        yield Shown(name, source, _number(crl), crl.last_update_utc, crl.next_update_utc, len(crl))


def _number(crl: x509.CertificateRevocationList) -> int | None:
    return age_of(crl)[0] or None
