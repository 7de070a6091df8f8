"""Certificates of other people's authorities that are kept out here, by their fingerprints.

A list is its authority's to write; what it does not say yet, or never will, is said here. Nobody who has no
guard of ours before the app is kept out by it, so it is refused there. One of the private authority is kept
out, too, where the store does not know it, as after a restore: it cannot be revoked then.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sealgate.errors import CertificateError, UsageError
from sealgate.pki.clients.register import Blocked, Register
from sealgate.pki.inspect import fingerprint
from sealgate.pki.live import parse_chain
from sealgate.pki.store import Store
from sealgate.policy.quoting import shown

if TYPE_CHECKING:
    from sealgate._system.clock import Clock
    from sealgate.pki.state import State
    from sealgate.policy.model import Policy

__all__ = ["Blocked", "block", "blocked", "canonical_fingerprint", "unblock"]

_LONGEST_NOTE = 200
_HEX = re.compile(r"[0-9a-f]{64}")


def canonical_fingerprint(text: str) -> str:
    """SHA-256 as 64 lower-case hex digits, from any usual way to write it.

    Raises:
        UsageError: ``client-fingerprint``.
    """
    plain = text.strip().lower().removeprefix("sha256 fingerprint=").removeprefix("sha256:").replace(":", "")
    if not _HEX.fullmatch(plain):
        raise UsageError(
            "client-fingerprint",
            f"{shown(text[:80])} is no SHA-256 fingerprint",
            "give all 64 hex digits: openssl x509 -noout -fingerprint -sha256 -in FILE",
        )
    return plain


def block(state: State, policy: Policy, text: str, note: str, clock: Clock) -> Blocked:
    """Keep a certificate out from now on; in the store alone. Twice changes nothing but the note.

    Raises:
        UsageError: ``client-fingerprint``; ``client-own``: the private authority can revoke it;
            ``client-authority``: it is an authority's; ``client-unguarded``: nobody would keep it out.
    """
    if not policy.site.app and policy.site.upstream:
        raise UsageError(
            "client-unguarded",
            "no guard of Sealgate stands before an upstream, so nobody would keep the certificate out",
            "have its authority revoke it, and name the list in clients.authorities",
        )
    one = Blocked(canonical_fingerprint(text), clock().replace(microsecond=0), note[:_LONGEST_NOTE])
    if one.fingerprint in _authorities(state):
        raise UsageError(
            "client-authority",
            "the certificate is an authority's, whose clients would all come in as before",
            "take it out of its file in clients.authorities; the keeper sees that by itself",
        )
    with state.lock(), Store.open(state.store) as store:
        if held := Register(store).numbered(one.fingerprint):
            raise UsageError(
                "client-own",
                f"the certificate is one of {shown(held[0].name)}, by the private authority",
                f"revoke it: sealgate client revoke {held[0].serial}",
            )
        Register(store).block(one)
    return one


def _authorities(state: State) -> set[str]:
    """Fingerprints of those whose clients count."""
    try:
        found = parse_chain((state.live_clients / "trust.pem").read_bytes(), "trust.pem")
    except (OSError, CertificateError):  # none yet
        return set()
    return {fingerprint(one) for one in found}


def unblock(state: State, text: str, clock: Clock) -> Blocked:
    """Let a certificate in again, as far as its authority goes; in the store alone.

    Raises:
        UsageError: ``client-fingerprint``; ``client-not-blocked``.
    """
    mark = canonical_fingerprint(text)
    with state.lock(), Store.open(state.store) as store:
        found = Register(store).unblock(mark, clock())
        if found is None:
            raise UsageError(
                "client-not-blocked",
                f"no certificate with the fingerprint {mark} is blocked",
                "see which are with: sealgate client list --blocked",
            )
    return found


def blocked(state: State) -> list[Blocked]:
    """All that are kept out, the latest first."""
    if not state.store.exists():
        return []
    with Store.open(state.store, read_only=True) as store:
        return Register(store).blocked()
