"""What ``sealgate client`` asks for: carried out by the keeper where one runs, else by the command itself.

An order is plain data, as it travels over the control socket; keys in it are public ones::

    {"order": "client-issue", "skipping": false,
     "applications": [{"asked": {...}, "spki": base64, "own_key": true}]}
    {"order": "client-renew", "which": "alice", "spki": base64, "own_key": true}
    {"order": "client-revoke", "which": "alice", "reason": "key-compromise"}
    {"order": "client-release", "which": "alice"}
    {"order": "client-block", "which": "4f0c...", "note": "stolen"}
    {"order": "client-unblock", "which": "4f0c..."}
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from sealgate._system.clock import Clock
from sealgate.errors import UsageError
from sealgate.pki.clients.blocks import block, unblock
from sealgate.pki.clients.naming import Asked
from sealgate.pki.clients.office import Application, Issued, issue, release, renew, revoke
from sealgate.pki.clients.register import Blocked, Held
from sealgate.pki.state import State
from sealgate.policy.model import Policy

__all__ = ["ORDERS", "application", "carry_out"]

ORDERS = frozenset(
    {
        "client-issue",
        "client-renew",
        "client-revoke",
        "client-release",
        "client-block",
        "client-unblock",
    }
)


def application(asked: Asked, spki: bytes, *, own_key: bool = True) -> dict[str, Any]:
    """An application as it travels."""
    return {"asked": asked.as_dict(), "spki": base64.b64encode(spki).decode("ascii"), "own_key": own_key}


def carry_out(order: Mapping[str, Any], *, state: State, policy: Policy, clock: Clock) -> dict[str, Any]:
    """Carry out one order, in the store; lists and servers are the caller's.

    Returns:
        plain data.

    Raises:
        SealgateError: what went wrong; nothing was changed.
    """
    which = str(order.get("which", ""))
    match order.get("order"):
        case "client-issue":
            wanted = [_application(one) for one in _list(order.get("applications"))]
            skipping = bool(order.get("skipping"))
            return _answer(issue(state, policy, wanted, clock, skipping=skipping))
        case "client-renew":
            own = bool(order.get("own_key", True))
            return _answer([renew(state, policy, which, _spki(order), clock, own_key=own)])
        case "client-revoke":
            return {"revoked": [_told(one) for one in revoke(state, which, str(order.get("reason")), clock)]}
        case "client-release":
            return {"released": [_told(one) for one in release(state, which, clock)]}
        case "client-block":
            note = str(order.get("note", ""))
            return {"blocked": [_kept_out(block(state, policy, which, note, clock))]}
        case "client-unblock":
            return {"unblocked": [_kept_out(unblock(state, which, clock))]}
        case other:
            raise UsageError(
                "order-unknown", f"there is no order {other!a}", "use one version of Sealgate everywhere"
            )


def _list(value: object) -> list[Mapping[str, Any]]:
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        return value
    raise UsageError("order-unknown", "an order has no applications", "use one version of Sealgate")


def _application(data: Mapping[str, Any]) -> Application:
    asked = data.get("asked")
    if not isinstance(asked, dict):
        _list(None)
    return Application(Asked.from_dict(data["asked"]), _spki(data), bool(data.get("own_key", True)))


def _spki(data: Mapping[str, Any]) -> bytes:
    try:
        return base64.b64decode(str(data.get("spki", "")), validate=True)
    except binascii.Error:
        return b""  # what reads it says what is wrong


def _answer(issued: list[Issued | None]) -> dict[str, Any]:
    first = next(filter(None, issued), None)
    return {
        "issued": [_told(one.held) | {"pem": one.held.pem} if one else None for one in issued],
        "issuer": first.chain.removeprefix(first.held.pem) if first else "",
        "root": first.root if first else "",
    }


def _kept_out(one: Blocked) -> dict[str, Any]:
    return {"fingerprint_sha256": one.fingerprint, "at": one.at.isoformat(), "note": one.note}


def _told(held: Held) -> dict[str, Any]:
    return {
        "name": held.name,
        "serial": held.serial,
        "issuer_key_sha256": held.issuer_key,
        "fingerprint_sha256": held.fingerprint,
        "not_before": held.not_before.isoformat(),
        "not_after": held.not_after.isoformat(),
        "groups": list(held.groups),
        "subject": held.subject,
    }
