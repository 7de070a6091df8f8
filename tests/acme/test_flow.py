"""The flow, by tables and by whatever an authority may come up with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealgate.acme import flow
from sealgate.acme.flow import Known, next_step, saw_authorization, saw_order
from sealgate.acme.order import Authorization, Identifier, Offer, Order, identifiers
from sealgate.acme.problems import Problem

NAMES = identifiers(("a.example", "*.b.example", "192.0.2.1"))
TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"


def known(**facts: Any) -> Known:
    return Known("ca.example", NAMES, "http-01", **facts)


def order(status: str = "pending", **facts: Any) -> Order:
    urls = tuple(f"https://ca.example/authz/{number}" for number in range(len(NAMES)))
    return Order("https://ca.example/order", status, NAMES, urls, "https://ca.example/finalize", **facts)


def authorization(
    number: int, status: str = "pending", *, offer: str = "pending", **facts: Any
) -> Authorization:
    name = NAMES[number]
    wildcard = name.value.startswith("*.")
    bare = Identifier(name.kind, name.value.removeprefix("*."))
    one = Offer("http-01", f"https://ca.example/chall/{number}", TOKEN, offer)
    return replace(
        Authorization(f"https://ca.example/authz/{number}", bare, status, (one,), wildcard), **facts
    )


def all_seen(*statuses: str, at: Known | None = None) -> Known:
    state = at or saw_order(known(), order())
    for number, status in enumerate(statuses):
        one = authorization(number, status)
        state = saw_authorization(state, one.url, one)
    return state


CHALLENGES = frozenset(f"https://ca.example/chall/{number}" for number in range(3))


def test_the_whole_way() -> None:
    state = known()
    assert next_step(state) == flow.Ask()
    state = saw_order(state, order())
    step = next_step(state)
    assert isinstance(step, flow.Look)
    assert step.authorizations == order().authorizations
    assert step.after == 0
    state = all_seen("pending", "valid", "pending", at=state)
    step = next_step(state)
    assert isinstance(step, flow.Present)
    assert [one.identifier.value for one, _ in step.offers] == ["a.example", "192.0.2.1"]
    state = replace(state, presented=CHALLENGES)
    step = next_step(state)
    assert isinstance(step, flow.Respond)
    assert len(step.offers) == 2
    state = replace(state, responded=CHALLENGES)
    step = next_step(state)
    assert isinstance(step, flow.Look)
    assert step.authorizations == (order().authorizations[0], order().authorizations[2])
    assert step.after > 0
    state = all_seen("valid", "valid", "valid", at=state)
    step = next_step(state)
    assert isinstance(step, flow.Look)
    assert step.order
    state = saw_order(state, order("ready"))
    assert next_step(state) == flow.Withdraw()
    state = replace(state, presented=frozenset())
    assert next_step(state) == flow.Finalise()
    state = replace(saw_order(state, order("processing")), finalised=True)
    assert isinstance(next_step(state), flow.Look)
    state = saw_order(state, order("valid", certificate="https://ca.example/cert"))
    assert next_step(state) == flow.Download("https://ca.example/cert")


def test_an_order_that_is_ready_at_once_is_finalised_at_once() -> None:
    assert next_step(saw_order(known(), order("ready"))) == flow.Finalise()


def test_the_authoritys_word_on_when_to_look_counts() -> None:
    state = saw_order(replace(known(), finalised=True), order("processing"), pause=17.0)
    step = next_step(state)
    assert isinstance(step, flow.Look)
    assert step.after == 17.0


def test_who_says_wait_an_hour_is_asked_again_by_the_next_run() -> None:
    step = next_step(saw_order(replace(known(), finalised=True), order("processing"), pause=3600.0))
    assert isinstance(step, flow.Failed)
    assert step.error.code == "acme-timeout"
    assert not step.over


PROBLEM = Problem("caa", "CAA says no", name="a.example")
OTHER = Identifier("dns", "evil.example")
ODD = "acme-answer-invalid"


@pytest.mark.parametrize(
    ("state", "code", "over"),
    (
        (saw_order(known(), order("invalid", problem=PROBLEM)), "acme-caa", True),
        (replace(all_seen("valid", "invalid", "valid"), order=order("invalid")), "acme-order-failed", True),
        (saw_order(known(), order("invented")), ODD, True),
        (saw_order(known(), order("")), ODD, True),
        (saw_order(known(), replace(order(), identifiers=NAMES[:2])), ODD, True),
        (saw_order(known(), replace(order(), identifiers=(*NAMES, OTHER))), ODD, True),
        (saw_order(known(), replace(order(), identifiers=())), ODD, True),
        (saw_order(known(), replace(order(), authorizations=())), ODD, True),
        (all_seen("valid", "deactivated", "valid"), "acme-order-failed", True),
        (all_seen("valid", "invented", "valid"), ODD, True),
        (replace(known(), order=order("processing"), waited=900), "acme-timeout", False),
        (replace(known(), order=order("ready"), waited=900), "acme-timeout", False),
        (replace(known(), order=order("valid"), waited=900), "acme-timeout", False),
        (replace(known(), order=order(), looks=10_000), "acme-timeout", False),
    ),
)
def test_what_ends_an_order(state: Known, code: str, over: bool) -> None:
    step = next_step(state)
    assert isinstance(step, flow.Failed)
    assert (step.error.code, step.over) == (code, over)


def _with(one: Authorization) -> Known:
    return saw_authorization(all_seen("valid", "valid", "valid"), one.url, one)


@pytest.mark.parametrize(
    ("one", "code"),
    (
        (authorization(0, identifier=OTHER), ODD),
        (authorization(0, wildcard=True), ODD),
        (authorization(1, wildcard=False), ODD),
        (authorization(0, offers=()), "acme-challenge-missing"),
        (
            authorization(0, offers=(Offer("dns-01", "https://ca.example/c", TOKEN, "pending"),)),
            "acme-challenge-missing",
        ),
        (
            authorization(
                0, offers=(Offer("http-01", "https://ca.example/c", "../../etc/passwd", "pending"),)
            ),
            ODD,
        ),
        (authorization(0, offers=(Offer("http-01", "https://ca.example/c", "", "pending"),)), ODD),
        (authorization(0, offers=(Offer("http-01", "https://ca.example/c", "short", "pending"),)), ODD),
        (
            authorization(0, offers=(Offer("http-01", "https://ca.example/c", TOKEN, "invalid", PROBLEM),)),
            "acme-caa",
        ),
        (
            authorization(0, offers=(Offer("http-01", "https://ca.example/c", TOKEN, "odd"),)),
            "acme-order-failed",
        ),
        (
            authorization(
                0, "invalid", offers=(Offer("http-01", "https://ca.example/c", TOKEN, "invalid", PROBLEM),)
            ),
            "acme-caa",
        ),
    ),
)
def test_what_is_never_proven(one: Authorization, code: str) -> None:
    step = next_step(_with(one))
    assert isinstance(step, flow.Failed)
    assert step.error.code == code


def test_a_foreign_name_that_is_proven_already_asks_nothing_of_us() -> None:
    """RFC 8555 §7.1.3: authorizations need not be one to one with the names."""
    step = next_step(_with(authorization(0, "valid", identifier=OTHER)))
    assert isinstance(step, flow.Look)
    assert step.order


def test_the_reason_of_a_failed_order_is_looked_for_once() -> None:
    state = replace(all_seen("valid", "pending", "valid"), order=order("invalid"))
    step = next_step(state)
    assert isinstance(step, flow.Look)
    assert step.authorizations == (order().authorizations[1],)
    state = flow.has_waited(state, step.after)
    step = next_step(state)
    assert isinstance(step, flow.Failed)


TEXT = st.sampled_from(
    ["pending", "ready", "processing", "valid", "invalid", "deactivated", "expired", "revoked", "odd", ""]
)
IDENTIFIERS = st.sampled_from([*NAMES, OTHER, Identifier("dns", "b.example"), Identifier("odd", "a.example")])
OFFERS = st.builds(
    Offer,
    kind=st.sampled_from(["http-01", "dns-01", "odd"]),
    url=st.sampled_from(["https://ca.example/1", "https://ca.example/2", "https://ca.example/3"]),
    token=st.sampled_from([TOKEN, "", "../x", "a" * 5000]),
    status=TEXT,
    problem=st.none() | st.just(PROBLEM),
)
URLS = st.sampled_from([f"https://ca.example/authz/{number}" for number in range(5)])
AUTHORIZATIONS = st.builds(
    Authorization,
    url=URLS,
    identifier=IDENTIFIERS,
    status=TEXT,
    offers=st.lists(OFFERS, max_size=3).map(tuple),
    wildcard=st.booleans(),
)
ORDERS = st.builds(
    Order,
    url=st.just("https://ca.example/order"),
    status=TEXT,
    identifiers=st.just(NAMES) | st.lists(IDENTIFIERS, max_size=4).map(tuple),
    authorizations=st.lists(URLS, max_size=5, unique=True).map(tuple),
    finalize=st.just("https://ca.example/finalize"),
    certificate=st.sampled_from(["", "https://ca.example/cert"]),
    problem=st.none() | st.just(PROBLEM),
)
PAUSES = st.none() | st.floats(0, 10_000)


def _stubborn(data: st.DataObject) -> Any:
    """An authority that says what it likes, or always the same."""
    fixed = data.draw(st.booleans())
    first: dict[str, Any] = {}

    def draw(what: str, strategy: st.SearchStrategy[Any]) -> Any:
        if not fixed or what not in first:
            first[what] = data.draw(strategy)
        return first[what]

    return draw


@settings(max_examples=120)
@given(st.data())
def test_whatever_an_authority_says_there_is_an_end_and_no_foreign_name_is_proven(
    data: st.DataObject,
) -> None:
    draw, state, total = _stubborn(data), known(), 0.0
    for _ in range(3000):
        step = next_step(state)
        if isinstance(step, flow.Failed | flow.Download):
            assert state.order is not None
            break
        state, spent = _played(step, state, draw)
        total += spent
    else:
        raise AssertionError("no end")
    assert total <= flow.LIMIT + 2


def _played(step: flow.Step, state: Known, draw: Any) -> tuple[Known, float]:
    match step:
        case flow.Ask():
            return saw_order(state, draw("order", ORDERS)), 0
        case flow.Look():
            assert 0 <= step.after <= flow.LIMIT
            state = flow.has_waited(state, step.after)
            for url in step.authorizations:
                state = saw_authorization(state, url, draw(url, AUTHORIZATIONS), draw("pause", PAUSES))
            if step.order:
                state = saw_order(state, draw("order", ORDERS), draw("pause", PAUSES))
            return state, step.after
        case flow.Present() | flow.Respond():
            for one, offer in step.offers:
                assert one.asked in NAMES
                assert (offer.kind, offer.token) == ("http-01", TOKEN)
            urls = frozenset(offer.url for _, offer in step.offers)
            if isinstance(step, flow.Present):
                return replace(state, presented=state.presented | urls), 0
            assert urls <= state.presented
            return replace(state, responded=state.responded | urls), 0
        case flow.Withdraw():
            assert state.presented
            return replace(state, presented=frozenset()), 0
        case _:
            assert isinstance(step, flow.Finalise)
            assert not state.presented
            assert state.order is not None
            assert state.order.status == "ready"
            if draw("not ready", st.booleans()):
                return flow.has_waited(state, 2), 2
            return replace(saw_order(state, draw("order", ORDERS)), finalised=True), 0
