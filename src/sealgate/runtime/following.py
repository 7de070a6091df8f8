"""The policy of a `sealgate watch`: taken anew when its file changes, kept where the new one is no good."""

from __future__ import annotations

from collections.abc import Callable

from sealgate._system.ports import probe
from sealgate.errors import SealgateError
from sealgate.monitor.gather import changed
from sealgate.monitor.snapshot import Drift
from sealgate.policy.load import Loaded
from sealgate.policy.model import Endpoint
from sealgate.runtime.watching import settings_of

__all__ = ["Following"]

_KEPT = "the one before it is watched on"


class Following:
    """A policy that is looked at again and again.

    Args:
        load: loads it.

    Attributes:
        loaded: in force.
        settings: what it asks for.
        drift: why the file says something else; empty: it does not.

    Raises:
        SealgateError: it is no good, or its addresses are taken.
    """

    def __init__(self, load: Callable[[], Loaded]) -> None:
        self._load = load
        self.loaded = load()
        self._key = self._file()
        self.settings = settings_of(self.loaded)
        self.drift: tuple[Drift, ...] = ()
        _open(self.loaded, set())

    def look(self, *, asked: bool = False) -> bool:
        """Take what the file says now, if it differs and is good; true: it did, and is.

        Args:
            asked: look into it even where the file seems to be the same: a secret beside it may not be.
        """
        key = self._file()
        if key == self._key and not asked and not self.drift:
            return False
        self._key = key
        try:
            loaded = self._load()
            settings = settings_of(loaded)
            _open(loaded, {place for place in (self.settings.page, self.settings.probes) if place})
        except (SealgateError, OSError) as error:
            fact = error.fact if isinstance(error, SealgateError) else str(error)
            remedy = error.remedy if isinstance(error, SealgateError) else "mend it"
            self.drift = (Drift("policy-broken", f"the policy is not taken: {fact}", f"{remedy}; {_KEPT}"),)
            return False
        self.drift = ()
        if loaded.policy == self.loaded.policy and settings.same_as(self.settings):
            return False
        self.loaded, self.settings = loaded, settings
        return True

    def _file(self) -> tuple[int, int, int]:
        return changed(self.loaded.path) if self.loaded.path is not None else (0, 0, 0)


def _open(loaded: Loaded, mine: set[Endpoint]) -> None:
    """Raises ListenError where an address cannot be had that is not ours already."""
    for endpoint in loaded.policy.monitor.endpoints:
        if endpoint not in mine:
            probe(endpoint.host, endpoint.port, table="monitor")
