"""Orders about API keys: in the store, then before every guard, then seen to be obeyed.

A key counts from the next request on after it was added, and not any more when the order to revoke it
returns: each process has said that what was under way by it has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sealgate._system.clock import system_clock
from sealgate.pki.api_keys.orders import carry_out
from sealgate.policy.identity import api_key_key
from sealgate.runtime.standing import Standing

__all__ = ["Tokens"]


class Tokens:
    """Carries out orders about API keys.

    Args:
        standing: what stands.
        until_obeyed: waits until every process has looked at what is under way.
        say: one line for people.
    """

    def __init__(
        self, standing: Standing, until_obeyed: Callable[[], Awaitable[None]], say: Callable[[str], None]
    ) -> None:
        self._standing, self._until_obeyed, self._say = standing, until_obeyed, say

    async def order(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Carry one out; see ``pki/api_keys/orders.py``.

        Returns:
            its answer; ``counts``: does the policy in force take such keys?

        Raises:
            SealgateError: nothing was changed; or ``revoked-not-shut``: it stands, and was not seen.
        """
        standing = self._standing
        async with standing.changing:
            publication, loaded = standing.publication, standing.site.loaded
            in_step = publication.in_step()
            answer = await asyncio.to_thread(carry_out, order, state=standing.state, clock=system_clock)
            await asyncio.to_thread(publication.api_keys, loaded)
            revoked = answer.get("revoked", ())
            if revoked:
                # A change of that table is what every process answers to: it looks at keys then, too.
                publication.shut((), *(api_key_key(one["id"]) for one in revoked))
                await self._until_obeyed()
            if in_step:
                publication.keep_step()
            for one in revoked:
                self._say(f"API key revoked: {one['id']}")
        return answer | {"counts": loaded.policy.tokens.api_keys}
