"""The list of revoked clients on plain HTTP: the one in force, as DER, for everyone, and nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cryptography import x509

from sealgate._system.files import write_atomic
from sealgate.engines.challenges import PATH as CHALLENGE
from sealgate.engines.published import FILE, FOLDER, PATH
from sealgate.pki.crl import der_of
from tests.cli.calls import sealgate
from tests.contract.sites import APPS, Site, at_least, engine_of, environment, on
from tests.contract.test_challenges import TEXT, TOKEN, answered
from tests.contract.test_own_clients import added, client
from tests.live.served import Served, serve
from tests.live.wire import Answer, get, parse, tell_plain

READERS = 40
_ESTABLISHED = "01"
BIG = 20 * 1024**2
SECRET = "not a list"


def ask(served: Served, path: str = PATH, host: str = "localhost", method: str = "GET") -> Answer:
    (answer,) = tell_plain(served, get(host, path, method=method))
    return answer


def in_force(served: Served) -> bytes:
    return der_of((served.state / "live" / "clients" / "crl.pem").read_bytes())


def serials(der: bytes) -> set[int]:
    return {one.serial_number for one in x509.load_der_x509_crl(der)}


def is_missing(answer: Answer) -> bool:
    return answer.status == 404 and answer.slug == "list-unknown"


@on("optional", "required")
def test_it_is_the_list_in_force_as_der(site: Site, tmp_path: Path) -> None:
    """For any Host, in both modes of plain HTTP, and the app hears of none of it."""
    served, mark = site.served, site.witness.mark
    for host in ("localhost", "elsewhere.example", "[2001:db8::1]", "localhost:80"):
        answer = ask(served, host=host)
        assert (answer.status, answer.body) == (200, in_force(served)), host
        assert answer.one("content-type") == "application/pkix-crl"
        assert answer.one("cache-control") == "max-age=300"
        assert answer.one("x-content-type-options") == "nosniff"
        assert answer.one("content-length") == str(len(answer.body))
        assert answer.all("strict-transport-security") == []
        assert answer.all("accept-ranges") in ([], ["none"])
    authority = x509.load_pem_x509_certificate((served.state / "live" / "clients" / "trust.pem").read_bytes())
    assert x509.load_der_x509_crl(answer.body).is_signature_valid(authority.public_key())  # type: ignore[arg-type]  # ours
    (tmp_path / "clients.crl").write_bytes(answer.body)
    read = subprocess.run(
        ["openssl", "crl", "-inform", "DER", "-in", "clients.crl", "-noout", "-text"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "X509v3 CRL Number" in read.stdout
    assert site.witness.since(mark) == []


@on("optional", "required")
def test_other_methods(site: Site) -> None:
    whole, head = ask(site.served), ask(site.served, method="HEAD")
    for name in ("content-type", "content-length", "cache-control", "x-content-type-options"):
        assert head.one(name) == whole.one(name)
    assert (head.status, head.body) == (200, b"")
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        answer = ask(site.served, method=method)
        assert (answer.status, answer.slug) == (405, "method-not-allowed"), method
        assert answer.one("allow") == "GET, HEAD"
        assert answer.all("cache-control") == ["no-store"]


@on("optional", "required")
def test_neither_a_range_nor_a_condition_makes_another_answer(site: Site) -> None:
    whole = ask(site.served)
    for field in (
        "Range: bytes=5-10",
        "Range: bytes=99999999-",
        "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
        f"If-Modified-Since: {(whole.all('last-modified') or ['Fri, 01 Jan 2100 00:00:00 GMT'])[0]}",
        "Accept-Encoding: gzip, br, deflate",
    ):
        (answer,) = tell_plain(site.served, get("localhost", PATH, field))
        assert (answer.status, answer.body) == (200, whole.body), field
        assert answer.all("content-encoding") == []


@on("optional", "required")
def test_who_was_revoked_is_on_it_when_the_command_returns(site: Site) -> None:
    served, name = site.served, f"published-{site.policy}"
    added(site, name)
    leaf = (site.served.folder / f"out-{name}" / f"{name}.pem").read_bytes()
    serial = x509.load_pem_x509_certificates(leaf)[0].serial_number
    before = ask(served).body
    assert serial not in serials(before)
    for order in (("revoke", name, "--reason", "certificate-hold"), ("release", name), ("revoke", name)):
        assert client(site, *order).status == 0
        now = ask(served).body
        assert now == in_force(served) != before
        assert (serial in serials(now)) is (order[0] == "revoke")
        before = now


ODD = (
    *(f"{PATH}/", f"{PATH}?x=1", f"{PATH}?", f"{PATH}%00", f"{PATH}/trust.pem", f"{PATH};x", f"{PATH}#x"),
    *(f"{FOLDER}%63lients.crl", f"{FOLDER}./clients.crl", f"/{PATH}", f"{FOLDER}/clients.crl"),
    *(f"{FOLDER}../sealgate/clients.crl", f"{FOLDER}%2e%2e/sealgate/clients.crl", f"{PATH}/../clients.crl"),
    *("/.well-known%2fsealgate/clients.crl", "/.WELL-KNOWN/sealgate/clients.crl", f"{FOLDER}Clients.crl"),
)
OTHERS = (
    *(FOLDER, FOLDER[:-1], f"{FOLDER}crl.pem", f"{FOLDER}trust.pem", f"{FOLDER}lists.pem", f"{FOLDER}none"),
    *(f"{FOLDER}../", f"{FOLDER}..", f"{FOLDER}secret.txt", f"{FOLDER}../../secret.txt", f"{FOLDER}.."),
    *(f"{FOLDER}../server/localhost/current/key.pem", f"{FOLDER}..%2fserver%2flocalhost%2fcurrent%2fkey.pem"),
    *(f"{FOLDER}..;/server/localhost/current/key.pem", f"{FOLDER}..\\server\\localhost\\current\\key.pem"),
    *(f"{FOLDER}authorities", f"{FOLDER}lists/", f"{FOLDER}%2e", f"{FOLDER}clients.crl.bak"),
)


@on("optional", "required")
def test_no_other_spelling_and_no_other_file(site: Site) -> None:
    served = site.served
    for folder in (served.state / "live" / "clients", served.state / "live", served.state):
        (folder / "secret.txt").write_text(SECRET)
    whole = ask(served).body
    for path in (*ODD, *OTHERS):
        for method in ("GET", "POST"):
            answer = ask(served, path, method=method)
            assert answer.status in {308, 400, 403, 404, 405}, path
            for text in (whole, SECRET.encode(), b"PRIVATE KEY", b"BEGIN CERTIFICATE"):
                assert text not in answer.body, path
            for location in answer.all("location"):
                assert location.startswith("https://"), path
    for path in (f"{FOLDER}crl.pem", f"{PATH}/", f"{FOLDER}secret.txt", f"{PATH}?x=1"):
        assert is_missing(ask(served, path)), path


@on("optional")
def test_an_address_that_may_not_come_in_may_fetch_it(site: Site) -> None:
    served = site.served
    for path, status in (("/", 403), (PATH, 200), (f"{FOLDER}x", 404)):
        with socket.create_connection(
            (served.host, served.http), timeout=20, source_address=("127.66.0.7", 0)
        ) as sock:
            sock.sendall(get("localhost", path))
            (answer,) = parse(_rest(sock))
        assert answer.status == status, path


def _rest(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(1 << 20), b""))


@on("optional", "required")
def test_beside_it_names_are_proven(site: Site) -> None:
    with answered(site):
        assert ask(site.served, CHALLENGE + TOKEN).body == TEXT.encode()
        assert ask(site.served).body == in_force(site.served)


@on("usual", "tight")
def test_without_clients_of_ours_there_is_none(site: Site) -> None:
    answer = ask(site.served)
    assert answer.status == (403 if site.policy == "tight" else 308)


@on("optional")
def test_a_list_that_is_gone_is_404_and_comes_back(site: Site) -> None:
    """The keeper looks every 15 s."""
    served = site.served
    path = served.state / FILE
    path.unlink()
    assert is_missing(ask(served))
    path.symlink_to(served.state / "live" / "clients" / "trust.pem")
    if site.engine != "envoy":  # its folder is ours alone, as those of the keys are
        assert ask(served).status in {403, 404}
    path.unlink(missing_ok=True)
    path.mkdir()
    assert is_missing(ask(served))
    path.rmdir()
    path.write_bytes(in_force(served)[:-5])
    answer = ask(served)
    assert is_missing(answer) or answer.body == in_force(served)[:-5]
    served.wait_for(lambda: ask(served).body == in_force(served), 60)


@contextmanager
def replaced(site: Site, size: int) -> Iterator[bytes]:
    """A list of this size in the place of the one in force, for the keeper's next look at most."""
    length = size - 6
    content = b"\x30\x84" + length.to_bytes(4) + os.urandom(length)
    path = site.served.state / FILE
    write_atomic(path, content)
    try:
        yield content
    finally:
        write_atomic(path, in_force(site.served))


