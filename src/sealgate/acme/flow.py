"""What is known of an order -> the next step. Pure: nothing is sent, nothing is waited for here.

The order's way (RFC 8555 §7.1.6)::

    Ask ─► Look(authorizations) ─► Present ─► Respond ─► Look … ─► Finalise ─► Look … ─► Download
                                                                └► Withdraw before it

``obtain.py`` does each step, tells this module what it saw, and asks again. Whatever an authority says
(statuses nobody knows, names that are not ours, nothing for ever), the way ends: in :class:`Download`, or
:class:`Failed`.
Time is what was waited for in all, not what a clock says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sealgate.acme.order import Authorization, Identifier, Offer, Order
from sealgate.acme.problems import error_of, quoted
from sealgate.errors import AcmeError, Fault
from sealgate.policy.acme import Challenge

__all__ = [
    "Ask",
    "Download",
    "Failed",
    "Finalise",
    "Known",
    "Look",
    "Present",
    "Respond",
    "Step",
    "Withdraw",
    "has_waited",
    "next_step",
    "saw_authorization",
    "saw_order",
]

LIMIT = 900.0
"""Seconds waited for an order in all, before the authority is given up (until the next run)."""
_LOOKS = 400
"""Looks at an order in all: an authority whose every answer says "again at once" comes to an end too."""
_EACH = 2
"""Authorizations for each name that was asked for, at most; one is the rule."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,200}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known.

    Attributes:
        host: of the authority, for sentences.
        wanted: the order's identifiers.
        authorizations: by address, as last seen.
        presented, responded: addresses of challenges.
        finalised: the request was handed in, and the order was not seen since in a state that wants it again.
        waited: seconds, in all.
        still: seconds, since the order's status changed.
        looks: how often something was looked at.
        pause: the authority's own word on when to look again, in seconds; None: none.
    """

    host: str
    wanted: tuple[Identifier, ...]
    challenge: Challenge
    order: Order | None = None
    authorizations: Mapping[str, Authorization] = field(default_factory=dict)
    presented: frozenset[str] = frozenset()
    responded: frozenset[str] = frozenset()
    finalised: bool = False
    waited: float = 0.0
    still: float = 0.0
    looks: int = 0
    pause: float | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Make the order."""


@dataclass(frozen=True, slots=True)
class Look:
    """Wait so many seconds, then look at these addresses again; ``order``: at the order too."""

    authorizations: tuple[str, ...]
    order: bool
    after: float
    reason: str


@dataclass(frozen=True, slots=True)
class Present:
    """Show the answers to these challenges: an authorization each, and how it is proven."""

    offers: tuple[tuple[Authorization, Offer], ...]


