"""One change of an installed server: check, write, reload, look; and back where it cannot be seen.

Each act stands in the journal, fsynced, before it is done. Whoever finds a journal with a change under way
looks at the disk and goes on from there (`decide.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sealgate._system.files import Step, no_step, sync_directory, write_atomic
from sealgate.engines.installed.contract import Place
from sealgate.engines.installed.decide import Act, Disk, acts
from sealgate.engines.installed.journal import Journal, Pending, Record, Stamp, Version
from sealgate.engines.installed.look import Difference, gone, look, showing, until_same
from sealgate.engines.installed.process import Master, check, may_tell, reload, until_reloaded
from sealgate.engines.installed.running import not_running, others
from sealgate.engines.installed.swap import beside, read_regular, replace_bytes, write_beside
from sealgate.errors import CertificateError, EngineError, NotObserved, SealgateError, UsageError
from sealgate.pki.inspect import fingerprint
from sealgate.pki.live import parse_chain

__all__ = ["Change", "gather", "live_fingerprint", "published", "sweep"]

_SEEN = 10.0

Order = Literal["apply", "rollback"]


def gather(place: Place) -> Disk:
    """What is on disk.

    Raises:
        UsageError: ``server-config-unreadable``.
    """
    try:
        main = read_regular(place.main)
    except OSError as error:
        raise UsageError(
            "server-config-unreadable",
            f"{place.main} cannot be read ({error.strerror})",
            "name the file that the server was started with: --server-config FILE",
        ) from None
    stamp = Stamp.of(place.own)
    own = place.own.read_bytes() if place.own.is_file() else None
    return Disk(own, main, place.included.count(main, str(place.own)), stamp)


def without(place: Place, main: bytes) -> bytes:
    """The main configuration without our line.

    Raises:
        EngineError: ``server-config-unfit``: our file is named in another way too, and must not go then.
    """
    after = place.included.exclude(main, str(place.own))
    if place.included.count(after, str(place.own)):
        fact = f"{place.main} names {place.own} in another way than our line does"
        raise EngineError("server-config-unfit", fact, "take that out by hand")
    return after


def sweep(place: Place) -> None:
    """Remove what a change that was broken off may have left behind."""
    plan = place.main.with_name(f".{place.main.name}.sealgate-plan")
    for path in (place.main_candidate, place.candidate, beside(place.main), plan):
        path.unlink(missing_ok=True)


def published(live: Path) -> Iterator[str]:
    """Fingerprints of the certificates that are, or were, live in a directory and are still there."""
    for path in sorted((live / "versions").glob("*/chain.pem")):
        yield live_fingerprint(str(path))


def live_fingerprint(chain: str) -> str:
    """SHA-256 of the first certificate of a PEM file; empty where there is none."""
    try:
        return fingerprint(parse_chain(Path(chain).read_bytes(), chain)[0])
    except (OSError, CertificateError):
        return ""


@dataclass(frozen=True, slots=True)
class Change:
    """What changes an installed server; the locks are held.

    Attributes:
        place: the server.
        journal: its journal; its folders are there.
        master: its first process; none: it does not run, and files are all that is changed.
        step: called before each act; see :data:`Step`.
        seconds: how long a change may take to be seen.
    """

    place: Place
    journal: Journal
    master: Master
    step: Step = no_step
    seconds: float = _SEEN

    def apply(self, version: Version, undo: Callable[[], None]) -> None:
        """Make a version count.

        Args:
            version: kept in the journal.
            undo: puts the certificate back that was live before.

        Raises:
            EngineError: ``server-not-told``: it is another user's; nothing was changed.
            EngineRefused: ``engine-refused``: the server's own check; nothing was changed.
            NotObserved: ``apply-not-observed``: what differed; all is as it was.
            EngineError: ``restore-failed``.
        """
        self._change("apply", version, undo)

    def rollback(self, to: Version | None) -> None:
        """The same backwards: to an earlier version, or to nothing of ours.

        Raises:
            EngineError: as :meth:`apply`.
        """
        self._change("rollback", to, lambda: None)

    def _change(self, order: Order, to: Version | None, undo: Callable[[], None]) -> None:
        if self.master.pid and not may_tell(self.master):
            undo()
            raise self._deaf()
        before, record = gather(self.place), self.journal.load()
        content = self.journal.content(to) if to else None
        try:
            self._check(before, content)
        except (SealgateError, OSError):
            undo()
            raise
        try:
            read = self._perform(order, to, content, acts(before, content))
        except (SealgateError, OSError) as error:
            left = self._restored(self._known(before, record), record, undo, error)
            raise _undone(error, left) from error
        self._nobody_serves(record)
        self.step("commit")
        committed = record.committed(to)
        if to is not None:
            committed = replace(committed, main=str(self.place.main), read=read)
        self.journal.save(committed)
        self.journal.sweep(committed)

    def _nobody_serves(self, before: Record) -> None:
        """Where no server was recognised: does one serve our site all the same, from what it once read?

        The journal keeps the change as one under way, which the next call finishes.

        Raises:
            EngineError: ``server-not-told``.
        """
        version = before.standing or (before.pending and before.pending.to)
        if self.master.pid or not version:
            return
        expected = version.expected
        if others(self.place, frozenset(expected.https)):
            return
        known = {live_fingerprint(expected.chain), *published(Path(expected.chain).parent)}
        if where := showing(expected, known - {""}):
            title = self.place.included.title
            who = self.master.doubt or f"no process was recognised as {title} with {self.place.main}"
            raise EngineError(
                "server-not-told",
                f"the files are as asked, but on {', '.join(where)} the site is served as before: {who}",
                f"have that {title} read its files (or stop it), then: sealgate rollback",
            )

    def _known(self, disk: Disk, record: Record) -> Disk:
        """What to go back to: what was there, or after a change that was broken off what was last seen."""
        if record.pending is None:
            return disk
        own = self.journal.content(record.standing) if record.standing else None
        return replace(disk, own=own, lines=0 if own is None else 1)

    def _check(self, before: Disk, content: bytes | None) -> None:
        """Have the server read what shall be, before any of it counts."""
        place = self.place
        included = place.included
        main = without(place, before.main)
        self.step("check")
        try:
            if content is not None:
                write_beside(place.candidate, content)
                main = included.include(main, str(place.candidate))
            write_beside(place.main_candidate, main)
            check(place, place.main_candidate)
        finally:
            sweep(place)

    def _perform(
        self, order: Order, to: Version | None, content: bytes | None, todo: tuple[Act, ...]
    ) -> Stamp | None:
        """Do it.

        Returns:
            our file as it was right before the server was told to read it.
        """
        read = None
        record = replace(self.journal.load(), main=str(self.place.main))
        before = record.standing or (record.pending and record.pending.to)
        for act in todo:
            self.journal.save(replace(record, pending=Pending(order, act.value, to)))
            self.step(act.value)
            match act:
                case Act.LOOK:
                    self._look(to, before or None)
                case Act.RELOAD:
                    read = Stamp.of(self.place.own)
                    self._reload()
                case Act.WRITE:
                    write_atomic(self.place.own, content or b"", step=self.step)
                case Act.REMOVE:
                    self._remove()
                case Act.INCLUDE | Act.EXCLUDE:
                    self._line(included=act is Act.INCLUDE)
        return read

    def _line(self, *, included: bool) -> None:
        kind, own = self.place.included, str(self.place.own)
        main = read_regular(self.place.main)
        after = kind.include(main, own) if included else without(self.place, main)
        replace_bytes(self.place.main, main, after, step=self.step)

    def _remove(self) -> None:
        self.place.own.unlink(missing_ok=True)
        sync_directory(self.place.folder)

    def _reload(self) -> None:
        if not self.master.pid:
            return
        before = self._told()
        if not until_reloaded(self.master.pid, before, self.seconds):
            raise NotObserved(
                "apply-not-observed",
                f"{self.place.included.title} did not take its new configuration up",
                "look at its error log, which says why",
            )

    def _told(self) -> frozenset[int]:
        """The children it had when it was told to read its files.

        Raises:
            EngineError: ``server-not-running``, ``server-not-told``.
        """
        try:
            return reload(self.place, self.master)
        except ProcessLookupError:
            raise not_running(self.place, Master()) from None
        except PermissionError:
            raise self._deaf() from None

    def _deaf(self) -> EngineError:
        fact = f"{self.place.included.title}, process {self.master.pid}, belongs to another user"
        return EngineError("server-not-told", fact, "call this as that user, or as root")

    def _look(self, to: Version | None, before: Version | None) -> None:
        if not self.master.pid:
            return
        differences = self._differences(to, before)
        if differences:
            raise NotObserved(
                "apply-not-observed",
                "; ".join(map(str, differences)),
                "look for another server block or listener on the same address",
                differences=differences,
            )

    def _differences(self, to: Version | None, before: Version | None) -> tuple[Difference, ...]:
        if to is not None:
            expected = to.expected
            return until_same(
                lambda: look(expected, live_fingerprint(expected.chain)), self.seconds, self._once_more
            )
        if before is not None:
            expected = before.expected
            return until_same(
                lambda: gone(expected, live_fingerprint(expected.chain)), self.seconds, self._once_more
            )
        return ()

    def _once_more(self) -> None:
        """Apache forgets a signal that comes while it still obeys the one before (of another change)."""
        with contextlib.suppress(OSError):
            reload(self.place, self.master)

    def _restored(
        self, before: Disk, record: Record, undo: Callable[[], None], error: Exception
    ) -> tuple[Difference, ...]:
        """Put back what was there, byte for byte; what differs even so.

        Raises:
            EngineError: ``restore-failed``.
        """
        place = self.place
        self.step("restore")
        try:
            undo()
            # The order of `decide.acts`: at every moment the server would start. What is right already is
            # not written again: where a disk is full, nothing is left but to leave it alone.
            now = gather(place)
            if before.lines and before.own is not None and now.own != before.own:
                write_atomic(place.own, before.own, step=self.step)
            if bool(now.lines) != bool(before.lines):
                self._line(included=bool(before.lines))
            self.step("restore reload")
            read = record.read and Stamp.of(place.own)
            self._reload()
            self.step("restore rest")
            if not before.lines and now.own != before.own:
                self._remove() if before.own is None else write_atomic(place.own, before.own, step=self.step)
            standing = record.standing
            left = self._differences(standing, None) if self.master.pid and standing else ()
            self.step("restore commit")
            back = replace(record, pending=None, read=read)
            if self.journal.load() != back:
                self.journal.save(back)
            self.journal.sweep(back)
        except (SealgateError, OSError) as second:
            raise EngineError(
                "restore-failed",
                f"the change did not work ({_fact(error)}), and neither did its undoing ({_fact(second)})",
                "look at the server's error log, then: sealgate rollback",
            ) from error
        return left


def _fact(error: Exception) -> str:
    return error.fact if isinstance(error, SealgateError) else str(error)


def _undone(error: Exception, left: tuple[Difference, ...]) -> SealgateError:
    """The error to tell, now that all is as it was."""
    still = f"; even so {'; '.join(map(str, left))}" if left else ""
    fact = f"{_fact(error)}; everything was put back{still}"
    if isinstance(error, NotObserved):
        return NotObserved(error.code, fact, error.remedy, **error.details)
    if isinstance(error, SealgateError):
        return type(error)(error.code, fact, error.remedy)
    return EngineError("apply-not-observed", fact, "put right what the message names")
