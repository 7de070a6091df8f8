"""Plain HTTP never reaches the app."""

from __future__ import annotations

import pytest

from tests.contract.sites import Site, on
from tests.live.wire import get, tell_plain


@on("usual")
@pytest.mark.parametrize("target", ["/", "/a/b?x=1&y=%2F", "/caf%C3%A9", "/a;b"])
def test_it_is_redirected_to_the_same_place(site: Site, target: str) -> None:
    served, mark = site.served, site.witness.mark
    (answer,) = tell_plain(served, get(f"{served.host}:{served.http}", target))
    assert answer.status == 308
    assert answer.one("location") == f"https://{served.host}:{served.https}{target}"
    assert answer.all("strict-transport-security") == [], "RFC 6797 §7.2: never over plain HTTP"
    assert site.witness.since(mark) == []


@on("usual")
@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "evil.example:80", "x@localhost", ""]
)
def test_nobody_is_redirected_to_another_name(site: Site, host: str) -> None:
    for answer in tell_plain(site.served, get(host)):
        assert answer.status in {400, 421}
        assert answer.all("location") == []
        assert answer.problem


@on("usual")
@pytest.mark.parametrize("target", ["//evil.example/", "/\\evil.example", "http://evil.example/"])
def test_no_path_leads_to_another_site(site: Site, target: str) -> None:
    for answer in tell_plain(site.served, get(site.served.host, target)):
        assert answer.status in {308, 400, 421}
        for location in answer.all("location"):
            assert location.startswith(f"{site.served.url}/")


@on("usual")
def test_a_body_is_not_waited_for(site: Site) -> None:
    """Nor passed on: who sends one here shall know at once."""
    head = f"POST /x HTTP/1.1\r\nHost: {site.served.host}\r\nContent-Length: 1000000\r\n\r\npartly"
    mark = site.witness.mark
    answers = tell_plain(site.served, head.encode())
    assert [answer.status in {308, 413} for answer in answers] == [True]
    assert site.witness.since(mark) == []


@on("tight")
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_it_is_refused(site: Site, method: str) -> None:
    mark = site.witness.mark
    (answer,) = tell_plain(site.served, get("localhost", "/x?token=1", method=method))
    assert (answer.status, answer.slug) == (403, "plain-http-refused")
    assert answer.all("location") == []
    assert site.witness.since(mark) == []
