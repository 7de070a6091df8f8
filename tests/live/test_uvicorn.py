"""What is uvicorn's own among the engines; what all of them promise is asked in `tests/contract/`."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from sealgate.engines.challenges import Challenges
from sealgate.engines.redirect import answer_exactly
from tests.contract.certificates import make
from tests.live.conftest import Serve
from tests.live.load import Tally, h1_client
from tests.live.served import APPS, Served, alive, free_port, serve
from tests.live.wire import get, parse, read_until_closed, tell

TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ"
UVICORN = {"engine": "uvicorn"}
QUICK = 2.0
"""Seconds in which a request must be answered, whatever others do; alone it takes a hundredth of that."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(
        tmp_path_factory.mktemp("site"),
        app="inside:app",
        site=UVICORN,
        limits={"body": "64KiB"},
        timeouts={"headers": "1s", "request": "1s", "idle": "2s", "drain": "5s"},
        clients={"mode": "optional"},
        access={"default": "none"},
    ) as served:
        yield served


def asked(served: Served, path: str = "/", *fields: str) -> dict:
    (answer,) = tell(served, get("localhost", path, *fields), settle=3)
    assert answer.status == 200
    return dict(json.loads(answer.body))


def test_the_app_learns_of_the_connections_tls(site: Served) -> None:
    told = asked(site)
    assert told["extensions"]["tls"] == {
        "server_cert": None,
        "client_cert_chain": [],
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": 0x0304,
        "cipher_suite": 0x1302,
    }
    assert told["client"] is False


def test_the_client_certificate_is_in_the_extension_and_in_the_log(site: Served) -> None:
    shown = make(site, "good")
    context = site.context()
    context.load_cert_chain(shown.path)
    with site.connect(context) as tls:
        tls.sendall(get("localhost", "/shown"))
        (answer,) = parse(read_until_closed(tls))
    told = json.loads(answer.body)
    assert told["client"] is True
    extension = told["extensions"]["tls"]
    leaf = load_pem_x509_certificate(extension["client_cert_chain"][0].encode())
    assert leaf.fingerprint(SHA256()).hex() == shown.fingerprint
    assert extension["client_cert_name"] == shown.subject
    site.wait_for(lambda: [line for line in site.access() if line["path"] == "/shown"])
    (line,) = [line for line in site.access() if line["path"] == "/shown"]
    assert (line["client"], line["tls"]) == (shown.fingerprint, "TLSv1.3")


def test_pipelined_requests_are_answered_in_order_and_an_error_comes_last(site: Served) -> None:
    """uvicorn itself writes its 400 at once, into the answer before it."""
    good = get("localhost", "/hold?0.3", close=False)
    answers = tell(site, good * 3 + b"GET / HTTP/1.1\r\nHost : x\r\n\r\n" + good, settle=4)
    assert [answer.status for answer in answers] == [200, 200, 200, 400]
    assert answers[-1].slug == "bad-request"
    assert [answer.all("connection") for answer in answers] == [[], [], [], ["close"]]


def test_the_time_for_an_answer_begins_when_the_answers_before_it_are_out(site: Served) -> None:
    """`timeouts.request` is 1 s here: the last of these comes after 1.8 s, and none took 1 s."""
    good = get("localhost", "/hold?0.3", close=False)
    answers = tell(site, good * 5 + get("localhost", "/hold?0.3"), settle=6)
    assert [answer.status for answer in answers] == [200] * 6


def test_a_body_may_be_half_there_while_the_answer_before_it_is_made(site: Served) -> None:
    """Nothing is read while a request waits for its turn, so its client is not the one who is late."""
    before = get("localhost", "/hold?0.7", close=False)
    upload = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nConnection: close\r\n\r\nab"
    with site.connect() as tls:
        tls.sendall(before * 2 + upload)
        time.sleep(1.6)
        tls.sendall(b"cd")
        answers = parse(read_until_closed(tls))
    assert [answer.status for answer in answers] == [200, 200, 200]


def test_a_thousand_pipelined_requests(site: Served) -> None:
    answers = tell(site, get("localhost", close=False) * 999 + get("localhost"), settle=10)
    assert [answer.status for answer in answers] == [200] * 1000


def test_an_answer_that_does_not_come_is_504_and_the_connection_ends(site: Served) -> None:
    (answer,) = tell(site, get("localhost", "/hold?8", close=False), settle=5)
    assert (answer.status, answer.slug) == (504, "app-timeout")
    assert answer.one("strict-transport-security")


@pytest.mark.parametrize("path", ["/fail", "/odd"])
def test_an_app_that_fails_is_500_with_hsts(site: Served, path: str) -> None:
    (answer,) = tell(site, get("localhost", path), settle=5)
    assert (answer.status, answer.slug) == (500, "internal-error")
    assert answer.one("strict-transport-security")


