"""Behind proxies of one's own: who called is what they say, read from the right; nobody else is believed."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from tests.contract.sites import at_least, started
from tests.contract.test_addresses import plain, secure
from tests.live.wire import get

PROXY, STRANGER, SHUT_OUT = "127.64.0.1", "127.1.0.1", "127.66.0.1"
NETWORK = {
    "trusted_proxies": ["127.64.0.0/16"],
    "deny": ["203.0.113.66", "127.66.0.0/16", "2001:db8:bad::/48"],
}
HIDDEN = "127.64.9.9"  # a second proxy

SERVED = {
    "nobody is forwarded": ((), PROXY),
    "by the old field": (("X-Forwarded-For: 203.0.113.9",), "203.0.113.9"),
    "by the standard's": (('Forwarded: for="[2001:db8::9]:4711";proto=https',), "2001:db8::9"),
    "what he said himself is left of it": (("X-Forwarded-For: 127.0.0.1, 203.0.113.9",), "203.0.113.9"),
    "in two fields": (("X-Forwarded-For: 127.0.0.1", "X-Forwarded-For: 203.0.113.9"), "203.0.113.9"),
    "through two proxies": ((f"X-Forwarded-For: 203.0.113.66, 203.0.113.9, {HIDDEN}",), "203.0.113.9"),
    "in IPv6 clothes": (("X-Forwarded-For: ::ffff:203.0.113.9",), "203.0.113.9"),
    "both say the same": (("X-Forwarded-For: 203.0.113.9", "Forwarded: For=203.0.113.9"), "203.0.113.9"),
    "garbage that nobody reads": (('X-Forwarded-For: <;">, unknown, 203.0.113.9',), "203.0.113.9"),
    "others say nothing": (("X-Real-IP: 203.0.113.66", "X-Forwarded-Host: evil.example"), PROXY),
}
REFUSED = {
    "shut out": ("X-Forwarded-For: 203.0.113.66",),
    "shut out, by IPv6": ('Forwarded: for="[2001:db8:bad::1]"',),
    "behind two": (f"X-Forwarded-For: 203.0.113.9, 203.0.113.66, {HIDDEN}",),
}
GARBAGE = {
    "no address": ("X-Forwarded-For: nobody",),
    "at the right": ("X-Forwarded-For: 203.0.113.9, ",),
    "hidden": ("Forwarded: for=_hidden",),
    "unknown": ("Forwarded: for=unknown",),
    "an open quote": ('Forwarded: for="203.0.113.9',),
    "two names": ("X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.10"),
    "twice in one": ("Forwarded: for=203.0.113.9;for=203.0.113.10",),
}


def arrived(line: dict[str, Any]) -> list[str]:
    """The names of what reached the app."""
    return list(line.get("variables") or dict(line["fields"]))


@at_least("envoy")
def test_who_called_is_what_a_trusted_proxy_says(which: str) -> None:
    with ExitStack() as stack:
        site = started(stack, which, "usual", network=NETWORK)
        for case, (headers, address) in SERVED.items():
            mark = site.witness.mark
            (answer,) = secure(site, PROXY, get("localhost", "/x", *headers))
            assert answer.status == 200, case
            (line,) = site.witness.since(mark)
            assert line["address"] == address, case
            assert not [name for name in arrived(line) if "forward" in name.lower()], case
        for case, headers in REFUSED.items():
            mark = site.witness.mark
            (answer,) = secure(site, PROXY, get("localhost", "/x", *headers))
            assert (answer.status, answer.slug) == (403, "address-refused"), case
            assert site.witness.since(mark) == [], case
        for case, headers in GARBAGE.items():
            mark = site.witness.mark
            (answer,) = secure(site, PROXY, get("localhost", "/x", *headers))
            assert (answer.status, answer.slug) == (400, "forwarding-header-invalid"), case
            assert site.witness.since(mark) == [], case
            # From anybody else it is not read at all.
            (answer,) = secure(site, STRANGER, get("localhost", "/x", *headers))
            assert answer.status == 200, case
            (line,) = site.witness.since(mark)
            assert line["address"] == STRANGER, case
        for headers in ((), ("X-Forwarded-For: 203.0.113.9",), ("Forwarded: for=203.0.113.9",)):
            (answer,) = secure(site, SHUT_OUT, get("localhost", "/x", *headers))
            assert (answer.status, answer.slug) == (403, "address-refused")
        # Another spelling is another field, which a proxy passes on as its caller wrote it.
        mark = site.witness.mark
        for name in ("X_Forwarded_For", "X-Forwarded_For"):
            request = get("localhost", "/x", "X-Forwarded-For: 203.0.113.9", f"{name}: 127.0.0.1")
            (answer,) = secure(site, PROXY, request)
            assert answer.status in {200, 400}
        assert {line["address"] for line in site.witness.since(mark)} <= {"203.0.113.9"}
        # Plain HTTP leads everybody to the same door, where it is asked.
        assert plain(site, SHUT_OUT, get(site.served.host, "/x")).status == 308
