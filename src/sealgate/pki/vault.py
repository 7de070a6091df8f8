"""The private authority on disk: made once, whole or not at all.

::

    <state>/authorities/current -> sets/<random>
    <state>/authorities/root    -> current/root        root.pem
    <state>/authorities/servers -> current/servers     authority.pem key.pem
    <state>/authorities/clients -> current/clients     authority.pem key.pem

A set is written into a directory of its own and becomes the authority when ``current`` is replaced by
rename(2); whoever is killed before that leaves rubbish which the next run removes, and the old set in
force. The root's key lives in memory alone while the two issuing certificates are signed, and is gone
afterwards, unless the caller names a file for it (encrypted).
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from sealgate._system.files import (
    Step,
    no_step,
    private_directory,
    swap_link,
    sync_directory,
    translated,
    write_atomic,
)
from sealgate.errors import CertificateError, StateInsecure, UsageError
from sealgate.pki.authority import Issuer, build_issuing, build_root
from sealgate.pki.constraints import outside
from sealgate.pki.inspect import pem_of
from sealgate.pki.keys import PrivateKey, generate, load_private, to_pem
from sealgate.pki.live import parse_chain, verify_pair
from sealgate.pki.state import State
from sealgate.pki.store import Store

__all__ = [
    "Authorities",
    "KeepRootKey",
    "check_covered",
    "ensure_authorities",
    "load_authorities",
    "load_certificates",
    "new_root",
]

_NAMES = ("root", "servers", "clients")
_PASSPHRASE_MIN = 8


@dataclass(frozen=True, slots=True)
class Authorities:
    """The authorities in force, with their keys."""

    root: x509.Certificate
    servers: Issuer
    clients: Issuer

    @property
    def certificates(self) -> dict[str, x509.Certificate]:
        """By name."""
        return {"root": self.root, "servers": self.servers.certificate, "clients": self.clients.certificate}


@dataclass(frozen=True, slots=True)
class KeepRootKey:
    """Where to keep the root's key, encrypted (PKCS#8), instead of destroying it."""

    path: Path
    passphrase: bytes

    def check(self) -> None:
        """Refuse early what would fail late.

        Raises:
            UsageError: ``root-key-exists``, ``passphrase-short``.
        """
        if self.path.exists() or self.path.is_symlink():
            raise UsageError(
                "root-key-exists", f"{self.path} is there already", "name a file that is not there yet"
            )
        if len(self.passphrase) < _PASSPHRASE_MIN:
            raise UsageError(
                "passphrase-short",
                f"a passphrase for the root's key needs at least {_PASSPHRASE_MIN} characters",
                "type a longer one",
            )


def _certificate_file(directory: Path, name: str) -> Path:
    return directory / name / ("root.pem" if name == "root" else "authority.pem")


def _damaged(path: Path) -> CertificateError:
    return CertificateError(
        "authority-damaged",
        f"the private authority in {path} is not whole",
        "bring back the state directory's backup, or make a new one: sealgate cert renew --new-root",
        path=str(path),
    )


def load_certificates(state: State) -> dict[str, x509.Certificate] | None:
    """The authorities' certificates by name, no keys; None where there is no authority yet.

    Raises:
        CertificateError: ``authority-damaged``.
    """
    directory = state.authorities / "current"
    if not directory.is_symlink():
        return None
    try:
        found = {
            name: parse_chain(_certificate_file(directory, name).read_bytes(), str(state.authorities))[0]
            for name in _NAMES
        }
        for name in ("servers", "clients"):
            found[name].verify_directly_issued_by(found["root"])
    except Exception as error:
        raise _damaged(state.authorities) from error
    return found


def load_authorities(state: State) -> Authorities | None:
    """The authorities with their keys; None where there is none yet.

    Raises:
        CertificateError: ``authority-damaged``.
        StateInsecure: a key file that others may read.
    """
    certificates = load_certificates(state)
    if certificates is None:
        return None

    def issuer(name: str) -> Issuer:
        key = load_private(state.authorities / "current" / name / "key.pem")
        verify_pair(pem_of(certificates[name]), to_pem(key), str(state.authorities))
        return Issuer(certificates[name], key)

    try:
        return Authorities(certificates["root"], issuer("servers"), issuer("clients"))
    except StateInsecure:
        raise
    except CertificateError as error:
        raise _damaged(state.authorities) from error


