"""The canonical path: the guard's judge, the engines' expression, and what apps decode agree."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import pytest
import re2
from hypothesis import example, given
from hypothesis import strategies as st

from sealgate.guard.path import NotCanonical, Target, judge_target
from sealgate.policy.path import CANONICAL_PATH_RE2, CARRIED_PATH_RE2

ENGINE = re2.compile(CANONICAL_PATH_RE2)
PYTHON = re.compile(CANONICAL_PATH_RE2)

CANONICAL = {
    "/": "/",
    "/orders": "/orders",
    "/orders/": "/orders/",
    "/orders/17?limit=5&x=%00": "/orders/17",
    "/?": "/",
    "/a??b/../c": "/a",
    "/a;b=c/d;": "/a;b=c/d;",
    "/a%3bb": "/a;b",
    "/...": "/...",
    "/..a": "/..a",
    "/.well-known/x": "/.well-known/x",
    "/a.b": "/a.b",
    "/%41": "/A",
    "/%2A%20%7e": "/* ~",
    "/%252e%252e": "/%2e%2e",
    "/%25": "/%",
    "/a%3fb%23c": "/a?b#c",
    "/caf%C3%A9": "/café",
    "/%e2%82%ac": "/€",
    "/%F0%9F%90%8D": "/🐍",
    "/%F4%8F%BF%BF": "/\U0010ffff",
    "/%c2%a0": "/\u00a0",
    "/!$&'()*+,=:@-_~": "/!$&'()*+,=:@-_~",
}

REFUSED = {
    "": "no-leading-slash",
    "orders": "no-leading-slash",
    "?x": "no-leading-slash",
    "http://api.example.com/orders": "no-leading-slash",
    "api.example.com:443": "no-leading-slash",
    "//": "empty-segment",
    "//evil.example/x": "empty-segment",
    "/a//b": "empty-segment",
    "/a//": "empty-segment",
    "/;x": "empty-segment",
    "/a/;x": "empty-segment",
    "/%3bx": "empty-segment",
    "/.": "dot-segment",
    "/..": "dot-segment",
    "/./": "dot-segment",
    "/a/..": "dot-segment",
    "/a/../b": "dot-segment",
    "/a/./b": "dot-segment",
    "/a/..;x/b": "dot-segment",
    "/a/.;": "dot-segment",
    "/a/..%3bx": "dot-segment",
    "/%2e": "encoded-separator",
    "/a/%2E%2e/b": "encoded-separator",
    "/a/.%2e": "encoded-separator",
    "/a%2eb": "encoded-separator",
    "/a%2fb": "encoded-separator",
    "/a%2Fb": "encoded-separator",
    "/a%5cb": "encoded-separator",
    "/a%5Cb": "encoded-separator",
    "/a\\b": "raw-character",
    "/a b": "raw-character",
    "/a\x00b": "raw-character",
    "/a\nb": "raw-character",
    "/a\n": "raw-character",
    "/a#b": "raw-character",
    "/a<b>": "raw-character",
    '/a"b': "raw-character",
    "/a|b": "raw-character",
    "/a^b": "raw-character",
    "/a`b": "raw-character",
    "/{a}": "raw-character",
    "/[a]": "raw-character",
    "/caf\xc3\xa9": "raw-character",
    "/\x7f": "raw-character",
    "/%": "bad-percent-encoding",
    "/%4": "bad-percent-encoding",
    "/%zz": "bad-percent-encoding",
    "/%%41": "bad-percent-encoding",
    "/%u0041": "bad-percent-encoding",
    "/%00": "control-character",
    "/a%0ab": "control-character",
    "/%7F": "control-character",
    "/%C2%85": "control-character",
    "/%ff": "bad-utf8",
    "/%c3": "bad-utf8",
    "/%c3/%a9": "bad-utf8",
    "/%a9": "bad-utf8",
    "/%c0%af": "bad-utf8",
    "/%c1%81": "bad-utf8",
    "/%e0%80%af": "bad-utf8",
    "/%ed%a0%80": "bad-utf8",
    "/%f0%80%80%af": "bad-utf8",
    "/%f4%90%80%80": "bad-utf8",
    "/%f5%80%80%80": "bad-utf8",
    "/a?b c": "query",
    "/a?b#c": "query",
    "/a?\x00": "query",
    "/a?b\r\nx": "query",
    "/a?\x7f": "query",
    '/a?"': "query",
    "/a?<": "query",
    "/a?\xe9": "query",
}


@pytest.mark.parametrize(("raw", "path"), CANONICAL.items())
def test_canonical_targets_are_decoded_once(raw: str, path: str) -> None:
    assert judge_target("GET", raw) == Target(path, raw.partition("?")[2])
    assert ENGINE.fullmatch(raw)


@pytest.mark.parametrize(("raw", "reason"), REFUSED.items())
def test_others_are_refused_with_a_reason(raw: str, reason: str) -> None:
    assert judge_target("GET", raw) == NotCanonical(reason)
    assert not ENGINE.fullmatch(raw.encode("latin-1"))


def test_an_asterisk_is_for_options_alone() -> None:
    assert judge_target("OPTIONS", "*") == Target("*", "")
    assert judge_target("GET", "*") == NotCanonical("asterisk")
    assert isinstance(judge_target("OPTIONS", "*?x"), NotCanonical)
    assert isinstance(judge_target("OPTIONS", "/*/.."), NotCanonical)


PIECES = st.one_of(
    st.sampled_from(
        ["/", ".", "..", ";", "?", "%", "%2e", "%2F", "%5C", "\\", "%3b", "%25", "#", "//", "/./", "a"]
    ),
    st.integers(0, 255).map(lambda byte: f"%{byte:02x}"),
    st.integers(0, 255).map(lambda byte: f"%{byte:02X}"),
    st.characters(max_codepoint=0xFF),
    st.characters(exclude_categories=["Cs"]).map(
        lambda text: "".join(f"%{byte:02X}" for byte in text.encode())
    ),
)
TARGETS = st.lists(PIECES, max_size=12).map("".join).flatmap(lambda text: st.sampled_from([text, f"/{text}"]))


@given(TARGETS)
@example("/a\n")
@example("/%c3%a9/%zz")
@example("/;")
def test_judge_and_expression_agree(raw: str) -> None:
    judged = isinstance(judge_target("GET", raw), Target)
    assert (ENGINE.fullmatch(raw.encode("latin-1")) is not None) == judged
    assert (PYTHON.fullmatch(raw) is not None) == judged


@given(TARGETS)
def test_what_is_judged_is_what_every_server_decodes(raw: str) -> None:
    target = judge_target("GET", raw)
    if isinstance(target, Target):
        path, _, query = raw.partition("?")
        assert target.path.encode() == unquote_to_bytes(path)
        assert target.query == query
        segments = target.path.split("/")
        assert segments[0] == ""
        assert not {".", ".."} & set(segments)
        assert "" not in segments[1:-1]
        assert target.path.count("/") == path.count("/")
        assert "\\" not in target.path


@given(TARGETS)
def test_every_canonical_path_can_be_handed_to_a_worker(raw: str) -> None:
    if isinstance(judge_target("GET", raw), Target):
        assert re2.fullmatch(CARRIED_PATH_RE2, raw)


@pytest.mark.parametrize(
    "raw", ("/a<b", "/a>b", "/a`b", '/a"b', "/a b", "/a\x7f", "/\xe9", '/?"', "/?<", "/?>", "/?\x80")
)
def test_what_a_worker_would_reset_on_cannot(raw: str) -> None:
    assert not re2.fullmatch(CARRIED_PATH_RE2, raw.encode("latin-1"))


def test_the_expression_is_within_what_engines_take() -> None:
    assert CANONICAL_PATH_RE2.isascii()
    assert ENGINE.programsize < 1000
    assert not re.search(r"\(\?[=!<]|\\[1-9]", CANONICAL_PATH_RE2), (
        "RE2 has no lookaround and no back-references"
    )


def test_a_long_hostile_path_is_judged_in_linear_time() -> None:
    for raw in ("/" + "a;" * 30_000 + "\n", "/." * 30_000, "/%c3%a9" * 10_000 + "%", "/a" * 30_000 + "//"):
        assert isinstance(judge_target("GET", raw), NotCanonical)
        assert not PYTHON.fullmatch(raw)
