"""The private root into, and out of, this machine's trust stores.

One module for each kind of store, with one constant ``STORE``; adding a kind is adding a module.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sealgate._system.commands import find, run
from sealgate._system.files import translated, write_atomic
from sealgate.errors import SealgateError, TrustStoreError
from sealgate.pki.trust.store import Command, Copy, Delete, Machine, Place, Root, Step, TrustStore, shell_line

__all__ = ["Found", "Root", "add", "find_stores", "remove", "stores", "this_machine"]


@dataclass(frozen=True, slots=True)
class Found:
    """A store on this machine, and how it stands to the root."""

    store: TrustStore
    place: Place
    trusted: bool
    changeable: bool
    """Its program is there."""

    def adding(self, root: Root, *, sudo: bool = False) -> str:
        """What adding would do, as a line for a shell."""
        return shell_line(self.store.additions(self.place, root), sudo=sudo)

    def removing(self, root: Root, *, sudo: bool = False) -> str:
        """What removing would do, as a line for a shell."""
        return shell_line(self.store.removals(self.place, root), sudo=sudo)


def stores() -> tuple[TrustStore, ...]:
    """Every kind of store this folder knows, by id."""
    found = [
        importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)
    ]
    return tuple(
        sorted((module.STORE for module in found if hasattr(module, "STORE")), key=lambda store: store.id)
    )


def this_machine() -> Machine:
    """The real one."""
    return Machine(home=Path.home(), has=lambda program: find(program) is not None)


def find_stores(root: Root, machine: Machine) -> tuple[Found, ...]:
    """The stores of a machine, and which of them have the root. Nothing is changed."""
    return tuple(
        Found(store, place, _holds(store, place, root), machine.has(store.program))
        for store in stores()
        for place in store.places(machine)
    )


def _holds(store: TrustStore, place: Place, root: Root) -> bool:
    match store.question(place, root):
        case Copy(target=target):
            with contextlib.suppress(OSError):
                return target.read_bytes() == root.pem
            return False
        case Command(arguments=arguments):
            return run(arguments).status == 0


def add(found: Found, root: Root) -> None:
    """Put the root into a store, and see that it is in it; a store that has it is left alone.

    Raises:
        TrustStoreError: ``trust-needs-root``, ``trust-tool-missing``, ``trust-failed``.
    """
    if found.trusted:
        return
    _check(found, found.adding(root, sudo=True))
    _take(found, found.store.additions(found.place, root))
    if not _holds(found.store, found.place, root):
        raise _failed(found, "it took the root, but does not show it", found.adding(root))


def remove(found: Found, roots: Sequence[Root]) -> None:
    """Take roots out of a store; those it does not have are left alone.

    Raises:
        TrustStoreError: ``trust-needs-root``, ``trust-tool-missing``, ``trust-failed``.
    """
    for root in roots:
        if not _present(found, root):
            continue
        _check(found, found.removing(root, sudo=True))
        _take(found, found.store.removals(found.place, root))
        if _present(found, root):
            raise _failed(found, "the root is still in it", found.removing(root))


def _present(found: Found, root: Root) -> bool:
    """Is the root, or a file of ours with other content, in the store?"""
    match found.store.question(found.place, root):
        case Copy(target=target):
            return target.is_symlink() or target.exists()
        case Command():
            return _holds(found.store, found.place, root)


def _check(found: Found, line: str) -> None:
    store = found.store
    if not found.changeable:
        raise TrustStoreError(
            "trust-tool-missing",
            f"{store.program} is not installed, and {found.place.path} can only be changed with it",
            f"install {store.package or store.program} and try again",
            store=store.id,
            path=str(found.place.path),
        )
    if found.place.needs_root and os.geteuid() != 0:
        raise TrustStoreError(
            "trust-needs-root",
            f"the store {store.title} can only be changed by root",
            f"type: {line}",
            store=store.id,
            line=line,
        )


def _take(found: Found, steps: Sequence[Step]) -> None:
    done = ""
    try:
        for step in steps:
            match step:
                case Copy(source=source, target=target):
                    done = f"install {target}"
                    with translated(target):
                        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                        write_atomic(target, source.read_bytes(), 0o644)
                case Delete(target=target):
                    done = f"rm {target}"
                    with translated(target):
                        target.unlink(missing_ok=True)
                case Command(arguments=arguments):
                    done = arguments[0]
                    ended = run(arguments)
                    if ended.status:
                        last = (ended.output.strip().splitlines() or [f"status {ended.status}"])[-1]
                        raise _failed(found, last, " ".join(arguments))
    except TrustStoreError:
        raise
    except SealgateError as error:
        raise _failed(found, error.fact, done) from error


def _failed(found: Found, fact: str, what: str) -> TrustStoreError:
    return TrustStoreError(
        "trust-failed",
        f"the store {found.store.title} at {found.place.path} could not be changed: {fact!a}",
        f"put that right, then run it again or by hand ({what})",
        store=found.store.id,
        path=str(found.place.path),
    )
