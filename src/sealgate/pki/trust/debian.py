"""Debian, Ubuntu and kin: ``ca-certificates``. curl, OpenSSL, Python, Go and git read it; browsers do not."""

from __future__ import annotations

from pathlib import Path

from sealgate.pki.trust.store import Command, Copy, Delete, Machine, Place, Root, Step, TrustStore

__all__ = ["STORE"]

_ANCHORS = "usr/local/share/ca-certificates"

# Once its file is gone, a plain run leaves the links in /etc/ssl/certs dangling, and --fresh tells the hooks
# (Java's keystore) nothing. An entry with "!" makes it remove the links and tell the hooks; the entry stands
# in a copy of the configuration for this one run.
_FORGET = (
    'conf=$(mktemp) && { cat /etc/ca-certificates.conf; echo "!$1"; } >"$conf"'
    ' && update-ca-certificates --certsconf "$conf"; status=$?; rm -f "$conf"; exit "$status"'
)


def _places(machine: Machine) -> tuple[Place, ...]:
    path = machine.system / _ANCHORS
    # Without its program the directory means nothing.
    return (Place(path, needs_root=True),) if machine.has("update-ca-certificates") else ()


def _file(place: Place, root: Root) -> Path:
    # Only files that end in .crt are looked at.
    return place.path / f"{root.file_name}.crt"


def _question(place: Place, root: Root) -> Copy:
    return Copy(root.path, _file(place, root))


def _additions(place: Place, root: Root) -> tuple[Step, ...]:
    return (Copy(root.path, _file(place, root)), Command(("update-ca-certificates",)))


def _removals(place: Place, root: Root) -> tuple[Step, ...]:
    file = _file(place, root)
    return (Delete(file), Command(("sh", "-c", _FORGET, "sh", file.name)))


STORE = TrustStore(
    id="debian",
    title="system (Debian, Ubuntu)",
    places=_places,
    question=_question,
    additions=_additions,
    removals=_removals,
    program="update-ca-certificates",
    package="ca-certificates",
)
