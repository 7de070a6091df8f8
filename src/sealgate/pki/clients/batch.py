"""A table of clients, issued and handed out: in portions, and again from where it broke off.

Theory: of each portion the keys are made and written into one journal in the output directory, synced;
then all its certificates are issued, which puts them into the store; then key and certificate of each are
written as files. Whoever is killed leaves pairs that are whole and in the store, and a journal. The next run
takes the keys in it whose certificates are in the store, writes their files, drops the others, and goes on
with the rows that have no certificate yet. Only when everything is written and synced the journal goes.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sealgate._system.files import FileLock, private_directory, translated, write_atomic
from sealgate.errors import UsageError
from sealgate.pki.clients.handing import Files, check_root, fit
from sealgate.pki.clients.mill import make_keys, write_pairs
from sealgate.pki.clients.naming import Asked
from sealgate.pki.clients.orders import application
from sealgate.policy.quoting import shown

__all__ = ["JOURNAL", "Done", "Issuer", "issue_table"]

JOURNAL = ".sealgate-clients.jsonl"
_PORTION = 400
_WEIGHT_OF_ROW = 1800
_HEAVIEST = 900_000  # bytes; the control socket takes a line of 1 MiB
_WORTH_PROCESSES = 2000
_AHEAD = 3

Issuer = Callable[[Sequence[dict[str, Any]]], dict[str, Any]]
"""Applications to the answer of the order ``client-issue`` with ``skipping``."""
Known = Callable[[str], str]
"""The newest certificate of a name and its issuer, PEM; empty: there is none."""
_Keys = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Done:
    """How a table went.

    Attributes:
        issued: certificates of this run.
        resumed: pairs whose files were completed from a run before.
        there: names that have a certificate and files already.
        elsewhere: names that have a certificate, and no files here.
    """

    issued: int
    resumed: int
    there: int
    elsewhere: tuple[str, ...]


def issue_table(
    asked: Sequence[Asked],
    folder: Path,
    issuer: Issuer,
    known: Known,
    *,
    told: Callable[[int], None] = lambda _: None,
) -> Done:
    """Issue a table and write its files.

    Args:
        asked: its rows, each checked.
        folder: where the files go; made where it is not there.
        issuer: who issues.
        known: who has a certificate already.
        told: called with the number of rows that are done since the last call.

    Raises:
        StateError: the files cannot be written; running it again goes on.
        UsageError: ``client-file-exists``: files are in the way that are not of these clients.
        SealgateError: what ``issuer`` raises.
    """
    private_directory(folder)
    lock = FileLock(folder / f"{JOURNAL}.lock")
    with lock, translated(folder):
        journal = _Journal(folder / JOURNAL)
        resumed = _completed(folder, journal, known)
        _check_free(asked, folder, known)
        run = _Run(folder, journal, issuer, told)
        with _processes(len(asked)) as executor:
            issued, left_out = run.all(asked, executor)
        os.sync()  # all the files, before the journal that could bring them back goes
        journal.remove()
        lock.path.unlink(missing_ok=True)
    there = [name for name in left_out if Files(folder, name).chain.exists()]
    elsewhere = tuple(name for name in left_out if not Files(folder, name).chain.exists())
    return Done(issued, resumed, len(there), elsewhere)


@contextlib.contextmanager
def _processes(rows: int) -> Iterator[Executor | None]:
    """One process beside this one, where that is worth its start."""
    if rows < _WORTH_PROCESSES:
        yield None
        return
    # Not forked: a child must not have this one's store and locks open.
    executor = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


class _Journal:
    """Names and private keys of what is under way, 0600; one line each."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def entries(self) -> Iterator[tuple[str, bytes]]:
        """Name and key; a line that was cut off by a crash is passed over: nothing was issued for it."""
        if not self._path.exists():
            return
        handle = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(handle, encoding="ascii", errors="replace") as file:  # noqa: PTH123 - a descriptor
            for line in file:
                with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                    entry = json.loads(line)
                    yield str(entry["name"]), entry["key"].encode("ascii")

    def add(self, entries: Sequence[tuple[str, bytes]]) -> None:
        """On disk when it returns."""
        text = "".join(json.dumps({"name": name, "key": key.decode()}) + "\n" for name, key in entries)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(self._path, flags, 0o600)
        with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor
            os.fchmod(handle, 0o600)
            file.write(b"\n" + text.encode("ascii"))  # whatever a crash cut off ends here
            file.flush()
            os.fsync(handle)

    def remove(self) -> None:
        """All of it is in files."""
        self._path.unlink(missing_ok=True)


