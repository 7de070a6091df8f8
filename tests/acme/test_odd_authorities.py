"""Whole runs with an authority that behaves oddly in one thing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sealgate._system.clock import system_clock
from sealgate.acme import flow
from sealgate.acme.obtain import obtain, settle
from sealgate.acme.order import Answer, Obtained, Wanted
from sealgate.errors import AcmeError, Fault
from sealgate.pki.live import verify_pair
from sealgate.pki.state import State
from tests.acme.fake import Asked, Fake, Said, fake_authority, problem

WANTED = Wanted(("a.example.test", "*.b.example.test"), "ecdsa-p256", "http-01")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    with fake_authority(tmp_path_factory.mktemp("fake")) as authority:
        yield authority


@pytest.fixture
def fake(running: Fake, monkeypatch: pytest.MonkeyPatch) -> Fake:
    monkeypatch.setattr(flow, "LIMIT", 120.0)
    running.odd, running.asked, running.meta, running.more = {}, [], {}, {}
    return running


@dataclass
class Caller:
    fake: Fake
    state: State
    shown: set[Answer] = field(default_factory=set)
    said: list[str] = field(default_factory=list)
    waited: float = 0.0
    stuck: AcmeError | None = None

    def present(self, answers: Sequence[Answer]) -> None:
        self.shown |= set(answers)

    def withdraw(self, answers: Sequence[Answer]) -> None:
        if self.stuck is not None:
            raise self.stuck
        self.shown -= set(answers)

    def wait(self, seconds: float) -> None:
        self.waited += seconds

    def get(self, wanted: Wanted = WANTED, **settings: Any) -> Obtained:
        try:
            return obtain(
                self.fake.authority(),
                wanted,
                state=self.state,
                solver=self,
                clock=system_clock,
                wait=self.wait,
                say=self.said.append,
                **settings,
            )
        finally:
            assert self.stuck is not None or not self.shown

    def error(self, wanted: Wanted = WANTED, **settings: Any) -> AcmeError:
        with pytest.raises(AcmeError) as caught:
            self.get(wanted, **settings)
        assert str(caught.value).isprintable()
        return caught.value

    @property
    def left(self) -> list[str]:
        return sorted(path.name for path in (self.state.path / "acme").rglob("*") if path.is_file())


@pytest.fixture
def caller(fake: Fake, tmp_path: Path) -> Caller:
    return Caller(fake, State.open(tmp_path / "state"))


def orders(fake: Fake) -> list[dict[str, Any]]:
    return [asked.payload or {} for asked in fake.asked if asked.path == "/order"]


def test_the_usual(caller: Caller) -> None:
    got = caller.get()
    chain = verify_pair(got.chain_pem, got.key_pem, "test")
    assert len(chain) == 1, "the root stays out"
    assert "replaces" not in orders(caller.fake)[0]
    assert "profile" not in orders(caller.fake)[0]
    assert caller.fake.asked[-1].path == "/cert"
    assert caller.fake.asked[-1].headers["Accept"] == "application/pem-certificate-chain"


def test_a_profile_is_asked_for_where_there_is_one(caller: Caller) -> None:
    wanted = Wanted(WANTED.names, "ecdsa-p256", "http-01", profile="shortlived")
    error = caller.error(wanted)
    assert (error.code, error.fault) == ("acme-profile-unknown", Fault.CONFIGURATION)
    caller.fake.meta = {"profiles": {"classic": "a", "tls\x1bserver": "b"}}
    assert "classic" in caller.error(wanted).fact
    caller.fake.meta = {"profiles": {"shortlived": "six days"}}
    caller.get(wanted)
    assert orders(caller.fake)[-1]["profile"] == "shortlived"


def test_what_is_replaced_is_said_only_where_renewal_information_is(caller: Caller) -> None:
    caller.get(replaces="aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE")
    assert "replaces" not in orders(caller.fake)[-1]
    settle(caller.state, WANTED)
    caller.fake.more = {"renewalInfo": f"{caller.fake.base}/ari"}
    caller.get(replaces="aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE")
    assert orders(caller.fake)[-1]["replaces"] == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


@pytest.mark.parametrize("kind", ("alreadyReplaced", "malformed"))
def test_what_is_replaced_already_is_left_out(caller: Caller, kind: str) -> None:
    caller.fake.more = {"renewalInfo": f"{caller.fake.base}/ari"}
    caller.fake.odd["/order"] = lambda asked: (
        problem(kind, 409, detail="replaced by another") if (asked.payload or {}).get("replaces") else None
    )
    caller.get(replaces="aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE")
    assert "replaces" not in orders(caller.fake)[-1]
    assert [text for text in caller.said if "replaced" in text]


def test_an_authority_that_processes_for_ever(caller: Caller) -> None:
    def processing(asked: Asked) -> Said | None:
        return Said(200, {**caller.fake.order, "status": "processing", "certificate": None})

    caller.fake.odd["/finalize"] = processing
    caller.fake.odd["/order/1"] = processing
    error = caller.error()
    assert error.code == "acme-timeout"
    assert 40 < caller.waited <= flow.LIMIT
    assert caller.left == ["key.pem", "order.json"]
    # By and by it comes to an end; the next run has it, without a new order.
    caller.fake.odd.clear()
    caller.fake.order["status"] = "ready"
    caller.get()
    assert len(orders(caller.fake)) == 1


@pytest.mark.parametrize(("seconds", "comes"), (("37", True), ("3600", False)))
def test_retry_after_is_waited_for_and_an_hour_is_for_the_next_run(
    caller: Caller, seconds: str, comes: bool
) -> None:
    finalize = caller.fake._finalize

    def later(asked: Asked) -> Said:
        finalize(asked.payload or {})
        return Said(200, {**caller.fake.order, "status": "processing"}, {"Retry-After": seconds})

    caller.fake.odd["/finalize"] = later
    if comes:
        caller.get()
        assert 37 <= caller.waited < 40
        return
    error = caller.error()
    assert error.code == "acme-timeout"
    retry = datetime.fromisoformat(str(error.details["retry_at"]))
    assert timedelta(minutes=59) < retry - system_clock() < timedelta(minutes=61)


def test_an_order_for_other_names(caller: Caller) -> None:
    def other(asked: Asked) -> Said:
        said = Fake._new_order(caller.fake, asked.payload or {})
        caller.fake.order["identifiers"] = [{"type": "dns", "value": "evil.example"}]
        return said

    caller.fake.odd["/order"] = other
    assert caller.error().code == "acme-answer-invalid"
    assert caller.left == []


def test_an_authorization_for_a_name_that_is_not_ours(caller: Caller) -> None:
    def other(_asked: Asked) -> Said:
        one = {**caller.fake.authorizations[0], "identifier": {"type": "dns", "value": "evil.example"}}
        return Said(200, one)

    caller.fake.odd["/authz/0"] = other
    assert caller.error().code == "acme-answer-invalid"
    assert caller.fake.count("/chall/.*") == 0
    # The other one waited for a proof that nobody will give: given up.
    assert caller.fake.authorizations[1]["status"] == "deactivated"
    assert caller.left == []


@pytest.mark.parametrize(
    "address", ("http://ca.example/x", "ftp://ca.example/", "https://ca.example/\n", "", 7, None)
)
@pytest.mark.parametrize("where", ("authorizations", "finalize", "Location", "url", "certificate"))
def test_an_address_that_is_not_https(caller: Caller, where: str, address: Any) -> None:
    fake = caller.fake

    def order(asked: Asked) -> Said:
        said = Fake._new_order(fake, asked.payload or {})
        if where == "Location":
            said.headers = {"Location": str(address or "").replace("\n", " ")}
        elif where == "url":
            fake.authorizations[0]["challenges"][1]["url"] = address
        elif where != "certificate":
            fake.order[where] = [address] if where == "authorizations" else address
        return said

    def finalize(asked: Asked) -> Said:
        Fake._finalize(fake, asked.payload or {})
        fake.order["certificate"] = address
        return Said(200, fake.order)

    fake.odd["/order"] = order
    if where == "certificate":
        fake.odd["/finalize"] = finalize
    error = caller.error()
    if str(address).startswith("http:"):
        assert error.code == "acme-directory-insecure"
    elif where == "certificate" and not address and address != 7:
        assert error.code == "acme-timeout"
    else:
        assert error.code == "acme-answer-invalid"


def test_a_person_must_do_something(caller: Caller) -> None:
    caller.fake.odd["/order"] = lambda _asked: problem(
        "userActionRequired", instance="https://ca.example/terms/\x1b]0;2", detail="Terms changed"
    )
    error = caller.error()
    assert (error.code, error.fault) == ("acme-action-required", Fault.CONFIGURATION)
    assert "https://ca.example/terms/" in error.fact


def test_an_authority_that_stumbles_is_given_some_patience(caller: Caller) -> None:
    failures = iter([True, True, True])
    caller.fake.odd["/order/1"] = lambda _asked: (
        problem("serverInternal", 500) if next(failures, False) else None
    )
    caller.get()
    settle(caller.state, WANTED)
    caller.fake.odd["/order/1"] = lambda _asked: Said(503, b"")
    assert caller.error().code == "acme-authority-failed"
    assert caller.left == ["key.pem", "order.json"]


def test_an_order_that_is_not_ready_after_all(caller: Caller) -> None:
    early = iter([True, True])
    caller.fake.odd["/finalize"] = lambda _asked: problem("orderNotReady") if next(early, False) else None
    caller.get()
    assert caller.fake.count("/finalize") == 3


def test_a_challenge_that_is_over_already_is_no_matter(caller: Caller) -> None:
    def malformed(asked: Asked) -> Said:
        caller.fake._prove(int(asked.path[-1]))
        return problem("malformed", 400, detail="authorization is finalized")

    caller.fake.odd["/chall/.*"] = malformed
    caller.get()


def test_the_failed_names_are_told_with_their_reasons(caller: Caller) -> None:
    def fail(asked: Asked) -> Said:
        number = int(asked.path[-1])
        one = caller.fake.authorizations[number]
        one["status"] = one["challenges"][1]["status"] = "invalid"
        one["challenges"][1]["error"] = {"type": "urn:ietf:params:acme:error:dns", "detail": "SERVFAIL"}
        caller.fake.order["status"] = "invalid"
        return Said(200, one["challenges"][1])

    caller.fake.odd["/chall/1"] = fail
    error = caller.error()
    assert error.code == "acme-dns"
    assert error.details["names"] == ("b.example.test",)
    assert "SERVFAIL" in error.fact
    assert caller.left == []


def _pem(one: Any) -> bytes:
    return bytes(one.public_bytes(serialization.Encoding.PEM))


def test_a_certificate_for_another_key_or_other_names_is_not_taken(caller: Caller) -> None:
    fake = caller.fake
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    names = (x509.DNSName("a.example.test"), x509.DNSName("*.b.example.test"))
    fake.odd["/cert"] = lambda _asked: Said(200, _pem(fake._issue("", other, names)))
    error = caller.error()
    assert (error.code, error.details["reason"]) == ("acme-chain-unfit", "key-mismatch")

    def fewer(asked: Asked) -> Said:
        Fake._finalize(fake, asked.payload or {})
        leaf = x509.load_pem_x509_certificates(fake.chain)[0]
        fake.chain = _pem(fake._issue("", leaf.public_key(), names[:1]))
        return Said(200, fake.order)

    settle(caller.state, WANTED)
    fake.odd = {"/finalize": fewer}
    assert caller.error().details["reason"] == "certificate-names"
    settle(caller.state, WANTED)
    fake.odd = {"/cert": lambda _asked: Said(200, b"-----BEGIN CERTIFICATE-----\ngarbage")}
    assert caller.error().details["reason"] == "certificate-unreadable"


def test_an_answer_that_cannot_be_removed_is_removed_by_a_later_run(caller: Caller) -> None:
    caller.stuck = AcmeError("acme-dns", "the zone's server is down", "wait")
    caller.get()
    settle(caller.state, WANTED)
    assert caller.left == ["order.json"]
    caller.get(Wanted(WANTED.names, "ecdsa-p384", "http-01"))
    assert len(caller.shown) == 2
    assert [text for text in caller.said if "the zone's server is down" in text]
    # Before anybody is asked: the authority may be down for days.
    caller.fake.odd["/dir"] = lambda _asked: Said(503, b"")
    caller.stuck = None
    caller.error()
    assert not caller.shown
    settle(caller.state, WANTED)
    assert caller.left == []


def test_a_failed_order_too(caller: Caller) -> None:
    caller.stuck = AcmeError("acme-dns", "the zone's server is down", "wait")
    caller.fake.odd["/finalize"] = lambda _asked: problem("caa", detail="no")
    assert caller.error().code == "acme-caa"
    caller.stuck = None
    caller.fake.odd.clear()
    caller.get()


def test_an_authority_that_is_down_is_not_waited_for(caller: Caller) -> None:
    caller.fake.odd["/dir"] = lambda _asked: Said(503, b"", {"Retry-After": "600"})
    error = caller.error()
    assert error.code == "acme-authority-failed"
    assert "retry_at" in error.details
    assert caller.waited == 0


def test_the_time_of_a_run_is_bounded_by_waits_alone(caller: Caller) -> None:
    """Whatever takes long is `wait`'s, which the keeper can end; nothing here sleeps by itself."""
    began = time.monotonic()
    caller.fake.odd["/chall/.*"] = lambda _asked: Said(200, caller.fake.authorizations[0]["challenges"][0])
    assert caller.error().code == "acme-timeout"
    assert time.monotonic() - began < 60