def ensure_authorities(
    state: State,
    store: Store,
    names: Sequence[str],
    *,
    now: datetime,
    keep: KeepRootKey | None = None,
    step: Step = no_step,
) -> Authorities:
    """The authorities in force; made where there are none yet.

    Args:
        state: its lock is taken.
        store: gets the authorities' certificates.
        names: the site's names: a new servers authority permits them.
        now: the present.
        keep: keep the root's key, where one is made.
        step: see ``files.Step``.

    Raises:
        CertificateError: ``authority-damaged``.
        StateError: ``state-busy`` and whatever keeps the state from being written.
    """
    with state.lock():
        found = load_authorities(state)
        if found is None:
            return _make(state, store, names, now=now, clients_key=None, keep=keep, step=step)
        # A process killed after the swap has not told the store.
        store.add_authorities(found.certificates, now=now)
        return found


def check_covered(authorities: Authorities, names: Sequence[str]) -> None:
    """May the servers authority certify all these names?

    Raises:
        CertificateError: ``authority-name-not-covered``.
    """
    missing = outside(names, authorities.servers.certificate)
    if missing:
        raise CertificateError(
            "authority-name-not-covered",
            f"the private authority may not certify {', '.join(missing)}",
            "make a new root with: sealgate cert renew --new-root, and let clients trust it: sealgate trust",
            names=missing,
        )


def new_root(
    state: State,
    store: Store,
    names: Sequence[str],
    *,
    now: datetime,
    keep: KeepRootKey | None = None,
    step: Step = no_step,
) -> Authorities:
    """Replace root and servers authority by new ones that permit ``names``; clients must trust the new root.

    The clients authority keeps its key and name and is certified anew, so client certificates stay good.
    """
    with state.lock():
        clients_key = None
        with contextlib.suppress(CertificateError):
            old = load_authorities(state)
            clients_key = old.clients.key if old is not None else None
        return _make(state, store, names, now=now, clients_key=clients_key, keep=keep, step=step)


def _make(
    state: State,
    store: Store,
    names: Sequence[str],
    *,
    now: datetime,
    clients_key: PrivateKey | None,
    keep: KeepRootKey | None,
    step: Step,
) -> Authorities:
    if keep is not None:
        keep.check()
    root_key = generate("ecdsa-p256")
    root = Issuer(build_root(root_key, now=now), root_key)
    servers_key, clients_key = generate("ecdsa-p256"), clients_key or generate("ecdsa-p256")
    made = Authorities(
        root.certificate,
        Issuer(build_issuing(root, "servers", servers_key.public_key(), names=tuple(names)), servers_key),
        Issuer(build_issuing(root, "clients", clients_key.public_key()), clients_key),
    )
    if keep is not None:
        step("keep-root-key")
        write_atomic(keep.path, to_pem(root_key, keep.passphrase))
    with translated(state.authorities):
        _sweep(state)
        target = _write_set(state, made, step)
        step("links")
        for name in _NAMES:
            link = state.authorities / name
            if not link.is_symlink():
                swap_link(link, f"current/{name}")
        step("swap")
        swap_link(state.authorities / "current", f"sets/{target.name}", step=step)
        step("store")
        store.add_authorities(made.certificates, now=now)
        step("sweep")
        _sweep(state)
    return made


def _write_set(state: State, made: Authorities, step: Step) -> Path:
    sets = private_directory(state.authorities / "sets")
    directory = sets / secrets.token_hex(8)
    directory.mkdir(mode=0o700)
    keys = {"servers": made.servers.key, "clients": made.clients.key}
    for name, certificate in made.certificates.items():
        (directory / name).mkdir(mode=0o700)
        step(f"{name}-certificate")
        write_atomic(_certificate_file(directory, name), pem_of(certificate), step=step)
        if name in keys:
            step(f"{name}-key")
            write_atomic(directory / name / "key.pem", to_pem(keys[name]), step=step)
    sync_directory(directory)
    sync_directory(sets)
    return directory


def _sweep(state: State) -> None:
    """Remove every set but the one in force: what a killed process left, and keys that were replaced."""
    sets, current = state.authorities / "sets", state.authorities / "current"
    if not sets.is_dir():
        return
    in_force = current.readlink().name if current.is_symlink() else ""
    for path in sets.iterdir():
        if path.name != in_force:
            shutil.rmtree(path)