def _asking(served: Served) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(60)
    sock.connect((served.host, served.http))
    sock.sendall(get("localhost", PATH))
    return sock


def whole(served: Served) -> bytes:
    """What somebody who reads fast gets."""
    with _asking(served) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        (answer,) = parse(_rest(sock))
    assert answer.status == 200
    return answer.body


def memory(served: Served) -> int:
    """Bytes that all of its processes have for themselves; a file mapped into memory is not theirs."""
    pids, total = [served.process.pid], 0
    for pid in pids:
        children = Path(f"/proc/{pid}/task").glob("*/children")
        pids += [int(one) for path in children for one in path.read_text().split()]
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                total += int(line.split()[1]) * 1024
    return total


@on("optional")
def test_slow_readers_of_a_large_list_cost_little_and_keep_nobody_waiting(site: Site) -> None:
    served = site.served
    with replaced(site, BIG) as content, ExitStack() as stack:
        assert whole(served) == content
        before = memory(served)
        slow = [stack.enter_context(_asking(served)) for _ in range(READERS)]
        for sock in slow:
            assert sock.recv(64).startswith(b"HTTP/1.1 200 ")
        began = time.monotonic()
        assert whole(served) == content
        assert time.monotonic() - began < 20
        grown = memory(served) - before
        assert grown < READERS * 1024**2, f"{grown / READERS / 1024:.0f} KiB for each reader"


