"""The hook program: what it is told, what it may do, and how it is held."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from sealgate.acme.dns.hook import Hook
from sealgate.acme.dns.record import Record
from sealgate.errors import AcmeError, Fault, StateInsecure
from tests.live.served import alive

RECORD = Record(
    "_acme-challenge.example.test", "VALUE-_x", "example.test", "TOKEN", 2, ("example.test", "b.test")
)
TELL = f"""#!/bin/sh
{sys.executable} -c 'import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]))' \
  "$@" > told.json
"""


@pytest.fixture
def hook(tmp_path):
    def make(
        text: str, *, mode: int = 0o755, seconds: float = 20, watch=lambda: None, **environ: str
    ) -> Hook:
        program = tmp_path / "the hook"
        program.write_text(text)
        program.chmod(mode)
        found = {"PATH": os.environ["PATH"], **environ}
        return Hook(program, folder=tmp_path, environ=found, seconds=seconds, watch=watch)

    return make


def failing(hook: Hook) -> AcmeError:
    with pytest.raises(AcmeError) as caught:
        hook.add(RECORD)
    assert str(caught.value).isprintable()
    return caught.value


def test_what_it_is_told(hook, tmp_path):
    hook(TELL, HOME="/h", LC_ALL="C.UTF-8", DNS_HOOK_ZONE="z1", SEALGATE_STATE="/s", AWS_KEY="k").add(RECORD)
    arguments, environ, folder = json.loads((tmp_path / "told.json").read_text())
    assert arguments == ["add", "_acme-challenge.example.test", "VALUE-_x"]
    assert folder == str(tmp_path)
    expected = {
        "HOME": "/h",
        "LC_ALL": "C.UTF-8",
        "DNS_HOOK_ZONE": "z1",
        "CERTBOT_DOMAIN": "example.test",
        "CERTBOT_VALIDATION": "VALUE-_x",
        "CERTBOT_TOKEN": "TOKEN",
        "CERTBOT_REMAINING_CHALLENGES": "2",
        "CERTBOT_ALL_DOMAINS": "example.test,b.test",
    }
    assert expected.items() <= environ.items()
    assert not {"SEALGATE_STATE", "AWS_KEY"} & environ.keys()
    assert environ.keys() - expected.keys() <= {"PATH", "PWD", "OLDPWD", "SHLVL", "_"}  # the shell's own


def test_what_it_said_is_told_at_the_end(hook, tmp_path):
    """certbot's CERTBOT_AUTH_OUTPUT: many keep the record's number in it."""
    one = hook(
        "#!/bin/sh\n"
        "if [ $1 = add ]; then echo id-$3; echo noise >&2; fi\n"
        'if [ $1 = remove ]; then printf %s "$CERTBOT_AUTH_OUTPUT" > said; fi\n'
    )
    other = Record("_acme-challenge.example.test", "other", "example.test")
    one.add(RECORD)
    one.add(other)
    one.remove(RECORD)
    assert (tmp_path / "said").read_text() == "id-VALUE-_x"
    one.remove(other)
    assert (tmp_path / "said").read_text() == "id-other"
    one.remove(other)  # as after a crash: nothing is known
    assert (tmp_path / "said").read_text() == ""


def test_arguments_are_never_read_by_a_shell(hook, tmp_path):
    nasty = Record("$(touch a);`touch b`", "'; touch c #", "-rf")
    hook('#!/bin/sh\nprintf %s "$2|$3" > told\n').add(nasty)
    assert (tmp_path / "told").read_text() == "$(touch a);`touch b`|'; touch c #"
    assert {p.name for p in tmp_path.iterdir()} == {"the hook", "told"}


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("#!/bin/sh\nexit 7\n", "(status 7)"),
        ("#!/bin/sh\nkill -9 $$\n", "(signal 9)"),
        ("#!/bin/sh\necho out; printf 'no \\033[31msuch\\nzone' >&2; exit 1\n", "no \\u001b[31msuch zone"),
        ("#!/bin/sh\necho only out; exit 1\n", "it says: only out"),
        ("#!/bin/sh\nseq 9999 >&2; echo the end >&2; exit 1\n", "9998 9999 the end)"),
        ("#!/no/such/interpreter\n", "cannot be started"),
        ("no header", "cannot be started"),
    ],
)
def test_it_fails(hook, text, fact):
    found = failing(hook(text))
    assert (found.code, found.fault) == ("acme-hook-failed", Fault.CONFIGURATION)
    assert fact in found.fact


def test_endless_output_is_bounded(hook):
    text = (
        "#!/bin/sh\nhead -c 30000000 /dev/zero | tr '\\0' y\n"
        "head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 1\n"
    )
    found = failing(hook(text, seconds=60))
    assert len(str(found)) < 1200


def test_endless_output_does_not_outlive_its_time(hook):
    assert failing(hook("#!/bin/sh\nexec yes\n", seconds=0.5)).code == "acme-hook-late"


def gone(pid: int) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if not alive(pid):
            return True
        time.sleep(0.02)
    return False


HANGS = "#!/bin/sh\ntrap '' TERM INT\nsleep 600 & echo $! > child\necho $$ > parent\nwait\nsleep 600\n"


def test_one_that_hangs_is_killed_with_its_children(hook, tmp_path):
    found = failing(hook(HANGS, seconds=3))
    assert found.code == "acme-hook-late"
    assert gone(int((tmp_path / "child").read_text()))
    assert gone(int((tmp_path / "parent").read_text()))


def test_children_that_stay_are_killed_and_not_waited_for(hook, tmp_path):
    began = time.monotonic()
    hook("#!/bin/sh\nsleep 600 & echo $! > child\n", seconds=120).add(RECORD)
    assert time.monotonic() - began < 60
    assert gone(int((tmp_path / "child").read_text()))


def test_who_stops_ends_it_at_once_but_not_while_it_removes(hook, tmp_path):
    class Stopped(Exception):
        pass

    def watch():
        if (tmp_path / "child").exists() and (tmp_path / "child").read_text():
            raise Stopped

    one = hook(HANGS, seconds=120, watch=watch)
    with pytest.raises(Stopped):
        one.add(RECORD)
    assert gone(int((tmp_path / "child").read_text()))
    (tmp_path / "the hook").write_text("#!/bin/sh\necho $1 > removed\n")
    one.remove(RECORD)
    assert (tmp_path / "removed").read_text() == "remove\n"


def test_a_name_that_is_a_link_is_followed_to_the_program(hook, tmp_path):
    hook("#!/bin/sh\necho $0 > told\n")
    (tmp_path / "link").symlink_to("the hook")
    Hook(tmp_path / "link", folder=tmp_path, environ={}, seconds=20).add(RECORD)
    assert (tmp_path / "told").read_text() == f"{tmp_path}/the hook\n"


def test_it_is_not_there(tmp_path):
    found = failing(Hook(tmp_path / "absent", folder=tmp_path, environ={}, seconds=5))
    assert (found.code, found.fault) == ("acme-hook-missing", Fault.CONFIGURATION)


def test_it_is_a_directory(tmp_path):
    assert failing(Hook(tmp_path, folder=tmp_path, environ={}, seconds=5)).code == "acme-hook-missing"


def test_it_is_not_executable(hook):
    assert "not executable" in failing(hook(TELL, mode=0o644)).fact


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_others_may_write_it(hook, mode, tmp_path):
    with pytest.raises(StateInsecure) as caught:
        hook(TELL, mode=mode).add(RECORD)
    assert caught.value.code == "acme-hook-insecure"
    assert not (tmp_path / "told.json").exists()


def test_it_is_somebody_else_s(hook, tmp_path):
    one = hook(TELL)
    os.chown(tmp_path / "the hook", 12345, 12345)
    with pytest.raises(StateInsecure):
        one.add(RECORD)


def test_root_refuses_a_directory_of_somebody_else_s(tmp_path):
    """Who may rename it could put another program there."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "hook").write_text(TELL)
    (folder / "hook").chmod(0o755)
    os.chown(folder, 12345, 12345)
    with pytest.raises(StateInsecure):
        Hook(Path(folder / "hook"), folder=tmp_path, environ={}, seconds=5).add(RECORD)
