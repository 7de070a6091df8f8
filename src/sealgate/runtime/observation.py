"""Done means observed: every listener is looked at from outside until it shows what it shall."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from sealgate.engines.observe import handshake, plain_status
from sealgate.errors import NotObserved
from sealgate.policy.model import Endpoint
from sealgate.runtime.site import Site

__all__ = ["observe"]

_SEEN = 5.0
_POLL = 0.02


async def observe(site: Site) -> None:
    """Look at each listener, for five seconds at most.

    Raises:
        NotObserved: `not-observed`: what the last look showed instead.
    """
    end = time.monotonic() + _SEEN
    for endpoint in site.policy.listen.https:
        await _until_seen(partial(_certificate_seen, endpoint, site), end)
    for endpoint in site.policy.listen.http:
        await _until_seen(partial(_plain_seen, endpoint, site), end)


async def _until_seen(look: Callable[[], None], end: float) -> None:
    while True:
        try:
            await asyncio.to_thread(look)
        except NotObserved:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(_POLL)
        else:
            return


def _certificate_seen(endpoint: Endpoint, site: Site) -> None:
    """Raises NotObserved unless a handshake shows the site's certificate."""
    policy, wanted = site.policy, site.certificate.fingerprint
    seen = handshake(endpoint, policy.first_name, proxy_protocol=policy.listen.proxy_protocol)
    if seen.fingerprint != wanted:
        fact = f"{endpoint} serves certificate {seen.fingerprint[:16]}, not {wanted[:16]}"
        raise NotObserved("not-observed", fact, "look at the lines before this one")


def _plain_seen(endpoint: Endpoint, site: Site) -> None:
    """Raises NotObserved unless plain HTTP is redirected or refused, as the policy says."""
    policy = site.policy
    expected = 308 if policy.http.mode == "redirect" else 403
    host = f"[{policy.first_name}]" if ":" in policy.first_name else policy.first_name
    status = plain_status(endpoint, host, proxy_protocol=policy.listen.proxy_protocol)
    if status != expected:
        fact = f"plain HTTP on {endpoint} answers {status}, not {expected}"
        raise NotObserved("not-observed", fact, "report this")
