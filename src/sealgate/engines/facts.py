"""What the keeper tells an engine beyond the policy: plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sealgate.policy.model import Policy, is_loopback_name
from sealgate.policy.profiles import Profile

__all__ = ["Backend", "RenderFacts", "Worker"]

Backend = Literal["wsgi", "asgi", "upstream"]


@dataclass(frozen=True, slots=True)
class Worker:
    """An app worker's socket, and whether new requests may go to it."""

    socket: str
    draining: bool = False


@dataclass(frozen=True, slots=True)
class RenderFacts:
    """Everything that rendering depends on.

    Paths are relative to the state directory, in which the engine is started: so nothing rendered depends
    on where it lies, and unix socket paths stay short.

    Attributes:
        policy: the policy.
        profile: its TLS profile.
        backend: what stands behind the engine.
        chain, key: PEM files of the certificate.
        certificate_folder: where a swap of both is one rename.
        trust: PEM file of the authorities of client certificates; empty: none are asked for.
        trust_folder: where a swap of it is seen.
        system_trust: absolute path of the machine's trusted authorities; empty: not needed.
        concurrency: threads or processes of the engine.
        memory: bytes that the engine may use.
        workers: where the app answers.
        admin: where the engine's own admin interface is, if it has one.
        admin_key: what a call of it must show; empty: nobody is let in.
    """

    policy: Policy
    profile: Profile
    backend: Backend
    chain: str
    key: str
    certificate_folder: str
    trust: str = ""
    trust_folder: str = ""
    system_trust: str = ""
    concurrency: int = 2
    memory: int = 2 * 1024**3
    workers: tuple[Worker, ...] = ()
    admin: str = "run/engine/admin.sock"
    admin_key: str = field(default="", repr=False)

    @property
    def guarded(self) -> bool:
        """Does the guard judge each request behind this engine?"""
        return self.backend != "upstream"

    @property
    def hsts(self) -> str:
        """The value for names that are not loopback's, or for those where there are no others."""
        names = [name for name in self.policy.site.names if not is_loopback_name(name)]
        return self.policy.hsts_value((names or list(self.policy.site.names))[0])

    @property
    def hsts_local(self) -> str:
        """The value for loopback names where the site has others too; empty where it makes no difference."""
        kinds = {is_loopback_name(name) for name in self.policy.site.names}
        return self.policy.hsts_value("localhost") if len(kinds) == 2 else ""
