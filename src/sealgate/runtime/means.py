"""By what a guard judges beside its policy, from the descriptors that a worker is handed."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from sealgate._system.board import BoardReader
from sealgate._system.rate_table import Rates, TooBusy
from sealgate.guard.admission import Means
from sealgate.guard.rates import Budget, Store, Unavailable

if TYPE_CHECKING:
    from sealgate.guard.asking import Asked
    from sealgate.guard.tokens.verifier import Documents
    from sealgate.runtime.redis_store import RedisStore

__all__ = ["means_by", "means_of"]


class _Shared:
    """Budgets that all workers of the machine share."""

    blocking = False

    def __init__(self, fd: int) -> None:
        self._rates = Rates(fd)

    def take(self, who: bytes, wider: bytes, budgets: Sequence[Budget]) -> Sequence[int]:
        """See :class:`sealgate.guard.rates.Store`."""
        try:
            return self._rates.take(who, wider, budgets)
        except TooBusy:
            raise Unavailable from None


def means_of(issued: int, rates: int, asked: Asked | None = None) -> Means:
    """What is there; -1: nothing.

    Args:
        issued: descriptor of the keys by which tokens count, and of a password; need not stay open.
        rates: descriptor of the budgets of callers; stays open.
        asked: who can find out by which keys an issuer signs.
    """
    return means_by(BoardReader(issued) if issued >= 0 else None, rates, asked)


def means_by(reader: Documents | None, rates: int, asked: Asked | None = None) -> Means:
    """The same, of keys that are read otherwise.

    Args:
        reader: of the keys by which tokens count, and of a password.
        rates: descriptor of the budgets of callers; stays open; -1: nobody counts.
        asked: as there.
    """
    store = _Shared(rates) if rates >= 0 else None
    return Means(reader, store, partial(_remote, reader, store), asked)


def _remote(reader: Documents | None, store: Store | None, address: str, failure: str) -> RedisStore:
    """A server that counts for several machines."""
    from sealgate.runtime.redis_store import RedisStore

    password = ""
    if reader is not None:
        _, document = reader.read()
        password = str(json.loads(document or b"{}").get("rate_store_password", ""))
    return RedisStore(address, password, local=store if failure == "local" else None, say=_say)


def _say(text: str) -> None:
    sys.stderr.write(f"sealgate: {text}\n")
    sys.stderr.flush()
