"""The contract of a trust store, and the steps one is changed by.

A store says *where* it is on this machine, whether a root is in it, and by which steps one comes in or goes
out. Steps are data: the same ones are shown (``--print``), turned into a ``sudo`` line, or taken.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from sealgate.pki.inspect import fingerprint, pem_of

__all__ = ["Command", "Copy", "Delete", "Machine", "Place", "Root", "Step", "TrustStore", "shell_line"]


@dataclass(frozen=True, slots=True)
class Root:
    """The private root: where its PEM file is, and what tells it from others."""

    certificate: x509.Certificate
    path: Path
    """A PEM file that holds it; need not exist for a root that is only to be removed."""

    @property
    def pem(self) -> bytes:
        """As PEM."""
        return pem_of(self.certificate)

    @property
    def name(self) -> str:
        """What lists of certificates show: the CommonName, which is unique for each root."""
        return str(self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)

    @property
    def file_name(self) -> str:
        """A file name for it, without an ending."""
        return f"sealgate-root-{fingerprint(self.certificate)[:16]}"

    @property
    def sha1(self) -> str:
        """What macOS names certificates by; no security rests on it."""
        return self.certificate.fingerprint(hashes.SHA1()).hex().upper()  # noqa: S303 - a name


@dataclass(frozen=True, slots=True)
class Machine:
    """What stores are looked for on: this machine, or a test's."""

    home: Path
    """The user's home directory."""
    system: Path = Path("/")
    """The root of the file system."""
    has: Callable[[str], bool] = field(default=lambda _program: False)
    """Is a program there?"""


@dataclass(frozen=True, slots=True)
class Place:
    """One store on this machine."""

    path: Path
    needs_root: bool


@dataclass(frozen=True, slots=True)
class Copy:
    """Write a public file (0644)."""

    source: Path
    target: Path


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a file, if it is there."""

    target: Path


@dataclass(frozen=True, slots=True)
class Command:
    """Run a program."""

    arguments: tuple[str, ...]


Step = Copy | Delete | Command


@dataclass(frozen=True, slots=True)
class TrustStore:
    """One kind of store; each module of this folder has one, named ``STORE``."""

    id: str
    title: str
    places: Callable[[Machine], tuple[Place, ...]]
    """Where it is; empty where this machine has none."""
    question: Callable[[Place, Root], Copy | Command]
    """Is the root in it? A :class:`Copy`: a file of its bytes; a :class:`Command`: it ends with 0."""
    additions: Callable[[Place, Root], tuple[Step, ...]]
    removals: Callable[[Place, Root], tuple[Step, ...]]
    program: str
    """What must be installed to change it."""
    package: str = ""
    """Where that comes from, for people."""
    family: Literal["system", "user"] = "system"


def shell_line(steps: tuple[Step, ...], *, sudo: bool) -> str:
    """The steps as one line for a shell."""
    prefix = ["sudo"] if sudo else []
    return " && ".join(shlex.join([*prefix, *_words(step)]) for step in steps)


def _words(step: Step) -> list[str]:
    match step:
        case Copy(source=source, target=target):
            return ["install", "-m", "644", str(source), str(target)]
        case Delete(target=target):
            return ["rm", "-f", str(target)]
        case Command(arguments=arguments):
            return list(arguments)
