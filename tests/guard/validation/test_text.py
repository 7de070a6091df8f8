"""JSON with one meaning: what any two parsers could read differently is refused, and nothing else."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.guard.validation.text import DEEPEST, Ambiguous, parse

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)

REFUSED = {
    "a name twice": b'{"a":1,"a":1}',
    "apart from its colon": b'{"a" :1,"a":2}',
    "and a text like it": b'{"a":":","a":1}',
    "the same by an escape": b'{"a":1,"\\u0061":2}',
    "with a colon by an escape": b'{"a":1,"a":2,"b":"\\u003a"}',
    "deep inside": b'[{"x":[{"a":1,"b":2,"a":3}]}]',
    "an empty name": b'{"":1,"":2}',
    "NaN": b"[NaN]",
    "Infinity": b"[Infinity]",
    "-Infinity": b"-Infinity",
    "half a pair": b'"\\ud800"',
    "the other half": b'["\\udc00"]',
    "half a pair in a name": b'{"\\uDBFF":1}',
    "the wrong way round": b'"\\udc00\\ud800"',
    "a surrogate as it is": b'"\xed\xa0\x80"',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "latin-1": b'"\xe9"',
    "overlong": b'"\xc0\xaf"',
    "a large double": b"1e309",
    "larger": b'{"a":-1.5E+400}',
    "without an exponent": b"9" * 400,
    "with a fraction": b"9" * 400 + b".5",
    "65 bits": b"18446744073709551616",
    "negative": b"-9223372036854775809",
    "more digits than Python reads": b"1" * 5000,
    "two values": b"{}{}",
    "what follows": b"{} x",
    "nothing": b"",
    "white space": b"  \n",
    "another white space": b"\xc2\xa0{}",
    "vertical tab": b"\x0b1",
    "a comma": b"[1,]",
    "single quotes": b"{'a':1}",
    "a comment": b"/* */1",
    "a control character": b'"\n"',
    "a plus": b"+1",
    "a zero": b"01",
    "a dot": b".5",
    "open": b"[",
    "wrongly closed": b"[}" * 40,
    "quotes without an end": b'"' + b'\\"' * 400_000 + b"[" * 65,
    "and one that is escaped": b'"' + b'\\"' * 400_000 + b"[" * 65 + b"\\",
    "10 MB of brackets": b"[" * 10_000_000,
    "10 MB of objects": b'{"a":' * 2_000_000,
    "65 deep": b"[" * 65 + b"]" * 65,
    "65 deep in both": b'{"a":[' * 33 + b"]}" * 33,
}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_what_has_no_meaning_or_two(content: bytes) -> None:
    began = time.process_time()
    with pytest.raises(Ambiguous) as caught:
        parse(content)
    assert len(str(caught.value)) < 80
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "content",
    (
        b' \t\r\n{"a" : 1}\n ',
        b'{"a":{"a":1},"b":[{"a":1},{"a":2}]}',
        b'{"a":":","b":"a\\":"}',
        b'"\\ud83d\\ude00"',
        b'"\\\\ud800"',
        b"1e308",
        b"1e-400",
        b"18446744073709551615",
        b"-9223372036854775808",
        b'"12345678901234567890123"',
        b'"3e1234567"',
        b'{"id":"0e000"}',
        b"[" * 64 + b"]" * 64,
        b"[" + b",".join([b"[]"] * 500) + b"]",
        b'["' + b"[" * 5000 + b'"]',
        b'["' + b'\\"[' * 500 + b'"]',
        b'"\xf0\x9f\x98\x80"',
    ),
)
def test_what_has_one(content: bytes) -> None:
    assert parse(content) == json.loads(content)


@given(JSON, st.sampled_from([None, 0, 2]), st.booleans())
def test_all_that_json_can_say(value: Any, indent: int | None, ascii_: bool) -> None:
    assert parse(json.dumps(value, indent=indent, ensure_ascii=ascii_).encode()) == value


@given(st.dictionaries(st.text('ab:\\"', max_size=3), JSON, min_size=1, max_size=4), st.booleans(), st.data())
def test_a_name_twice_is_always_seen(value: dict[str, Any], ascii_: bool, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(value)))
    pairs = [*value.items(), (name, data.draw(JSON))]
    space = data.draw(st.sampled_from(["", " ", "\n"]))
    dumped = [(json.dumps(k, ensure_ascii=ascii_), json.dumps(v, ensure_ascii=ascii_)) for k, v in pairs]
    text = "{" + ",".join(f"{key}{space}:{one}" for key, one in dumped) + "}"
    with pytest.raises(Ambiguous):
        parse(text.encode())


def test_cut_at_every_byte() -> None:
    whole = json.dumps({"a": [1, 2.5, "\u00e9\U0001f600", None, {"b": True}]}, ensure_ascii=False).encode()
    for end in range(len(whole)):
        with pytest.raises(Ambiguous):
            parse(whole[:end])


@given(st.integers(0, 200), st.integers(0, 200))
def test_depth(arrays: int, objects: int) -> None:
    text = b"[" * arrays + b'{"a":' * objects + b"1" + b"}" * objects + b"]" * arrays
    if arrays + objects <= DEEPEST:
        parse(text)
    else:
        with pytest.raises(Ambiguous):
            parse(text)