@dataclass(frozen=True, slots=True)
class Respond:
    """Tell the authority that the answers are there."""

    offers: tuple[tuple[Authorization, Offer], ...]


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The authority has looked: show the answers no more."""


@dataclass(frozen=True, slots=True)
class Finalise:
    """Hand in the certificate signing request."""


@dataclass(frozen=True, slots=True)
class Download:
    """Fetch the certificate there."""

    url: str


@dataclass(frozen=True, slots=True)
class Failed:
    """There will be no certificate by this order, or not now.

    Attributes:
        over: the order is of no further use; else a later run may go on with it.
        pause: the authority's own word on when to look again, in seconds; None: none.
    """

    error: AcmeError
    over: bool
    pause: float | None = None


Step = Ask | Look | Present | Respond | Withdraw | Finalise | Download | Failed


def has_waited(known: Known, seconds: float) -> Known:
    """What is known, once it was waited for a look."""
    still = known.still + seconds
    return replace(known, waited=known.waited + seconds, still=still, looks=known.looks + 1, pause=None)


def saw_order(known: Known, order: Order, pause: float | None = None) -> Known:
    """What is known, after a look at the order."""
    moved = known.order is None or known.order.status != order.status
    return replace(
        known,
        order=order,
        pause=pause,
        still=0.0 if moved else known.still,
        looks=known.looks + 1,
    )


def saw_authorization(known: Known, url: str, seen: Authorization, pause: float | None = None) -> Known:
    """What is known, after a look at an authorization; `url` is where it was looked for."""
    pauses = [one for one in (known.pause, pause) if one is not None]
    return replace(
        known,
        authorizations={**known.authorizations, url: seen},
        pause=max(pauses, default=None),
        looks=known.looks + 1,
    )


def next_step(known: Known) -> Step:
    """The next step; ends after a bounded number of them whatever is seen in between."""
    order = known.order
    if order is None:
        return Ask()
    if len(order.authorizations) > _EACH * len(known.wanted):
        many = len(order.authorizations)
        return _odd(known, f"wants {many} authorizations for {len(known.wanted)} names")
    if order.status == "invalid":
        return _invalid(known, order)
    if set(order.identifiers) != set(known.wanted):
        return _odd(known, "made an order for other names than were asked for")
    if order.status == "pending":
        return _prove(known, order)
    return Withdraw() if known.presented else _collect(known, order)


def _collect(known: Known, order: Order) -> Step:
    """All names are proven."""
    if order.status == "ready" and not known.finalised and known.waited < LIMIT and known.looks < _LOOKS:
        return Finalise()
    if order.status == "valid" and order.certificate:
        return Download(order.certificate)
    if order.status in ("ready", "processing", "valid"):
        return _wait(known, (), order=True, reason=f"the order is {order.status}")
    return _odd(known, f"says that the order is {quoted(order.status, 40)}, which is no status of ACME")


def _prove(known: Known, order: Order) -> Step:
    unseen = tuple(url for url in order.authorizations if url not in known.authorizations)
    if not order.authorizations:
        return _odd(known, "made an order that waits for nothing that could be proven")
    if unseen:
        return _wait(replace(known, pause=0.0), unseen, order=False, reason="what is to be proven?")
    seen = [known.authorizations[url] for url in order.authorizations]
    for one in seen:
        if failed := _judge(known, one):
            return failed
    open_ = [one for one in seen if one.status == "pending"]
    chosen = [(one, _chosen(known, one)) for one in open_]
    for one, offer in chosen:
        if isinstance(offer, Failed):
            return offer
        if offer is None:
            return _not_offered(known, one)
    return _proceed(known, [(one, offer) for one, offer in chosen if isinstance(offer, Offer)])


def _proceed(known: Known, chosen: list[tuple[Authorization, Offer]]) -> Step:
    hidden = tuple(pair for pair in chosen if pair[1].url not in known.presented)
    if hidden:
        return Present(hidden)
    silent = tuple(
        pair for pair in chosen if pair[1].url not in known.responded and pair[1].status == "pending"
    )
    if silent:
        return Respond(silent)
    if chosen:
        names = ", ".join(one.identifier.value for one, _ in chosen[:3])
        return _wait(
            known, tuple(one.url for one, _ in chosen), order=False, reason=f"{names} is being looked at"
        )
    return _wait(known, (), order=True, reason="all names are proven")


def _judge(known: Known, one: Authorization) -> Failed | None:
    """An authorization that ends the order."""
    if one.status == "valid":
        return None
    if one.asked not in known.wanted:
        return _odd(known, f"wants a name proven that is not ours: {quoted(one.asked.value, 100)}")
    if one.status == "pending":
        return None
    if one.status in ("invalid", "deactivated", "expired", "revoked"):
        return Failed(_failure(known, one), over=True)
    return _odd(known, f"says that a name is {quoted(one.status, 40)}, which is no status of ACME")


def _failure(known: Known, one: Authorization) -> AcmeError:
    problem = next((offer.problem for offer in one.offers if offer.problem is not None), None)
    if problem is not None:
        return error_of(problem, known.host, names=(one.identifier.value,))
    return AcmeError(
        "acme-order-failed",
        f"{known.host} says that {quoted(one.identifier.value, 100)} is {one.status}, and not why",
        "it is tried again by itself; look at the authority's status page if it stays so",
        authority=known.host,
        names=(one.identifier.value,),
    )


def _chosen(known: Known, one: Authorization) -> Offer | Failed | None:
    offer = next((offer for offer in one.offers if offer.kind == known.challenge), None)
    if offer is None:
        return None
    if not _TOKEN.fullmatch(offer.token):
        return _odd(
            known, f"sent a token for {quoted(one.identifier.value, 100)} that is none (RFC 8555 §8.1)"
        )
    if offer.status not in ("pending", "processing", "valid"):
        return Failed(_failure(known, one), over=True)
    return offer


def _not_offered(known: Known, one: Authorization) -> Failed:
    kinds = ", ".join(quoted(offer.kind, 40) for offer in one.offers[:10]) or "nothing"
    error = AcmeError(
        "acme-challenge-missing",
        f"{known.host} does not offer {known.challenge} for {quoted(one.asked.value, 100)}, only {kinds}",
        "set certificate.acme.challenge to one of these; wildcards need dns-01, addresses cannot have it",
        authority=known.host,
        names=(one.asked.value,),
    )
    error.fault = Fault.CONFIGURATION
    return Failed(error, over=True)


def _invalid(known: Known, order: Order) -> Step:
    """Why? The order says it, or one of its authorizations, which are then looked at once more."""
    if order.problem is not None:
        names = tuple(name.value for name in known.wanted)
        return Failed(error_of(order.problem, known.host, names=names), over=True)
    stale = tuple(
        url
        for url in order.authorizations
        if url not in known.authorizations or known.authorizations[url].status in ("pending", "processing")
    )
    if stale and known.looks < _LOOKS and not known.still:
        return Look(stale, order=False, after=0.01, reason="why did the order fail?")
    for url in order.authorizations:
        one = known.authorizations.get(url)
        if one is not None and one.status != "valid" and one.asked in known.wanted:
            return Failed(_failure(known, one), over=True)
    error = AcmeError(
        "acme-order-failed",
        f"{known.host} gave up the order, and does not say why",
        "it is tried again by itself; look at the authority's status page if it stays so",
        authority=known.host,
    )
    return Failed(error, over=True)


def _wait(known: Known, authorizations: tuple[str, ...], *, order: bool, reason: str) -> Step:
    after = known.pause if known.pause is not None else _rhythm(known.still)
    if known.waited + after > LIMIT or known.looks >= _LOOKS:
        return Failed(_too_long(known, reason), over=False, pause=known.pause)
    return Look(authorizations, order=order, after=after, reason=reason)


def _rhythm(still: float) -> float:
    """Where the authority says nothing: soon at first, then every ten seconds."""
    return min(max(0.5, still / 2), 10.0)


def _too_long(known: Known, reason: str) -> AcmeError:
    error = AcmeError(
        "acme-timeout",
        f"{known.host} came to no end: {quoted(reason)} for {known.waited:.0f} s",
        "the order is gone on with at the next try, by itself",
        authority=known.host,
    )
    error.fault = Fault.PEER
    return error


def _odd(known: Known, fact: str) -> Failed:
    error = AcmeError(
        "acme-answer-invalid",
        f"{known.host} {fact}",
        "check that certificate.acme.directory is an ACME directory; else the authority is in trouble",
        authority=known.host,
    )
    error.fault = Fault.PEER
    return Failed(error, over=True)
