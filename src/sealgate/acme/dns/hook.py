"""TXT records by a program of the operator's (docs/guides/dns-01.md is the contract).

``PROGRAM add|remove NAME VALUE``; neither is a secret. certbot's variables are set as well, so that a program
written for ``--manual-auth-hook`` finds what it looks for. It runs without a shell, in a process group of its
own, with few variables, and for a limited time.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from sealgate._system.files import check_not_writable_by_others
from sealgate._system.guests import Ended, run_guest
from sealgate.acme.dns.errors import error, short
from sealgate.acme.dns.record import Record
from sealgate.errors import AcmeError, Fault

__all__ = ["Hook"]

_HANDED_ON = frozenset({"HOME", "LANG", "LOGNAME", "PATH", "TZ", "USER"})
_PREFIXES = ("LC_", "DNS_HOOK_")
"""``DNS_HOOK_``: what the operator wants the program to see."""
_OUTPUT = 16 * 1024
_SHOWN = 250


class Hook:
    """Runs the program.

    Args:
        program: its file.
        folder: the working directory; the policy file's.
        environ: of this process.
        seconds: the time it has, for each call.
        watch: called now and then while it sets a record; what it raises ends the program.
    """

    def __init__(
        self,
        program: Path,
        *,
        folder: Path,
        environ: Mapping[str, str],
        seconds: float,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self._program = program
        self._folder = folder
        self._environ = environ
        self._seconds = seconds
        self._watch = watch
        self._said: dict[tuple[str, str], str] = {}

    def add(self, record: Record) -> None:
        """Have it set."""
        ended = self._run("add", record, {}, self._watch)
        self._said[record.name, record.value] = _variable(ended.out)

    def remove(self, record: Record) -> None:
        """Have it removed; what the program said when it set it is in ``CERTBOT_AUTH_OUTPUT``."""
        said = self._said.get((record.name, record.value), "")
        # Not watched: who stops in the middle of an attempt still takes away what it has set.
        self._run("remove", record, {"CERTBOT_AUTH_OUTPUT": said}, lambda: None)
        self._said.pop((record.name, record.value), None)

    def _run(
        self, order: str, record: Record, further: Mapping[str, str], watch: Callable[[], None]
    ) -> Ended:
        program = self._checked()
        arguments = [str(program), order, record.name, record.value]
        environment = {**self._clean(), **_certbot(record), **further}
        try:
            ended = run_guest(
                arguments,
                environment=environment,
                folder=self._folder,
                seconds=self._seconds,
                watch=watch,
            )
        except OSError as problem:
            raise self._failed(order, record, f"it cannot be started: {problem.strerror}") from None
        if ended.status is None:
            raise self._late(order, record)
        if ended.status:
            how = f"status {ended.status}" if ended.status > 0 else f"signal {-ended.status}"
            text = _last(ended.err) or _last(ended.out)
            raise self._failed(order, record, f"{how}, and it says: {text}" if text else how)
        return ended

    def _clean(self) -> dict[str, str]:
        environ = self._environ
        kept = {name for name in environ if name in _HANDED_ON or name.startswith(_PREFIXES)}
        return {"PATH": os.defpath, **{name: environ[name] for name in kept}}

    def _checked(self) -> Path:
        """The program, where nobody else decides what it does."""
        try:
            program = self._program.resolve(strict=True)
            facts = program.stat()
            check_not_writable_by_others(program, code="acme-hook-insecure")
        except OSError as problem:
            reason = problem.strerror or "?"
            raise self._unusable(
                "is not there" if isinstance(problem, FileNotFoundError) else reason
            ) from None
        if not stat.S_ISREG(facts.st_mode):
            raise self._unusable("is no regular file")
        if not os.access(program, os.X_OK):
            raise self._unusable("is not executable")
        return program

    def _unusable(self, fact: str) -> AcmeError:
        shown = short(self._program)
        return error(
            "acme-hook-missing",
            f"the program {shown} of certificate.acme.dns.hook {fact}",
            f"put it there and make it executable: chmod 755 {shown}",
            fault=Fault.CONFIGURATION,
        )

    def _failed(self, order: str, record: Record, how: str) -> AcmeError:
        return error(
            "acme-hook-failed",
            f"{short(self._program)} failed to {order} the TXT record {short(record.name)} ({how})",
            f"run it by hand: {short(self._program)} {order} {short(record.name)} test; echo $?",
            fault=Fault.CONFIGURATION,
        )

    def _late(self, order: str, record: Record) -> AcmeError:
        return error(
            "acme-hook-late",
            f"{short(self._program)} did not {order} the TXT record {short(record.name)} within "
            f"{self._seconds:g} s, and was killed",
            "see what it waits for; waiting for other name servers is not its business, Sealgate does that",
            fault=Fault.CONFIGURATION,
        )


def _certbot(record: Record) -> dict[str, str]:
    """The variables that certbot's manual plugin sets."""
    return {
        "CERTBOT_DOMAIN": record.domain,
        "CERTBOT_VALIDATION": record.value,
        "CERTBOT_TOKEN": record.token,
        "CERTBOT_REMAINING_CHALLENGES": str(record.remaining),
        "CERTBOT_ALL_DOMAINS": ",".join(record.domains),
    }


def _variable(text: bytes) -> str:
    """As a variable can hold it."""
    return text[:_OUTPUT].replace(b"\0", b"").decode("utf-8", "surrogateescape").strip()


def _last(text: bytes) -> str:
    """The end of what a program wrote: there it says why it gave up."""
    words = " ".join(text.decode("utf-8", "replace").split())
    return short(words if len(words) <= _SHOWN else f"…{words[-_SHOWN:]}")
