"""Apache as the keeper drives it: files checked, written, put back; generations followed; workers linked."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import pwd
import resource
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from sealgate._system.files import private_directory, raise_flag, write_atomic
from sealgate._system.process import become
from sealgate.engines.challenges import checked
from sealgate.engines.contract import Program
from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.apache.backends import links, slots
from sealgate.engines.servers.apache.binary import Build, build
from sealgate.engines.servers.apache.facts import ANSWERS, CLOSING, CONFIG, FOLDER, RUNTIME
from sealgate.engines.servers.apache.process import Apache, connections, start
from sealgate.engines.servers.apache.render import MODULES, module_lines, render
from sealgate.engines.servers.apache.spoofing import LUA_MODULE
from sealgate.engines.servers.apache.tls import HYBRID_DEFINED
from sealgate.errors import EngineMissing, EngineRefused

__all__ = ["Instance"]

_POLL = 0.02
_TELL = 0.3
_MARGIN = 1024 * 1024  # more than Apache writes at once
_CHECK = 20.0
# Files of others, sockets of the workers, low ports: what Envoy has as root. No user of its own was made.
_AS_NOBODY = frozenset({1, 2, 10})


class Instance:
    """One site's Apache in one state directory.

    Args:
        state: the state directory; Apache's ServerRoot and working directory.
        program: a verified one.
        prepare: run in the child before exec.
        uid: whom it becomes there; -1: nobody else.
    """

    def __init__(self, state: Path, program: Program, prepare: Callable[[], None], *, uid: int = -1) -> None:
        self._state = state
        self._folder = state / FOLDER
        self._program = program
        self._prepare = prepare
        self._nobody = _nobody() if uid < 0 and os.geteuid() == 0 else None
        self._uid = self._nobody[0] if self._nobody else uid
        self._build: Build | None = None
        self._apache: Apache | None = None
        self._started: RenderFacts | None = None
        self._files: dict[str, bytes] = {}
        self._linked: dict[str, str] = {}
        self._largest = 0
        self._read = b""
        self._ending: set[asyncio.Task[None]] = set()
        self.folder = state / RUNTIME
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700)
        if self._uid >= 0:
            os.chown(self.folder, self._uid, -1)

    @property
    def process(self) -> asyncio.subprocess.Process | None:
        """The parent process."""
        return self._apache.process if self._apache else None

    @property
    def reads(self) -> tuple[Path, ...]:
        """The program and its modules."""
        return (self._program.path, *([self._build.folder] if self._build else []))

    @property
    def running(self) -> bool:
        """Is it there?"""
        return self._apache is not None and self._apache.process.returncode is None

    async def start(self, facts: RenderFacts) -> None:
        """Write the files and start.

        Raises:
            EngineRefused: `engine-refused`.
            EngineMissing: `engine-missing`: no modules.
        """
        self._build = await asyncio.to_thread(build, self._program.path)
        self._started = facts
        self._largest = _largest(facts)
        self._read = self._materials(facts)
        self._write(self._rendered(facts))
        self._link(facts)
        self._apache = await start(
            self._command(CONFIG), self._state, uid=self._uid, prepare=self._prepared, environ=self._environ()
        )

    def _rendered(self, facts: RenderFacts) -> dict[str, bytes]:
        assert self._build is not None  # noqa: S101 - known since the start
        if not facts.guarded and not (self._build.folder / LUA_MODULE).is_file():
            raise EngineMissing(
                "engine-missing",
                f"Apache's {LUA_MODULE} is not installed; it keeps forged proxy fields from site.upstream",
                "install it (dnf install mod_lua; Debian's apache2-bin has it), or use another site.engine",
            )
        return {**render(facts), MODULES: module_lines(self._build.folder, self._build.inside)}

    def _command(self, config: str, *options: str) -> list[str]:
        assert self._build is not None  # noqa: S101 - known since the start
        defined = ["-D", HYBRID_DEFINED] if self._build.hybrid else []
        root = ["-d", str(self._state), "-f", f"{FOLDER}/{config}"]
        return [str(self._program.path), *root, *defined, "-D", "FOREGROUND", *options]

    def _environ(self) -> dict[str, str]:
        """Apache needs none of ours; what it cannot hold in memory goes where it may write."""
        return {"PATH": os.defpath, "LANG": "C", "TZ": "UTC", "TMPDIR": str(self.folder)}

    def _prepared(self) -> None:
        """In the child. Apache refuses to serve as root, and is left no capability to become another user."""
        if self._nobody:
            become(*self._nobody, keep=_AS_NOBODY)
        # What Apache holds of a body without a length goes to a file, and it has no limit for that.
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._largest, resource.RLIM_INFINITY))
        self._prepare()

    def needs_restart(self, facts: RenderFacts) -> str:
        """The key whose change would count only after a new start: there is none."""
        del facts
        return ""

    async def apply(self, facts: RenderFacts) -> bool:
        """Hand over changed files; true if anything changed.

        Raises:
            EngineRefused: `engine-refused`; the files are then as they were.
        """
        before, wanted, largest = dict(self._files), self._rendered(facts), self._largest
        self._link(facts)
        if wanted == before:
            return False
        await self._check(wanted)
        self._write(wanted)
        self._limit(_largest(facts))
        try:
            await self._reread(facts)
        except EngineRefused:
            self._write(before)
            self._limit(largest)
            raise
        return True

    def _limit(self, size: int) -> None:
        """How large a temporary file may get; children have it from their parent."""
        if size != self._largest and self._apache is not None:
            resource.prlimit(self._apache.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        self._largest = size

    async def _check(self, files: Mapping[str, bytes]) -> None:
        """Ask Apache itself, before anything that counts is touched."""
        candidate = f"{CONFIG}.candidate"
        write_atomic(self._folder / candidate, files[CONFIG])
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command(candidate, "-t"),
                cwd=self._state,
                env=self._environ(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                preexec_fn=self._prepared,
            )
            said, _ = await asyncio.wait_for(process.communicate(), _CHECK)
        finally:
            (self._folder / candidate).unlink(missing_ok=True)
        if process.returncode:
            text = said.decode("utf-8", "replace").strip().replace("\n", " ")[-300:]
            raise EngineRefused("engine-refused", f"Apache does not take its files: {text}", "report this")

    @contextlib.asynccontextmanager
    async def _told(self) -> AsyncIterator[None]:
        """Have clients that are busy close their connections themselves, before idle ones are closed.

        Apache closes idle connections when a generation ends, and a request may be on its way just then. Who
        sends requests one after the other is told with an answer before that; who was silent for a while
        is not likely to send one in the same millisecond.
        """
        flag = self._state / CLOSING
        raise_flag(flag)
        try:
            await asyncio.sleep(_TELL)
            yield
        finally:
            with contextlib.suppress(OSError):
                flag.unlink(missing_ok=True)

    async def _reread(self, facts: RenderFacts) -> None:
        assert self._apache is not None  # noqa: S101 - only called while running
        read = self._materials(facts)
        async with self._told():
            await self._apache.graceful()
        self._started, self._read = facts, read
        drain = facts.policy.timeouts.drain
        ending = asyncio.create_task(self._apache.end_old(self._apache.old, drain))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def refresh(self) -> None:
        """Read certificate, key, trust and lists again, if they are others than those that were read last."""
        if self.running and self._started is not None and self._materials(self._started) != self._read:
            await self._reread(self._started)

    def _materials(self, facts: RenderFacts) -> bytes:
        """What Apache reads only when a generation begins, as one digest."""
        digest, pairs = hashlib.sha256(), (facts.chain, facts.key, facts.second_chain, facts.second_key)
        for name in (*pairs, facts.trust, facts.lists):
            path = self._state / name
            digest.update(hashlib.sha256(path.read_bytes() if name and path.is_file() else b"").digest())
        return digest.digest()

    async def spread(self, facts: RenderFacts) -> None:
        """Lead new requests to these workers: at once, because each has a connection of its own."""
        self._link(facts)

    def _link(self, facts: RenderFacts) -> None:
        self._swap(links(slots(facts), facts.workers))

    def _swap(self, wanted: dict[str, str]) -> None:
        for name, target in wanted.items():
            if self._linked.get(name) != target:
                beside = self.folder / f".{name}"
                beside.unlink(missing_ok=True)
                beside.symlink_to(target)
                beside.replace(self.folder / name)
        for name in self._linked.keys() - wanted.keys():
            (self.folder / name).unlink(missing_ok=True)
        self._linked = wanted

    async def challenge(self, facts: RenderFacts) -> None:
        """Nothing to do: the answers are files that it reads when asked."""
        checked(facts.challenges)

    async def until_idle(self, socket: str, seconds: float) -> bool:
        """Wait until no request is under way to a worker: until nobody is connected to it."""
        end = asyncio.get_running_loop().time() + seconds
        while self.running:
            table = await asyncio.to_thread(Path("/proc/net/unix").read_text, errors="replace")
            if connections(table, socket) == 0:
                return True
            if asyncio.get_running_loop().time() >= end:
                return False
            await asyncio.sleep(_POLL)
        return True

    async def drain(self, seconds: float) -> bool:
        """Stop accepting; true if all that was under way came to its end in time."""
        if self._apache is None or not self.running:
            return True
        async with self._told():
            return await self._apache.drain(max(_POLL, seconds - _TELL))

    async def stop(self) -> None:
        """End the processes."""
        for task in self._ending:
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)
        if self._apache is not None:
            await self._apache.end()
            self._apache = None

    def remove(self) -> None:
        """After the last `stop`: leave nothing behind."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, files: dict[str, bytes]) -> None:
        """Write what differs, keep what was there before; the file that names all others last."""
        private_directory(self._folder)
        private_directory(self._folder / ANSWERS)
        previous = private_directory(self._folder / "previous")
        for name in sorted(files, key=lambda name: (name == CONFIG, name)):
            if self._files.get(name) != files[name]:
                if name in self._files and "/" not in name:
                    write_atomic(previous / name, self._files[name])
                write_atomic(self._folder / name, files[name])
        self._files = dict(files)


def _largest(facts: RenderFacts) -> int:
    """Of any file that Apache writes.

    It does not notice that the last write was cut short. So what is cut is still too large for the guard.
    """
    return facts.policy.limits.body + _MARGIN


def _nobody() -> tuple[int, int]:
    """The user that owns nothing."""
    with contextlib.suppress(KeyError):
        entry = pwd.getpwnam("nobody")
        return entry.pw_uid, entry.pw_gid
    return 65534, 65534
