"""What a policy means for an installed server: our file, what must be seen, and what is in the way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sealgate._system.memory import memory_limit
from sealgate._system.ports import probe
from sealgate.engines.facts import RenderFacts
from sealgate.engines.installed.contract import Place
from sealgate.engines.installed.expected import Expected, expected_of
from sealgate.engines.installed.journal import Journal, Record, Version
from sealgate.engines.installed.process import covered, listening
from sealgate.engines.installed.running import ours
from sealgate.pki.state import State
from sealgate.policy.model import Endpoint, Policy
from sealgate.policy.profiles import load_profile

__all__ = ["Wanted", "applied", "doubtful", "folder", "free_addresses", "undecided", "wanted"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall be.

    Attributes:
        content: of our file.
        expected: what a stranger sees then.
        shared: addresses that the server listens on by itself.
    """

    content: bytes
    expected: Expected
    shared: tuple[Endpoint, ...]

    def version(self, journal: Journal, record: Record) -> Version:
        """The version of it: the standing one where nothing differs, else a new one."""
        standing = record.standing
        same = standing is not None and (standing.expected, standing.shared) == (self.expected, self.shared)
        if standing is not None and same and journal.content(standing) == self.content:
            return standing
        return journal.keep(self.content, self.expected, self.shared)


def wanted(
    place: Place,
    policy: Policy,
    state: State,
    record: Record,
    held: frozenset[Endpoint],
    system_trust: str,
) -> Wanted:
    """Our file for this policy.

    Args:
        place: the server.
        policy: what shall hold.
        state: its live directory is named in the file.
        record: what stands.
        held: what the server listens on.
        system_trust: the machine's trusted authorities; empty: not needed.
    """
    live = state.live_server(policy.site.names[0])
    clients = policy.clients.mode != "off"
    facts = RenderFacts(
        policy=policy,
        profile=load_profile(policy.tls.profile),
        backend=place.included.backend,
        chain=str(live / "chain.pem"),
        key=str(live / "key.pem"),
        certificate_folder=str(live),
        trust=str(state.live_clients / "trust.pem") if clients else "",
        trust_folder=str(state.live_clients) if clients else "",
        lists=str(state.live_clients / "lists.pem") if policy.engine_lists else "",
        system_trust=system_trust,
        memory=memory_limit() // 2,
        version=place.program.version,
        challenge_folder=str(state.challenges),
    )
    shared = _shared(policy, record, held)
    return Wanted(place.included.render(facts, shared), expected_of(facts), shared)


def _endpoints(policy: Policy) -> tuple[Endpoint, ...]:
    return policy.listen.https + policy.listen.http


def _shared(policy: Policy, record: Record, held: frozenset[Endpoint]) -> tuple[Endpoint, ...]:
    """Addresses that the user's own configuration listens on: decided once, when they are first named."""
    before = record.standing.shared if record.standing else ()
    new = undecided(policy, record)
    return tuple(
        endpoint
        for endpoint in _endpoints(policy)
        if endpoint in before or (endpoint in new and covered(endpoint, held))
    )


def undecided(policy: Policy, record: Record) -> frozenset[Endpoint]:
    """Addresses of the policy of which the journal does not say whose they are."""
    before = record.standing.shared if record.standing else ()
    return frozenset(_endpoints(policy)) - ours(record) - frozenset(before)


def doubtful(policy: Policy, record: Record, pid: int, said: frozenset[Endpoint]) -> bool:
    """Could what the server listens on mislead us about what its configuration says?

    It may hold an address from what it read long ago (a site of ours that it was never told is gone), and may
    not hold yet what its files say by now. Apache ends where one is said twice.

    Args:
        policy: what shall hold.
        record: what stands.
        pid: of the running server.
        said: addresses of the policy that the user's own files name, as far as they could be read.
    """
    new, held = undecided(policy, record), listening(pid)
    return any(covered(endpoint, held) or endpoint in said for endpoint in new)


def free_addresses(policy: Policy, record: Record, shared: tuple[Endpoint, ...]) -> None:
    """Are the addresses that the server does not listen on yet free? Some servers end where one is not.

    Raises:
        ListenError: ``port-taken``, ``port-forbidden`` or ``address-absent``.
    """
    known = ours(record) | frozenset(shared)
    for endpoint in _endpoints(policy):
        if endpoint not in known:
            probe(endpoint.host, endpoint.port)


def applied(state: State, ids: tuple[str, ...]) -> tuple[str, ...]:
    """The servers in whose journals something of ours stands, or was begun; no policy is needed to know.

    Raises:
        StateError: ``journal-damaged``.
    """
    records = {name: Journal(folder(state, name)).load() for name in ids}
    return tuple(name for name, record in records.items() if record.standing or record.pending)


def folder(state: State, name: str) -> Path:
    """Where our files for an installed server are."""
    return state.engines / "installed" / name
