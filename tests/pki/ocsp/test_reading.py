"""Our own reader by itself: what has another form than DER's is no answer, whatever the library says."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.pki.ocsp.asking import NONCE, question_of
from sealgate.pki.ocsp.der import Damaged, Der, extensions_of, moment_of, number_of, only
from sealgate.pki.ocsp.reading import answer_of
from tests.pki.making import make
from tests.pki.ocsp.answering import GOOD, Draft, about, extension, number, oid, single, tlv

ROOT = make("root", ca=True)
LEAF = make("leaf", ROOT)
DRAFT = Draft(question_of(LEAF.certificate, ROOT.certificate, nonce=bytes(NONCE)), ROOT)
SOUND = single(about(DRAFT.question), GOOD)


@pytest.mark.parametrize(
    "length", [b"\x81\x03", b"\x82\x00\x03", b"\x80", b"\x85\x00\x00\x00\x00\x03", b"\xff"]
)
def test_a_length_has_one_form(length: bytes) -> None:
    assert only(b"\x04\x03abc", 4) == b"abc"
    with pytest.raises(Damaged):
        only(b"\x04" + length + b"abc", 4)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_lengths_at_their_edges(size: int) -> None:
    data = tlv(4, bytes(size))
    assert only(data, 4) == bytes(size)
    for odd in (data[:-1], data + b"\0", data[1:]):
        with pytest.raises(Damaged):
            only(odd, 4)


@pytest.mark.parametrize("content", [b"", b"\x00\x00", b"\x00\x7f", b"\xff\x80", b"\xff\xff"])
def test_a_number_has_one_form(content: bytes) -> None:
    with pytest.raises(Damaged):
        number_of(content)


@given(st.integers(-(1 << 200), 1 << 200))
def test_numbers_come_back(value: int) -> None:
    size = (value if value >= 0 else ~value).bit_length() // 8 + 1
    assert number_of(value.to_bytes(size, "big", signed=True)) == value


@pytest.mark.parametrize(
    "content",
    [
        b"20300301120000",
        b"203003011200Z",
        b"20300301120000.0Z",
        b"20300301120000+0000",
        b"20301301120000Z",
        b"20300230120000Z",
        b"20300301120060Z",
        b"00000301120000Z",
        b"2030030112000 Z",
        b"20300301120000Z\n",
    ],
)
def test_a_date_has_one_form(content: bytes) -> None:
    with pytest.raises(Damaged):
        moment_of(content)


@pytest.mark.parametrize("truth", [b"\x00", b"\x01", b"", b"\xff\xff"])
def test_a_truth_has_one_form(truth: bytes) -> None:
    def wrapped(one: bytes) -> bytes:
        return tlv(0x30, tlv(0x30, oid("2a03"), tlv(1, one), tlv(4)))

    assert next(iter(extensions_of(wrapped(b"\xff")).values())).critical
    with pytest.raises(Damaged):
        extensions_of(wrapped(truth))


def test_extensions_that_are_none() -> None:
    assert extensions_of(None) == {}
    for odd in (tlv(0x30), tlv(0x30, tlv(0x30, oid("2a03"))), b"", tlv(0x30, extension("2a03", b"") * 2)):
        with pytest.raises(Damaged):
            extensions_of(odd)


ODD: dict[str, Draft | Callable[[bytes], bytes]] = {
    "a version that is the default": DRAFT.but(version=tlv(0xA0, number(0))),
    "no response": DRAFT.but(singles=(b"",)),
    "an empty response": DRAFT.but(singles=(tlv(0x30),)),
    "a response and more": DRAFT.but(
        singles=(tlv(0x30, SOUND[4:] if SOUND[1] & 0x80 else SOUND[2:], b"\5\0"),)
    ),
    "good with something in it": DRAFT.but(singles=(single(about(DRAFT.question), tlv(0x80, b"\0")),)),
    "another state": DRAFT.but(singles=(single(about(DRAFT.question), tlv(0x83)),)),
    "a hash with parameters": DRAFT.but(singles=(single(about(DRAFT.question, null=tlv(5, b"\0"))),)),
    "bits that are not whole octets": DRAFT.but(unused=1),
    "cut": lambda data: data[:-1],
    "followed": lambda data: data + b"\0",
    "in another tag": lambda data: b"\x31" + data[1:],
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_answer(kind: str) -> None:
    odd = ODD[kind]
    assert answer_of(DRAFT.der()).basic is not None
    data = odd.der() if isinstance(odd, Draft) else odd(DRAFT.der())
    with pytest.raises(Damaged):
        answer_of(data)


@given(st.binary(max_size=80))
def test_any_bytes_are_answered(data: bytes) -> None:
    for read in (answer_of, extensions_of, moment_of, number_of):
        with contextlib.suppress(Damaged):
            read(data)
    inside = Der(data)
    while inside.tag is not None:
        before = inside.at
        with contextlib.suppress(Damaged):
            inside.take(inside.tag)
        if inside.at == before:
            break
    assert inside.at <= len(data)
