"""One line per denial, which hostile input cannot break and which holds no secret.

No query string, no header value but the engine's own request id, the path cut and escaped: JSON in ASCII.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sealgate.guard.client import Client
    from sealgate.guard.decision import Deny

__all__ = ["Log", "denial", "to_stderr"]

Log = Callable[[Mapping[str, object]], None]
"""Takes one event; must not raise."""

_LONGEST_PATH = 256
_LONGEST_WORD = 64
_LONGEST_NAME = 128


def denial(
    deny: Deny,
    *,
    address: str,
    method: str,
    target: str,
    request_id: str,
    client: Client | None = None,
    enforced: bool = True,
) -> dict[str, object]:
    """The event of one denial.

    ``target`` is the raw target; what follows its first ``?`` is left out, as queries carry tokens. Of who
    shows a certificate the fingerprint is told, as in the access log, and the authority; of a token that
    counts, whose it is. One that is not ``enforced`` was let through all the same.
    """
    certificate = client.certificate if client else None
    known = (
        {"client": certificate.fingerprint, "authority": certificate.authority[:_LONGEST_WORD]}
        if certificate
        else {}
    )
    if client is not None and (token := client.token) is not None:
        known |= {
            "token_issuer": token.issuer[:_LONGEST_NAME],
            "token_subject": token.subject[:_LONGEST_NAME],
        }
    path = target.partition("?")[0]
    return {
        "event": "denied" if enforced else "reported",
        "code": deny.problem.slug,
        "rule": deny.reason,
        "status": deny.problem.status,
        "address": address,
        **known,
        "method": method[:_LONGEST_WORD],
        "path": path if len(path) <= _LONGEST_PATH else path[:_LONGEST_PATH] + "…",
        "request_id": request_id[:_LONGEST_WORD],
        **({} if enforced else {"enforced": False}),
    }


def to_stderr(event: Mapping[str, object]) -> None:
    """Write one JSON line; a closed stderr must not turn a refusal into a crash."""
    try:
        sys.stderr.write(json.dumps(event) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass
