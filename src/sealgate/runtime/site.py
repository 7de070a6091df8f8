"""What a loaded policy means on this machine: plain data for the engine and the workers."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from sealgate._system.memory import memory_limit
from sealgate.engines.facts import Backend, RenderFacts, Worker
from sealgate.errors import EngineError
from sealgate.pki.live import LiveCertificate, second_paths
from sealgate.policy.load import Loaded
from sealgate.policy.model import Policy
from sealgate.policy.profiles import Profile, load_profile

__all__ = ["Site", "system_trust"]

_LEAST_MEMORY = 256 * 1024**2
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
)


@dataclass(frozen=True, slots=True)
class Site:
    """A policy in force.

    Attributes:
        loaded: the policy and where it came from.
        state: the state directory, without symbolic links.
        folder: where the app's module is looked for.
        certificate: the live certificate.
        backend: what the app turned out to be.
        long_lists: so many are revoked that the engine is given no list where a guard stands behind it
            (``publication.LONG``).
    """

    loaded: Loaded
    state: Path
    folder: Path
    certificate: LiveCertificate
    backend: Backend = "upstream"
    long_lists: bool = False

    @property
    def policy(self) -> Policy:
        """The policy itself."""
        return self.loaded.policy

    @property
    def profile(self) -> Profile:
        """Its TLS profile."""
        return load_profile(self.policy.tls.profile)

    def _inside(self, path: Path) -> str:
        """Relative to the state directory, links kept: they are what is swapped."""
        return str(path.parent.resolve().relative_to(self.state) / path.name)

    def facts(self, workers: tuple[Worker, ...]) -> RenderFacts:
        """For the engine."""
        chain, key = self.certificate.chain_path, self.certificate.key_path
        twofold = len(self.policy.certificate.key_types) > 1
        second = [self._inside(path) if twofold else "" for path in second_paths(chain.parent)]
        return RenderFacts(
            policy=self.policy,
            profile=self.profile,
            backend=self.backend,
            chain=self._inside(chain),
            key=self._inside(key),
            certificate_folder=str(Path(self._inside(chain)).parent),
            trust="live/clients/trust.pem",
            trust_folder="live/clients",
            lists="" if self.long_lists and self.policy.worker_app else _lists(self.policy),
            system_trust=system_trust() if self.policy.site.upstream.startswith("https:") else "",
            concurrency=min(_cores(), 16),
            memory=max(_LEAST_MEMORY, memory_limit() // 2),
            workers=workers,
            second_chain=second[0],
            second_key=second[1],
        )

    def secrets(self) -> tuple[Path, ...]:
        """Private keys outside the state directory."""
        key = self.policy.certificate.files.key
        return (self.loaded.base / key,) if key else ()


def _lists(policy: Policy) -> str:
    """The lists that the engine judges by: everyone's, or our own alone; empty: the guard judges."""
    if not policy.engine_lists:
        return ""
    return "live/clients/lists.pem" if policy.client_lists else "live/clients/crl.pem"


def _cores() -> int:
    """Those this process may run on, which containers and `taskset` make fewer."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def system_trust() -> str:
    """The file of this machine's trusted authorities.

    Raises:
        EngineError: `system-trust-missing`.
    """
    named = ssl.get_default_verify_paths().cafile
    for path in (named, *_BUNDLES):
        if path and Path(path).is_file():
            return path
    raise EngineError(
        "system-trust-missing",
        "this machine has no file of trusted authorities",
        "install the package ca-certificates",
    )
