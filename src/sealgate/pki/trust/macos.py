"""macOS: the System keychain. Safari, Chrome and curl read it; Firefox takes it over by default.

``add-trusted-cert -d`` writes the administrators' trust settings; a certificate without them is only listed.
Firefox profiles of a Mac are the NSS store's affair.
"""

from __future__ import annotations

from sealgate.pki.trust.store import Command, Machine, Place, Root, Step, TrustStore

__all__ = ["STORE"]

_KEYCHAIN = "Library/Keychains/System.keychain"


def _places(machine: Machine) -> tuple[Place, ...]:
    path = machine.system / _KEYCHAIN
    return (Place(path, needs_root=True),) if path.exists() and machine.has("security") else ()


def _question(place: Place, root: Root) -> Command:
    return Command(("security", "find-certificate", "-c", root.name, str(place.path)))


def _additions(place: Place, root: Root) -> tuple[Step, ...]:
    keychain = str(place.path)
    command = ("security", "add-trusted-cert", "-d", "-r", "trustRoot", "-k", keychain, str(root.path))
    return (Command(command),)


def _removals(place: Place, root: Root) -> tuple[Step, ...]:
    # -t takes the trust settings along with the certificate.
    return (Command(("security", "delete-certificate", "-t", "-Z", root.sha1, str(place.path))),)


STORE = TrustStore(
    id="macos",
    title="System keychain (macOS)",
    places=_places,
    question=_question,
    additions=_additions,
    removals=_removals,
    program="security",
)
