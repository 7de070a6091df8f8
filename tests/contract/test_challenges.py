"""http-01 (RFC 8555 §8.3): the plain listener proves names, whatever else it refuses, and no more.

Here the files are put where each engine's driver puts them, on the servers that all questions go to; that the
drivers do so, and carry them through reloads and restarts, is asked in tests/live (``test_challenges.py``,
``test_gunicorn_challenges.py``, ``test_acme.py``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from sealgate._system.files import write_atomic
from sealgate.engines.challenges import CHALLENGES, PATH, Challenges
from sealgate.engines.facts import RenderFacts
from sealgate.engines.redirect import ANSWERS, answer_exactly
from sealgate.engines.registry import engine
from sealgate.policy.load import load
from sealgate.policy.profiles import load_profile
from tests.contract.sites import Site, on
from tests.live.wire import Answer, get, tell, tell_plain

TOKEN, OTHER = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA", "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"
TEXT = f"{TOKEN}.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
SECRET = "not an answer"


def tell_engine(site: Site, challenges: Challenges) -> None:
    """As its driver would."""
    state = site.served.state
    for token, text in challenges.http:
        write_atomic(state / CHALLENGES / token, text.encode(), 0o644)
    if site.inside:
        answer_exactly(state / "engines" / site.engine / ANSWERS, challenges)
    elif site.engine == "envoy":
        policy = load(site.served.policy, environ={}, euid=-1).policy
        profile = load_profile(policy.tls.profile)
        facts = RenderFacts(policy, profile, site.kind, "", "", "", challenges=challenges)
        routes = engine(site.engine).render(facts)["rds.json"]
        write_atomic(state / "engines" / "envoy" / "rds.json", routes)
    if not challenges:
        (state / CHALLENGES / TOKEN).unlink(missing_ok=True)


def ask(site: Site, path: str = PATH + TOKEN, host: str = "localhost", method: str = "GET") -> Answer:
    (answer,) = tell_plain(site.served, get(host, path, method=method))
    return answer


def is_gone(answer: Answer) -> bool:
    return answer.status == 404 and answer.slug == "challenge-unknown"


@contextlib.contextmanager
def answered(site: Site) -> Iterator[None]:
    tell_engine(site, Challenges(http=((TOKEN, TEXT),)))
    try:
        site.served.wait_for(lambda: ask(site).status == 200)
        yield
    finally:
        tell_engine(site, Challenges())
        site.served.wait_for(lambda: is_gone(ask(site)))


@on("usual", "tight")
def test_an_answer_is_there_byte_for_byte_while_it_is_wanted(site: Site) -> None:
    """In both modes; for any Host: authorities use the name, and of an address the address."""
    mark, usual = site.witness.mark, ask(site, "/").status
    assert usual == (403 if site.policy == "tight" else 308)
    assert is_gone(ask(site))
    with answered(site):
        for host in ("localhost", "elsewhere.example", site.served.host, "[2001:db8::1]", "localhost:80"):
            answer = ask(site, host=host)
            assert (answer.status, answer.body) == (200, TEXT.encode())
            assert answer.all("strict-transport-security") == []
            assert is_gone(ask(site, PATH + OTHER, host))
        assert ask(site, "/").status == usual
    assert site.witness.since(mark) == [], "the app hears of none of it"


ODD = (
    *(f"{PATH}../acme-challenge/{TOKEN}", f"{PATH}%2e%2e/acme-challenge/{TOKEN}", f"{PATH}./{TOKEN}"),
    *(
        f"{PATH}/{TOKEN}",
        f"{PATH}{TOKEN}/",
        f"{PATH}{TOKEN}%00",
        f"{PATH}%65{TOKEN[1:]}",
        f"{PATH}{TOKEN[:-1]}",
    ),
    *(f"//.well-known/acme-challenge/{TOKEN}", f"/.well-known//acme-challenge/{TOKEN}"),
    *(f"/%2ewell-known/acme-challenge/{TOKEN}", f"/.well-known%2facme-challenge/{TOKEN}"),
    *(PATH, f"{PATH}.", f"{PATH}..", f"{PATH}..%2f..%2fsecret", f"{PATH}../../secret", f"{PATH}secret.txt"),
    *(f"{PATH}../server/localhost/key.pem", f"{PATH}..%2fserver%2flocalhost%2fkey.pem"),
)


@on("usual", "tight")
def test_no_other_spelling_and_no_other_file(site: Site) -> None:
    for folder in (site.served.state / CHALLENGES, site.served.state):
        folder.mkdir(exist_ok=True)
        (folder / "secret.txt").write_text(SECRET)
        (folder / "secret").write_text(SECRET)
    with answered(site):
        for path in ODD:
            answer = ask(site, path)
            assert answer.status in {308, 400, 403, 404}, path
            assert TEXT.encode() not in answer.body
            assert SECRET.encode() not in answer.body
            assert b"PRIVATE KEY" not in answer.body
            for location in answer.all("location"):
                assert location.startswith("https://")


@on("usual")
def test_over_https_the_path_is_the_apps(site: Site) -> None:
    with answered(site):
        mark = site.witness.mark
        (answer,) = tell(site.served, get("localhost", PATH + TOKEN))
        assert answer.status == 200
        assert TEXT.encode() not in answer.body
        assert [line["path"] for line in site.witness.since(mark)] == [PATH + TOKEN]


@on("usual")
@pytest.mark.parametrize("method", ["HEAD", "POST"])
def test_asked_with_other_methods(site: Site, method: str) -> None:
    with answered(site):
        if method == "POST":
            answer = ask(site, method=method)
            assert TEXT.encode() not in answer.body
            assert answer.status in {403, 404, 405, 308}
            return
        (answer,) = tell_plain(site.served, get("localhost", PATH + TOKEN, method="HEAD"))
        assert answer.status in {200, 405}
        assert answer.body == b""


@on("usual")
def test_nothing_that_is_under_way_ends_for_it(site: Site) -> None:
    with site.served.connect() as tls:
        tls.settimeout(20)
        for _ in range(3):
            with answered(site):
                tls.sendall(get("localhost", "/status?204", close=False))
                assert tls.recv(65536).startswith(b"HTTP/1.1 204 ")
