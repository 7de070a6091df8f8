"""Everything ``sealgate check`` finds out, before any of it is printed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealgate._system.clock import Clock
from sealgate._system.files import FileLock
from sealgate._system.landlock import supported
from sealgate.engines.contract import Capability, Enforcer, Engine, Refusal, enforced, enforced_rows
from sealgate.engines.installed.contract import included, included_ids
from sealgate.engines.installed.site import applied
from sealgate.engines.registry import engine
from sealgate.errors import PolicyError, SealgateError
from sealgate.pki.client_trust import Trusted, check_apart
from sealgate.pki.imports import check_pair, foreign_anchors, read_pair
from sealgate.pki.inspect import facts
from sealgate.pki.lists import foreign_lists
from sealgate.pki.state import State
from sealgate.pki.witness import Witness
from sealgate.policy.advice import Advice, advise
from sealgate.policy.base import Model
from sealgate.policy.load import Loaded
from sealgate.policy.model import Policy
from sealgate.policy.profiles import load_profile
from sealgate.policy.secrets import SecretRef
from sealgate.policy.tokens import Issuer
from sealgate.runtime.described import described
from sealgate.runtime.issued import key_set, roots_of
from sealgate.runtime.separation import describe

__all__ = ["Findings", "examine", "named_certificates"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a policy comes to on this machine.

    Attributes:
        capabilities: who enforces what.
        not_separated: sentences; empty where keys are kept apart.
        advice: allowed, and worth a second look.
        broken: files that the policy names and that cannot be used.
        confined: can the kernel keep the app from the keys at all.
        certificate: one line about the certificate where it comes from files.
        installed: an installed server is meant, which Sealgate does not run.
    """

    loaded: Loaded
    engine: Engine
    capabilities: tuple[Capability, ...]
    not_separated: tuple[str, ...]
    advice: tuple[Advice, ...]
    broken: tuple[SealgateError, ...]
    confined: bool
    certificate: str
    installed: bool = False

    def holds(self, row: Capability) -> bool:
        """Is a promise kept on this machine? Those of the kernel need its Landlock."""
        return self.confined or row.enforcer is not Enforcer.OS

    def source(self, key: str) -> str:
        """Where a key or table of the policy was set: "line 3", a variable, or "default"."""
        sources = self.loaded.sources
        if key in sources:
            return sources[key]
        inside = [s for k, s in sources.items() if k.startswith((f"{key}.", f"{key}[")) and s != "default"]
        return inside[0] if inside else "default"

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        policy = self.loaded.policy
        return {
            "sound": not self.broken,
            "policy": str(self.loaded.path) if self.loaded.path else None,
            "url": policy.public_url,
            "engine": self.engine.id,
            "serves": policy.site.app or policy.site.upstream or None,
            "enforcement": [
                {
                    "key": row.key,
                    "promise": row.promise,
                    "enforcer": row.enforcer.value,
                    "how": row.how,
                    "source": self.source(row.key) if row.key else "always",
                    "holds": self.holds(row),
                }
                for row in self.capabilities
            ],
            "certificate": self.certificate,
            "not_separated": list(self.not_separated),
            "advice": [{"key": a.key, "fact": a.fact, "remedy": a.remedy} for a in self.advice],
            "broken": [{"code": e.code, "fact": e.fact, "remedy": e.remedy} for e in self.broken],
        }


def examine(loaded: Loaded, state: Path, *, clock: Clock, named: bool = False) -> Findings:
    """Judge a loaded policy on this machine; nothing is written.

    Args:
        loaded: the policy.
        state: the state directory; it need not exist.
        clock: now.
        named: the call named a configuration of the policy's server, so that one is installed.

    Raises:
        PolicyError: ``engine-cannot``.
    """
    policy = loaded.policy
    chosen = engine(policy.site.engine)
    rows = _installed(policy, state, named=named)
    capabilities = enforced(chosen, policy) if rows is None else rows
    certificate, wrong = named_certificates(policy, loaded.base, clock)
    broken = list(wrong.values())
    for reference in _secrets(policy):
        _tried(lambda ref=reference: _forgotten(ref, loaded.base), broken)  # type: ignore[misc]  # its default
    for issuer in policy.tokens.issuers:
        _tried(lambda one=issuer: _keys(one, loaded.base), broken)  # type: ignore[misc]  # its default
    _tried(lambda: str(described(loaded)), broken)
    key = policy.certificate.files.key
    return Findings(
        loaded=loaded,
        engine=chosen,
        capabilities=capabilities,
        installed=rows is not None,
        not_separated=()
        if rows is not None
        else describe(
            state,
            [loaded.base / key] if key else [],
            workers=not policy.site.upstream,
            inside=chosen.identity == "inside",
        ),
        advice=advise(policy),
        broken=tuple(broken),
        confined=bool(supported()),
        certificate=certificate,
    )


