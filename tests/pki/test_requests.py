from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from sealgate.errors import CertificateMismatch, UsageError
from sealgate.pki.inspect import fingerprint
from sealgate.pki.keys import load_private, spki
from sealgate.pki.live import LiveDirectory
from sealgate.pki.orders import carry_out
from sealgate.pki.requests import import_chain, imported_files, make_request
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.policy.model import Policy
from tests.pki.killing import KILLED, die_at, steps_of
from tests.pki.making import NOW, Made, make, openssl, write

NAMES = ("api.example.com", "*.example.net", "10.0.0.1")
POLICY = Policy.model_validate({"site": {"names": list(NAMES)}})
CA = make("ca", ca=True)


def answer(state: State) -> Made:
    """What a commercial authority sends back: a certificate for the request's key."""
    return make("x", CA, names=NAMES, key=load_private(state.requests(NAMES[0]) / "key.pem"))


def test_openssl_reads_the_request(state: State) -> None:
    path = make_request(state, POLICY)
    shown = openssl("req", "-in", path, "-verify", "-noout", "-text")
    assert shown.returncode == 0
    assert b"DNS:api.example.com, DNS:*.example.net, IP Address:10.0.0.1" in shown.stdout
    assert b"CN = api.example.com" in shown.stdout or b"CN=api.example.com" in shown.stdout
    assert x509.load_pem_x509_csr(path.read_bytes()).is_signature_valid


def test_asking_again_gives_the_same_while_it_fits(state: State) -> None:
    path = make_request(state, POLICY)
    first, key = path.read_bytes(), (path.parent / "key.pem").read_bytes()
    assert make_request(state, POLICY).read_bytes() == first
    # Other names: the key, which an answer may be on its way for, stays.
    more = Policy.model_validate({"site": {"names": [NAMES[0], "b.test"]}})
    assert make_request(state, more).read_bytes() != first
    assert (path.parent / "key.pem").read_bytes() == key
    other = Policy.model_validate({"site": {"names": list(NAMES)}, "certificate": {"key_type": "ecdsa-p384"}})
    make_request(state, other)
    assert (path.parent / "key.pem").read_bytes() != key


def test_the_answer_joins_the_key(state: State, tmp_path: Path) -> None:
    make_request(state, POLICY)
    made = answer(state)
    chain = write(tmp_path / "chain.pem", made.pem + CA.pem, 0o644)
    pair = import_chain(state, POLICY, chain, now=NOW)
    assert fingerprint(pair.chain[0]) == fingerprint(made.certificate)
    chain_path, key_path = imported_files(state, POLICY)
    assert chain_path.read_bytes() == made.pem
    assert spki(load_private(key_path.resolve())) == spki(made.key)
    assert list(state.requests(NAMES[0]).iterdir()) == [], "the request is answered"
    with Store.open(state.store) as store:
        assert [row.kind for row in store.certificates()] == ["imported"]


def test_a_wrong_answer_leaves_the_request_waiting(state: State, tmp_path: Path) -> None:
    path = make_request(state, POLICY)
    before = path.read_bytes()
    wrong = write(tmp_path / "chain.pem", make("x", CA, names=NAMES).pem)
    with pytest.raises(CertificateMismatch) as caught:
        import_chain(state, POLICY, wrong, now=NOW)
    assert caught.value.code == "key-mismatch"
    assert path.read_bytes() == before
    assert not imported_files(state, POLICY)[0].exists()


def test_with_its_own_key_no_request_is_needed_and_a_waiting_one_stays(state: State, tmp_path: Path) -> None:
    made = make("x", CA, names=NAMES)
    chain, key = write(tmp_path / "chain.pem", made.pem), write(tmp_path / "key.pem", made.key_pem)
    with pytest.raises(UsageError) as caught:
        import_chain(state, POLICY, chain, now=NOW)
    assert caught.value.code == "request-missing"
    path = make_request(state, POLICY)
    import_chain(state, POLICY, chain, key, now=NOW)
    assert path.exists()


def test_killed_at_every_step_the_key_of_a_request_is_never_another(tmp_path: Path) -> None:
    def work(name: str):
        return lambda step: make_request(State.open(tmp_path / name), POLICY, step=step)

    for number in range(len(steps_of(work("count")))):
        assert die_at(number, work(f"s{number}")) == KILLED
        state = State.open(tmp_path / f"s{number}")
        path = make_request(state, POLICY)
        request = x509.load_pem_x509_csr(path.read_bytes())
        assert spki(load_private(path.parent / "key.pem")) == spki(request.public_key())  # type: ignore[arg-type]


class TestOrders:
    def order(self, state: State, policy: Policy, clock, **order):
        return carry_out(order, state=state, policy=policy, clock=clock, base=state.path.parent)

    def test_renew_says_whether_it_did(self, state: State, clock) -> None:
        first = self.order(state, Policy(), clock, order="renew", force=False)
        again = self.order(state, Policy(), clock, order="renew", force=False)
        forced = self.order(state, Policy(), clock, order="renew")
        assert (first["renewed"], again["renewed"], forced["renewed"]) == (True, False, True)
        assert first["fingerprint"] == again["fingerprint"] != forced["fingerprint"]

    def test_an_import_is_live_only_where_the_policy_names_it(
        self, state: State, clock, tmp_path: Path
    ) -> None:
        request = self.order(state, POLICY, clock, order="cert-request")
        assert request["pem"].startswith("-----BEGIN CERTIFICATE REQUEST-----")
        made = answer(state)
        chain = str(write(tmp_path / "chain.pem", made.pem + CA.pem))
        told = self.order(state, POLICY, clock, order="cert-import", chain=chain, key="")
        assert told["live"] is False
        live = LiveDirectory(state.live_server(NAMES[0]))
        assert live.current() is None
        key = str(write(tmp_path / "key.pem", made.key_pem))
        named = POLICY.model_dump(include={"site": {"names"}}) | {
            "certificate": {"source": "files", "files": told["files"]}
        }
        told = self.order(
            state, Policy.model_validate(named), clock, order="cert-import", chain=chain, key=key
        )
        assert told["live"] is True
        assert live.fingerprint() == fingerprint(made.certificate)

    def test_a_new_root(self, state: State, clock) -> None:
        self.order(state, Policy(), clock, order="renew")
        before = state.root_pem.read_bytes()
        told = self.order(state, Policy(), clock, order="cert-new-root")
        assert told["root"] == str(state.root_pem)
        assert state.root_pem.read_bytes() != before

    def test_what_is_no_order(self, state: State, clock) -> None:
        with pytest.raises(UsageError) as caught:
            self.order(state, Policy(), clock, order="cert-destroy")
        assert caught.value.code == "order-unknown"
