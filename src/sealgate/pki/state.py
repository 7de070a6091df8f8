"""The state directory: its layout, who may touch it, and its lock.

::

    <state>/store.db                 what was issued (SQLite)
    <state>/authorities/             root, servers, clients (see ``vault.py``)
    <state>/live/server/<site>/      chain.pem, key.pem (see ``live.py``)
    <state>/live/clients/            trust.pem, crl.pem, clients.crl
    <state>/live/guard/              what the guard decides by
    <state>/live/challenges/         what an ACME authority is answered (0711, files 0644)
    <state>/requests/<site>/         key and request of a certificate that somebody else will sign
    <state>/imports/<site>/          chain and key that were imported
    <state>/engines/ <state>/run/    the engine's files; sockets and pids
    <state>/keeper.lock              held by who works on the state

Directories are 0700, files 0600, but for answers to challenges. Whoever could write here could put his own
root where ours is, so a directory that others may write is refused, never mended in silence.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from sealgate._system.files import (
    FileLock,
    check_not_writable_by_others,
    check_parents,
    private_directory,
    translated,
    write_atomic,
)
from sealgate.errors import StateError
from sealgate.pki.witness import Witness
from sealgate.policy.published import NAME

__all__ = ["State", "site_directory"]

_UNSAFE = re.compile(r"[^a-z0-9.-]")
_BESIDE_POLICY = ".sealgate"


def site_directory(name: str) -> str:
    """The directory name of a site: its first name with everything outside ``[a-z0-9.-]`` as ``_``."""
    return _UNSAFE.sub("_", name.lower())


@dataclass(frozen=True, slots=True)
class State:
    """An opened state directory. Make one with :meth:`open`."""

    path: Path
    _lock: FileLock = field(repr=False, compare=False)
    witness: Witness = field(repr=False, compare=False)
    """What is known of our own lists outside of the directory."""

    @classmethod
    def open(cls, path: Path, *, create: bool = True) -> State:
        """Open the state directory, making what is missing.

        Args:
            path: the directory.
            create: make it and its parts; False only looks (nothing is written).

        Raises:
            StateError: ``state-missing`` (``create`` is False), ``state-full``, ``state-read-only``.
            StateInsecure: ``state-insecure``: others may write it.
        """
        path = Path(path).absolute()
        if not path.is_dir() and not create:
            raise StateError(
                "state-missing",
                f"there is no state directory {path}",
                "start once with: sealgate serve, or name the directory with --state",
                path=str(path),
            )
        state = cls(path, FileLock(path / "keeper.lock"), Witness.of(path))
        if create:
            check_parents(path)  # before anything is made there
            state._make()
        with translated(path):
            check_not_writable_by_others(path)
        return state

    def _make(self) -> None:
        fresh = not self.path.exists()
        private_directory(self.path)
        if self.path.name == _BESIDE_POLICY and (fresh or not (self.path / ".gitignore").exists()):
            # Keys must not end up in the user's repository because he typed `git add .`.
            write_atomic(self.path / ".gitignore", b"*\n")
        for part in (self.authorities, self.live, self.live_clients, self.live_guard, self.engines, self.run):
            private_directory(part)
        # Not a secret, and read by engines that run as somebody else.
        private_directory(self.challenges, 0o711)

    def admit_to_challenges(self) -> None:
        """Let servers of other users read :attr:`challenges`, for those that somebody else started.

        They may pass through the two directories above, and list nothing there. All else is 0600 or 0700.

        Raises:
            StateError: somebody else's directory, or a read-only one.
        """
        with translated(self.challenges):
            for part in (self.path, self.live):
                part.chmod(stat.S_IMODE(part.stat().st_mode) | stat.S_IXOTH)

    def lock(self) -> FileLock:
        """The lock every writer of the state holds; ``with state.lock(): ...`` (may be nested).

        Raises:
            StateBusy: on entering, where another process holds it.
        """
        return self._lock

    @property
    def store(self) -> Path:
        """The SQLite file."""
        return self.path / "store.db"

    @property
    def authorities(self) -> Path:
        """Root and issuing authorities."""
        return self.path / "authorities"

    @property
    def root_pem(self) -> Path:
        """The private root's certificate, for clients and trust stores."""
        return self.authorities / "root" / "root.pem"

    @property
    def live(self) -> Path:
        """What engines and the guard read."""
        return self.path / "live"

    def live_server(self, site: str) -> Path:
        """The live directory of a site's certificate; ``site`` is its first name."""
        return self.live / "server" / site_directory(site)

    @property
    def live_clients(self) -> Path:
        """trust.pem, crl.pem and lists.pem for verifying clients."""
        return self.live / "clients"

    @property
    def published_list(self) -> Path:
        """Our own list of revoked clients as others fetch it: DER (see ``policy/published.py``)."""
        return self.live_clients / NAME

    @property
    def live_client_authorities(self) -> Path:
        """The certificates of each foreign authority of clients."""
        return self.live_clients / "authorities"

    @property
    def live_client_lists(self) -> Path:
        """The lists in force of each authority of clients that comes with some."""
        return self.live_clients / "lists"

    @property
    def fetched_lists(self) -> Path:
        """The lists that were fetched, and where from."""
        return self.live_clients / "fetched"

    @property
    def key_sets(self) -> Path:
        """The keys of issuers that were fetched."""
        return self.live / "issuers"

    @property
    def live_guard(self) -> Path:
        """What the guard decides by."""
        return self.live / "guard"

    @property
    def challenges(self) -> Path:
        """Answers to an ACME authority's questions, while it asks (see ``engines/challenges.py``)."""
        return self.live / "challenges"

    @property
    def engines(self) -> Path:
        """Rendered engine files."""
        return self.path / "engines"

    @property
    def run(self) -> Path:
        """Sockets and pids."""
        return self.path / "run"

    def requests(self, site: str) -> Path:
        """Key and request waiting for a certificate from elsewhere."""
        return self.path / "requests" / site_directory(site)

    def imports(self, site: str) -> Path:
        """The chain and key that ``cert import`` brought."""
        return self.path / "imports" / site_directory(site)
