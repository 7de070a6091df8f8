"""By what a guard judges beside its policy, from the descriptors that a worker is handed."""

from __future__ import annotations

from collections.abc import Sequence

from sealgate._system.board import BoardReader
from sealgate._system.rate_table import Rates, TooBusy
from sealgate.guard.admission import Means
from sealgate.guard.rates import Budget, Unavailable

__all__ = ["means_of"]


class _Shared:
    """Budgets that all workers of the machine share."""

    def __init__(self, fd: int) -> None:
        self._rates = Rates(fd)

    def take(self, who: bytes, wider: bytes, budgets: Sequence[Budget]) -> Sequence[int]:
        """See :class:`sealgate.guard.rates.Store`."""
        try:
            return self._rates.take(who, wider, budgets)
        except TooBusy:
            raise Unavailable from None


def means_of(issued: int, rates: int) -> Means:
    """What is there; -1: nothing.

    Args:
        issued: descriptor of the keys by which tokens count; need not stay open.
        rates: descriptor of the budgets of callers; stays open.
    """
    return Means(
        issued=BoardReader(issued) if issued >= 0 else None, store=_Shared(rates) if rates >= 0 else None
    )
