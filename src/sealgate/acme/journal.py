"""What lies about if we are killed here: one order's address, its key, and the answers that are shown.

::

    <state>/acme/<site>/<authority id>/key.pem      the key that the certificate is for, 0600
    <state>/acme/<site>/<authority id>/order.json   what was asked, where the order is, what is shown

A second certificate of the site (``certificate.second_key_type``) has one of its own beside it, in
``<authority id>+second``: what became of one says nothing about the other.

Written before the step it speaks of, so the next run always knows more than was done, never less. The pair is
gone once its certificate is in use (:meth:`Journal.close`).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from sealgate._system.files import Step, no_step, private_directory, translated, write_atomic
from sealgate.acme.order import Answer
from sealgate.errors import SealgateError
from sealgate.pki.keys import PrivateKey, load_private, to_pem
from sealgate.pki.state import State, site_directory
from sealgate.policy.acme import Challenge

__all__ = ["Entry", "Journal", "forget", "journals"]


_SECOND = "+second"  # no authority's id has a plus sign


@dataclass(frozen=True, slots=True)
class Entry:
    """What is under way.

    Attributes:
        wish: what was asked for and of whom; another one is another order.
        began: ISO 8601.
        order: its address; empty: asked for, and killed before the answer was noted.
        answers: shown, or about to be.
    """

    wish: dict[str, Any]
    began: str
    order: str = ""
    answers: tuple[Answer, ...] = ()


class Journal:
    """The journal of one site with one authority; its writer holds the state's lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._order, self._key = path / "order.json", path / "key.pem"

    @classmethod
    def of(cls, state: State, site: str, authority: str, index: int = 0) -> Journal:
        """Where it is: of a site's first name, an authority's id, and which of the site's certificates."""
        return cls(state.path / "acme" / site_directory(site) / (authority + (_SECOND if index else "")))

    @property
    def index(self) -> int:
        """Which of the site's certificates it is about."""
        return int(self.path.name.endswith(_SECOND))

    def begin(self, entry: Entry, key: PrivateKey, *, step: Step = no_step) -> None:
        """Note an order before it is asked for.

        Raises:
            StateError: it cannot be written.
        """
        for part in (self.path.parent.parent, self.path.parent, self.path):
            private_directory(part)
        step("journal-key")
        write_atomic(self._key, to_pem(key))
        self.note(entry, step=step)

    def note(self, entry: Entry, *, step: Step = no_step) -> None:
        """Note how far it has come."""
        step("journal-order")
        write_atomic(self._order, json.dumps(asdict(entry), indent=1).encode())

    def read(self) -> tuple[Entry, PrivateKey] | None:
        """What is under way; None: nothing that could be gone on with."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError, SealgateError):
            return _entry(json.loads(self._order.read_bytes())), load_private(self._key)
        return None

    def answers(self) -> tuple[Answer, ...]:
        """What may still be shown, even where nothing else can be read."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
            return _answers(json.loads(self._order.read_bytes()))
        return ()

    def close(self, *, hidden: bool = False, step: Step = no_step) -> None:
        """Nothing is under way any more; the key goes first. Idempotent.

        What is still shown stays noted, for the next run to hide, unless it is `hidden` now.
        """
        keeps = not hidden and bool(self.answers())
        with translated(self.path):
            for path in (self._key,) if keeps else (self._key, self._order):
                step("journal-close")
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.path.rmdir()


_KINDS: tuple[Challenge, ...] = get_args(Challenge)


def _entry(table: dict[str, Any]) -> Entry:
    began = datetime.fromisoformat(table["began"])
    if began.tzinfo is None:
        raise ValueError("a time of no zone")
    return Entry(dict(table["wish"]), began.isoformat(), _text(table["order"]), _answers(table))


def _answers(table: dict[str, Any]) -> tuple[Answer, ...]:
    return tuple(
        Answer(
            _text(one["name"]),
            _KINDS[_KINDS.index(one["kind"])],
            _text(one["token"]),
            _text(one["key_authorization"]),
        )
        for one in table["answers"]
    )


def _text(value: object) -> str:
    """As we wrote it: what has control characters is not ours, and would reach a terminal."""
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("no text of ours")
    return value


def journals(state: State, site: str) -> Iterator[Journal]:
    """The journals of a site, of every authority."""
    return _journals(state.path / "acme" / site_directory(site))


def _journals(folder: Path) -> Iterator[Journal]:
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.is_symlink():
                yield Journal(path)


def forget(state: State, site: str = "") -> Iterator[Journal]:
    """Remove what is under way for every other site: nobody goes on with it.

    A state directory has one site, and its name may have changed, or where its certificate is from.

    Returns:
        those of whose answers it is not known whether they are still shown.

    Raises:
        StateError: one cannot be removed.
    """
    own = site_directory(site) if site else ""
    with contextlib.suppress(FileNotFoundError):
        for folder in sorted((state.path / "acme").iterdir()):
            if folder.name == own or folder.is_symlink():
                continue
            for journal in _journals(folder):
                journal.close()
                if journal.answers():
                    yield journal