def _established(served: Served, port: int) -> bool:
    """Does the server still keep its end of a connection from this port?"""
    here = f"{int.from_bytes(socket.inet_aton(served.host), sys.byteorder):08X}:{served.http:04X}"
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines())
    return any(
        line[1] == here and line[2].endswith(f":{port:04X}") and line[3] == _ESTABLISHED for line in lines
    )


@on("asgi")
def test_who_takes_nothing_is_left(site: Site) -> None:
    """After `timeouts.idle`, here 4 s."""
    served = site.served
    with replaced(site, BIG), _asking(served) as slow:
        assert slow.recv(64).startswith(b"HTTP/1.1 200 ")
        port = slow.getsockname()[1]
        assert _established(served, port)
        served.wait_for(lambda: not _established(served, port), 60)


@on("optional")
def test_who_began_with_a_list_gets_that_one_whole(site: Site) -> None:
    served = site.served
    with replaced(site, BIG) as old, _asking(served) as slow:
        first = slow.recv(1000)
        write_atomic(served.state / FILE, in_force(served))
        assert ask(served).body == in_force(served)
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        (answer,) = parse(first + _rest(slow))
        assert answer.body == old


@at_least("envoy", "uvicorn")
def test_reloads_and_restarts_keep_it_right(which: str, tmp_path: Path) -> None:
    """Off and on again; a reload that is undone; another start."""
    name = engine_of(which)
    app = APPS["asgi" if name == "uvicorn" else "wsgi"]
    site = {"engine": name, "app": app}
    at = None
    for start in range(2):
        with serve(
            tmp_path,
            env=environment(which),
            at=at,
            site=dict(site),
            clients={"mode": "optional"},
            access={"default": "none"},
        ) as served:
            at = (served.host, served.https, served.http)
            assert ask(served).body == in_force(served)
            if not start:
                served.rewrite(http={"mode": "refuse"})
                served.reload()
                assert ask(served, "/").status == 403
                assert ask(served).body == in_force(served)
                served.rewrite(clients={"mode": "off"})
                served.reload()
                assert ask(served).status == 403
                served.rewrite(site={"app": "nowhere:app"}, clients={"mode": "required"})
                served.reload()
                assert "not reloaded" in served.err
                assert ask(served).status == 403
                served.rewrite(site={"app": app})
                served.reload()
                assert ask(served).body == in_force(served)
            place = ("-c", str(served.policy), "--state", str(served.state))
            done = sealgate("client", "add", *place, f"ann{start}", "--out", "out", cwd=tmp_path)
            assert done.status == 0, done.err
            before = ask(served).body
            assert sealgate("client", "revoke", *place, f"ann{start}", cwd=tmp_path).status == 0
            assert ask(served).body == in_force(served) != before
            last = in_force(served)
        site = {"engine": name, "app": app}
    assert len(serials(last)) >= 2