def named_certificates(policy: Policy, base: Path, clock: Clock) -> tuple[str, dict[str, SealgateError]]:
    """The server's certificate in one line, and what is wrong with the files that a policy names.

    Args:
        policy: the policy.
        base: where its relative paths begin.
        clock: now.

    Returns:
        the line, empty where it comes from no files or they are unfit; by table, why they are.
    """
    wrong: dict[str, SealgateError] = {}
    line = ""
    for table, look in (("certificate.files", _certificate), ("clients.authorities", _anchors)):
        try:
            line += look(policy, base, clock)
        except SealgateError as error:
            wrong[table] = error
    return line, wrong


def _installed(policy: Policy, state: Path, *, named: bool) -> tuple[Capability, ...] | None:
    """Who enforces what where an installed server serves the policy; None: Sealgate runs one.

    Raises:
        StateError: ``journal-damaged``.
    """
    name = policy.site.engine
    if name not in included_ids():
        return None
    kind, home = included(name), State(state, FileLock(state / "keeper.lock"), Witness.of(state))
    rows = kind.capabilities(policy)
    fits = named and not any(isinstance(row, Refusal) for row in rows)
    if not fits and name not in applied(home, (name,)):
        return None
    return enforced_rows(f"an installed {kind.title}", rows)


def _secrets(part: object) -> Iterator[SecretRef]:
    """All references to secrets in a policy, wherever they stand."""
    if isinstance(part, SecretRef):
        yield part
    elif isinstance(part, Model):
        for _, value in part:
            yield from _secrets(value)
    elif isinstance(part, tuple | list):
        for value in part:
            yield from _secrets(value)


def _keys(issuer: Issuer, base: Path) -> str:
    """What an issuer's keys, or who publishes them, are known by can be read."""
    return roots_of(issuer, base) if issuer.fetched else str(key_set(base / issuer.jwks_file))


def _forgotten(reference: SecretRef, base: Path) -> str:
    """Read a secret as `serve` does, and forget it.

    Raises:
        PolicyError: ``secret-missing``, ``secret-insecure``, ``secret-unreadable``.
    """
    reference.read(base=base, environ=os.environ, euid=os.geteuid())
    return ""


def _tried(look: Callable[[], str], broken: list[SealgateError]) -> str | None:
    try:
        return look()
    except SealgateError as error:
        broken.append(error)
        return None


def _certificate(policy: Policy, base: Path, clock: Clock) -> str:
    """The certificate in the policy's files, in one line.

    Raises:
        CertificateError: see ``pki.imports``.
    """
    if policy.certificate.source != "files":
        return ""
    chain, key = base / policy.certificate.files.chain, base / policy.certificate.files.key
    pair = check_pair(*read_pair(chain, key), policy.site.names, now=clock(), origin=str(chain))
    profile = load_profile(policy.tls.profile)
    if not profile.accepts_key(pair.key_type):
        fact = f"the key in {chain} is of type {pair.key_type}, which {profile.id} does not allow"
        raise PolicyError("key-not-in-profile", fact, "get another certificate, or set another tls.profile")
    leaf = facts(pair.chain[0])
    days = (leaf.not_after - clock()).days
    return f"{leaf.key}, {len(pair.chain)} in the chain, {days} days left (until {leaf.not_after:%Y-%m-%d})"


def _anchors(policy: Policy, base: Path, clock: Clock) -> str:
    found: list[Trusted] = []
    for authority in policy.clients.authorities:
        if authority.file:
            anchors = foreign_anchors(base / authority.file, now=clock())
            found.append(Trusted(authority, anchors))
            if authority.listed:
                foreign_lists(base / authority.crl, anchors, now=clock(), grace=authority.grace)
    check_apart(found)
    return ""
