"""A WSGI app that tries to get at what is not its own, and tells how each try ended."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import socket
import stat
import subprocess
import tempfile
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)


def app(environ, start_response):
    attack = environ["PATH_INFO"].strip("/").replace("-", "_")
    arguments = json.loads(environ["wsgi.input"].read() or b"{}")
    try:
        outcome = globals()[f"try_{attack}"](**arguments)
    except OSError as error:
        outcome = errno.errorcode.get(error.errno or 0, str(error))
    body = json.dumps(outcome).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def _done(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return "done"


def try_open(paths):
    found: dict[str, list[str]] = {"readable": [], "writable": []}
    for path in paths:
        for kind, flags in (("readable", os.O_RDONLY), ("writable", os.O_WRONLY)):
            try:
                handle = os.open(path, flags | os.O_NONBLOCK)
                if kind == "readable":
                    os.read(handle, 1)
                os.close(handle)
            except OSError:
                continue
            found[kind].append(path)
    return found


def try_trace(pid):
    return _done(LIBC.ptrace(16, pid, 0, 0))  # PTRACE_ATTACH


def try_peek(pid):
    buffer = ctypes.create_string_buffer(8)
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
    return _done(LIBC.process_vm_readv(pid, vector, 1, vector, 1, 0))


def try_descriptor(pid):
    handle = os.pidfd_open(pid)
    return _done(LIBC.syscall(438, handle, 0, 0))  # pidfd_getfd


def try_signal(pid, number):
    os.kill(pid, number)
    return "sent"


def try_symlink(path):
    link = Path(tempfile.mkdtemp()) / "link"
    link.symlink_to(path)
    return link.read_text()


def try_hardlink(path):
    link = Path(tempfile.mkdtemp()) / "link"
    os.link(path, link)
    return link.read_text()


def try_rename_state(path):
    Path(path).rename(path + ".moved")
    return "renamed"


def try_mount(path):
    return _done(LIBC.mount(path.encode(), tempfile.mkdtemp().encode(), b"", 4096, None))


def try_chroot(path):
    os.chroot(path)
    return "changed"


def try_device(path):
    node = Path(tempfile.mkdtemp()) / "disk"
    os.mknod(node, 0o600 | stat.S_IFBLK, Path(path).stat().st_dev)
    return "made"


def try_handle(path):
    handle = (ctypes.c_char * 136)()
    ctypes.memmove(handle, (128).to_bytes(4, "little"), 4)
    mount = ctypes.c_int()
    _done(LIBC.name_to_handle_at(-100, path.encode(), handle, ctypes.byref(mount), 0))
    parent = os.open("/", os.O_RDONLY)
    return _done(LIBC.open_by_handle_at(parent, handle, os.O_RDONLY))


def try_create(path):
    Path(path).write_text("evil")
    return "made"


def try_chmod(path, mode):
    os.chmod(path, mode)  # noqa: PTH101 - as an attacker would
    return "changed"


def try_delete(path):
    Path(path).unlink()
    return "deleted"


def try_child(command):
    plain = {"PATH": os.defpath, "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=plain)
    return done.stdout + done.stderr


def try_talk(path, text):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        folder = os.open(Path(path).parent, os.O_PATH | os.O_DIRECTORY)
        sock.connect(f"/proc/self/fd/{folder}/{Path(path).name}")
        sock.sendall(text.encode())
        return sock.recv(4096).decode(errors="replace")


def try_environ():
    return dict(os.environ) | {"signals": signal.Signals.SIGTERM.name}
