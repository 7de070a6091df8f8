"""Orders about API keys, by the keeper or by a command under the state's lock. Blocking.

Whoever asks makes the key itself: here only its public part and its hash are told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sealgate._system.clock import Clock
from sealgate.errors import UsageError
from sealgate.pki.api_keys.ended import ended, note_ended
from sealgate.pki.api_keys.register import ApiKey, ApiKeys
from sealgate.pki.clients.naming import folded, nearest
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.policy.api_keys import ID_LENGTH
from sealgate.policy.quoting import shown

__all__ = ["LONGEST_DAYS", "ORDERS", "carry_out", "catch_up", "found", "issued", "told"]

ORDERS = frozenset({"token-add", "token-revoke"})
LONGEST_DAYS = 3650
_MOST_OF_A_NAME = 2
_MOST = 50_000
_NAME_MAX = 64
_HASH = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(rf"[0-9A-Za-z]{{{ID_LENGTH}}}", re.ASCII)
_SCOPE = re.compile(r"[!#-\[\]-~]{1,128}", re.ASCII)  # RFC 6749 §3.3
_MOST_SCOPES = 64


def carry_out(order: Mapping[str, Any], *, state: State, clock: Clock) -> dict[str, Any]:
    """Carry out one order, in the store; the guards are the caller's.

    Raises:
        UsageError: ``token-name``, ``token-scope``, ``token-days``, ``token-exists``, ``token-unknown``.
    """
    if order.get("order") == "token-add":
        return {"issued": told(_add(order, state, clock))}
    if order.get("order") == "token-revoke":
        return {"revoked": [told(one) for one in _revoke(str(order.get("which", "")), state, clock)]}
    raise UsageError(
        "order-unknown", f"there is no order {order.get('order')!a}", "use one version of Sealgate everywhere"
    )


def catch_up(state: State, clock: Clock) -> list[str]:
    """Revoke again what was revoked before the store was brought back from a backup; their public parts.

    And note outside of it what is revoked in it, where that was not possible before.
    """
    if not state.store.exists():
        return []
    with Store.open(state.store, read_only=True) as store:
        there = ApiKeys(store).all()
    gone = ended(state.witness)
    back = [one.id for one in there if one.revoked_at is None and one.id in gone]
    if back:
        with state.lock(), Store.open(state.store) as store:
            ApiKeys(store).revoke(back, now=clock().replace(microsecond=0))
    note_ended(state.witness, (one.id for one in there if one.revoked_at is not None))
    return back


def told(one: ApiKey) -> dict[str, Any]:
    """What may be said of one."""
    return {
        "id": one.id,
        "name": one.name,
        "scopes": list(one.scopes),
        "made_at": one.made_at.isoformat(),
        "expires_at": one.expires_at.isoformat() if one.expires_at else None,
        "revoked_at": one.revoked_at.isoformat() if one.revoked_at else None,
    }


def _add(order: Mapping[str, Any], state: State, clock: Clock) -> ApiKey:
    now = clock().replace(microsecond=0)
    name, days = str(order.get("name", "")), order.get("days")
    _check_name(name)
    scopes = order.get("scopes", [])
    if not isinstance(scopes, list) or len(scopes) > _MOST_SCOPES:
        raise UsageError("token-scope", f"there are more than {_MOST_SCOPES} scopes", "give fewer")
    for scope in scopes:
        if not isinstance(scope, str) or not _SCOPE.fullmatch(scope):
            raise UsageError(
                "token-scope",
                f"the scope {shown(scope)} has blanks, quotes or other characters that none has",
                "use one such as orders:read; give --scope once for each",
            )
    if days is not None and (
        not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= LONGEST_DAYS
    ):
        raise UsageError("token-days", f"a key cannot count for {days} days", f"give 1 to {LONGEST_DAYS}")
    mark, digest = str(order.get("id", "")), str(order.get("hash", ""))
    if not _ID.fullmatch(mark) or not _HASH.fullmatch(digest):
        raise UsageError("order-unknown", "an order has no key", "use one version of Sealgate everywhere")
    made = ApiKey(
        mark, name, digest, tuple(dict.fromkeys(scopes)), now, now + timedelta(days=days) if days else None
    )
    with state.lock(), Store.open(state.store) as store:
        keys = ApiKeys(store)
        there = keys.all()
        same = [one for one in there if folded(one.name) == folded(name) and one.active(now)]
        if len(same) >= _MOST_OF_A_NAME:
            raise UsageError(
                "token-exists",
                f"{shown(name)} has two keys that count, {same[0].id} and {same[1].id}",
                "revoke the older one first: sealgate token revoke " + same[1].id,
            )
        if len(there) >= _MOST:
            raise UsageError("token-exists", f"there are {_MOST} keys", "give scopes to fewer keys")
        keys.add(made)
    return made


def _check_name(name: str) -> None:
    """A name that a terminal, a log and a list show as it is."""
    size = len(name.encode(errors="surrogatepass"))
    if not 1 <= size <= _NAME_MAX or not name.isprintable() or name != name.strip() or name.startswith("-"):
        raise UsageError(
            "token-name",
            f"the name {shown(name[:_NAME_MAX])} is empty, too long, or cannot be printed",
            "use 1 to 64 bytes, such as billing or ci@example.org",
        )


def _revoke(which: str, state: State, clock: Clock) -> list[ApiKey]:
    now = clock().replace(microsecond=0)
    with state.lock(), Store.open(state.store) as store:
        keys = ApiKeys(store)
        marks = [one.id for one in found(keys.all(), which) if one.active(now)]
        if not marks:
            raise UsageError(
                "token-unknown",
                f"no key of {shown(which[:_NAME_MAX])} counts any more",
                "sealgate token list --all",
            )
        note_ended(state.witness, marks)
        keys.revoke(marks, now=now)
        return [one for one in keys.all() if one.id in marks]


def found(there: list[ApiKey], which: str) -> list[ApiKey]:
    """All of a name, or the one whose public part this is.

    Raises:
        UsageError: ``token-unknown``.
    """
    name = folded(which[: 4 * _NAME_MAX])
    some = [one for one in there if one.id == which] or [one for one in there if folded(one.name) == name]
    if not some:
        near = nearest(which, {one.name for one in there})
        raise UsageError(
            "token-unknown",
            f"there is no key of {shown(which[:_NAME_MAX])}",
            f"did you mean {shown(near)}?" if near else "see which there are with: sealgate token list --all",
        )
    return some


def issued(state: State, clock: Clock) -> list[dict[str, Any]]:
    """Those that count, as guards are told of them."""
    if not state.store.exists():
        return []
    now = clock()
    with Store.open(state.store, read_only=True) as store:
        return [
            {
                "id": one.id,
                "hash": one.hash,
                "name": one.name,
                "scopes": list(one.scopes),
                "expires": one.expires_at.timestamp() if one.expires_at else None,
            }
            for one in ApiKeys(store).all()
            if one.active(now)
        ]
