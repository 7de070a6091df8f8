"""Fedora, RHEL and kin: p11-kit's anchors, extracted for OpenSSL, GnuTLS, Java and NSS (Firefox too)."""

from __future__ import annotations

from pathlib import Path

from sealgate.pki.trust.store import Command, Copy, Delete, Machine, Place, Root, Step, TrustStore

__all__ = ["STORE"]

_ANCHORS = "etc/pki/ca-trust/source/anchors"


def _places(machine: Machine) -> tuple[Place, ...]:
    path = machine.system / _ANCHORS
    return (Place(path, needs_root=True),) if path.is_dir() and machine.has("update-ca-trust") else ()


def _file(place: Place, root: Root) -> Path:
    return place.path / f"{root.file_name}.pem"


def _question(place: Place, root: Root) -> Copy:
    return Copy(root.path, _file(place, root))


def _additions(place: Place, root: Root) -> tuple[Step, ...]:
    return (Copy(root.path, _file(place, root)), Command(("update-ca-trust", "extract")))


def _removals(place: Place, root: Root) -> tuple[Step, ...]:
    return (Delete(_file(place, root)), Command(("update-ca-trust", "extract")))


STORE = TrustStore(
    id="fedora",
    title="system (Fedora, RHEL)",
    places=_places,
    question=_question,
    additions=_additions,
    removals=_removals,
    program="update-ca-trust",
    package="ca-certificates",
)
