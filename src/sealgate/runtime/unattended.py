"""Certificates from ACME where no keeper runs: for installed servers, for Gunicorn's own command line.

Answers to http-01 are files that the server of the site serves (``apply`` tells it to); where nobody listens
on the plain addresses, a small responder of our own does for that time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

from sealgate._system.clock import Clock, system_clock
from sealgate.acme.ending import find
from sealgate.acme.order import Obtained
from sealgate.acme.renewer import Renewer
from sealgate.acme.solvers.standalone import Responder
from sealgate.engines.challenges import Challenges
from sealgate.engines.observe import compared
from sealgate.errors import ListenError, NotObserved, SealgateError
from sealgate.pki.live import LiveCertificate, LiveDirectory
from sealgate.pki.obtained import publish_obtained
from sealgate.pki.server import ensure_server_certificate
from sealgate.pki.state import State
from sealgate.policy.load import Loaded
from sealgate.policy.values import Endpoint
from sealgate.runtime.ending import end
from sealgate.runtime.observation import looks
from sealgate.runtime.obtaining import outcome, shown
from sealgate.runtime.solvers import authorities_of, solver_for

__all__ = ["end_unattended", "renew", "served"]

_SEEN = 5.0
_LOOKS = looks(4)
_AT_ONCE = 8


def renew(
    state: State,
    loaded: Loaded,
    *,
    force: bool,
    dry: bool = False,
    say: Callable[[str], None],
    clock: Clock = system_clock,
    index: int | None = None,
) -> dict[str, Any]:
    """Get a certificate where one is due, and publish it. What serves it must be told by whoever calls.

    Args:
        state: its lock is taken.
        loaded: the policy; ``certificate.source`` is ``acme``.
        force: although none is due.
        dry: prove the names to ourselves, and ask nobody.
        say: told what people should know meanwhile.
        clock: the present.
        index: one of the policy's certificates alone, where there are two.

    Returns:
        `renewed`, `plan`, `next`; `fingerprint` and `not_after` of what is live, and `served`: is it what the
        listeners show (None: nobody listens)? `second` of a second certificate. Of a rehearsal, `rehearsed`.

    Raises:
        SealgateError: there is no other certificate; what was live still is.
    """
    root = state.path.resolve()
    with state.lock():
        live = ensure_server_certificate(state, loaded.policy, clock, base=loaded.base)
        with _answering(state, loaded) as tell:

            def renewer(index: int) -> Renewer:
                return Renewer(
                    state=state,
                    policy=loaded.policy,
                    authorities=authorities_of(loaded),
                    solver=solver_for(loaded, root, tell, clock=clock, wait=time.sleep, say=say),
                    publish=lambda obtained: _published(state, loaded, obtained, clock),
                    clock=clock,
                    wait=time.sleep,
                    say=say,
                    index=index,
                )

            kinds = range(len(loaded.policy.certificate.key_types))
            if dry:  # the names are the same for all kinds of keys: they are proven once
                plans = (renewer(0).rehearse(), *(renewer(number).look() for number in kinds[1:]))
                return {"rehearsed": True, "renewed": False} | shown(*plans)
            indexes = kinds if index is None else (index,)
            passes = [renewer(index).step(force=force) for index in indexes]
    live = next((passed.live for passed in reversed(passes) if passed.live), live)
    for passed in passes:  # all were tried: one that fails keeps no other from being had
        if passed.error is not None:
            raise _left_alone(passed.error)
    return outcome(live, passes) | {"served": served(loaded, live)}


def _left_alone(error: SealgateError) -> SealgateError:
    """Where no server runs, nothing happens by itself."""
    parts = error.remedy.split("; ")
    kept = [part for part in parts if "by itself" not in part and "next try" not in part]
    if len(kept) < len(parts):
        error.remedy = "; ".join(
            [*kept, "call this again later, best by a timer: no server of ours runs here"]
        )
    return error


def _published(state: State, loaded: Loaded, obtained: Obtained, clock: Clock) -> LiveCertificate:
    return publish_obtained(
        state,
        loaded.policy,
        obtained.chain_pem,
        obtained.key_pem,
        authority=obtained.authority,
        clock=clock,
    )


@contextmanager
def _answering(state: State, loaded: Loaded) -> Iterator[Callable[[Challenges], None]]:
    """Somebody serves the answers: whoever listens on the plain addresses, else we."""
    acme, addresses = loaded.policy.certificate.acme, loaded.policy.listen.http
    with ExitStack() as stack:
        responder = None
        if acme.challenge == "http-01" and addresses:
            with suppress(ListenError, OSError):  # somebody listens: he serves the files, or the look tells
                responder = stack.enter_context(Responder(addresses))
            if responder is None:
                state.admit_to_challenges()

        def tell(challenges: Challenges) -> None:
            if responder is not None:
                responder.tell(dict(challenges.http))

        yield tell


def served(loaded: Loaded, live: LiveCertificate) -> bool | None:
    """Do the listeners show it, those that there are, by all of their processes? None: there are none."""
    seen = [_shown(endpoint, loaded, live) for endpoint in loaded.policy.listen.https]
    there = [one for one in seen if one is not None]
    return all(there) if there else None


def _shown(endpoint: Endpoint, loaded: Loaded, live: LiveCertificate) -> bool | None:
    """Within five seconds; None: nobody is there."""
    differs, end = partial(_differs, endpoint, loaded, live), time.monotonic() + _SEEN
    while (first := differs()) is not None:
        if not first:
            # Several at a time: see observation.py. How many processes a server of others has, nobody tells.
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                again = [pool.submit(differs) for _ in range(_LOOKS)]
                if not any(one.result() for one in again):
                    return True
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return None


def _differs(endpoint: Endpoint, loaded: Loaded, live: LiveCertificate) -> bool | None:
    """Is another certificate shown? None: there is no handshake."""
    proxied = loaded.policy.listen.proxy_protocol
    try:
        return bool(compared(endpoint, loaded.policy.first_name, live.shown, proxy_protocol=proxied)[1])
    except NotObserved:
        return None


def end_unattended(
    state: State,
    loaded: Loaded,
    order: Mapping[str, Any],
    *,
    say: Callable[[str], None],
    clock: Clock = system_clock,
) -> dict[str, Any]:
    """As :func:`end` where no keeper runs: another certificate is served before the live one is revoked.

    Unless `replace` of the order is false.

    Raises:
        NotObserved: ``certificate-still-served``: there is another one, and nothing was ended.
        SealgateError: nothing was ended.
    """
    with state.lock():
        if order["order"] != "cert-revoke":
            return end(state, loaded, order, clock=clock)
        site = loaded.policy.site.names[0]
        row = find(state, site, str(order.get("which", "")))
        order = {**order, "which": row.fingerprint}
        live = LiveDirectory(state.live_server(site)).current()
        own = next((one for one in live.both if one.fingerprint == row.fingerprint), None) if live else None
        if own is None or not order.get("replace", True):
            return end(state, loaded, order, clock=clock)
        index = own.index(loaded.policy.certificate.key_types)
        if renew(state, loaded, force=True, say=say, clock=clock, index=index)["served"] is False:
            raise _still_served(row.fingerprint)
        return end(state, loaded, order, clock=clock)


def _still_served(fingerprint: str) -> NotObserved:
    short = fingerprint[:16]
    return NotObserved(
        "certificate-still-served",
        f"another certificate is live now, but {short}, which is to be revoked, is still served; it was not",
        "have the server take the new one (sealgate apply, or its own reload), then: sealgate cert revoke "
        f"{short}; to revoke it before that: --at-once",
    )
