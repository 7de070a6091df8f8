"""Orders about client certificates: issued and revoked by the keeper, and the list seen in force.

Theory: a revocation stands as soon as it is in the store; no failure after that takes it back. The guard in
every process knows it at once (``pki/revocations.py``). Then the list is made anew, the engine told, and each
HTTPS listener looked at from outside until a throw-away certificate that is on the same list is refused while
one that is not is taken, and the same one on a connection that it had opened before is refused too. What was
seen is what is answered. Then others may fetch the list.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sealgate._system.clock import system_clock
from sealgate.engines.canary import Kept, Verdict, shown
from sealgate.errors import NotObserved, SealgateError
from sealgate.pki.clients.office import canaries
from sealgate.pki.clients.orders import carry_out, changes_list
from sealgate.pki.keys import generate, spki, to_pem
from sealgate.policy.identity import blocked_key
from sealgate.policy.model import Endpoint
from sealgate.runtime.site import Site
from sealgate.runtime.standing import Standing

__all__ = ["Clients"]

_SEEN = 10.0
_OBEYED = 5.0
_POLL = 0.02


@dataclass(frozen=True, slots=True)
class _Canaries:
    """Two certificates with their keys, PEM: one that must be let in, one that must not."""

    good: bytes
    revoked: bytes
    key: bytes


class Clients:
    """Carries out orders about clients.

    Args:
        standing: what stands.
        say: one line for people.
    """

    def __init__(self, standing: Standing, say: Callable[[str], None]) -> None:
        self._standing, self._say = standing, say

    async def order(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Carry one out; see ``pki/clients/orders.py``.

        Returns:
            its answer; of those that change the list also ``doors``: what was seen.

        Raises:
            SealgateError: nothing was changed; or ``revoked-not-shut``: it stands, and was not seen.
        """
        standing = self._standing
        async with standing.changing:
            policy, publication = standing.site.policy, standing.publication
            in_step = publication.in_step()
            work = partial(
                carry_out, order, state=standing.state, policy=policy, clock=system_clock, say=self._say
            )
            answer = await asyncio.to_thread(work)
            # At once, whatever becomes of the list: the next request of who is revoked is refused.
            standing.publication.shut((*answer.get("revoked", ()), *answer.get("taken", ())))
            standing.publication.given(answer.get("issued", ()))
            if "blocked" in answer:
                marks = (blocked_key(one["fingerprint_sha256"]) for one in answer["blocked"])
                standing.publication.shut((), *marks)
                await self.until_obeyed()
                answer["doors"] = {"open_connections": True}
            if "released" in answer or "unblocked" in answer:
                await asyncio.to_thread(standing.publication.released, standing.site.loaded)
            if changes_list(order):
                try:
                    answer["doors"] = await self._published(standing.site)
                except SealgateError:
                    with contextlib.suppress(SealgateError):  # the graver of the two is told
                        await asyncio.to_thread(standing.publication.publish)
                    raise
                # Last, so that nothing wrong with it keeps a door open; and before the answer.
                await asyncio.to_thread(standing.publication.publish)
            if in_step and not {"released", "unblocked"} & answer.keys():
                publication.keep_step()
            self._note(answer)
        return answer

    def _note(self, answer: Mapping[str, Any]) -> None:
        for what in ("revoked", "released", "blocked", "unblocked"):
            serials = ", ".join(
                one.get("serial") or one["fingerprint_sha256"] for one in answer.get(what, ())
            )
            if serials:
                self._say(f"client certificate {what}: {serials}")
        if taken := answer.get("taken"):
            self._say(f"{len(taken)} client certificates were taken over from a list as revoked")

    async def _published(self, site: Site) -> dict[str, Any]:
        """The list anew, and how it was seen."""
        standing = self._standing
        publish = partial(standing.publication.list, site.loaded)
        if not site.policy.own_list:
            await asyncio.to_thread(publish)
            return {"asked": False}
        began = time.monotonic()
        made = await asyncio.to_thread(self._canaries, site)
        opened = await asyncio.to_thread(self._opened, site, made)
        try:
            standing.publication.shut((), made.key)
            await asyncio.to_thread(publish)
            await standing.refresh()
            end = time.monotonic() + _SEEN
            for endpoint in site.policy.listen.https:
                await self._until_shut(endpoint, site, made, end)
            for endpoint, kept in opened.items():
                if (verdict := await asyncio.to_thread(kept.ask)) is not Verdict.REFUSED:
                    raise _still_open(endpoint, verdict)
            await self.until_obeyed()
        finally:
            for kept in opened.values():
                kept.close()
        return {
            "asked": True,
            "listeners": [str(one) for one in site.policy.listen.https],
            "open_connections": bool(site.policy.worker_app),
            "seconds": round(time.monotonic() - began, 3),
        }

    async def until_obeyed(self) -> None:
        """What is under way has no canary: each process says itself that it has ended whose it must.

        Raises:
            NotObserved: ``revoked-not-shut``.
        """
        generation = self._standing.publication.revocations.generation
        end = time.monotonic() + _OBEYED
        while behind := self._standing.behind(generation):
            if time.monotonic() > end:
                raise _not_obeyed(behind)
            await asyncio.sleep(_POLL)

    def _opened(self, site: Site, made: _Canaries) -> dict[Endpoint, Kept]:
        """With the one that is revoked, while it still counts; none where no guard of ours stands behind."""
        policy, opened = site.policy, dict[Endpoint, Kept]()
        if not policy.worker_app:
            return opened
        for endpoint in policy.listen.https:
            # What cannot be had now is seen to be wrong by the looks that follow.
            with contextlib.suppress(OSError):
                opened[endpoint] = Kept(
                    endpoint, policy.first_name, made.revoked, proxy_protocol=policy.listen.proxy_protocol
                )
        return opened

    def _canaries(self, site: Site) -> _Canaries:
        keys = generate("ecdsa-p256"), generate("ecdsa-p256")
        public = spki(keys[0]), spki(keys[1])
        made = canaries(self._standing.state, site.policy, public, system_clock)
        return _Canaries(
            to_pem(keys[0]) + made.good.encode(), to_pem(keys[1]) + made.revoked.encode(), made.key
        )

    async def _until_shut(self, endpoint: Endpoint, site: Site, made: _Canaries, end: float) -> None:
        """Raises NotObserved, code ``revoked-not-shut``."""
        look = partial(
            shown, endpoint, site.policy.first_name, proxy_protocol=site.policy.listen.proxy_protocol
        )
        while True:
            revoked = await asyncio.to_thread(look, made.revoked)
            # The good one last: a server that broke in between takes nobody.
            good = await asyncio.to_thread(look, made.good) if revoked is Verdict.REFUSED else Verdict.UNKNOWN
            if good is Verdict.TAKEN:
                return
            if time.monotonic() > end:
                raise _open(endpoint, revoked, good)
            await asyncio.sleep(_POLL)


