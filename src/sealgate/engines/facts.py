"""What the keeper tells an engine beyond the policy: plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sealgate.engines.challenges import CHALLENGES, Challenges
from sealgate.policy.model import Policy, is_loopback_host
from sealgate.policy.profiles import Profile

__all__ = ["AppFacts", "Backend", "RenderFacts", "Worker"]

Backend = Literal["wsgi", "asgi", "upstream"]


@dataclass(frozen=True, slots=True)
class Worker:
    """An app worker's socket, and whether new requests may go to it."""

    socket: str
    draining: bool = False


@dataclass(frozen=True, slots=True)
class AppFacts:
    """For engines that run the app inside of themselves.

    Attributes:
        app: ``module:attribute``.
        folder: absolute; where the module is looked for first.
        guard: absolute path of the published policy of the guard.
        policy: absolute path of the policy file.
        python: the interpreter to run it with.
        revocations: descriptor of the revoked clients, which its processes inherit; -1: nobody is.
        issued: descriptor of the keys by which tokens count, likewise; -1: none.
        rates: descriptor of the budgets of callers, likewise; -1: nobody counts.
    """

    app: str
    folder: str
    guard: str
    policy: str
    python: str
    revocations: int = -1
    issued: int = -1
    rates: int = -1


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
        second_chain, second_key: of the certificate of the other family; empty: none is wanted. Until there
            is one, these names lead to the first.
        certificate_folder: where a swap of all is one rename.
        trust: PEM file of the authorities of client certificates; empty: none are asked for.
        trust_folder: where a swap of it is seen.
        lists: PEM file of revocation lists, one for each authority in ``trust``; empty: there are none.
        system_trust: absolute path of the machine's trusted authorities; empty: not needed.
        concurrency: threads or processes of the engine.
        memory: bytes that the engine may use.
        workers: where the app answers.
        admin: where the engine's own admin interface is, if it has one.
        admin_key: what a call of it must show; empty: nobody is let in.
        proof: what the engine shows the guard's workers with each request (``policy/identity.py``).
        app: what to run, for engines that run the app themselves.
        version: of the program that will read what is rendered; ``1.22.1``.
        challenges: what an ACME authority is to be answered now.
        challenge_folder: where the files of those over HTTP are.
    """

    policy: Policy
    profile: Profile
    backend: Backend
    chain: str
    key: str
    certificate_folder: str
    trust: str = ""
    trust_folder: str = ""
    lists: str = ""
    system_trust: str = ""
    concurrency: int = 2
    memory: int = 2 * 1024**3
    workers: tuple[Worker, ...] = ()
    admin: str = "run/engine/admin.sock"
    admin_key: str = field(default="", repr=False)
    proof: str = field(default="", repr=False)
    app: AppFacts | None = None
    version: str = ""
    challenges: Challenges = field(default_factory=Challenges)
    challenge_folder: str = CHALLENGES
    second_chain: str = ""
    second_key: str = ""

    @property
    def guarded(self) -> bool:
        """Does the guard judge each request behind this engine?"""
        return self.backend != "upstream"

    @property
    def asks_guard(self) -> bool:
        """Is a guard asked for each request before another backend gets it?"""
        return self.backend == "upstream" and self.policy.asks_guard

    @property
    def hsts(self) -> str:
        """The value for names that are not loopback's, or for those where there are no others."""
        names = [name for name in self.policy.site.names if not is_loopback_host(name)]
        return self.policy.hsts_value((names or list(self.policy.site.names))[0])

    @property
    def hsts_local(self) -> str:
        """The value for loopback names, the site's or not; empty where it makes no difference.

        A refusal is remembered like an answer: who asks for ``localhost`` must not lose plain HTTP there.
        """
        local = self.policy.hsts_value("localhost")
        return "" if local == self.hsts else local
