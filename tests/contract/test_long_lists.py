"""Where very many are revoked, the guard alone judges: an engine would pay for the list at each handshake."""

from __future__ import annotations

from contextlib import ExitStack

from bench.serving import put
from sealgate.pki.inspect import issuer_key_hash
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.pki.vault import load_certificates
from sealgate.runtime.publication import LONG
from tests.contract.sites import Site, at_least, started
from tests.contract.test_clients import refused
from tests.contract.test_own_clients import added, client, fingerprints, kept
from tests.contract.test_revocation import answered


def fill(site: Site, number: int) -> None:
    state = State.open(site.served.state, create=False)
    certificates = load_certificates(state)
    assert certificates is not None
    with Store.open(state.store) as store:
        put(store, site.served.host, issuer_key_hash(certificates["clients"]), number)


@at_least("envoy", "uvicorn")
def test_the_engine_is_given_no_long_list_and_nobody_comes_in_by_that(which: str) -> None:
    with ExitStack() as stack:
        site = started(stack, which, "required")
        ann, bob, cid = (added(site, name) for name in ("ann", "bob", "cid"))
        assert client(site, "revoke", "ann").status == 0
        refused(site, ann)
        opened, good = kept(stack, site, bob), kept(stack, site, cid)
        fill(site, LONG)
        site.served.wait_for(lambda: "are on lists: the server is given none" in site.served.err, 60.0)
        site.served.reload()
        refused(site, ann)
        done = client(site, "revoke", "bob")
        assert done.status == 0, done.err
        assert not [one for one in opened if answered(one)]
        for shown in (ann, bob):
            refused(site, shown)
        assert fingerprints(site, cid) == {cid.fingerprint}
        if which == "envoy":  # others end kept connections at a reload
            assert [one for one in good if answered(one)] == good
