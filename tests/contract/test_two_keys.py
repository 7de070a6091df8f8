"""A second certificate with a key of the other family: each client is shown the one that it can verify.

Asked where client certificates are required: there TLS 1.2, by which the kinds are told apart, ends with a
failure for whoever looks without one.
"""

from __future__ import annotations

import hashlib
import ssl

import pytest
from cryptography import x509

from sealgate.engines.observe import handshake
from sealgate.engines.presented import KINDS
from sealgate.pki.inspect import key_type_of
from sealgate.pki.live import LiveCertificate, LiveDirectory
from sealgate.policy.model import Endpoint
from tests.contract.certificates import make
from tests.contract.sites import Site, on
from tests.live.wire import get, read_until_closed


def live(site: Site) -> LiveCertificate:
    """What is meant."""
    found = LiveDirectory(next((site.served.state / "live" / "server").iterdir())).current()
    assert found is not None
    return found


def shown(site: Site) -> dict[str, str]:
    """What is shown to those who take one kind of signature alone: its type of key, and fingerprint."""
    endpoint = Endpoint(site.served.host, site.served.https)
    seen = {kind: handshake(endpoint, "localhost", kind=kind) for kind in KINDS}
    for kind, one in seen.items():
        assert key_type_of(x509.load_der_x509_certificate(one.leaf).public_key()).startswith(kind)
    return {kind: one.fingerprint for kind, one in seen.items()}


@on("required")
def test_each_is_shown_its_own(site: Site) -> None:
    assert len(live(site).shown) == 2
    assert shown(site) == live(site).shown


@on("required")
@pytest.mark.parametrize("kind", KINDS)
def test_each_is_verified_and_served(site: Site, kind: str) -> None:
    context = site.served.context(maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(KINDS[kind])
    context.load_cert_chain(make(site.served, "good").path)
    with site.served.connect(context) as tls:
        assert hashlib.sha256(tls.getpeercert(binary_form=True) or b"").hexdigest() == live(site).shown[kind]
        tls.sendall(get("localhost", "/x"))
        assert b" 200 " in read_until_closed(tls)


@on("required")
def test_one_is_renewed_without_the_other_and_both_together(site: Site) -> None:
    before = live(site).shown
    site.served.rewrite(certificate={"key_type": "ecdsa-p384"})
    site.served.reload()
    one = live(site).shown
    assert one["ecdsa"] != before["ecdsa"]
    assert one["rsa"] == before["rsa"]
    assert shown(site) == one
    answer = site.served.order(order="renew", force=True)
    both = live(site).shown
    assert {both["ecdsa"], both["rsa"]}.isdisjoint({*before.values(), *one.values()})
    assert (answer["fingerprint"], answer["second"]["fingerprint"]) == tuple(both.values())
    assert shown(site) == both


@on("required")
def test_one_alone_serves_all_and_the_other_comes_back(site: Site) -> None:
    """Without the second its names lead to the first, and no handshake fails for a missing file."""
    site.served.rewrite(certificate={"second_key_type": ""})
    site.served.reload()
    assert list(live(site).shown) == ["ecdsa"]
    endpoint = Endpoint(site.served.host, site.served.https)
    assert handshake(endpoint, "localhost").fingerprint == live(site).fingerprint
    assert all(path.is_symlink() for path in site.served.state.glob("live/server/*/current/second-*"))
    site.served.rewrite(certificate={"second_key_type": "rsa-3072"})
    site.served.reload()
    assert len(live(site).shown) == 2
    assert shown(site) == live(site).shown
