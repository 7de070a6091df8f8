"""NSS databases of this user: Chrome and Chromium on Linux (``~/.pki/nssdb``), every Firefox profile.

Only databases that are there already are looked at; making one would leave more than a certificate behind.
"""

from __future__ import annotations

from sealgate.pki.trust.store import Command, Machine, Place, Root, Step, TrustStore

__all__ = ["STORE"]

_PATTERNS = (
    ".pki/nssdb/cert9.db",
    "snap/chromium/current/.pki/nssdb/cert9.db",
    ".mozilla/firefox/*/cert9.db",
    ".config/mozilla/firefox/*/cert9.db",
    "snap/firefox/common/.mozilla/firefox/*/cert9.db",
    ".var/app/org.mozilla.firefox/.mozilla/firefox/*/cert9.db",
    "Library/Application Support/Firefox/Profiles/*/cert9.db",
)


def _places(machine: Machine) -> tuple[Place, ...]:
    found = [file.parent for pattern in _PATTERNS for file in sorted(machine.home.glob(pattern))]
    return tuple(Place(path, needs_root=False) for path in found)


def _database(place: Place) -> tuple[str, str]:
    return ("-d", f"sql:{place.path}")


def _question(place: Place, root: Root) -> Command:
    return Command(("certutil", *_database(place), "-L", "-n", root.name))


def _additions(place: Place, root: Root) -> tuple[Step, ...]:
    # C,,: an authority for servers, and for nothing else.
    return (
        Command(("certutil", *_database(place), "-A", "-t", "C,,", "-n", root.name, "-i", str(root.path))),
    )


def _removals(place: Place, root: Root) -> tuple[Step, ...]:
    return (Command(("certutil", *_database(place), "-D", "-n", root.name)),)


STORE = TrustStore(
    id="nss",
    title="browsers (NSS)",
    places=_places,
    question=_question,
    additions=_additions,
    removals=_removals,
    program="certutil",
    package="libnss3-tools (Debian, Ubuntu), nss-tools (Fedora), nss (Homebrew)",
    family="user",
)
