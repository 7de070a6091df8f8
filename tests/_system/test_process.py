"""What a process may set for itself, tried in children."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest


def child(code: str) -> Any:
    """What `code` leaves in `seen`."""
    imports = "import json, os, resource\nfrom sealgate._system.process import *\nseen = {}\n"
    program = f"{imports}{code}\nprint(json.dumps(seen))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    return json.loads(done.stdout)


def test_a_child_ends_with_its_parent() -> None:
    inner = (
        "import os, sys, time\nfrom sealgate._system.process import die_with_parent\n"
        "die_with_parent(int(sys.argv[1]))\nprint('set', flush=True)\ntime.sleep(60)"
    )
    outer = (
        "import os, subprocess, sys\n"
        f"p = subprocess.Popen([sys.executable, '-c', {inner!r}, str(os.getpid())], stdout=subprocess.PIPE)\n"
        "p.stdout.readline()\nprint(p.pid, flush=True)\nos.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", outer], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == -signal.SIGKILL
    stat = Path(f"/proc/{int(done.stdout)}/stat")
    end = time.monotonic() + 5
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_parent_that_is_gone_already_counts() -> None:
    code = "from sealgate._system.process import die_with_parent; die_with_parent(1 << 22); print('alive')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=False)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == b""


def test_memory_is_private() -> None:
    seen = child(
        "keep_memory_private()\n"
        "seen['core'] = resource.getrlimit(resource.RLIMIT_CORE)\n"
        "import ctypes\nseen['dumpable'] = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)"
    )
    assert seen == {"core": [0, 0], "dumpable": 0}


def test_the_limit_of_files_is_raised_as_far_as_it_goes() -> None:
    seen = child(
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 5000))\n"
        "seen['some'] = raise_file_limit(1000)\nseen['less'] = raise_file_limit(10)\n"
        "seen['all'] = raise_file_limit(1 << 30)\nseen['now'] = resource.getrlimit(resource.RLIMIT_NOFILE)"
    )
    assert seen == {"some": 1000, "less": 1000, "all": 5000, "now": [5000, 5000]}


@pytest.mark.parametrize("keep", [set(), {10}, {2, 10}])
def test_root_is_given_up_for_good(keep: set[int]) -> None:
    seen = child(
        f"become(61234, 61235, (61236,), keep=frozenset({keep}))\n"
        "seen['ids'] = [os.getresuid(), os.getresgid(), os.getgroups()]\n"
        "status = open('/proc/self/status').read()\n"
        "seen['capabilities'] = status.partition('CapEff:')[2].split()[0]\n"
        "try:\n    os.setuid(0)\nexcept PermissionError:\n    seen['back'] = False"
    )
    assert seen["ids"] == [[61234] * 3, [61235] * 3, [61236]]
    assert int(seen["capabilities"], 16) == sum(1 << number for number in keep)
    assert seen["back"] is False


def test_capabilities_are_limited() -> None:
    seen = child(
        "limit_capabilities(frozenset({1, 10}))\n"
        "seen['own'] = next(l.split()[1] for l in open('/proc/self/status') if l.startswith('CapPrm'))"
    )
    assert int(seen["own"], 16) == 1 << 1 | 1 << 10
    assert os.geteuid() == 0
