"""Our own list of the revoked for others: ``live/clients/clients.crl``, which follows ``crl.pem`` beside it.

Engines serve that file as it is (``engines/published.py``), so it is replaced whole, and is never another
list than the one in force: after ``crl.pem``, never before. Apart from its making (``listing.write_list``):
what goes wrong here must keep nobody's revocation from counting.
"""

from __future__ import annotations

from pathlib import Path

from sealgate._system.files import translated, write_atomic
from sealgate.pki.crl import der_of, is_signed_by
from sealgate.pki.state import State
from sealgate.pki.vault import load_certificates

__all__ = ["publish_list"]


def publish_list(state: State) -> None:
    """Have the published file be the list in force, in DER; there is none where that is not whole.

    Who is killed before it is done, or finds the file damaged, has it put right by the next call.

    Raises:
        StateError: it cannot be written, and is what it was.
    """
    path = state.published_list
    with state.lock():
        der = _in_force(state)
        if not der:
            with translated(path):
                path.unlink(missing_ok=True)
        elif not _is(path, der):
            write_atomic(path, der)


def _in_force(state: State) -> bytes:
    """Empty where there is none, or not by this authority."""
    certificates = load_certificates(state)
    try:
        der = der_of((state.live_clients / "crl.pem").read_bytes())
    except (OSError, ValueError):  # none yet; or damaged, and made anew when it is due
        return b""
    return der if certificates and is_signed_by(der, certificates["clients"]) else b""


def _is(path: Path, content: bytes) -> bool:
    try:
        return not path.is_symlink() and path.read_bytes() == content
    except OSError:
        return False
