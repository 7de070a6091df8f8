"""What is Apache's alone: links to workers, files of bounded size, fields hidden behind empty ones."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.backend import Backend, backend
from tests.live.served import Served, serve
from tests.live.wire import Witness, get, parse, read_until_closed, tell, witnessed

Site = tuple[Served, Witness]
BODY = 100 * 1024


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("apache")
    limits = {"body": f"{BODY}B"}
    with witnessed(folder, site={"engine": "apache", "workers": 2}, limits=limits) as pair:
        yield pair


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Backend]]:
    with backend() as other:
        folder = tmp_path_factory.mktemp("upstream")
        sizes = {"body": f"{BODY}B"}
        with serve(folder, site={"engine": "apache", "upstream": other.url}, limits=sizes) as served:
            yield served, other


@pytest.mark.parametrize("hiding", ["z_z:", "sealgate-zz:"])
@pytest.mark.parametrize("name", ["sealgate_address", "Sealgate-Address", "SEALGATE_ADDRESS"])
def test_an_empty_field_hides_no_other(site: Site, name: str, hiding: str) -> None:
    """mod_setenvif looks at the last field that fits; what the guard believes is removed by name."""
    served, witness = site
    mark = witness.mark
    (answer,) = tell(served, get("localhost", "/x", f"{name}: 192.0.2.66:1", hiding))
    assert answer.status == 200
    (line,) = witness.since(mark)
    assert line["client"] == "127.0.0.1"
    assert "192.0.2.66" not in str(line)


def chunked(size: int) -> bytes:
    head = b"POST /up HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n"


def sent(served: Served, request: bytes) -> list[int]:
    with served.connect() as tls:
        with contextlib.suppress(OSError):
            tls.sendall(request)
        return [answer.status for answer in parse(read_until_closed(tls))]


@pytest.mark.parametrize("more", [1, 9_000, 1024 * 1024 - 1, 1024 * 1024 + 1, 3_000_000])
def test_a_body_of_unknown_length_is_whole_or_refused(site: Site, more: int) -> None:
    """Apache does not notice where the limit of a file cuts its last write short."""
    served, witness = site
    mark = witness.mark
    assert sent(served, chunked(BODY)) == [200]
    # The guard may have answered and closed while Apache still writes; mod_proxy then has its own answer.
    assert sent(served, chunked(BODY + more)) in ([413], [503])
    assert len(witness.since(mark)) == 1
    assert not [path for path in (served.state / "run" / "engine").iterdir() if "tmp" in path.name]


def test_nobody_counts_for_an_upstream_so_bodies_say_their_length(upstream: tuple[Served, Backend]) -> None:
    served, other = upstream
    before = len(other.seen)
    assert sent(served, chunked(1)) == [400]
    client = served.client(http2=True)
    assert client.post("/up", content=iter([b"x"])).status_code == 400
    assert client.post("/up", content=b"x" * (BODY + 1)).status_code == 413
    assert len(other.seen) == before
    assert client.post("/up", content=b"x" * BODY).json()["size"] == BODY
    assert client.get("/up").status_code == 200


def generation(served: Served) -> set[int]:
    (parent,) = served.children("httpd.conf")
    return {int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()}


def test_workers_are_rolled_over_and_apache_is_not_told(site: Site) -> None:
    served, _ = site
    processes = generation(served)
    folder = served.state / "run" / "engine"
    before = {(folder / name).readlink() for name in ("app-0.sock", "app-1.sock")}
    served.reload()
    after = {(folder / name).readlink() for name in ("app-0.sock", "app-1.sock")}
    assert not before & after
    assert generation(served) == processes
    assert [answer.status for answer in tell(served, get("localhost", "/x"))] == [200]


def test_a_dead_keeper_leaves_no_apache(tmp_path: Path) -> None:
    """Its children would go on serving, and the next keeper find its ports taken."""
    with contextlib.ExitStack() as stack:
        served, _ = stack.enter_context(witnessed(tmp_path, site={"engine": "apache"}))
        (parent,) = served.children("httpd.conf")
        served.process.kill()
        served.process.wait()
        end = time.monotonic() + 15
        while members(parent):
            assert time.monotonic() < end
            time.sleep(0.05)


def members(group: int) -> list[int]:
    """Of a process group; the dead that nobody has reaped yet do not count."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == group and fields[0] not in "ZX":
                    found.append(int(entry.name))
    return found
