"""ARI: the certificate's id, the answer, and what garbage does not do (RFC 9773)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from sealgate.acme.ari import Window, absent, address, ask, certificate_id, chosen, parse, retry_after
from sealgate.errors import AcmeError

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ID = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


def certificate(serial: int, key_identifier: bytes | None) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(NOW)
        .not_valid_after(NOW + HOUR)
    )
    if key_identifier is not None:
        identifier = x509.AuthorityKeyIdentifier(key_identifier, None, None)
        builder = builder.add_extension(identifier, critical=False)
    return builder.sign(key, hashes.SHA256())


AKI = bytes.fromhex("69885b6b87464041e1b37b847ba0ae2cde01c8d4")


@pytest.mark.parametrize(
    ("serial", "expected"),
    [
        (0x8765_4321, ID),  # the example of RFC 9773 §4.1: a zero octet before a first bit that is set
        (0x7F, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.fw"),
        (0x80, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIA"),
        (0x0100, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AQA"),
    ],
)
def test_certificate_id(serial, expected):
    assert certificate_id(certificate(serial, AKI)) == expected


def test_a_certificate_that_names_no_authority_key_has_no_id():
    assert certificate_id(certificate(5, None)) == ""


def test_address():
    assert (
        address("https://a.test/ari", ID) == address("https://a.test/ari/", ID) == f"https://a.test/ari/{ID}"
    )


def body(start="2026-12-01T00:00:00Z", end="2026-12-03T00:00:00Z", **more) -> bytes:
    return json.dumps({"suggestedWindow": {"start": start, "end": end}, **more}).encode()


def test_an_answer():
    window = parse(body(explanationURL="https://a.test/why\x1b[31m"), ID, again=NOW + HOUR)
    assert window == Window(
        ID,
        NOW + HOUR,
        datetime(2026, 12, 1, tzinfo=UTC),
        datetime(2026, 12, 3, tzinfo=UTC),
        "https://a.test/why\\u001b[31m",
    )


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (b"", "no JSON"),
        (b"<html>", "no JSON"),
        (b"[" * 100_000, "more than 64 KiB"),
        (b"[" * 60_000, "no JSON"),
        (b"[]", "no suggestedWindow"),
        (b'{"suggestedWindow": []}', "no suggestedWindow"),
        (b'{"suggestedWindow": {}}', "no date"),
        (body(start=0), "no date"),
        (body(start="2026-12-01"), "no date"),
        (body(start="2026-12-01T00:00:00"), "no date"),
        (body(start="2026-12-01T00:00:00+00:00:99"), "no date"),
        (body(start="2026-W48-1T00:00:00+00:00"), "no date"),
        (body(start="2026-12-01T00:00:00.000000"), "no date"),
        (body(start="0001-01-01T00:00:00+14:00"), "outside of time"),
        (body(end="9999-12-31T23:59:59-14:00"), "outside of time"),
        (body(end="2026-11-30T00:00:00Z"), "ends before it starts"),
        (body(end="2026-12-01T00:00:00Z"), "ends before it starts"),  # "equals or precedes", §4.2
        (body(start="2026-13-01T00:00:00Z"), ""),
    ],
)
def test_garbage_is_no_answer_and_says_so(answer, note):
    window = parse(answer, ID, again=NOW)
    assert (window.start, window.end) == (None, None)
    assert note in window.note
    assert window.note.isprintable()
    assert window.note


def test_garbage_leaves_what_was_known_of_this_certificate_and_of_no_other():
    known = parse(body(), ID, again=NOW)
    after = parse(b"?", ID, again=NOW + HOUR, before=known)
    assert (after.start, after.again, bool(after.note)) == (known.start, NOW + HOUR, True)
    assert parse(b"?", "other.id", again=NOW + HOUR, before=known).start is None


@given(st.binary(max_size=300) | st.text().map(str.encode))
def test_no_bytes_raise(answer):
    assert parse(answer, ID, again=NOW).certificate == ID


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(), x, max_size=3),
    max_leaves=6,
)


@given(_JSON, _JSON, _JSON)
def test_no_values_raise(start, end, page):
    assert parse(body(start, end, explanationURL=page), ID, again=NOW).certificate == ID


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("3600", HOUR),
        ("0", timedelta(minutes=1)),
        ("999999999999999999999", 24 * HOUR),
        ("Sun, 22 Nov 2026 14:00:00 GMT", 2 * HOUR),
        ("Sun, 22 Nov 2020 14:00:00 GMT", timedelta(minutes=1)),
        ("Sun, 22 Nov 9999 23:59:59 -1400", 24 * HOUR),
        (None, 6 * HOUR),
        ("", 6 * HOUR),
        ("soon", 6 * HOUR),
        ("-5", 6 * HOUR),
        ("٣", 6 * HOUR),
    ],
)
def test_retry_after(value, wait):
    assert retry_after(value, now=NOW) == NOW + wait


@given(st.text(max_size=80))
def test_no_retry_after_leaves_its_bounds(value):
    assert timedelta(minutes=1) <= retry_after(value, now=NOW) - NOW <= 24 * HOUR


def test_asking():
    asked = []

    def get(url):
        asked.append(url)
        return 200, {"retry-after": "7200"}, body()

    window = ask(get, "https://a.test/ari", ID, now=NOW)
    assert (asked, window.again) == ([f"https://a.test/ari/{ID}"], NOW + 2 * HOUR)
    assert window.start == datetime(2026, 12, 1, tzinfo=UTC)


def test_another_status_is_no_answer():
    window = ask(lambda _: (404, {"retry-after": "60"}, body()), "https://a.test/ari", ID, now=NOW)
    assert (window.start, window.again) == (None, NOW + timedelta(minutes=1))
    assert "404" in window.note


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (AcmeError("acme-unreachable", "a.test cannot be reached", "wait"), "a.test cannot be reached"),
        (RuntimeError("odd\x1b"), "RuntimeError: odd\\u001b"),
    ],
)
def test_what_fails_on_the_way_is_no_answer(error, note):
    def get(_url):
        raise error

    window = ask(get, "https://a.test/ari", ID, now=NOW)
    assert (window.start, window.again, window.note) == (None, NOW + 6 * HOUR, note)


def test_an_authority_without_the_extension():
    assert absent(ID, now=NOW).again == NOW + 24 * HOUR


@given(st.floats(0, 1, exclude_max=True))
def test_the_instant_lies_in_the_window_and_stays_there(spread):
    window = parse(body(), ID, again=NOW)
    instant = chosen(window, ID, spread=spread)
    assert window.start is not None
    assert window.end is not None
    assert instant is not None
    assert window.start <= instant <= window.end
    assert instant == chosen(window, ID, spread=spread)


@pytest.mark.parametrize("spread", [float("nan"), float("inf"), -1.0, 2.0])
def test_an_odd_spread_stays_in_the_window(spread):
    window = parse(body(), ID, again=NOW)
    instant = chosen(window, ID, spread=spread)
    assert instant is not None
    assert datetime(2026, 12, 1, tzinfo=UTC) <= instant <= datetime(2026, 12, 3, tzinfo=UTC)


def test_a_window_of_another_certificate_counts_for_nothing():
    window = parse(body(), ID, again=NOW)
    assert chosen(window, "other.id", spread=0) is None
    assert chosen(None, ID, spread=0) is None
