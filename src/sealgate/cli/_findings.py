"""Everything ``sealgate check`` finds out, before any of it is printed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealgate._system.clock import Clock
from sealgate._system.landlock import supported
from sealgate.engines.contract import Capability, Enforcer, Engine, enforced
from sealgate.engines.registry import engine
from sealgate.errors import PolicyError, SealgateError
from sealgate.pki.imports import check_pair, foreign_anchors, read_pair
from sealgate.pki.inspect import facts
from sealgate.policy.advice import Advice, advise
from sealgate.policy.load import Loaded
from sealgate.policy.model import Policy
from sealgate.policy.profiles import load_profile
from sealgate.runtime.separation import describe

__all__ = ["Findings", "examine"]


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
    """

    loaded: Loaded
    engine: Engine
    capabilities: tuple[Capability, ...]
    not_separated: tuple[str, ...]
    advice: tuple[Advice, ...]
    broken: tuple[SealgateError, ...]
    confined: bool
    certificate: str

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


def examine(loaded: Loaded, state: Path, *, clock: Clock) -> Findings:
    """Judge a loaded policy on this machine; nothing is written.

    Raises:
        PolicyError: ``engine-cannot``.
    """
    policy = loaded.policy
    chosen = engine(policy.site.engine)
    capabilities = enforced(chosen, policy)
    broken: list[SealgateError] = []
    certificate = _tried(lambda: _certificate(policy, loaded.base, clock), broken) or ""
    _tried(lambda: _anchors(policy, loaded.base, clock), broken)
    key = policy.certificate.files.key
    return Findings(
        loaded=loaded,
        engine=chosen,
        capabilities=capabilities,
        not_separated=describe(state, [loaded.base / key] if key else [], workers=not policy.site.upstream),
        advice=advise(policy),
        broken=tuple(broken),
        confined=bool(supported()),
        certificate=certificate,
    )


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
    for authority in policy.clients.authorities:
        if authority.file:
            foreign_anchors(base / authority.file, now=clock())
    return ""