def test_a_chunked_body_that_grows_too_large(site: Served) -> None:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with site.connect() as tls:
        tls.sendall(head)
        for _ in range(5):
            tls.sendall(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        (answer,) = parse(read_until_closed(tls, settle=4))
    assert (answer.status, answer.slug) == (413, "body-too-large")


def test_a_100_is_sent_only_where_the_body_is_wanted(site: Served) -> None:
    fields = ("Content-Length: 5", "Expect: 100-continue")
    with site.connect() as tls:
        tls.sendall(get("localhost", "/", *fields, method="POST"))
        assert tls.recv(65536).startswith(b"HTTP/1.1 100 ")
        tls.sendall(b"hello")
        (answer,) = parse(read_until_closed(tls))
    assert json.loads(answer.body)["size"] == 5
    (answer,) = tell(site, get("localhost", "/a/../b", *fields, method="POST", close=False))
    assert (answer.status, answer.all("connection")) == (400, ["close"])


def test_a_slow_reader_gets_all_and_one_that_stops_is_cut_off(site: Served) -> None:
    size = 16 * 1024 * 1024
    with site.connect() as tls:
        tls.sendall(get("localhost", f"/big?{size}"))
        tls.settimeout(20)
        read = 0
        while piece := tls.recv(256 * 1024):
            read += len(piece)
            time.sleep(0.004)  # in all longer than `idle`, and than anybody would wait for a goodbye
    assert size < read < size + 1000
    with site.connect() as tls:
        tls.sendall(get("localhost", f"/big?{size}"))
        tls.recv(1)
        site.wait_for(lambda: _connections(site) == 0, 15)


def test_readers_that_stop_hold_up_nobody_and_are_ended(site: Served) -> None:
    """Far more than anything keeps for them; WebSockets that do not read too."""
    with ExitStack() as open_:
        for _ in range(10):
            tls = open_.enter_context(site.connect())
            tls.sendall(get("localhost", f"/big?{16 * 1024 * 1024}"))
            assert tls.recv(1)
        for _ in range(2):
            talk = open_.enter_context(
                connect(
                    url(site, "/"), ssl=site.context(), max_queue=1, ping_interval=None, close_timeout=0.1
                )
            )
            with suppress(ConnectionClosed, OSError):
                for _ in range(8):
                    talk.send("x" * 900_000)
        began = time.monotonic()
        assert asked(site)["size"] == 0
        assert time.monotonic() - began < QUICK
        site.wait_for(lambda: _connections(site) == 0)


def _connections(served: Served) -> int:
    """Established ones on the HTTPS port, as the kernel counts them on the server's side."""
    wanted = f":{served.https:04X}"
    count = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        count += fields[1].endswith(wanted) and fields[3] == "01"
    return count


# WebSockets


def url(served: Served, path: str) -> str:
    return f"wss://{served.host}:{served.https}{path}"


def test_a_websocket(site: Served) -> None:
    with connect(url(site, "/"), ssl=site.context()) as socket_:
        assert json.loads(socket_.recv())["tls"] == 0x0304
        socket_.send("hello")
        assert socket_.recv() == "hello"
        response = socket_.response
        assert response is not None
        assert response.headers["strict-transport-security"] == "max-age=300"
        assert response.headers["x-kept"] == "yes"
        assert "server" not in response.headers
        time.sleep(3)  # longer than `idle`: both sides answer pings
        socket_.send("still there")
        assert socket_.recv() == "still there"
    site.wait_for(lambda: [line for line in site.access() if line["status"] == 101])


@pytest.mark.parametrize(("path", "status"), [("/no", 403), ("/fail", 500), ("/hold", 504), ("/a/../b", 400)])
def test_a_websocket_that_is_refused(site: Served, path: str, status: int) -> None:
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    fields = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    request = get("localhost", path, *fields, f"Sec-WebSocket-Key: {key}", close=False)
    (answer,) = tell(site, request, settle=4)
    assert answer.status == status
    assert answer.one("strict-transport-security") == "max-age=300"
    assert not answer.all("server")
    assert len(answer.all("date")) == 1


def test_a_handshake_that_is_none(site: Served) -> None:
    fields = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    for further in ([], ["Sec-WebSocket-Key: short"], ["Sec-WebSocket-Key: " + "=" * 24]):
        (answer,) = tell(site, get("localhost", "/", *fields, *further, close=False))
        assert (answer.status, answer.slug) == (400, "bad-request")
    with pytest.raises(InvalidStatus) as caught:
        connect(url(site, "/"), ssl=site.context(), additional_headers={"X_A": "b"})
    assert caught.value.response.status_code == 400


def test_a_message_that_is_too_large(site: Served) -> None:
    with connect(url(site, "/"), ssl=site.context(), max_size=None) as socket_:
        socket_.recv()
        socket_.send("x" * (1024 * 1024 + 1))
        with pytest.raises(ConnectionClosedError) as caught:
            socket_.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009


def test_a_peer_that_answers_no_ping_is_gone(site: Served) -> None:
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    fields = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    with site.connect() as tls:
        tls.sendall(get("localhost", "/", *fields, f"Sec-WebSocket-Key: {key}", close=False))
        tls.settimeout(10)
        began = time.monotonic()
        while tls.recv(65536):
            pass
        assert 1 < time.monotonic() - began < 8


# Processes


def pid(served: Served) -> int:
    return int(asked(served)["pid"])


def test_a_reload_ends_kept_connections_by_saying_so(sealgate: Serve) -> None:
    served = sealgate(app="inside:app", site={**UVICORN, "workers": 2})
    with served.connect() as kept:
        kept.sendall(get("localhost", close=False))
        (first,) = parse(read_until_closed(kept))
        assert not first.all("connection")
        reloading = threading.Thread(target=served.reload)
        before = json.loads(first.body)["pid"]
        reloading.start()
        statuses = []
        end = time.monotonic() + 30
        while time.monotonic() < end:
            kept.sendall(get("localhost", close=False))
            (answer,) = parse(read_until_closed(kept, settle=0.1))
            statuses.append(answer.status)
            if answer.all("connection"):
                break
        reloading.join()
    assert set(statuses) == {200}
    assert answer.one("connection") == "close"
    assert json.loads(answer.body)["pid"] == before
    assert pid(served) != before
    served.wait_for(lambda: not alive(before))


@pytest.mark.long
def test_reloads_lose_nothing(sealgate: Serve) -> None:
    served = sealgate(app="ops:asgi", site={**UVICORN, "workers": 2})
    tally = Tally(served)

    async def load() -> None:
        clients = [asyncio.create_task(h1_client(tally)) for _ in range(6)]
        await asyncio.sleep(0.5)
        for _ in range(3):
            await asyncio.to_thread(served.reload)
            await asyncio.to_thread(lambda: served.order(order="renew"))
        tally.until = 0
        await asyncio.gather(*clients)

    asyncio.run(load())
    assert served.err.count("sealgate: reloaded") == 3
    assert tally.failures == []
    assert len(tally.answers) > 100


def test_an_app_that_no_longer_imports_changes_nothing(sealgate: Serve, tmp_path) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    module = folder / "changing.py"
    module.write_text("from inside import app\n")
    path = f"{folder}:{APPS}"
    served = sealgate(app="changing:app", site=UVICORN, env={"PYTHONPATH": path})
    before = pid(served)
    files = {each: each.read_bytes() for each in (served.state / "engines/uvicorn").glob("*.*")}
    module.write_text("1 / 0\n")
    served.rewrite(limits={"body": "2MiB"})
    served.reload()
    assert "not reloaded" in served.err
    assert "ZeroDivisionError" in served.err
    assert pid(served) == before
    assert files == {each: each.read_bytes() for each in files}


def test_other_addresses_by_a_reload(sealgate: Serve) -> None:
    served = sealgate(app="inside:app", site=UVICORN)
    old = served.https, served.http
    served.https, served.http = free_port(served.host), free_port(served.host)
    https, http = f"{served.host}:{served.https}", f"{served.host}:{served.http}"
    served.rewrite(listen={"https": [https], "http": [http]})
    served.reload()
    assert asked(served)["size"] == 0
    assert served.client().get(f"{served.plain}/x").headers["location"] == f"{served.url}/x"
    for port in old:
        served.wait_for(lambda port=port: _refused(served.host, port))


def _refused(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_supervisor_that_is_killed_is_followed_by_another(sealgate: Serve) -> None:
    served = sealgate(app="inside:app", site=UVICORN)
    before = pid(served)
    (supervisor,) = served.children("inside.supervisor")
    os.kill(supervisor, signal.SIGKILL)
    served.wait_for(lambda: "uvicorn serves again" in served.err)
    assert pid(served) != before
    served.wait_for(lambda: not alive(before))  # told by the kernel, as the supervisor cannot


def test_challenges_outlive_the_process_that_answers_them(site: Served) -> None:
    answers = site.state / "engines" / "uvicorn" / "challenges"
    answer_exactly(answers, Challenges(http=((TOKEN, f"{TOKEN}.thumbprint"),)))
    challenge = f"{site.plain}/.well-known/acme-challenge/{TOKEN}"
    assert httpx.get(challenge).text == f"{TOKEN}.thumbprint"
    (supervisor,) = site.children("inside.supervisor")
    beside = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    (before,) = [each for each in beside if b"inside.redirect" in Path(f"/proc/{each}/cmdline").read_bytes()]
    os.kill(int(before), signal.SIGKILL)
    assert httpx.get(challenge, timeout=20).text == f"{TOKEN}.thumbprint"  # it waits in the listener's queue
    answer_exactly(answers, Challenges())
    assert httpx.get(challenge).status_code == 404


def test_connections_are_counted_over_all_workers(sealgate: Serve) -> None:
    served = sealgate(app="inside:app", site={**UVICORN, "workers": 2}, limits={"connections": 4})
    open_ones = [served.connect() for _ in range(4)]
    with pytest.raises(OSError):
        served.connect()
    for each in open_ones:
        each.sendall(get("localhost"))
        assert each.recv(1000).startswith(b"HTTP/1.1 200")
        each.close()
    served.wait_for(lambda: _connections(served) == 0)
    assert asked(served)["size"] == 0
