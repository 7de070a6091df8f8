"""What /proc tells of a server: its children, what it listens on, when the old ones have let go."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from sealgate.engines.contract import Program
from sealgate.engines.installed import process
from sealgate.engines.installed.contract import Place, included
from sealgate.engines.installed.process import (
    Master,
    _endpoint,
    begun,
    children,
    covered,
    holders,
    listening,
    parent,
    reload,
    until_reloaded,
)
from sealgate.errors import EngineRefused
from sealgate.policy.model import Endpoint

# A child that listens; at a word a second one, and the first goes on for a while.
SERVER = """
import os, socket, sys, time
sock = socket.create_server(("127.0.0.1", 0))
def child():
    if (pid := os.fork()) == 0:
        time.sleep(60)
        os._exit(0)
    return pid
first = child()
print(sock.getsockname()[1], first, flush=True)
sys.stdin.readline()
second = child()
sys.stdin.readline()
time.sleep(0.3)
os.kill(first, 9); os.waitpid(first, 0)
sys.stdin.readline()
os.kill(second, 9); os.waitpid(second, 0)
"""


@contextmanager
def server() -> Iterator[tuple[subprocess.Popen[str], Endpoint, int]]:
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port, first = map(int, process.stdout.readline().split())
        try:
            yield process, Endpoint("127.0.0.1", port), first
        finally:
            process.communicate("\n\n\n", timeout=20)


def test_a_reload_is_over_when_the_old_ones_accept_no_more() -> None:
    with server() as (process, endpoint, first):
        assert process.stdin is not None
        before = children(process.pid)
        assert before == {first}
        assert endpoint in listening(process.pid)
        assert endpoint in listening(first)
        assert not until_reloaded(process.pid, before, 0.1), "no new child: not reloaded"
        process.stdin.write("\n\n")
        process.stdin.flush()
        assert until_reloaded(process.pid, before, 10)
        assert not listening(first)
        assert len(children(process.pid)) == 1


def test_a_pid_that_is_somebody_elses_by_now_is_not_told() -> None:
    place = SimpleNamespace(included=SimpleNamespace(reload=signal.SIGTERM))
    with server() as (process, _, first):
        since = begun(process.pid)
        assert since > 0
        assert (parent(first), parent(process.pid)) == (process.pid, os.getpid())
        with pytest.raises(ProcessLookupError):
            reload(place, Master(process.pid, since - 1))  # type: ignore[arg-type]  # what it looks at
        assert process.poll() is None
    assert begun(process.pid) == parent(process.pid) == 0
    with pytest.raises(ProcessLookupError):
        reload(place, Master(process.pid, since))  # type: ignore[arg-type]  # likewise


def test_who_holds_an_address_is_the_first_of_those_who_do() -> None:
    with server() as (process, endpoint, _):
        assert holders(frozenset({endpoint})) == {process.pid}
        assert holders(frozenset({Endpoint("127.0.0.99", endpoint.port)})) == frozenset()
    assert holders(frozenset()) == frozenset()


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("0100007F:1F90", Endpoint("127.0.0.1", 8080)),
        ("00000000:01BB", Endpoint("0.0.0.0", 443)),
        ("00000000000000000000000001000000:0050", Endpoint("::1", 80)),
        ("00000000000000000000000000000000:0050", Endpoint("::", 80)),
    ],
)
def test_addresses_of_proc(text: str, endpoint: Endpoint) -> None:
    if sys.byteorder == "little":
        assert _endpoint(text) == endpoint


def test_an_address_of_every_interface_covers_the_others() -> None:
    four, six = Endpoint("127.0.0.1", 80), Endpoint("::1", 80)
    assert covered(four, frozenset({four}))
    assert covered(four, frozenset({Endpoint("0.0.0.0", 80)}))
    assert covered(four, frozenset({Endpoint("::", 80)}))
    assert covered(six, frozenset({Endpoint("::", 80)}))
    assert not covered(six, frozenset({Endpoint("0.0.0.0", 80)}))
    assert not covered(four, frozenset({Endpoint("0.0.0.0", 81), Endpoint("127.0.0.2", 80)}))
    assert not covered(Endpoint("0.0.0.0", 80), frozenset({four}))


def test_what_a_process_does_not_listen_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mine:
        endpoint = Endpoint("127.0.0.1", mine.getsockname()[1])
        assert endpoint in listening(os.getpid())
        assert endpoint not in listening(1)
    assert endpoint not in listening(os.getpid())


@pytest.mark.parametrize(
    ("file", "remedy"),
    [
        ("/etc/nginx/sites-enabled/default", "line 22 (or `rm /etc/nginx/sites-enabled/default`"),
        ("/etc/nginx/conf.d/a.conf", "take `default_server` out of /etc/nginx/conf.d/a.conf, line 22, then"),
        ("/var/lib/ours/nginx.conf", "out of your own server block on 0.0.0.0:80, then `nginx -t`"),
    ],
)
def test_a_second_default_server_has_a_remedy(file: str, remedy: str) -> None:
    said = f"[emerg] 1#1: a duplicate default server for 0.0.0.0:80 in {file}:22 nginx: test failed"
    assert remedy in process._remedy(said, Path("/var/lib/ours"))


def test_other_words_of_the_server_s_stand_for_themselves() -> None:
    assert process._remedy("unknown directive", Path("/var/lib/ours")) == "put right what it names"


@pytest.mark.parametrize(
    ("folder", "said"), [("ours", "built without the module of"), ("his", "unknown direc")]
)
def test_a_module_that_our_file_needs_is_said_in_one_sentence(tmp_path: Path, folder: str, said: str) -> None:
    """nginx's own words would send people to a file that is not theirs."""
    program = tmp_path / "nginx"
    words = f'nginx: [emerg] unknown directive "set_real_ip_from" in {tmp_path}/{folder}/candidate.conf:70'
    program.write_text(f"#!/bin/sh\necho '{words}' >&2; exit 1\n")
    program.chmod(0o755)
    place = Place(
        included("nginx"), Program(program, "1.22.1", pinned=False), tmp_path / "m", tmp_path / "ours"
    )
    with pytest.raises(EngineRefused, match="engine-refused") as refused:
        process.check(place, place.main)
    assert said in refused.value.fact
    assert "set_real_ip_from" in refused.value.fact
    assert "nothing was changed" in refused.value.remedy
