"""What became of a server that somebody else runs and `sealgate apply` was used on. Blocking; writes nothing.

The program itself is not asked anything, since its check may load what others wrote, and no key is opened:
`sealgate observe` does both.
"""

from __future__ import annotations

from pathlib import Path

from sealgate.engines.contract import Program
from sealgate.engines.installed.change import gather, live_fingerprint
from sealgate.engines.installed.contract import Place, included, included_ids
from sealgate.engines.installed.drift import file_drift, known_versions, seen_drift
from sealgate.engines.installed.journal import Journal
from sealgate.engines.installed.look import look
from sealgate.engines.installed.site import applied, folder
from sealgate.monitor.snapshot import Drift
from sealgate.pki.state import State

__all__ = ["drift", "servers"]


def servers(state: State) -> tuple[str, ...]:
    """Installed servers in which something of ours stands.

    Raises:
        StateError: ``journal-damaged``.
    """
    return applied(state, included_ids())


def drift(state: State, policy_name: str, server: str) -> tuple[Drift, ...]:
    """What is not as it was applied to one of them.

    Args:
        state: the state directory.
        policy_name: the site's first name.
        server: its id.

    Raises:
        SealgateError: it cannot be looked at.
    """
    home = folder(state, server)
    journal = Journal(home)
    entry = journal.load()
    version = entry.standing or (entry.pending.to if entry.pending else None)
    if version is None:
        return ()
    place = Place(included(server), Program(Path(), "", pinned=False), Path(entry.main), home)
    standing = journal.content(version)
    paths = (str(place.own), str(place.main))
    found = list(file_drift(gather(place), entry, standing, standing, paths))
    known = known_versions(state.live_server(policy_name))
    found += seen_drift(look(version.expected, live_fingerprint(version.expected.chain)), known)
    return tuple(Drift(one.kind, one.fact, one.remedy) for one in found)
