"""The journal of one installed server: which version was last seen to be served, and what is under way.

Written whole and fsynced before each act of a change. It never says what is on disk; that is looked at.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sealgate._system.files import private_directory, write_atomic
from sealgate.engines.installed.expected import Expected
from sealgate.errors import StateError
from sealgate.policy.model import Endpoint

__all__ = ["Journal", "Pending", "Record", "Stamp", "Version"]

_KEPT = 10


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a file is besides its bytes: it differs after any change of it, even one that was taken back.

    Only ever compared for equality: whether the clock was stepped in between does not matter.

    Attributes:
        inode: another one: it was replaced.
        changed: its ctime, in nanoseconds; nobody can set it (inode(7)).
    """

    inode: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> Stamp | None:
        """As it is now; None: it cannot be seen."""
        try:
            facts = path.stat()
        except OSError:
            return None
        return cls(facts.st_ino, facts.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class Version:
    """One content of our file.

    Attributes:
        number: of the file that keeps it.
        sha256: of the content, hex.
        expected: what a stranger sees when it is served.
        shared: addresses that the server listened on by itself before.
    """

    number: int
    sha256: str
    expected: Expected
    shared: tuple[Endpoint, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        shared = [[endpoint.host, endpoint.port] for endpoint in self.shared]
        return {
            "number": self.number,
            "sha256": self.sha256,
            "expected": self.expected.as_json(),
            "shared": shared,
        }


@dataclass(frozen=True, slots=True)
class Pending:
    """A change under way.

    Attributes:
        order: what was asked for.
        act: the one that was about to be done.
        to: where it goes; None: our file and the line are taken out.
    """

    order: Literal["apply", "rollback"]
    act: str
    to: Version | None


@dataclass(frozen=True, slots=True)
class Record:
    """What the journal says.

    Attributes:
        main: the main configuration that has our line.
        standing: what was last seen to be served; None: nothing of ours.
        history: versions before it, oldest first.
        pending: a change under way, or broken off.
        read: our file as it was when the server was last told to read it; None: not known (nothing of ours
            stands, or an earlier Sealgate applied it).
    """

    main: str = ""
    standing: Version | None = None
    history: tuple[Version, ...] = ()
    pending: Pending | None = None
    read: Stamp | None = None

    def committed(self, to: Version | None) -> Record:
        """After a change was seen to be served."""
        if to is None:
            return Record()
        older = [version for version in (*self.history, self.standing) if version is not None]
        kept = [version for version in older if version.number < to.number]
        return Record(self.main, to, tuple(kept[-_KEPT:]))


class Journal:
    """The journal and the versions in one folder; its user holds the lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "journal.json"

    def load(self) -> Record:
        """What it says; an empty record where there is none.

        Raises:
            StateError: ``journal-damaged``.
        """
        try:
            data = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return Record()
        except (OSError, ValueError, RecursionError) as error:
            raise self._damaged(error) from None
        try:
            return _record(data)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> StateError:
        return StateError(
            "journal-damaged",
            f"{self._path} cannot be read ({type(error).__name__})",
            "take our include line out of the server's main configuration, remove that file, apply again",
            path=str(self._path),
        )

    def save(self, record: Record) -> None:
        """Write it, through to the disk.

        Raises:
            StateError: it cannot be written.
        """
        pending = record.pending
        data = {
            "format": 1,
            "main": record.main,
            "standing": _version_json(record.standing),
            "history": [version.as_json() for version in record.history],
            "pending": pending
            and {"order": pending.order, "act": pending.act, "to": _version_json(pending.to)},
            "read": record.read and [record.read.inode, record.read.changed],
        }
        write_atomic(self._path, (json.dumps(data, indent=1) + "\n").encode())

    def prepare(self) -> None:
        """Make the folders."""
        private_directory(self._folder.parent)
        private_directory(self._folder)
        private_directory(self._folder / "versions")

    def keep(self, content: bytes, expected: Expected, shared: tuple[Endpoint, ...]) -> Version:
        """A new version of our file, kept whole."""
        folder = self._folder / "versions"
        numbers = [int(path.stem) for path in folder.glob("*.conf") if path.stem.isdecimal()]
        version = Version(max(numbers, default=0) + 1, hashlib.sha256(content).hexdigest(), expected, shared)
        write_atomic(self._file(version), content)
        return version

    def content(self, version: Version) -> bytes:
        """The bytes of a version.

        Raises:
            StateError: ``journal-damaged``: they are not there, or others.
        """
        try:
            content = self._file(version).read_bytes()
        except OSError as error:
            raise self._damaged(error) from None
        if hashlib.sha256(content).hexdigest() != version.sha256:
            raise self._damaged(ValueError())
        return content

    def sweep(self, record: Record) -> None:
        """Remove versions that nothing can go back to any more."""
        versions = (record.standing, *record.history, record.pending.to if record.pending else None)
        kept = {self._file(version) for version in versions if version is not None}
        for path in (self._folder / "versions").glob("*.conf"):
            if path not in kept:
                path.unlink(missing_ok=True)

    def _file(self, version: Version) -> Path:
        return self._folder / "versions" / f"{version.number:06d}.conf"


def _version_json(version: Version | None) -> dict[str, Any] | None:
    return version.as_json() if version else None


def _version(data: dict[str, Any] | None) -> Version | None:
    if data is None:
        return None
    shared = tuple(Endpoint(str(host), int(port)) for host, port in data["shared"])
    return Version(int(data["number"]), str(data["sha256"]), Expected.from_json(data["expected"]), shared)


def _stamp(data: list[int] | None) -> Stamp | None:
    if data is None:
        return None
    inode, changed = data
    return Stamp(int(inode), int(changed))


def _record(data: dict[str, Any]) -> Record:
    if data["format"] != 1:
        raise ValueError(data["format"])
    pending = data["pending"]
    history = tuple(version for item in data["history"] if (version := _version(item)) is not None)
    return Record(
        str(data["main"]),
        _version(data["standing"]),
        history,
        Pending(pending["order"], str(pending["act"]), _version(pending["to"])) if pending else None,
        _stamp(data.get("read")),
    )
