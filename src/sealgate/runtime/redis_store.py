"""Budgets of callers in Redis or Valkey: one for all machines that count there.

Theory: one script does for all budgets of a request what the memory does (``_system/rate_table.py``), in one
round trip and in one step of the server's, by the server's clock, so that machines' own clocks do not matter.
A key lives as long as its budget is not whole. Names of callers are hashed: who may look at the server learns
nobody's address.

Who cannot be reached is not asked again for a second, whoever calls: a server that is gone costs nobody a
wait. What counts meanwhile is the policy's to say (``limits.rate_store_failure``), and it is told once, and
once again when the server is back.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sealgate.guard.rates import Budget, Store, Unavailable

if TYPE_CHECKING:
    from redis.commands.core import AsyncScript, Script

__all__ = ["RedisStore"]

_WAIT = 0.1
"""Seconds for a connection, and for an answer."""
_REST = 1.0
_CONNECTIONS = 64
# Times are microseconds since this moment, so that a double holds them to a sixtieth of one.
_SCRIPT = """
local t = redis.call('TIME')
local now = (tonumber(t[1]) - 1700000000) * 1000000 + tonumber(t[2])
local levels, waits, fits = {}, {}, true
for i, key in ipairs(KEYS) do
  local interval, depth = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local whole = math.min(tonumber(redis.call('GET', key) or '0'), now + depth)
  local level = math.max(whole - now, 0) + interval
  levels[i] = level
  waits[i] = depth - level
  if level > depth then fits = false end
end
local said = {}
for i, key in ipairs(KEYS) do
  local level = levels[i]
  if fits then
    redis.call('SET', key, string.format('%.3f', now + level), 'PX', math.ceil(level / 1000) + 1)
  elseif waits[i] < 0 then
    level = waits[i]
  else
    level = level - tonumber(ARGV[2 * i - 1])
  end
  said[i] = string.format('%.3f', level)
end
return said
"""


class RedisStore:
    """Asks a server; blocking, from any thread.

    Args:
        address: ``redis://host:port/number`` or ``rediss://...``, without credentials.
        password: what it asks for; empty: nothing.
        local: counts while it cannot be reached; None: nobody does.
        say: one line for people.
        site: names of several sites in one server do not meet.
    """

    blocking = True

    def __init__(
        self, address: str, password: str, *, local: Store | None, say: Callable[[str], None], site: str = ""
    ) -> None:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._client: Any = Redis.from_url(
            address,
            password=password or None,
            socket_timeout=_WAIT,
            socket_connect_timeout=_WAIT,
            max_connections=_CONNECTIONS,
            retry=Retry(NoBackoff(), 0),
        )
        self._script: Script | AsyncScript = self._client.register_script(_SCRIPT)
        self._address, self._site = address, site.encode()
        self._local, self._say = local, say
        self._lock = threading.Lock()
        self._rests_until = 0.0
        self._lost = False

    def take(self, who: bytes, wider: bytes, budgets: Sequence[Budget]) -> Sequence[int]:
        """See :class:`sealgate.guard.rates.Store`."""
        if time.monotonic() < self._rests_until:
            return self._alone(who, wider, budgets)
        from redis.exceptions import RedisError

        keys = [self._key(budget.mark + who) for budget in budgets]
        numbers = [f"{value / 1000:.3f}" for budget in budgets for value in (budget.interval, budget.depth)]
        try:
            said: Any = self._script(keys=keys, args=numbers)
            levels = [round(float(one) * 1000) for one in said]
        except (RedisError, OSError, ValueError, TypeError) as error:
            self._rest(type(error).__name__)
            return self._alone(who, wider, budgets)
        if self._lost:
            self._back()
        return levels

    def _key(self, text: bytes) -> str:
        return "sealgate:rate:" + hashlib.blake2b(self._site + b"\0" + text, digest_size=16).hexdigest()

    def _alone(self, who: bytes, wider: bytes, budgets: Sequence[Budget]) -> Sequence[int]:
        if self._local is None:
            raise Unavailable
        return self._local.take(who, wider, budgets)

    def _rest(self, why: str) -> None:
        with self._lock:
            self._rests_until = time.monotonic() + _REST
            told, self._lost = self._lost, True
        if not told:
            what = "this machine counts alone" if self._local else "requests that are counted get 503"
            self._say(f"{self._address} cannot be asked ({why}): {what} until it can")

    def _back(self) -> None:
        with self._lock:
            told, self._lost = not self._lost, False
        if not told:
            self._say(f"{self._address} answers again: all machines count together")
