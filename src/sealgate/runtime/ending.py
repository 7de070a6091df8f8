"""Orders that end something at an ACME authority: a certificate, an account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from sealgate._system.clock import Clock, system_clock
from sealgate.acme.ending import deactivate, find, revoke
from sealgate.pki.live import LiveDirectory
from sealgate.pki.state import State
from sealgate.pki.store import REVOKED, Store
from sealgate.policy.load import Loaded
from sealgate.runtime.solvers import authorities_of

__all__ = ["end"]


def end(
    state: State, loaded: Loaded, order: Mapping[str, Any], *, clock: Clock = system_clock
) -> dict[str, Any]:
    """Revoke a certificate, or give up the accounts: ``cert-revoke`` and ``acme-deactivate``.

    Args:
        state: its lock is taken.
        loaded: the policy.
        order: what; ``which``, ``reason`` and ``by`` of a certificate.
        clock: the present.

    Returns:
        of a certificate its `fingerprint`, `authority`, `reason`, `live`, the fingerprint of what is live
        (which may be the same), and `beside`, of what else is; of accounts, `authorities`.

    Raises:
        SealgateError: nothing was ended; or, of the store, it could not be noted.
    """
    asked, site = authorities_of(loaded), loaded.policy.site.names[0]
    if order["order"] == "acme-deactivate":
        return {"authorities": list(deactivate(state, asked, clock=clock))}
    row = find(state, site, str(order.get("which", "")))
    by: Literal["account", "key"] = "key" if order.get("by") == "key" else "account"
    reason = str(order.get("reason", "unspecified"))
    ended = revoke(state, asked, row, site=site, reason=reason, by=by, clock=clock)
    with Store.open(state.store) as store:
        happened = {"authority": ended.authority, "reason": ended.reason, "site": site}
        store.add_event(REVOKED, ended.fingerprint, now=clock(), **happened)
    shown = LiveDirectory(state.live_server(site)).fingerprints()
    live = _live(shown, ended.fingerprint)
    return {
        "fingerprint": ended.fingerprint,
        "authority": ended.authority,
        "reason": ended.reason,
        "live": live,
        "beside": [one for one in shown if one not in {live, ended.fingerprint}],
    }


def _live(fingerprints: tuple[str, ...], ended: str) -> str:
    """The ended one where it still is."""
    return ended if ended in fingerprints else next(iter(fingerprints), "")
