"""What ``plan``, ``apply``, ``rollback`` and ``observe`` share: the server, its journal, the certificate."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sealgate._system.clock import system_clock
from sealgate._system.files import FileLock, Step, check_not_writable_by_others, no_step
from sealgate.cli._options import Context, common_options
from sealgate.cli._servers import INSTALLED
from sealgate.engines.contract import Capability, Program, Refusal, enforced_rows
from sealgate.engines.installed.change import Change, gather, live_fingerprint
from sealgate.engines.installed.contract import (
    Included,
    Place,
    check_encoding,
    included,
    included_ids,
)
from sealgate.engines.installed.decide import Act, Disk, acts, rollback_to
from sealgate.engines.installed.inherits import Inherited, in_our_place, inherits, refuse
from sealgate.engines.installed.journal import Journal, Record, Version
from sealgate.engines.installed.look import look
from sealgate.engines.installed.process import Master, listening
from sealgate.engines.installed.running import command_line, master, not_running
from sealgate.engines.installed.site import Wanted, applied, doubtful, folder, free_addresses, wanted
from sealgate.engines.installed.swap import locked
from sealgate.engines.installed.trial import Trial, trial
from sealgate.engines.registry import engine
from sealgate.errors import ControlError, EngineUntrusted, PolicyError, UsageError
from sealgate.pki.client_trust import ensure_client_trust
from sealgate.pki.live import LiveDirectory
from sealgate.pki.server import ensure_server_certificate
from sealgate.pki.state import State
from sealgate.pki.witness import Witness
from sealgate.runtime.control import ask
from sealgate.runtime.site import system_trust

if TYPE_CHECKING:
    from sealgate.policy.model import Endpoint, Policy

__all__ = ["Server", "apply_to", "confirmed", "open_server", "roll_back", "server_options"]

_SEEN = 10.0

_Command = TypeVar("_Command", bound=Callable[..., Any])


def server_options(command: _Command) -> _Command:
    """``--engine``, ``--server-config``, ``--engine-untested`` and the common options."""
    for option in (
        click.option(
            "--engine-untested", is_flag=True, help="Accept a server of a version that was not tested."
        ),
        click.option(
            "--server-config",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="The server's main configuration file.  [default: where it usually is]",
        ),
        click.option(
            "--engine",
            metavar="NAME",
            help=f"The installed server: {' or '.join(INSTALLED)}.  [default: site.engine]",
        ),
    ):
        command = option(command)
    return common_options(command)


@dataclass(frozen=True, slots=True)
class Server:
    """An installed server as one call sees it.

    Attributes:
        place: the server and our files for it.
        state: the state directory.
        journal: of this server.
        record: what it says.
        master: the running server's first process, or none.
        ahead: what it will listen on by itself once it was told to read its files; None: what it listens on.
    """

    context: Context
    place: Place
    state: State
    journal: Journal
    record: Record
    master: Master
    ahead: frozenset[Endpoint] | None = None

    @property
    def pid(self) -> int:
        """Of the running server; 0: it does not run, or was not recognised."""
        return self.master.pid

    @property
    def policy(self) -> Policy:
        """What shall hold."""
        return self.context.policy

    def wanted(self) -> Wanted:
        """Our file for the policy as it is now.

        Raises:
            PolicyError: ``engine-cannot``.
        """
        return self.wanted_in(self.state)

    def wanted_in(self, state: State) -> Wanted:
        """The same where another state directory holds the certificate.

        Raises:
            PolicyError: ``engine-cannot``.
        """
        self.promises()
        upstream = self.policy.site.upstream
        trust = system_trust() if upstream.startswith("https:") else ""
        held = self.ahead
        if held is None:
            held = listening(self.pid) if self.pid else frozenset()
        return wanted(self.place, self.policy, state, self.record, held, trust)

    def tried(self, disk: Disk) -> Trial:
        """What the server itself says of the files as they would be; nothing is changed."""
        name = self.policy.site.names[0]
        return trial(self.place, disk, self.state, name, lambda state: self.wanted_in(state).content)

    def foreseen(self, disk: Disk) -> tuple[Server, Trial]:
        """As `apply` will find it, which has it read its files where whose an address is could be doubted.

        What the files name under a condition counts only where the server's check says that it does.

        Raises:
            UsageError: ``server-config-unreadable``.
        """
        from sealgate.engines.configurations.neighbours import unread

        tried, place = self.tried(disk), self.place
        files = _named(self) if place.included.listens_once else frozenset()
        if not files or tried.accepted is not False or unread(place.included.id, place.main, place.own):
            return self, tried
        other = replace(self, ahead=files)
        again = other.tried(disk)
        return (other, again) if again.accepted else (self, tried)

    def inherited(self) -> tuple[Inherited, ...]:
        """What the user's own configuration would bring into our site as it shall be.

        Raises:
            PolicyError: ``engine-cannot``.
            UsageError: ``server-config-unreadable``.
        """
        return self.inherited_by(self.wanted().content)

    def inherited_by(self, content: bytes) -> tuple[Inherited, ...]:
        """The same for our file as it is, or was.

        Raises:
            UsageError: ``server-config-unreadable``.
        """
        argv = command_line(self.pid) if self.pid else ()
        listen, names = self.policy.listen, self.policy.site.names
        beside = in_our_place(self.place, content, listen.https + listen.http, names, argv)
        return (*inherits(self.place, content, argv), *beside)

    def promises(self) -> tuple[Capability, ...]:
        """Who enforces what.

        Raises:
            PolicyError: ``engine-cannot``: all that it cannot enforce.
        """
        kind = self.place.included
        rows: tuple[Capability | Refusal, ...] = kind.capabilities(self.policy)
        return enforced_rows(f"an installed {kind.title}", rows)


@contextlib.contextmanager
def open_server(
    context: Context,
    *,
    name: str | None,
    config: Path | None,
    untested: bool,
    changing: bool,
    any_version: bool = False,
    undoing: bool = False,
) -> Iterator[Server]:
    """The server, its journal, and with ``changing`` the locks on both.

    Args:
        context: of the call.
        name: the server's; None: the journal's or the policy's.
        config: its main configuration; None: the one that has our line, or the usual one.
        untested: a version that says what it is will do.
        any_version: any will do.
        changing: files are about to be written.
        undoing: no policy is needed: the journals say which server it is.

    Raises:
        UsageError: ``engine-not-included``, ``server-config-other``.
        StateBusy: ``state-busy``, ``server-busy``: another apply or rollback is at work.
        StateInsecure: ``server-config-insecure``.
    """
    state = _state(context, changing=changing, create=changing and not undoing)
    kind = included(name or (_applied(state, context) if undoing else context.policy.site.engine))
    home = folder(state, kind.id)
    journal = Journal(home)
    with contextlib.ExitStack() as stack:
        if changing:
            journal.prepare()
            stack.enter_context(FileLock(home / "lock"))
        record = journal.load()
        main = _main(record, kind, config)
        program = _program(kind, untested=untested, any_version=any_version)
        check_encoding(home)
        place = Place(kind, program, main, home)
        if changing:
            stack.enter_context(locked(Path(os.path.realpath(main)).parent))
        _only_trusted_files(main)
        yield Server(context, place, state, journal, record, master(place, record))


def _applied(state: State, context: Context) -> str:
    """The server that has something of ours; only among several the policy is asked.

    Raises:
        EngineError: ``nothing-applied``.
        UsageError: ``usage-wrong``: there are several, and no policy says which.
    """
    found = applied(state, included_ids())
    if not found:
        rollback_to(Record(), everything=True)
    if len(found) == 1:
        return found[0]
    try:
        return context.policy.site.engine
    except PolicyError as error:
        fact = (
            f"{' and '.join(found)} have something of ours, and no policy says which is meant ({error.code})"
        )
        raise UsageError("usage-wrong", fact, "name one with --engine") from None


def _program(kind: Included, *, untested: bool, any_version: bool) -> Program:
    """The server's program.

    Raises:
        EngineMissing: ``engine-missing``.
        EngineUntrusted: ``engine-untested``.
    """
    try:
        return engine(kind.id).program(os.environ, untested or any_version)
    except EngineUntrusted:
        # One that does not even say its version: our line comes out of its file all the same.
        if not any_version:
            raise
        return Program(kind.find(os.environ), "", pinned=False)


def _only_trusted_files(main: Path) -> None:
    """As root, nothing is run or loaded that somebody else could have written.

    A server's own check loads what its configuration names, and Apache's ``envvars`` is a shell file.

    Raises:
        StateInsecure: ``server-config-insecure``.
    """
    if os.geteuid() == 0:
        for path in (main, main.with_name("envvars")):
            if path.exists():
                check_not_writable_by_others(path, code="server-config-insecure")


def _state(context: Context, *, changing: bool, create: bool) -> State:
    """The state directory; who only looks makes none."""
    path = context.state_path
    if changing or path.is_dir():
        return context.open_state(create=create)
    return State(path, FileLock(path / "keeper.lock"), Witness.of(path))


def _main(record: Record, kind: Included, named: Path | None) -> Path:
    """The main configuration: the one that has our line, or the one named, or the first that is there.

    Raises:
        UsageError: ``server-config-other``, ``usage-wrong``: there are several.
    """
    if named is not None:
        found = named.absolute()
        if record.main and Path(record.main) != found:
            raise UsageError(
                "server-config-other",
                f"our include line is in {record.main}, not in {found}",
                "take it out first with: sealgate rollback --all",
            )
        return found
    if record.main:
        return Path(record.main)
    running = kind.running()
    if len(running) > 1:
        fact = f"several {kind.title}s run: with {', '.join(map(str, running))}"
        raise UsageError("usage-wrong", fact, "name the file of one with --server-config FILE")
    usual = (*running, *(Path(path).absolute() for path in kind.mains))
    return next((path for path in usual if path.is_file()), usual[0])


def _certificate(server: Server) -> Callable[[], None]:
    """Make sure that a certificate is live that fits; as ``sealgate cert`` does, a keeper is asked first.

    Returns:
        what puts back the one that was live before.
    """
    context, state, policy = server.context, server.state, server.policy
    try:
        ask(context.state_path, {"order": "renew", "force": False})
    except ControlError as error:
        if error.code != "keeper-not-running":
            raise
    else:
        return lambda: None  # the keeper's affair
    directory = LiveDirectory(state.live_server(policy.site.names[0]))
    with state.lock():
        before = directory.fingerprint()
        live = ensure_server_certificate(state, policy, system_clock, base=context.base)
    if policy.clients.mode != "off":
        ensure_client_trust(state, policy, system_clock, base=context.base)

    def back() -> None:
        if before and live.fingerprint != before:
            with state.lock():
                directory.rollback()

    return back


def apply_to(server: Server, *, step: Step = no_step, seconds: float = _SEEN) -> tuple[bool, int]:
    """Make the policy count in the server.

    Args:
        server: its locks are held.
        step: see :data:`Step`.
        seconds: how long it may take to be seen.

    Returns:
        whether anything was changed, and the number of the version that is served.

    Raises:
        EngineError: ``server-not-running``, ``server-config-inherits``, and as :meth:`Change.apply`.
        ListenError: an address is taken by somebody else.
    """
    if not server.pid:
        raise not_running(server.place, server.master)
    refuse(server.inherited())
    server = _settled(server, step, seconds)
    wanted = server.wanted()
    free_addresses(server.policy, server.record, wanted.shared)
    undo = _certificate(server)
    version = wanted.version(server.journal, server.record)
    disk, expected = gather(server.place), wanted.expected
    record = server.record
    settled = record.standing == version and record.pending is None and record.read == disk.stamp
    on_disk = settled and acts(disk, wanted.content) == (Act.RELOAD, Act.LOOK)
    if on_disk and not look(expected, live_fingerprint(expected.chain)):  # in the server's memory too
        return False, version.number
    Change(server.place, server.journal, server.master, step, seconds).apply(version, undo)
    return True, version.number


def _settled(server: Server, step: Step, seconds: float) -> Server:
    """Have the server read what is on disk where its memory could mislead about whose an address is.

    Raises:
        EngineError: as :meth:`Change.rollback`.
    """
    place, policy, record = server.place, server.policy, server.record
    if not place.included.listens_once or not doubtful(policy, record, server.pid, _named(server)):
        return server
    to = rollback_to(record, everything=False) if record.pending else record.standing
    Change(place, server.journal, server.master, step, seconds).rollback(to)
    return replace(server, record=server.journal.load())


def _named(server: Server) -> frozenset[Endpoint]:
    """Our addresses that the user's own files may name.

    Raises:
        UsageError: ``server-config-unreadable``.
    """
    from sealgate.engines.configurations.neighbours import said

    place, listen = server.place, server.policy.listen
    return said(place.included.id, place.main, place.own, listen.https + listen.http)


def confirmed(question: str, *, as_json: bool) -> bool:
    """Ask.

    Raises:
        UsageError: ``confirmation-missing``: there is nobody.
    """
    if as_json or not sys.stdin.isatty():
        raise UsageError("confirmation-missing", "nobody can be asked here", "add --yes")
    return click.confirm(question, err=True)


def roll_back(server: Server, *, everything: bool, step: Step = no_step) -> Version | None:
    """Undo the last apply, or all of them.

    Returns:
        what is served now; None: nothing of ours.

    Raises:
        EngineError: ``nothing-applied``, ``server-not-told``, and as :meth:`Change.rollback`.
    """
    to = rollback_to(server.record, everything=everything)
    Change(server.place, server.journal, server.master, step).rollback(to)
    return to
