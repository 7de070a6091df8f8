"""What stands where no keeper runs, as far as those who fetch keys want to know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sealgate.pki.state import State
from sealgate.policy.load import Loaded
from sealgate.policy.model import Policy
from sealgate.runtime.handing import Handing
from sealgate.runtime.questions import Questions

__all__ = ["Alone"]


class _Site:
    def __init__(self, loaded: Callable[[], Loaded]) -> None:
        self._loaded = loaded

    @property
    def loaded(self) -> Loaded:
        return self._loaded()

    @property
    def policy(self) -> Policy:
        return self._loaded().policy


class Alone:
    """See :class:`sealgate.runtime.key_sets.Standing`.

    Args:
        state: the state directory.
        loaded: the policy that counts.
        handing: tells guards, which ask nothing.
    """

    def __init__(self, state: State, loaded: Callable[[], Loaded], handing: Handing) -> None:
        self.state, self.publication = state, handing
        self.site = _Site(loaded)
        self.changing = asyncio.Lock()
        self.questions = Questions(tuple)
