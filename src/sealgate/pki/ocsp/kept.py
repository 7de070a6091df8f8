"""Answers over a restart: what counted is written down beside the certificate that it is about. Pure.

What is read back is believed as far as its dates go: nobody but the keeper writes there. Whose certificate it
is is found out again, by the authorities of that time.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509

from sealgate.pki.ocsp.judging import Accepted, Revoked, State

__all__ = ["Kept", "from_json", "to_json"]

_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Kept:
    """One answer.

    Attributes:
        authority: how the policy calls it.
        der: the certificate that it is about.
        answer: as it was judged.
        seen: when its holder was last seen.
    """

    authority: str
    der: bytes
    answer: Accepted
    seen: datetime


def to_json(every: Iterable[Kept]) -> bytes:
    """One JSON object."""
    return json.dumps({"schema": _SCHEMA, "answers": [_as_json(one) for one in every]}).encode()


def from_json(data: bytes) -> tuple[Kept, ...]:
    """What :func:`to_json` wrote. Raises ValueError: it is damaged."""
    try:
        told = json.loads(data)
        if told["schema"] != _SCHEMA:
            raise ValueError("it is of another version")
        return tuple(_from_json(told["answers"]))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(type(error).__name__) from None


def _as_json(one: Kept) -> dict[str, Any]:
    answer, revoked = one.answer, one.answer.revoked
    reason = revoked.reason.value if revoked and revoked.reason else None
    return {
        "authority": one.authority,
        "certificate": base64.b64encode(one.der).decode(),
        "issuer": answer.issuer.hex(),
        "serial": f"{answer.serial:x}",
        "state": answer.state.value,
        "revoked": [revoked.at.isoformat(), reason, revoked.never_issued] if revoked else None,
        "this_update": answer.this_update.isoformat(),
        "until": answer.until.isoformat(),
        "fresh": answer.fresh,
        "seen": one.seen.isoformat(),
    }


def _from_json(every: Iterable[dict[str, Any]]) -> Iterator[Kept]:
    for told in every:
        state = State(told["state"])
        revoked = None
        if told["revoked"] is not None:
            at, reason, never_issued = told["revoked"]
            why = x509.ReasonFlags(reason) if reason is not None else None
            revoked = Revoked(_date(at), why, bool(never_issued))
        if (state is State.REVOKED) != (revoked is not None):
            raise ValueError("revoked, and not")
        answer = Accepted(
            issuer=bytes.fromhex(told["issuer"]),
            serial=int(told["serial"], 16),
            state=state,
            revoked=revoked,
            this_update=_date(told["this_update"]),
            until=_date(told["until"]),
            fresh=bool(told["fresh"]),
        )
        yield Kept(
            str(told["authority"]),
            base64.b64decode(told["certificate"], validate=True),
            answer,
            _date(told["seen"]),
        )


def _date(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a date without a zone")
    return found
