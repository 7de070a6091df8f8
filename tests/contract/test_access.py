"""``[access]`` on every engine: judged by the path that the app gets, and no spelling leads around a rule."""

from __future__ import annotations

import ssl

import pytest

from tests.contract.certificates import Shown, make
from tests.contract.sites import Site, on
from tests.live.wire import H2, Answer, get, parse, read_until_closed

PATHS = [
    "/guarded",
    "/guarded/",
    "/guarded/x",
    "/guarded/x/",
    "//guarded/x",
    "/guarded//x",
    "/./guarded/x",
    "/x/../guarded/x",
    "/x/%2e%2e/guarded/x",
    "/x/.%2e/guarded/x",
    "/%67uarded/x",
    "/%2567uarded/x",
    "/%2fguarded/x",
    "/guarded%2fx",
    "/guarded%2Fx",
    "/guarded%5cx",
    "/guarded\\x",
    "/\\guarded/x",
    "/guarded;a=b/x",
    "/guarded;/x",
    "/;/guarded/x",
    "/x;/../guarded/x",
    "/guarded/x;y",
    "/guarded%3bx/y",
    "/guarded%00/x",
    "/guarded/%00",
    "/%c0%afguarded/x",
    "/guarded%c0%afx",
    "/%e0%80%afguarded",
    "/guarded%",
    "/guarded%zz",
    "/guarded?x",
    "/guarded/x?y=/free",
    "/guarded#x",
    "/guarded/.",
    "/guarded/..;/x",
    "/guarded%20/x",
    "/GUARDED/x",
    "/Guarded",
    "/guarded.",
    "/guarded%09",
    "/guarded/x%0d%0a",
    "/%u0067uarded/x",
    "/\uff47uarded/x",
    "/guarded/ops/../x",
    "/guarded/ops/..%2fx",
    "/guarded/ops;/../x",
]


def ask(
    site: Site, path: str, shown: Shown | None = None, *, alpn: str = "http/1.1", method: str = "GET"
) -> Answer | None:
    """The answer; None where there was none."""
    context = site.served.context(maximum_version=ssl.TLSVersion.TLSv1_3)
    if shown is not None:
        context.load_cert_chain(shown.path)
    with site.served.connect(context, alpn=alpn) as tls:
        if alpn == "h2":
            return H2(tls).ask(path, "localhost", method=method)
        data = get("localhost", "/", method=method).replace(b" / ", f" {path} ".encode(), 1)
        tls.sendall(data)
        answers = parse(read_until_closed(tls))
        return answers[0] if answers else None


def arrived(site: Site, mark: int) -> list[str]:
    """The paths that the app got."""
    return [str(line["path"]) for line in site.witness.since(mark)]


@on("optional", "asgi")
def test_no_spelling_leads_into_what_is_denied(site: Site) -> None:
    """What the app gets is never a path under /guarded, whatever it is taken for."""
    for alpn in site.alpns:
        for path in PATHS:
            if alpn == "h2" and not path.isascii():
                continue
            mark = site.witness.mark
            ask(site, path, alpn=alpn)
            for seen in arrived(site, mark):
                first = seen.lstrip("/\\.").partition("/")[0].partition(";")[0]
                assert first != "guarded", (alpn, path, seen)
                assert "/guarded/" not in seen, (alpn, path, seen)


@on("optional", "asgi")
def test_who_may(site: Site) -> None:
    ops, good = make(site.served, "ops"), make(site.served, "good")
    for alpn in site.alpns:
        for shown, path, status, slug in (
            (None, "/x", 200, ""),
            (None, "/guarded/near/x", 200, ""),
            (None, "/guarded/known/x", 403, "client-certificate-required"),
            (good, "/guarded/known/x", 200, ""),
            (None, "/guarded/ops/x", 403, "client-certificate-required"),
            (good, "/guarded/ops/x", 403, "access-denied"),
            (ops, "/guarded/ops/x", 200, ""),
            (ops, "/guarded/x", 403, "access-denied"),
            (ops, "/guarded/ops", 200, ""),
        ):
            mark = site.witness.mark
            answer = ask(site, path, shown, alpn=alpn)
            assert answer is not None
            assert answer.status == status, (path, answer)
            assert len(site.witness.since(mark)) == int(status == 200)
            if slug:
                assert answer.slug == slug
                assert answer.one("cache-control") == "no-store"


@on("optional", "asgi")
@pytest.mark.parametrize("method", ["HEAD", "DELETE", "OPTIONS"])
def test_methods(site: Site, method: str) -> None:
    """GET is HEAD too; no other is."""
    ops = make(site.served, "ops")
    answer = ask(site, "/guarded/ops/x", ops, method=method)
    assert answer is not None
    assert answer.status == (200 if method == "HEAD" else 403)
