"""What Envoy says over the private socket, and nothing in its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.guard import sources
from sealgate.guard.certificate import read_certificate
from sealgate.guard.compiled import compile_policy
from sealgate.guard.sources import EnvoySource, Origin, ProxySource, Source, source
from sealgate.policy.model import Policy
from sealgate.policy.network import admitted
from tests.guard.test_certificate import make, ways

PROOF = "0123456789abcdef-0123456789ABCDEF"
SHOWN = (b"sealgate-proof", PROOF.encode())


def from_environ(address: str | None, target: str | None = "/") -> tuple[Origin, str] | None:
    said = {"HTTP_SEALGATE_PROOF": PROOF, "HTTP_SEALGATE_ADDRESS": address, "HTTP_SEALGATE_PATH": target}
    return EnvoySource(PROOF).from_environ({name: value for name, value in said.items() if value is not None})


def from_headers(*fields: tuple[bytes, bytes]) -> tuple[Origin, str] | None:
    return EnvoySource(PROOF).from_scope({"headers": (SHOWN, *fields)})


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
    EnvoySource(PROOF).from_environ(environ)
    environ |= {"HTTP_SEALGATE_PROOF": PROOF}
    EnvoySource(PROOF).from_environ(environ)
    assert environ == {"HTTP_HOST": "x"}


def test_memory_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_MOST_REMEMBERED", 10)
    source = EnvoySource(PROOF)
    for port in range(1, 100):
        said = {"HTTP_SEALGATE_ADDRESS": f"192.0.2.1:{port}", "HTTP_SEALGATE_PATH": "/"}
        told = source.from_environ({"HTTP_SEALGATE_PROOF": PROOF, **said})
        assert told is not None
        assert told[0].port == port
        assert len(source._origins) <= 10


FIELDS = {"sealgate-proof": PROOF, "sealgate-address": "192.0.2.1:1", "sealgate-path": "/x?y"}
ALICE = str(ways(make("alice"))["nginx"])
VERIFIED = {**FIELDS, "sealgate-verified": "SUCCESS", "sealgate-certificate": ALICE}
Told = tuple[Origin, str] | None


def told_both(which: Source, fields: dict[str, str]) -> Told:
    """The same by WSGI and ASGI."""
    environ: dict[str, Any] = {
        "HTTP_" + name.upper().replace("-", "_"): value for name, value in fields.items()
    }
    by_wsgi = which.from_environ(environ)
    pairs = [(name.encode(), value.encode("latin-1", "replace")) for name, value in fields.items()]
    assert which.from_scope({"headers": [(b"accept", b"*/*"), *pairs]}) == by_wsgi
    if which.__class__ is ProxySource:
        assert not environ, "all are taken out"
    return by_wsgi


def test_which_source_for_which_engine() -> None:
    assert isinstance(source("h2", PROOF), EnvoySource)
    assert isinstance(source("proof", PROOF), ProxySource)
    with pytest.raises(ValueError, match="no source of facts for 'guess'"):
        source("guess", PROOF)
    for short in ("", "x" * 31):
        for identity in ("proof", "h2"):
            with pytest.raises(ValueError, match="at least 32 characters"):
                source(identity, short)
    assert told_both(source("proof", PROOF, clients=True), VERIFIED) != told_both(
        source("proof", PROOF), VERIFIED
    )
    by_envoy = source("h2", PROOF, clients=True)
    assert told_both(by_envoy, VERIFIED) != told_both(source("h2", PROOF), VERIFIED)


@pytest.mark.parametrize("which", [EnvoySource(PROOF), ProxySource(PROOF)])
def test_with_the_proof_all_is_believed(which: Source) -> None:
    told = told_both(which, FIELDS)
    assert told is not None
    assert (told[0].client.address, told[0].port, told[1]) == ("192.0.2.1", 1, "/x?y")
    assert (told[0].client.certificate, told[0].refusal) == (None, None)


@pytest.mark.parametrize(
    "change",
    [
        {"sealgate-proof": None},
        {"sealgate-proof": ""},
        {"sealgate-proof": PROOF[:-1]},
        {"sealgate-proof": PROOF + " "},
        {"sealgate-proof": PROOF.lower()},
        {"sealgate-proof": f"{PROOF},{PROOF}"},
        {"sealgate-proof": "ä" * 33},
        {"sealgate-address": None},
        {"sealgate-address": "192.0.2.1"},
        {"sealgate-address": "192.0.2.1:1,192.0.2.1:1"},
        {"sealgate-path": None},
    ],
)
def test_without_one_of_them_nothing_is(change: dict[str, str | None]) -> None:
    for clients, fields in ((False, FIELDS), (True, VERIFIED)):
        said = {name: value for name, value in (fields | change).items() if value is not None}
        assert told_both(ProxySource(PROOF, clients=clients), said) is None
        assert told_both(EnvoySource(PROOF, clients=clients), said) is None


@pytest.mark.parametrize("name", VERIFIED)
@pytest.mark.parametrize("which", [EnvoySource, ProxySource])
def test_no_field_twice(name: str, which: type[EnvoySource | ProxySource]) -> None:
    if which is EnvoySource and name == "sealgate-verified":
        return  # it is none of Envoy's
    made = which(PROOF, clients=True)
    fields = [(key.encode(), value.encode()) for key, value in VERIFIED.items()]
    assert made.from_scope({"headers": fields}) is not None
    assert made.from_scope({"headers": [*fields, (name.encode(), VERIFIED[name].encode())]}) is None


def test_what_only_begins_like_them_says_nothing_however_often() -> None:
    """nginx passes on what it has no name of: that must not end in a 500."""
    which = ProxySource(PROOF, clients=True)
    fields = [(key.encode(), value.encode()) for key, value in VERIFIED.items()]
    told = which.from_scope({"headers": fields})
    others = [(b"sealgate-anything", b"x"), (b"sealgate-anything", b"y"), (b"sealgate-", b"")]
    assert which.from_scope({"headers": [*others, *fields, *others]}) == told is not None


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=60))
def test_no_guess_is_the_proof(text: str) -> None:
    assert told_both(ProxySource(PROOF), {**FIELDS, "sealgate-proof": text}) is None
    assert told_both(EnvoySource(PROOF), {**FIELDS, "sealgate-proof": text}) is None


def test_a_verified_certificate_is_the_clients() -> None:
    told = told_both(ProxySource(PROOF, clients=True), VERIFIED)
    assert told is not None
    assert told[0].client.certificate == read_certificate(ALICE)
    assert told[0].refusal is None
    envoy = {name: value for name, value in VERIFIED.items() if name != "sealgate-verified"}
    again = told_both(EnvoySource(PROOF, clients=True), envoy)
    assert again == told


def test_no_certificate_is_a_stranger() -> None:
    for fields in ({"sealgate-verified": "NONE"}, {"sealgate-verified": "NONE", "sealgate-certificate": ""}):
        told = told_both(ProxySource(PROOF, clients=True), FIELDS | fields)
        assert told is not None
        assert (told[0].client.certificate, told[0].refusal) == (None, None)


@pytest.mark.parametrize(
    ("verdict", "certificate", "reason"),
    [
        ("FAILED:certificate has expired", ALICE, "certificate-not-verified"),
        ("FAILED:certificate has expired", "", "certificate-not-verified"),
        ("GENEROUS", ALICE, "certificate-not-verified"),
        ("success", ALICE, "certificate-not-verified"),
        ("SUCCESS,SUCCESS", ALICE, "certificate-not-verified"),
        ("", "", "certificate-not-verified"),
        ("SUCCESS", "", "certificate-not-verified"),
        ("NONE", ALICE, "certificate-not-verified"),
        ("SUCCESS", "(null)", "certificate-encoding"),
        ("SUCCESS", f"{ALICE},{ALICE}", "certificate-encoding"),
        ("SUCCESS", "-----BEGIN CERTIFICATE-----%0AAAAA%0A-----END CERTIFICATE-----", "certificate-content"),
        ("SUCCESS", "A" * 400_000, "certificate-size"),
    ],
)
def test_a_certificate_that_does_not_count_is_never_none(verdict: str, certificate: str, reason: str) -> None:
    said = {**FIELDS, "sealgate-verified": verdict, "sealgate-certificate": certificate}
    told = told_both(ProxySource(PROOF, clients=True), said)
    assert told is not None
    refusal = told[0].refusal
    assert refusal is not None
    assert (refusal.problem.slug, refusal.reason) == ("client-certificate-refused", reason)
    assert told[0].client.certificate is None
    assert told[0].client.address == "192.0.2.1"


def test_a_server_that_forgets_its_verdict_is_not_trusted() -> None:
    assert told_both(ProxySource(PROOF, clients=True), FIELDS) is None
    without = {name: value for name, value in VERIFIED.items() if name != "sealgate-verified"}
    assert told_both(ProxySource(PROOF, clients=True), without) is None


def test_envoys_certificate_comes_once_and_whole() -> None:
    fields = FIELDS
    which = EnvoySource(PROOF, clients=True)
    told = told_both(which, fields)
    assert told is not None
    assert (told[0].client.certificate, told[0].refusal) == (None, None)
    told = told_both(which, {**fields, "sealgate-certificate": "-"})
    assert told is not None
    assert told[0].refusal is not None
    twice = [(name.encode(), value.encode()) for name, value in fields.items()]
    twice += [(b"sealgate-certificate", ALICE.encode())] * 2
    assert which.from_scope({"headers": twice}) is None


def test_memory_of_certificates_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_MOST_REMEMBERED", 10)
    which = ProxySource(PROOF, clients=True)
    for number in range(100):
        told = told_both(which, {**VERIFIED, "sealgate-certificate": f"no certificate {number}"})
        assert told is not None
        assert len(which._origins) <= 10
    before = len(which._origins)
    assert told_both(which, {**VERIFIED, "sealgate-certificate": "x" * 9000}) is not None
    assert len(which._origins) == before, "long ones are read each time"


COMPILED = compile_policy(Policy(), 1)
PROXY = "198.51.100.7"
BEHIND = {
    "not a proxy": ("192.0.2.1:5", {"x-forwarded-for": "203.0.113.9"}, ("192.0.2.1", 5, "")),
    "nobody named": (f"{PROXY}:5", {}, (PROXY, 5, "")),
    "one named": (f"{PROXY}:5", {"x-forwarded-for": "203.0.113.9"}, ("203.0.113.9", 0, "")),
    "by the standard": (f"{PROXY}:5", {"forwarded": "for=203.0.113.9"}, ("203.0.113.9", 0, "")),
    "garbage": (f"{PROXY}:5", {"x-forwarded-for": "x"}, (PROXY, 5, "forwarded-address")),
    "empty": (f"{PROXY}:5", {"x-forwarded-for": ""}, (PROXY, 5, "forwarded-address")),
}


@pytest.mark.parametrize("identity", ("h2", "proof", "inside"))
@pytest.mark.parametrize("case", BEHIND)
def test_whom_a_trusted_proxy_forwards_for(identity: str, case: str) -> None:
    address, fields, (seen, port, why) = BEHIND[case]
    compiled = replace(COMPILED, proxies=admitted((f"{PROXY}/32",), ()))
    told = source(identity, PROOF, compiled=compiled)
    host, _, number = address.rpartition(":")
    said = {"sealgate-proof": PROOF, "sealgate-address": address, "sealgate-path": "/x"} | fields
    environ: dict[str, Any] = {"HTTP_" + name.upper().replace("-", "_"): said[name] for name in said}
    environ |= {"REMOTE_ADDR": host, "REMOTE_PORT": number, "RAW_URI": "/x", "sealgate.peer_certificate": b""}
    scope = {
        "headers": [(name.encode(), value.encode()) for name, value in said.items()],
        "client": (host, int(number)),
        "raw_path": b"/x",
        "extensions": {"tls": {}},
    }
    for found in (told.from_environ(environ), told.from_scope(scope)):
        assert found is not None
        origin, target = found
        assert (origin.client.address, origin.port, target) == (seen, port, "/x")
        assert (origin.lost.reason if origin.lost else "") == why
