"""dns-01 (RFC 8555 §8.4): TXT records, set, seen at the zone's own servers, and taken away again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sealgate.acme.dns.hook import Hook
from sealgate.acme.dns.lookup import Lookup, Place
from sealgate.acme.dns.propagation import until_seen
from sealgate.acme.dns.record import Record, Records, record_of
from sealgate.acme.dns.rfc2136 import Updates
from sealgate.acme.order import Answer
from sealgate.errors import AcmeError, SealgateError
from sealgate.policy.acme import Dns

__all__ = ["DnsSolver", "dns_solver"]

_HOOK = 60.0
"""Seconds that a hook has beside those of the propagation: many wait for it themselves."""


class DnsSolver:
    """Proves names by TXT records.

    Args:
        records: sets and removes them.
        propagation: seconds until the zone's own servers must show them.
        wait: sleeps at most so long.
        say: told what a person may want to know.
        lookup: finds and asks those servers.
        now: counts seconds.
    """

    def __init__(
        self,
        records: Records,
        *,
        propagation: float,
        wait: Callable[[float], None],
        say: Callable[[str], None],
        lookup: Lookup | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._records = records
        self._propagation = propagation
        self._wait = wait
        self._say = say
        self._lookup = lookup or Lookup()
        self._now = now
        self._places: dict[str, Place] = {}

    def present(self, answers: Sequence[Answer]) -> None:
        """Set all records, then wait until they are seen.

        Raises:
            AcmeError: ``acme-dns-*``, ``acme-hook-*``: some may be set, until they are withdrawn.
        """
        wanted: dict[Place, frozenset[str]] = {}
        domains = tuple(dict.fromkeys(answer.name for answer in answers))
        for index, answer in enumerate(answers):
            self._wait(0)  # each may take its time: who stops is heard in between
            record = record_of(answer)
            place = self._places[record.name] = self._lookup.place(record.name)
            self._records.add(
                replace(record, name=place.name, remaining=len(answers) - index - 1, domains=domains)
            )
            wanted[place] = wanted.get(place, frozenset()) | {record.value}
        until_seen(
            wanted, self._lookup, seconds=self._propagation, wait=self._wait, say=self._say, now=self._now
        )

    def withdraw(self, answers: Sequence[Answer]) -> None:
        """Remove all records that can be removed; the first that cannot is told of after the last was tried.

        Raises:
            SealgateError: one could not be removed.
        """
        problems: list[SealgateError] = []
        domains = tuple(dict.fromkeys(answer.name for answer in answers))
        for index, answer in enumerate(answers):
            record = record_of(answer)
            name, remaining = self._where(record), len(answers) - index - 1
            try:
                self._records.remove(replace(record, name=name, remaining=remaining, domains=domains))
            except SealgateError as problem:
                problems.append(problem)
        if problems:
            raise problems[0]

    def _where(self, record: Record) -> str:
        """As when it was set; where that was another run, as it would be set now."""
        if record.name in self._places:
            return self._places[record.name].name
        try:
            return self._lookup.place(record.name).name
        except AcmeError:  # then there is no alias that anybody could follow
            return record.name


def dns_solver(
    table: Dns,
    *,
    base: Path,
    environ: Mapping[str, str],
    euid: int,
    wait: Callable[[float], None],
    say: Callable[[str], None],
    lookup: Lookup | None = None,
) -> DnsSolver:
    """The solver that the policy's ``[certificate.acme.dns]`` asks for.

    Args:
        table: names a server for updates or a hook, one of both (``policy/rules.py`` sees to it).
        base: directory that relative paths start from; the policy file's.
        environ: where secrets in variables are looked up, and what a hook's environment is made from.
        euid: who may own files with secrets, besides root.
        wait: sleeps at most so long.
        say: told what a person may want to know.
        lookup: as in :class:`DnsSolver`; by the table if not given.
    """
    lookup = lookup or Lookup.of(table.resolver, through=table.seen_at == "resolver")
    updates = table.rfc2136
    records: Records
    if updates is not None:
        reference = updates.key
        records = Updates(updates, lambda: reference.read(base=base, environ=environ, euid=euid))
    else:
        seconds = table.propagation + _HOOK
        records = Hook(
            base / table.hook, folder=base, environ=environ, seconds=seconds, watch=lambda: wait(0)
        )
    return DnsSolver(records, propagation=table.propagation, wait=wait, say=say, lookup=lookup)