def _not_obeyed(behind: Sequence[int]) -> NotObserved:
    pids = ", ".join(map(str, behind))
    return NotObserved(
        "revoked-not-shut",
        "the revocation stands in the store and for each new request, but what was under way was not seen to"
        f" end in process {pids}, which does not answer",
        f"end it with: kill -9 {' '.join(map(str, behind))}; another one is started in its place",
        processes=list(behind),
    )


def _still_open(endpoint: Endpoint, verdict: Verdict) -> NotObserved:
    what = {
        Verdict.TAKEN: "still serves a revoked client on a connection that was open before",
        Verdict.UNKNOWN: "gives no answer on a connection that was open before",
    }[verdict]
    return NotObserved(
        "revoked-not-shut",
        f"the revocation stands in the store, and was not seen in force: {endpoint} {what}",
        "look at the keeper's log; stop the server where the client must stay out",
        address=str(endpoint),
    )


def _open(endpoint: Endpoint, revoked: Verdict, good: Verdict) -> NotObserved:
    what = {
        Verdict.TAKEN: f"{endpoint} still takes a certificate that is on the list",
        Verdict.REFUSED: f"{endpoint} refuses a certificate that is good ({good.value})",
        Verdict.UNKNOWN: f"{endpoint} gives no answer from which the list could be seen",
    }[revoked]
    return NotObserved(
        "revoked-not-shut",
        f"the revocation stands in the store, and was not seen in force: {what}",
        "look at the keeper's log; stop the server where the client must stay out",
        address=str(endpoint),
    )
