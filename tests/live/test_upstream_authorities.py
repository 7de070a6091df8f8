"""Before an upstream no guard judges: several authorities of clients, by their lists, in the handshake."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path

import pytest

from tests.cli.calls import sealgate
from tests.contract.test_revocation import authority_of
from tests.live.backend import backend
from tests.live.served import Served, serve


def status(served: Served, pem: Path) -> int:
    """Of the answer; 0: the handshake, or the connection after it, was ended."""
    context = served.context()
    context.load_cert_chain(pem)
    with contextlib.suppress(ssl.SSLError, OSError), served.connect(context, alpn="http/1.1") as tls:
        tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return int([*tls.recv(4096).split(b" "), b"0", b"0"][1] or 0)
    return 0


@pytest.mark.parametrize("engine", ("envoy", "nginx", "apache"))
def test_who_was_revoked_by_his_own_authority_gets_in_nowhere(engine: str, tmp_path: Path) -> None:
    partners = authority_of("partners", tmp_path)
    (ann, _), (bob, bobs) = partners.client("ann"), partners.client("bob")
    partners.revoke(bobs)
    paths = {"file": str(partners.folder / "partners.pem"), "crl": str(partners.folder / "partners.crl")}
    clients = {"mode": "required", "authorities": [{"name": "private"}, {"name": "partners", **paths}]}
    (folder := tmp_path / "site").mkdir()
    with (
        backend() as behind,
        serve(folder, site={"engine": engine, "upstream": behind.url}, clients=clients) as served,
    ):
        place = ("-c", str(served.policy), "--state", str(served.state))
        for name in ("own", "other"):
            done = sealgate("client", "add", *place, name, "--out", f"out-{name}", cwd=folder)
            assert done.status == 0, done.err
            both = folder / f"out-{name}" / "both.pem"
            both.write_bytes(
                b"".join((both.parent / f"{name}.{part}").read_bytes() for part in ("key", "pem"))
            )
        own, other = (folder / f"out-{name}" / "both.pem" for name in ("own", "other"))
        assert [status(served, one) for one in (own, other, ann.path)] == [200, 200, 200]
        assert status(served, bob.path) in {0, 400, 403}
        done = sealgate("client", "revoke", *place, "own", cwd=folder)
        assert done.status == 0, done.err
        assert status(served, own) in {0, 400, 403}
        assert [status(served, one) for one in (other, ann.path)] == [200, 200]
        done = sealgate("client", "block", *place, ann.fingerprint, cwd=folder)
        assert done.status == 2
        assert "client-unguarded" in done.err
