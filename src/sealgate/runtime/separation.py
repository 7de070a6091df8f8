"""Who may touch what: the users and the Landlock rules of the keeper's children.

A key is hidden from the app in two independent ways: by Landlock (always, where the kernel has it), and by
another user (where the keeper is root and a user fits). What does not hold is said, never assumed.
"""

from __future__ import annotations

import os
import pwd
import ssl
import stat
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sealgate._system.landlock import READ, WRITE, Grant, supported

__all__ = ["APP_USER", "ENGINE_USER", "Separation", "describe", "plan"]

APP_USER = "sealgate-app"
ENGINE_USER = "sealgate-engine"
# Libraries, the loader's cache, names of hosts, trusted authorities, time zone; nothing of any user.
_SYSTEM = tuple(
    Path(path)
    for path in (
        *("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store"),
        *("/etc/ld.so.cache", "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf"),
        *("/etc/gai.conf", "/etc/services", "/etc/protocols", "/etc/localtime"),
        *("/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf", "/etc/pki/tls", "/etc/pki/ca-trust"),
        *("/etc/passwd", "/etc/group", "/run/systemd/resolve"),
    )
)
_ENGINE_KERNEL = (Path("/proc"), Path("/sys"))
_PACKAGES = frozenset({"site-packages", "dist-packages"})
_ENGINE_DEVICES = tuple(Path(path) for path in ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"))


@dataclass(frozen=True, slots=True)
class User:
    """A numeric user and group; -1: the keeper's own."""

    uid: int = -1
    gid: int = -1


@dataclass(frozen=True, slots=True)
class Separation:
    """What each child may reach.

    Attributes:
        state: the state directory, without symbolic links.
        app, engine: whom they run as.
        hidden: files and directories that app workers must not reach.
        fixed: what they may read but not change: it is loaded by the keeper, or by workers before the app.
        landlock: the kernel's ABI; 0: none.
        missing: sentences: what is not separated, and what to do about it.
    """

    state: Path
    app: User
    engine: User
    hidden: tuple[Path, ...]
    fixed: tuple[Path, ...]
    landlock: int
    missing: tuple[str, ...]

    def app_temp(self) -> Path | None:
        """A temp directory for app workers, where Landlock could not allow new files in the usual one."""
        usual = Path(os.path.realpath(tempfile.gettempdir()))
        return self.state / "run" / "tmp" if self._closes(usual) else None

    def _closes(self, folder: Path) -> bool:
        """Is the directory above something hidden or fixed? Then nothing new can be made in it."""
        return bool(self.closed_by(folder))

    def closed_by(self, folder: Path) -> tuple[Path, ...]:
        """What lies in a directory, at whatever depth, and keeps the app from making new files in it."""
        return tuple(path for path in (*self.hidden, *self.fixed) if folder in path.parents)

    def app_readable(self) -> tuple[Path, ...]:
        """What workers read of the state directory."""
        return (self.state / "live" / "guard",)

    def app_writable(self) -> tuple[Path, ...]:
        """Where in the state directory workers may write."""
        temp = self.app_temp()
        return (temp,) if temp else ()

    def engine_grants(self, readable: Iterable[Path], writable: Iterable[Path]) -> tuple[Grant, ...]:
        """All that the engine reaches: certificate, key, rendered files, admin socket, system libraries.

        An allow-list from the root down: it may have the capability to read what modes forbid.
        """
        trusted = ssl.get_default_verify_paths().cafile
        inside = (self.state / "engines", *readable, *([Path(trusted)] if trusted else []))
        return (
            *(Grant(path, READ) for path in (*inside, *_SYSTEM, *_ENGINE_KERNEL)),
            *(Grant(path, WRITE) for path in (*writable, *_ENGINE_DEVICES)),
        )

    def program_grants(self) -> tuple[Grant, ...]:
        """What any Python program of ours reads: itself, Python, the system's libraries.

        Nothing of /proc and /sys: they tell of all that runs beside it (arguments, sockets, connections).
        """
        trusted = ssl.get_default_verify_paths().cafile
        own = [Path(sys.prefix), Path(sys.base_prefix), Path(__file__).parents[2]]
        own += [Path(entry) for entry in sys.path if Path(entry).name in _PACKAGES]
        inside = (*own, *([Path(trusted)] if trusted else []), *_SYSTEM)
        return (*(Grant(path, READ) for path in inside), *(Grant(path, WRITE) for path in _ENGINE_DEVICES))

    def closed_folders(self) -> tuple[Path, ...]:
        """Directories the app is likely to use, in which it cannot make new files."""
        here = Path.cwd()
        return (here,) if self.landlock and self._closes(here) else ()


def plan(
    state: Path,
    secrets: Iterable[Path] = (),
    policy: Path | None = None,
    *,
    workers: bool = True,
    inside: bool = False,
) -> Separation:
    """What can be separated here.

    Args:
        state: the state directory.
        secrets: further files that the app must not read (an imported private key).
        policy: the policy file, which the app must not write.
        workers: are there app workers? In front of an upstream there are none to speak of.
        inside: the app runs in the engine's own process.
    """
    state = Path(os.path.realpath(state))
    hidden = (state, *(Path(os.path.realpath(path)) for path in secrets))
    if os.geteuid() == 0:
        hidden += _raw_memory_and_disks()
    abi = supported()
    missing: list[str] = []
    if not abi:
        who = "app workers can read private keys" if workers else "the engine is not confined"
        missing.append(f"{who}: this kernel has no Landlock; use Linux 5.13 or newer")
    if inside:
        missing.append("the app can read the server's private key: it runs in the engine's own process")
    app, engine = User(), User()
    if os.geteuid() == 0 and not inside:
        app, engine = _user(APP_USER), _user(ENGINE_USER)
        lacking = [_lacking(APP_USER, app)] if workers else []
        missing += [text for text in (*lacking, _lacking(ENGINE_USER, engine)) if text]
    fixed = _programs(app.uid if app.uid >= 0 else os.geteuid(), policy)
    if not abi and engine.uid >= 0:
        missing.append("the engine can read every private key: this kernel has no Landlock")
    return Separation(state, app, engine, hidden, fixed, abi, tuple(missing))


def _programs(uid: int, policy: Path | None) -> tuple[Path, ...]:
    """The program itself and its policy, as far as that user could change them.

    Who writes there says what the keeper does at its next start; it holds the keys. What only others
    own needs no rule.
    """
    found = {Path(sys.executable), Path(sys.prefix, "pyvenv.cfg"), Path(__file__).parents[1]}
    found |= {
        Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")
    }
    found |= {Path(entry) for entry in sys.path if Path(entry).name in _PACKAGES}
    if policy is not None:
        found.add(policy)
    if engine := os.environ.get("SEALGATE_ENVOY"):
        found.add(Path(engine))
    real = {Path(os.path.realpath(path)) for path in found if path.exists()}
    mine = {path for path in real if uid == 0 or path.stat().st_uid == uid}
    return tuple(sorted(path for path in mine if not mine.intersection(path.parents)))


def _raw_memory_and_disks() -> tuple[Path, ...]:
    """Device nodes through which root could read anything, hidden or not."""
    found = []
    with os.scandir("/dev") as entries:
        for entry in entries:
            if entry.is_symlink():
                continue
            disk = stat.S_ISBLK(entry.stat(follow_symlinks=False).st_mode)
            if disk or entry.name in {"mem", "kmem", "port", "kcore"}:
                found.append(Path(entry.path))
    return tuple(found)


def _user(name: str) -> User:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return User()
    user = User(entry.pw_uid, entry.pw_gid)
    return user if _can_run_python(user) else User()


def _lacking(name: str, user: User) -> str:
    if user.uid >= 0:
        return ""
    who = "app workers run" if name == APP_USER else "the engine runs"
    try:
        pwd.getpwnam(name)
    except KeyError:
        return f"{who} as root: there is no user {name}; make one: useradd --system --no-create-home {name}"
    return f"{who} as root: {name} may not read {sys.prefix}; install Sealgate where everyone may read it"


def _can_run_python(user: User) -> bool:
    """Tried in a child, because that is what will happen."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(user.gid, user.gid, user.gid)
            os.setresuid(user.uid, user.uid, user.uid)
            fits = os.access(sys.executable, os.X_OK) and os.access(Path(__file__), os.R_OK)
            fits = fits and os.access(os.__file__, os.R_OK)
            os._exit(0 if fits else 1)
        except BaseException:  # noqa: BLE001 - in the child there is nobody to tell
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def describe(
    state: Path, secrets: Iterable[Path] = (), *, workers: bool = True, inside: bool = False
) -> tuple[str, ...]:
    """Sentences for `check` and the ready line: what is not separated. Empty: all is."""
    return plan(state, secrets, workers=workers, inside=inside).missing