def _completed(folder: Path, journal: _Journal, known: Known) -> int:
    """Write the files of those that were issued, and not handed out, when a run before was killed."""
    pairs = []
    for name, key in journal.entries():
        pem = known(name)
        if pem and fit(key, pem) and not _is_whole(Files(folder, name), key):
            pairs.append((name, key, pem.encode()))
    return write_pairs(str(folder), pairs)


def _portions(asked: Sequence[Asked]) -> list[list[Asked]]:
    """Orders and answers are lines of bounded length: rows with many names make smaller portions."""
    portions: list[list[Asked]] = [[]]
    weight = 0
    for one in asked:
        texts = (one.name, one.common_name, *one.dns, *one.uris, *one.emails, *one.groups)
        own = _WEIGHT_OF_ROW + 8 * sum(map(len, texts))  # in the answer twice, in PEM, escaped
        if portions[-1] and (len(portions[-1]) == _PORTION or weight + own > _HEAVIEST):
            portions.append([])
            weight = 0
        portions[-1].append(one)
        weight += own
    return portions if portions[-1] else []


def _check_free(asked: Sequence[Asked], folder: Path, known: Known) -> None:
    """Somebody else's files are not replaced."""
    check_root(folder / "root.pem")
    there = {path.name for path in folder.iterdir()}
    for one in asked:
        names = {f"{one.name}.key", f"{one.name}.pem"}
        if names & there and not known(one.name):
            raise UsageError(
                "client-file-exists",
                f"{shown(str(folder / min(names & there)))} is there already",
                "name another directory with --out, or move it away: nothing was issued",
            )


def _is_whole(files: Files, key: bytes) -> bool:
    try:
        return files.key.read_bytes() == key and fit(key, files.chain.read_text())
    except (OSError, UnicodeDecodeError):
        return False


class _Run:
    """One run over a table."""

    def __init__(self, folder: Path, journal: _Journal, issuer: Issuer, told: Callable[[int], None]) -> None:
        self._folder, self._journal, self._issuer, self._told = folder, journal, issuer, told
        self._writing: deque[Future[int]] = deque()
        self._left_out: list[str] = []
        self._issued = 0
        self._root = b""

    def all(self, asked: Sequence[Asked], executor: Executor | None) -> tuple[int, list[str]]:
        """Everything; how many were issued, and who had a certificate already."""
        portions = _portions(asked)
        keys: deque[Future[_Keys]] = deque()
        waiting = deque(portions)
        for portion in portions:
            while executor is not None and waiting and len(keys) < _AHEAD:
                keys.append(executor.submit(make_keys, len(waiting.popleft())))
            made = keys.popleft().result() if executor is not None else make_keys(len(portion))
            self._portion(portion, made, executor)
        while self._writing:
            self._told(self._writing.popleft().result())
        return self._issued, self._left_out

    def _portion(self, portion: Sequence[Asked], keys: _Keys, executor: Executor | None) -> None:
        named = zip(portion, keys, strict=True)
        self._journal.add([(asked.name, key) for asked, (key, _) in named])
        answer = self._issuer([application(one, keys[at][1]) for at, one in enumerate(portion)])
        pairs = []
        for one, (key, _), issued in zip(portion, keys, answer["issued"], strict=True):
            if issued is None:
                self._left_out.append(one.name)
            else:
                pairs.append((one.name, key, (issued["pem"] + answer["issuer"]).encode()))
        self._issued += len(pairs)
        if answer["root"] and answer["root"].encode() != self._root:
            self._root = answer["root"].encode()
            write_atomic(self._folder / "root.pem", self._root, 0o644)
        self._told(len(portion) - len(pairs))
        if executor is None:
            self._told(write_pairs(str(self._folder), pairs))
            return
        self._writing.append(executor.submit(write_pairs, str(self._folder), pairs))
        while len(self._writing) > _AHEAD:
            self._told(self._writing.popleft().result())
