"""What Envoy says over the private socket, and nothing in its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.guard import sources
from sealgate.guard.sources import EnvoySource, Origin


def from_environ(address: str | None, target: str | None = "/") -> tuple[Origin, str] | None:
    said = {"HTTP_SEALGATE_ADDRESS": address, "HTTP_SEALGATE_PATH": target}
    return EnvoySource().from_environ({name: value for name, value in said.items() if value is not None})


def from_headers(*fields: tuple[bytes, bytes]) -> tuple[Origin, str] | None:
    return EnvoySource().from_headers(fields)


@pytest.mark.parametrize(
    ("text", "address", "port"),
    (
        ("192.0.2.1:50000", "192.0.2.1", 50000),
        ("[2001:db8::1]:443", "2001:db8::1", 443),
        ("[2001:DB8:0:0:0::1]:1", "2001:db8::1", 1),
        ("[::ffff:192.0.2.1]:65535", "192.0.2.1", 65535),
    ),
)
def test_addresses(text: str, address: str, port: int) -> None:
    for told in (
        from_environ(text, "/x?y"),
        from_headers((b"sealgate-path", b"/x?y"), (b"sealgate-address", text.encode())),
    ):
        assert told is not None
        origin, target = told
        assert (origin.client.address, origin.port, target) == (address, port, "/x?y")
        assert (origin.client.certificate, origin.client.groups, origin.client.token) == (None, (), None)


@pytest.mark.parametrize(
    "text",
    (
        "",
        "-",
        "192.0.2.1",
        "192.0.2.1:",
        "192.0.2.1:65536",
        "192.0.2.256:1",
        "192.0.2.1:1,198.51.100.1:1",
        " 192.0.2.1:1",
        "192.0.2.1:1\n",
        "2001:db8::1:1",
        "[2001:db8::1]",
        "[2001:db8::1%eth0]:1",
        "[]:1",
        "localhost:1",
        "/run/client.sock",
        "١٩٢.0.2.1:1",
    ),
)
def test_what_is_no_address_is_no_fact(text: str) -> None:
    assert from_environ(text) is None
    assert from_headers((b"sealgate-path", b"/"), (b"sealgate-address", text.encode())) is None


@given(st.text(max_size=60))
def test_hostile_addresses_never_crash(text: str) -> None:
    told = from_environ(text)
    assert told is None or told[0].client.address


def test_a_missing_field_is_never_guessed() -> None:
    assert from_environ(None) is None
    assert from_environ("192.0.2.1:1", None) is None
    assert from_headers((b"sealgate-path", b"/")) is None
    assert from_headers((b"sealgate-address", b"192.0.2.1:1")) is None


def test_a_field_that_comes_twice_is_no_fact() -> None:
    path, address = (b"sealgate-path", b"/"), (b"sealgate-address", b"192.0.2.1:1")
    assert from_headers(path, address) is not None
    assert from_headers(path, path, address) is None
    assert from_headers(path, address, address) is None


def test_other_spellings_are_not_the_engines() -> None:
    path = (b"sealgate-path", b"/")
    assert from_headers(path, (b"sealgate_address", b"192.0.2.1:1")) is None
    assert from_headers(path, (b"Sealgate-Address", b"192.0.2.1:1")) is None


def test_the_fields_are_taken_out() -> None:
    environ = {"HTTP_SEALGATE_ADDRESS": "192.0.2.1:1", "HTTP_SEALGATE_PATH": "/", "HTTP_HOST": "x"}
    EnvoySource().from_environ(environ)
    assert environ == {"HTTP_HOST": "x"}


def test_memory_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_MOST_REMEMBERED", 10)
    source = EnvoySource()
    for port in range(1, 100):
        told = source.from_environ({"HTTP_SEALGATE_ADDRESS": f"192.0.2.1:{port}", "HTTP_SEALGATE_PATH": "/"})
        assert told is not None
        assert told[0].port == port
        assert len(source._origins) <= 10
