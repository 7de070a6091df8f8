"""What ``sealgate client`` asks for: carried out by the keeper where one runs, else by the command itself.

An order is plain data, as it travels over the control socket; keys in it are public ones::

    {"order": "client-issue", "skipping": false,
     "applications": [{"asked": {...}, "spki": base64, "own_key": true}]}
    {"order": "client-renew", "which": "alice", "spki": base64, "own_key": true}
    {"order": "client-revoke", "which": "alice", "reason": "key-compromise"}
    {"order": "client-release", "which": "alice"}
    {"order": "client-block", "which": "4f0c...", "note": "stolen"}
    {"order": "client-unblock", "which": "4f0c..."}
    {"order": "client-take-over", "issuer_key": "9a...", "number": 1790000000, "more": false,
     "entries": [["4F0C...", "2026-01-31T12:00:00+00:00", "superseded"]]}
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from sealgate._system.clock import Clock
from sealgate.errors import UsageError
from sealgate.pki.clients.blocks import block, unblock
from sealgate.pki.clients.naming import Asked
from sealgate.pki.clients.office import Application, Issued, issue, release, renew, revoke
from sealgate.pki.clients.register import Blocked, Held, Stranger
from sealgate.pki.clients.restoring import silent, take_over
from sealgate.pki.state import State
from sealgate.policy.model import Policy

__all__ = ["ORDERS", "application", "carry_out", "changes_list"]

ORDERS = frozenset(
    {
        "client-issue",
        "client-renew",
        "client-revoke",
        "client-release",
        "client-block",
        "client-unblock",
        "client-take-over",
    }
)
_CHANGE_LIST = frozenset({"client-revoke", "client-release", "client-take-over"})


def changes_list(order: Mapping[str, Any]) -> bool:
    """Is our own list to be made anew after it? Of several parts of one list, after the last."""
    return order.get("order") in _CHANGE_LIST and not order.get("more")


def application(asked: Asked, spki: bytes, *, own_key: bool = True) -> dict[str, Any]:
    """An application as it travels."""
    return {"asked": asked.as_dict(), "spki": base64.b64encode(spki).decode("ascii"), "own_key": own_key}


def carry_out(
    order: Mapping[str, Any],
    *,
    state: State,
    policy: Policy,
    clock: Clock,
    say: Callable[[str], None] = silent,
) -> dict[str, Any]:
    """Carry out one order, in the store; lists and servers are the caller's. `say` is told what was found.

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
            return _answer([renew(state, policy, which, _spki(order), clock, own_key=own, say=say)])
        case "client-revoke":
            reason = str(order.get("reason"))
            return {"revoked": [_told(one) for one in revoke(state, which, reason, clock, say=say)]}
        case "client-release":
            return {"released": [_told(one) for one in release(state, which, clock, say=say)]}
        case "client-take-over":
            taken = take_over(state, order, clock)
            return {"taken": [{"serial": one, "issuer_key_sha256": taken.by} for one in taken.serials]}
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


def _told(held: Held | Stranger) -> dict[str, Any]:
    if isinstance(held, Stranger):
        return {"name": "", "serial": held.serial, "issuer_key_sha256": held.issuer_key}
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
