"""Done means observed: every listener is looked at from outside until it shows what it shall.

A server has several processes or threads, and each may remember what it read. Which of them takes a
connection is the kernel's choice: by a hash over the client's port where each has a socket of its own
(Envoy), else whoever is awake first, which is mostly the same one, unless several connections come at once.
So after a renewal many are made, several at a time (:func:`looks`), and one old certificate among them is not
done yet.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from functools import partial

from sealgate.engines import quic
from sealgate.engines.observe import compared, plain_status, whence
from sealgate.errors import NotObserved
from sealgate.policy.model import Endpoint
from sealgate.runtime.site import Site

__all__ = ["looks", "observe"]

_SEEN = 5.0
_POLL = 0.02
_MISSED = 0.01
_MOST = 64


def looks(processes: int) -> int:
    """So many connections miss none of so many processes, ninety-nine times in a hundred; 64 at most.

    A certain one of P is missed by n with probability (1 - 1/P)^n < e^(-n/P), one of them with P times that.
    """
    return min(math.ceil(processes * math.log(processes / _MISSED)), _MOST) if processes > 1 else 1


async def observe(site: Site, *, processes: int = 1) -> None:
    """Look at each listener, for five seconds at most; as long again where there are several processes.

    Args:
        site: what shall be seen.
        processes: of the server that each may remember a certificate from before.

    Raises:
        NotObserved: `not-observed`: what the last look showed instead.
    """
    end = time.monotonic() + _SEEN
    for endpoint in site.policy.listen.https:
        await _until_seen(partial(_certificate_seen, endpoint, site), end)
        if processes > 1:
            # From its first sight on: a busy machine may have taken all the time until then.
            later = time.monotonic() + _SEEN
            await _seen_everywhere(partial(_old_seen, endpoint, site), looks(processes), later)
    for endpoint in site.policy.listen.https if site.policy.listen.http3 else ():
        await _until_seen(partial(_certificate_seen_over_quic, endpoint, site), end)
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


async def _seen_everywhere(look: Callable[[], str], count: int, end: float) -> None:
    """Until none of so many looks shows what was there before."""
    while True:
        seen = await asyncio.gather(*(asyncio.to_thread(look) for _ in range(count)))
        old = next(filter(None, seen), "")
        if not old:
            return
        if time.monotonic() > end:
            fact = f"{old}, by one of its processes"
            raise NotObserved("not-observed", fact, "look at the lines before this one")
        await asyncio.sleep(_POLL)


def _old_seen(endpoint: Endpoint, site: Site) -> str:
    """Which certificate was seen instead; empty: the right one, or (a server may be busy) none."""
    try:
        _certificate_seen(endpoint, site)
    except NotObserved as error:
        return "" if "address" in error.details else error.fact
    return ""


def _certificate_seen(endpoint: Endpoint, site: Site) -> None:
    """Raises NotObserved unless handshakes show the site's certificate, both of them where there are two."""
    policy, wanted = site.policy, site.certificate.shown
    proxied = policy.listen.proxy_protocol
    _, differs = compared(endpoint, policy.first_name, wanted, proxy_protocol=proxied)
    if differs:
        raise NotObserved("not-observed", f"{endpoint} {differs}", "look at the lines before this one")


def _certificate_seen_over_quic(endpoint: Endpoint, site: Site) -> None:
    """The same, of the UDP socket beside it: that one is bound by itself and has filter chains of its own."""
    _, differs = quic.compared(endpoint, site.policy.first_name, site.certificate.shown)
    if differs:
        raise NotObserved("not-observed", f"{endpoint}/udp {differs}", "look at the lines before this one")


def _plain_seen(endpoint: Endpoint, site: Site) -> None:
    """Raises NotObserved unless plain HTTP is redirected or refused, as the policy says.

    Its rules about addresses count for looks too.
    """
    policy = site.policy
    judged = policy.judges_addresses(tls=False)
    let_in = not judged or policy.network.admitted().admits(whence(endpoint))
    redirected = policy.http.mode == "redirect" and let_in
    expected = 308 if redirected else 403
    host = f"[{policy.first_name}]" if ":" in policy.first_name else policy.first_name
    status = plain_status(endpoint, host, proxy_protocol=policy.listen.proxy_protocol)
    if status != expected:
        fact = f"plain HTTP on {endpoint} answers {status}, not {expected}"
        raise NotObserved("not-observed", fact, "report this")
