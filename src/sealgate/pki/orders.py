"""What ``sealgate cert`` asks for: carried out by the keeper where one runs, else by the command itself.

An order is plain data, as it travels over the control socket::

    {"order": "renew", "force": true}
    {"order": "cert-new-root"}
    {"order": "cert-request"}
    {"order": "cert-import", "chain": "/abs/chain.pem", "key": "/abs/key.pem" or ""}

A keeper looks at what it serves afterwards; nothing else differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sealgate._system.clock import Clock
from sealgate.errors import UsageError
from sealgate.pki.client_trust import ensure_client_trust
from sealgate.pki.inspect import facts
from sealgate.pki.live import LiveCertificate, LiveDirectory
from sealgate.pki.requests import import_chain, imported_files, make_request
from sealgate.pki.server import ensure_server_certificate, renew_root
from sealgate.pki.state import State
from sealgate.pki.vault import KeepRootKey
from sealgate.policy.model import Policy

__all__ = ["carry_out"]


def carry_out(
    order: Mapping[str, Any],
    *,
    state: State,
    policy: Policy,
    clock: Clock,
    base: Path,
    keep: KeepRootKey | None = None,
) -> dict[str, Any]:
    """Carry out one order.

    Args:
        order: see above.
        state: its lock is taken.
        policy: of the site.
        clock: the present.
        base: the policy file's directory.
        keep: keep a new root's key; never part of an order, for its passphrase must not travel.

    Returns:
        Plain data for ``--json``.

    Raises:
        SealgateError: what went wrong; what was live stays live.
    """
    match order.get("order"):
        case "renew":
            return _renew(state, policy, clock, base, force=bool(order.get("force", True)))
        case "cert-new-root":
            return _live(renew_root(state, policy, clock, base=base, keep=keep)) | {
                "root": str(state.root_pem)
            }
        case "cert-request":
            path = make_request(state, policy)
            return {"request": str(path), "pem": path.read_text()}
        case "cert-import":
            return _import(order, state, policy, clock, base)
        case other:
            raise UsageError(
                "order-unknown", f"there is no order {other!a}", "use one version of Sealgate everywhere"
            )


def _live(live: LiveCertificate) -> dict[str, Any]:
    first, *second = [
        {
            "fingerprint": one.fingerprint,
            "not_after": one.not_after.isoformat(),
            "names": list(one.names),
            "chain": str(one.chain_path),
        }
        for one in live.both
    ]
    return first | ({"second": second[0]} if second else {})


def _renew(state: State, policy: Policy, clock: Clock, base: Path, *, force: bool) -> dict[str, Any]:
    with state.lock():
        before = LiveDirectory(state.live_server(policy.site.names[0])).fingerprints()
        live = ensure_server_certificate(state, policy, clock, base=base, force=force)
        if policy.clients.mode != "off":  # for servers without a keeper
            ensure_client_trust(state, policy, clock, base=base)
    return _live(live) | {"renewed": live.fingerprints != before}


def _import(
    order: Mapping[str, Any], state: State, policy: Policy, clock: Clock, base: Path
) -> dict[str, Any]:
    key = Path(order["key"]) if order.get("key") else None
    with state.lock():
        pair = import_chain(state, policy, Path(order["chain"]), key, now=clock())
        wanted = imported_files(state, policy)
        files = policy.certificate.files
        named = policy.certificate.source == "files" and (base / files.chain, base / files.key) == wanted
        live = ensure_server_certificate(state, policy, clock, base=base) if named else None
    answer = facts(pair.chain[0]).as_json() | {"files": {"chain": str(wanted[0]), "key": str(wanted[1])}}
    return answer | {"live": live is not None}
