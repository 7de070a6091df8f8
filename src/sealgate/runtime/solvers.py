"""Which solver proves a policy's names, and how it reaches the engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sealgate._system.clock import Clock
from sealgate.acme.authority import Authority, authorities
from sealgate.acme.solvers import Solver
from sealgate.acme.solvers.dns import dns_solver
from sealgate.acme.solvers.http import HttpSolver
from sealgate.acme.solvers.tls_alpn import AlpnFiles, AlpnSolver
from sealgate.engines.challenges import CHALLENGES, AlpnAnswer, Challenges
from sealgate.policy.load import Loaded

__all__ = ["authorities_of", "solver_for"]

Tell = Callable[[Challenges], None]


def authorities_of(loaded: Loaded) -> tuple[Authority, ...]:
    """Whom a policy's certificates are asked of, in order."""
    acme = loaded.policy.certificate.acme
    return authorities(acme, base=loaded.base, environ=os.environ, euid=os.geteuid())


def solver_for(
    loaded: Loaded,
    root: Path,
    tell: Tell,
    *,
    clock: Clock,
    wait: Callable[[float], None],
    say: Callable[[str], None],
) -> Solver:
    """The solver of ``certificate.acme.challenge``.

    Args:
        loaded: the policy.
        root: the state directory, without symbolic links.
        tell: has the engine answer exactly these; returns once it does.
        clock: the present.
        wait: sleeps at most so many seconds.
        say: one line for people.

    Raises:
        PolicyError: a secret cannot be read.
    """
    policy = loaded.policy
    acme, listen = policy.certificate.acme, policy.listen
    if acme.challenge == "dns-01":
        return dns_solver(
            acme.dns, base=loaded.base, environ=os.environ, euid=os.geteuid(), wait=wait, say=say
        )

    def tell_http(answers: Mapping[str, str]) -> None:
        tell(Challenges(http=tuple(sorted(answers.items()))))

    def tell_alpn(files: Sequence[AlpnFiles]) -> None:
        answers = (
            AlpnAnswer(one.name, str(one.chain.relative_to(root)), str(one.key.relative_to(root)))
            for one in files
        )
        tell(Challenges(tls_alpn=tuple(sorted(answers, key=lambda one: one.name))))

    # Behind a balancer that speaks the PROXY protocol our own look would be refused like any stranger's.
    seen = not listen.proxy_protocol
    if acme.challenge == "tls-alpn-01":
        return AlpnSolver(root / CHALLENGES / "alpn", tell_alpn, listen.https if seen else (), clock=clock)
    return HttpSolver(root / CHALLENGES, tell_http, listen.http if seen else ())
