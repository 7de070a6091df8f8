"""In front of another backend there is no guard: the engine judges what the guard would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from sealgate.engines.registry import engine
from sealgate.guard.headers import is_spoofable
from sealgate.policy import claims
from sealgate.policy.load import load
from tests.contract.sites import askable, engine_of, environment
from tests.contract.test_http import CANONICAL, ODD, plain_to_see
from tests.contract.test_spoofing import ADDRESS, NAMES, UNKNOWN, WORD, value
from tests.live.backend import Backend, backend
from tests.live.served import Served, serve
from tests.live.wire import Answer, get, h2_connection, tell

BY_NAME = {"nginx"}
"""Engines that can take out fields by their whole names only; their promise says so, and how many."""

KNOWN = list(claims.KNOWN)
OURS = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"}
Fields = list[tuple[str, str]]


class Pair(NamedTuple):
    """An engine, and what stands behind it."""

    served: Served
    other: Backend
    engine: str


@pytest.fixture(scope="module", params=askable("upstream"))
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("upstream")
    which, env = engine_of(request.param), environment(request.param)
    with backend() as other, serve(folder, env=env, site={"upstream": other.url, "engine": which}) as served:
        yield Pair(served, other, which)


def asked(served: Served, path: str, host: str = "localhost") -> list[Answer]:
    """Over HTTP/1.1 and HTTP/2."""
    connection = h2_connection(served)
    with connection.sock:
        second = connection.ask(path, host)
    assert second is not None, "the stream was cut"
    return [*tell(served, get(host, path)), second]


@pytest.mark.parametrize("target", CANONICAL)
def test_a_path_arrives_as_it_came(site: Pair, target: str) -> None:
    served, other, _ = site
    before = len(other.seen)
    for answer in asked(served, target):
        assert answer.status == 200
        plain_to_see(answer)
    assert [seen["path"] for seen in other.seen[before:]] == [target, target]


def test_what_could_be_read_in_two_ways_is_refused(site: Pair) -> None:
    served, other, _ = site
    before = len(other.seen)
    for target in ODD:
        for answer in asked(served, target):
            assert (answer.status, answer.slug) in {(400, "path-not-canonical"), (400, "bad-request")}, target
            plain_to_see(answer)
    assert other.seen[before:] == []


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "localhost:1", "localhost."])
def test_another_host_is_421(site: Pair, host: str) -> None:
    served, other, _ = site
    before = len(other.seen)
    for answer in asked(served, "/x", host):
        assert (answer.status, answer.slug) == (421, "unknown-host")
        plain_to_see(answer)
    assert other.seen[before:] == []


def arrived(site: Pair, *lines: str, alpn: str = "http/1.1") -> list[Fields]:
    """The fields with which this request got through, in a list; empty where it was refused."""
    before = len(site.other.seen)
    if alpn == "h2":
        connection = h2_connection(site.served)
        with connection.sock:
            pairs = [
                (name.lower(), text.strip()) for name, _, text in (line.partition(":") for line in lines)
            ]
            answer = connection.ask("/x", "localhost", *pairs)
    else:
        (answer,) = tell(site.served, get("localhost", "/x", *lines))
    assert answer is None or answer.status in {200, 400}
    return [seen["fields"] for seen in site.other.seen[before:]]


def nothing_of_it(site: Pair, fields: Fields) -> None:
    text = json.dumps(fields)
    assert WORD not in text
    assert ADDRESS not in text
    assert not [name for name, _ in fields if "_" in name]
    said = {name for name, _ in fields if is_spoofable(name)}
    assert said == OURS
    true_words(site.served, fields)


def true_words(served: Served, fields: Fields) -> None:
    said = [(name, text) for name, text in fields if name.startswith("x-forwarded-")]
    assert sorted(said) == [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "localhost"),
        ("x-forwarded-port", str(served.https)),
        ("x-forwarded-proto", "https"),
    ]


@pytest.mark.parametrize("alpn", ["http/1.1", "h2"])
def test_spoofed_fields_do_not_arrive_and_true_ones_do(site: Pair, alpn: str) -> None:
    """All names that are known: once, twice, in capitals, and with nothing in them."""
    names = [name for name in KNOWN if not name.startswith("sealgate-")]  # one of those may be 400
    for some in (names[at : at + 40] for at in range(0, len(names), 40)):
        once = [f"{name}: {value(name.title())}" for name in some]
        twice = [line for line in once for _ in range(2)]
        capitals = [f"{name.upper()}: {WORD}" for name in some]
        for lines in (once, twice, capitals, [f"{name}:" for name in some]):
            (fields,) = arrived(site, *lines, "X-Their-Own: 7", alpn=alpn)
            nothing_of_it(site, fields)
            assert fields.count(("x-their-own", "7")) == 1


def test_nor_in_other_spellings(site: Pair) -> None:
    """An underscore is a hyphen to a CGI variable: such a field is refused or taken out."""
    for name in [*NAMES[::3], *KNOWN[::20]]:
        for spelling in {name.replace("-", "_"), name.replace("-", "_", 1)} - {name}:
            for fields in arrived(site, *[f"{spelling}: {WORD}"] * 2):
                nothing_of_it(site, fields)


def test_nor_do_members_of_a_family_that_nobody_has_heard_of(site: Pair) -> None:
    if site.engine in BY_NAME:
        policy = load(site.served.policy, environ={}, euid=-1).policy
        rows = [row.promise for row in engine(site.engine).capabilities(policy) if hasattr(row, "promise")]
        assert [row for row in rows if "known headers from outside" in row], (
            "it promises no more than it does"
        )
        return
    for name in UNKNOWN:
        for fields in arrived(site, f"{name}: {WORD}"):
            nothing_of_it(site, fields)


@pytest.mark.parametrize("alpn", ["http/1.1", "h2"])
def test_nobody_hides_behind_an_empty_field(site: Pair, alpn: str) -> None:
    """Of the same family, and behind: a server that looks at the last one alone sees nothing."""
    names = [name.replace("-", "_") for name in UNKNOWN]
    if site.engine not in BY_NAME:
        names += [name for name in UNKNOWN if not name.startswith("sealgate-")]
    for said in ([f"{name}: {WORD}" for name in names], [f"{name}: {WORD}" for name in names[-2:]]):
        hiding = [f"{family}zz:" for family in claims.FAMILIES] if site.engine not in BY_NAME else []
        for fields in arrived(site, *said, *hiding, "x_zz:", alpn=alpn):
            nothing_of_it(site, fields)
