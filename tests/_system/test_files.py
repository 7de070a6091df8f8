from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from sealgate._system.files import (
    FileLock,
    check_not_readable_by_others,
    check_not_writable_by_others,
    private_directory,
    swap_link,
    translated,
    write_atomic,
)
from sealgate.errors import StateBusy, StateError, StateInsecure

NOBODY = 65534


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


class TestWriteAtomic:
    def test_content_and_mode(self, tmp_path: Path) -> None:
        old = os.umask(0o077)
        try:
            write_atomic(tmp_path / "a", b"1", 0o644)
        finally:
            os.umask(old)
        write_atomic(tmp_path / "b", b"2")
        assert ((tmp_path / "a").read_bytes(), mode(tmp_path / "a")) == (b"1", 0o644)
        assert ((tmp_path / "b").read_bytes(), mode(tmp_path / "b")) == (b"2", 0o600)

    def test_a_link_is_replaced_and_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "victim").write_text("mine")
        (tmp_path / "link").symlink_to("victim")
        write_atomic(tmp_path / "link", b"new")
        assert (tmp_path / "victim").read_text() == "mine"
        assert not (tmp_path / "link").is_symlink()

    @pytest.mark.parametrize("step", ["create", "write", "fsync", "rename", "sync-directory"])
    def test_killed_at_any_step_the_file_is_old_or_new(self, tmp_path: Path, step: str) -> None:
        path = tmp_path / "f"
        write_atomic(path, b"old")
        code = """
            import os, sys
            from pathlib import Path
            from sealgate._system.files import write_atomic
            die = lambda name: os._exit(9) if name == sys.argv[2] else None
            write_atomic(Path(sys.argv[1]), b"new", step=die)
        """
        assert python(code, path, step).returncode == 9
        assert path.read_bytes() == (b"new" if step == "sync-directory" else b"old")
        write_atomic(path, b"next")
        assert [one.name for one in tmp_path.iterdir()] == ["f"], "leftovers of the dead are removed"
        assert path.read_bytes() == b"next"

    def test_an_error_leaves_nothing_behind(self, tmp_path: Path) -> None:
        def fail(name: str) -> None:
            if name == "fsync":
                raise OSError(errno.ENOSPC, "full")

        write_atomic(tmp_path / "f", b"old")
        with pytest.raises(StateError) as caught:
            write_atomic(tmp_path / "f", b"new", step=fail)
        assert caught.value.code == "state-full"
        assert [one.name for one in tmp_path.iterdir()] == ["f"]
        assert (tmp_path / "f").read_bytes() == b"old"

    def test_the_work_of_the_living_is_not_swept(self, tmp_path: Path) -> None:
        path, waiting, go_on = tmp_path / "f", threading.Event(), threading.Event()

        def pause(name: str) -> None:
            if name == "rename":
                waiting.set()
                assert go_on.wait(20)

        slow = threading.Thread(target=write_atomic, args=(path, b"slow"), kwargs={"step": pause})
        slow.start()
        assert waiting.wait(20)
        write_atomic(path, b"quick")
        go_on.set()
        slow.join(20)
        assert path.read_bytes() == b"slow"

    def test_writers_at_once_leave_one_whole_file(self, tmp_path: Path) -> None:
        path = tmp_path / "f"
        texts = [bytes([65 + number]) * 100_000 for number in range(8)]
        threads = [threading.Thread(target=write_atomic, args=(path, text)) for text in texts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert path.read_bytes() in texts
        assert [one.name for one in tmp_path.iterdir()] == ["f"]


class TestTranslated:
    @pytest.mark.parametrize(
        ("number", "code"),
        [
            (errno.ENOSPC, "state-full"),
            (errno.EDQUOT, "state-full"),
            (errno.EROFS, "state-read-only"),
            (errno.EACCES, "state-read-only"),
            (errno.EPERM, "state-read-only"),
            (errno.EIO, "state-unusable"),
        ],
    )
    def test_each_errno_has_its_code(self, tmp_path: Path, number: int, code: str) -> None:
        with pytest.raises(StateError) as caught, translated(tmp_path):
            raise OSError(number, os.strerror(number))
        assert caught.value.code == code
        assert str(tmp_path) in str(caught.value)

    @pytest.mark.parametrize(("options", "code"), [("size=64k", "state-full"), ("ro", "state-read-only")])
    def test_a_real_full_and_a_real_read_only_file_system(
        self, tmp_path: Path, options: str, code: str
    ) -> None:
        script = textwrap.dedent("""
            import sys
            from pathlib import Path
            from sealgate._system.files import write_atomic
            from sealgate.errors import StateError
            path = Path(sys.argv[1]) / "f"
            try:
                if sys.argv[2] == "state-full":
                    write_atomic(path, b"old")
                write_atomic(path, b"x" * 200_000)
            except StateError as error:
                old = path.read_bytes() if path.exists() else b""
                print(error.code, old.decode(), [one.name for one in path.parent.iterdir()])
        """)
        mount = f'mount -t tmpfs -o {options} tmpfs "$1" && exec "$2" -c "$3" "$1" "$4"'
        words = ["unshare", "-rm", "sh", "-c", mount, "sh", str(tmp_path), sys.executable, script, code]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        expected = f"{code} old ['f']" if code == "state-full" else f"{code}  []"
        assert done.stdout.strip("\n") == expected, done.stderr


class TestSwapLink:
    def test_it_replaces_what_is_there(self, tmp_path: Path) -> None:
        for target in ("one", "two"):
            swap_link(tmp_path / "link", target)
            assert str((tmp_path / "link").readlink()) == target
        assert [one.name for one in tmp_path.iterdir()] == ["link"]

    @pytest.mark.parametrize("step", ["link", "swap"])
    def test_killed_before_the_swap_the_old_link_stands(self, tmp_path: Path, step: str) -> None:
        swap_link(tmp_path / "link", "old")
        code = """
            import os, sys
            from pathlib import Path
            from sealgate._system.files import swap_link
            die = lambda name: os._exit(9) if name == sys.argv[2] else None
            swap_link(Path(sys.argv[1]), "new", step=die)
        """
        assert python(code, tmp_path / "link", step).returncode == 9
        assert str((tmp_path / "link").readlink()) == "old"
        swap_link(tmp_path / "link", "next")
        assert [one.name for one in tmp_path.iterdir()] == ["link"]


class TestPermissions:
    def test_a_private_directory_is_0700_whatever_the_umask(self, tmp_path: Path) -> None:
        old = os.umask(0)
        try:
            assert mode(private_directory(tmp_path / "a" / "b")) == 0o700
        finally:
            os.umask(old)
        assert mode(tmp_path / "a") == 0o755

    def test_one_that_others_may_write_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "d").mkdir()
        (tmp_path / "d").chmod(0o770)
        with pytest.raises(StateInsecure) as caught:
            private_directory(tmp_path / "d")
        assert caught.value.code == "state-insecure"

    def test_a_link_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "d").symlink_to("real")
        with pytest.raises(StateInsecure):
            private_directory(tmp_path / "d")

    @pytest.mark.parametrize("bits", [0o620, 0o602])
    def test_writable_by_others(self, tmp_path: Path, bits: int) -> None:
        path = tmp_path / "f"
        path.touch()
        path.chmod(0o644)
        check_not_writable_by_others(path)
        path.chmod(bits)
        with pytest.raises(StateInsecure):
            check_not_writable_by_others(path)

    @pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o601])
    def test_a_secret_is_closed_to_group_and_others(self, tmp_path: Path, bits: int) -> None:
        path = tmp_path / "f"
        path.touch()
        path.chmod(0o600)
        check_not_readable_by_others(path)
        path.chmod(bits)
        with pytest.raises(StateInsecure):
            check_not_readable_by_others(path)

    def test_a_secret_is_no_link_and_no_directory(self, tmp_path: Path) -> None:
        (tmp_path / "f").touch(0o600)
        (tmp_path / "link").symlink_to("f")
        for path in (tmp_path / "link", tmp_path):
            with pytest.raises(StateInsecure):
                check_not_readable_by_others(path)

    def test_for_root_every_directory_above_counts(self, tmp_path: Path) -> None:
        """In a user namespace, so that it holds for whoever runs the tests."""
        code = """
            import os, sys
            from pathlib import Path
            from sealgate._system.files import check_not_writable_by_others
            from sealgate.errors import StateInsecure
            path = Path(sys.argv[1])
            for bits in (0o755, 0o777, 0o1777):
                path.parent.chmod(bits)
                try:
                    check_not_writable_by_others(path)
                    print("ok", end=" ")
                except StateInsecure as error:
                    print(error.details["path"] == str(path.parent), end=" ")
        """
        (tmp_path / "open" / "state").mkdir(parents=True)
        words = [
            "unshare",
            "-r",
            sys.executable,
            "-c",
            textwrap.dedent(code),
            str(tmp_path / "open" / "state"),
        ]
        if os.geteuid() == 0:
            words = words[2:]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout.split() == ["ok", "True", "ok"], done.stderr

    @pytest.mark.parametrize(
        "check", [check_not_writable_by_others, check_not_readable_by_others, private_directory]
    )
    def test_what_belongs_to_somebody_else_is_refused(self, check, tmp_path: Path, monkeypatch) -> None:
        path = tmp_path / "f"
        path.mkdir(0o700) if check is private_directory else path.touch(0o600)
        check(path)
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
        with pytest.raises(StateInsecure):
            check(path)


class TestFileLock:
    def test_it_may_be_nested_and_is_free_afterwards(self, tmp_path: Path) -> None:
        lock = FileLock(tmp_path / "lock")
        held = [lock.held]
        with lock, lock:
            held.append(lock.held)
            with pytest.raises(StateBusy):
                FileLock(tmp_path / "lock").acquire()
        held.append(lock.held)
        assert held == [False, True, False]
        with FileLock(tmp_path / "lock"):
            assert mode(tmp_path / "lock") == 0o600

    def test_another_process_is_named_and_its_death_frees_the_lock(self, tmp_path: Path) -> None:
        code = """
            import sys
            from pathlib import Path
            from sealgate._system.files import FileLock
            with FileLock(Path(sys.argv[1])):
                print("held", flush=True)
                sys.stdin.read()
        """
        words = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "lock")]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(StateBusy) as caught:
                FileLock(tmp_path / "lock").acquire()
            assert caught.value.code == "state-busy"
            assert caught.value.details["pid"] == holder.pid
            assert str(holder.pid) in str(caught.value)
            holder.kill()
            holder.wait(20)
        with FileLock(tmp_path / "lock"):
            pass
