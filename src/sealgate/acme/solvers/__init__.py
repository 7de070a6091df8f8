"""Solvers: what lets an authority see that a name is ours. One module for each way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sealgate.acme.order import Answer

__all__ = ["Solver"]


class Solver(Protocol):
    """Presents answers where the authority will look (RFC 8555 §8)."""

    def present(self, answers: Sequence[Answer]) -> None:
        """Show these answers, beside those shown already; blocks until the solver has seen them from outside.

        Raises:
            AcmeError: they cannot be seen; some may be shown all the same, until they are withdrawn.
        """

    def withdraw(self, answers: Sequence[Answer]) -> None:
        """Show these no more.

        Idempotent; also for what a killed run left, of which this object knows nothing.
        """
