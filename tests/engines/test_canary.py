"""What a server does with a certificate, and what that means: each end that such a look can come to."""

from __future__ import annotations

import socket
import ssl
import threading

import pytest
import trustme

from sealgate.engines import canary
from sealgate.engines.canary import Verdict
from sealgate.engines.observe import whence
from sealgate.policy.model import Endpoint
from sealgate.policy.problems import problem

AUTHORITY = trustme.CA()


def refusal(slug: str) -> bytes:
    body = problem(slug).as_json()
    return b"HTTP/1.1 403 Forbidden\r\ncontent-length: %d\r\n\r\n" % len(body) + body


ENDS: dict[str, tuple[list[bytes], Verdict]] = {
    "taken": ([b"HTTP/1.1 421 Misdirected Request\r\n\r\n"], Verdict.TAKEN),
    "refused by the server": ([refusal("client-certificate-refused")], Verdict.REFUSED),
    "refused in pieces": ([b"HTTP/1.1 403 ", b"Forbidden\r\n\r\n", b"{}"], Verdict.REFUSED),
    "only from here": ([refusal("address-refused")], Verdict.TAKEN),
    "only from here, in pieces": (
        [refusal("address-refused")[:60], refusal("address-refused")[60:]],
        Verdict.TAKEN,
    ),
    "more than anybody reads": ([b"HTTP/1.1 403 Forbidden\r\n\r\n" + b"x" * 100_000], Verdict.REFUSED),
    "something else": ([b"HTTP/1.1 500 Oh\r\n\r\n"], Verdict.UNKNOWN),
    "no HTTP": ([b"no"], Verdict.UNKNOWN),
    "nothing": ([], Verdict.REFUSED),
}


@pytest.mark.parametrize("end", ENDS)
def test_each_end_has_its_meaning(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces, verdict = ENDS[end]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("a.test").configure_cert(context)
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.settimeout(20)

    def serve() -> None:
        with context.wrap_socket(theirs, server_side=True) as tls:
            tls.recv(4096)
            try:
                for piece in pieces:
                    tls.sendall(piece)
                tls.unwrap()
            except OSError:  # the look has seen enough
                pass

    monkeypatch.setattr(canary, "connect", lambda *_arguments, **_options: ours)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        pem = AUTHORITY.issue_cert("client.test").private_key_and_cert_chain_pem.bytes()
        assert canary.shown(Endpoint("127.0.0.1", 1), "a.test", pem) is verdict
    finally:
        thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("host", "wanted"), [("127.0.0.1", "127.0.0.1"), ("127.77.1.2", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")]
)
def test_from_where_a_look_comes(host: str, wanted: str) -> None:
    with socket.create_server((host, 0)) as listener:
        endpoint = Endpoint(host, listener.getsockname()[1])
        assert whence(endpoint) == wanted
        with socket.create_connection(
            (host if host != "0.0.0.0" else "127.0.0.1", endpoint.port), timeout=20
        ) as sock:
            assert sock.getsockname()[0] == wanted, "as TCP has it"


def test_where_there_is_no_way_there_is_no_address() -> None:
    assert whence(Endpoint("255.255.255.255", 1)) in {"", "0.0.0.0"}
