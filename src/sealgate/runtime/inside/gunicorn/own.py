"""Gunicorn started by somebody else: its settings from the policy, and what a HUP means then.

There is no keeper here. Certificates are read, never made; each worker follows them by itself. What must hold
for the policy's promises cannot be changed on the command line: Gunicorn then ends with a sentence.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sealgate.engines.challenges import CHALLENGES
from sealgate.engines.contract import enforced_rows
from sealgate.engines.facts import RenderFacts
from sealgate.engines.inside import listening
from sealgate.engines.redirect import Redirect
from sealgate.engines.servers.gunicorn import ENGINE
from sealgate.engines.servers.gunicorn.included import unlisted
from sealgate.engines.servers.gunicorn.orders import Orders
from sealgate.errors import CertificateError, EngineError, PolicyError, SealgateError
from sealgate.guard.compiled import compile_policy
from sealgate.pki.live import LiveDirectory, second_paths
from sealgate.pki.state import State
from sealgate.policy.load import DEFAULT_NAME, Loaded, load
from sealgate.policy.model import Policy
from sealgate.policy.profiles import load_profile
from sealgate.runtime.inside.budget import Budget, shared_memory
from sealgate.runtime.inside.gunicorn.beside import Beside
from sealgate.runtime.inside.gunicorn.plan import GUARDED, PLACES, Plan, settings
from sealgate.runtime.inside.gunicorn.worker import Worker
from sealgate.runtime.state_path import state_of

__all__ = ["configured"]

_YOURS = frozenset({"workers", "threads"})
_DECIDED = "is decided by sealgate.toml"
_INSTEAD = {"worker_class": "is Sealgate's (with --threads 1 it does what sync does)"}


def _loaded(environ: Mapping[str, str]) -> Loaded:
    path = Path(environ.get("SEALGATE_CONFIG") or DEFAULT_NAME).absolute()
    try:
        return load(path, environ=environ, euid=os.geteuid())
    except PolicyError as error:
        if error.code != "policy-missing":
            raise
        # Gunicorn's own --config is another one.
        remedy = "write one with `sealgate init`, or name another with SEALGATE_CONFIG"
        raise PolicyError(error.code, error.fact, remedy, path=str(path)) from None


def _plan(environ: Mapping[str, str], budget: int) -> tuple[Plan, Policy, str]:
    """What a worker works by, and where answers to challenges lie. Raises SealgateError."""
    loaded = _loaded(environ)
    policy = loaded.policy
    enforced_rows(ENGINE.title, (*ENGINE.capabilities(policy), *unlisted(policy)))
    state = State.open(state_of(loaded.base, environ, os.geteuid()), create=False)
    live = LiveDirectory(state.live_server(policy.site.names[0])).current()
    trust = state.live_clients / "trust.pem"
    if live is None or (policy.clients.mode != "off" and not trust.is_file()):
        what = "server certificate" if live is None else "authority of client certificates"
        raise CertificateError(
            "certificate-missing",
            f"there is no {what} in {state.path}",
            "make it with: sealgate cert renew",
        )
    twofold = len(policy.certificate.key_types) > 1
    second = [str(path) if twofold else "" for path in second_paths(live.chain_path.parent)]
    facts = RenderFacts(
        policy=policy,
        profile=load_profile(policy.tls.profile),
        backend="wsgi",
        chain=str(live.chain_path),
        key=str(live.key_path),
        second_chain=second[0],
        second_key=second[1],
        certificate_folder=str(live.chain_path.parent),
        trust=str(trust),
        lists=str(state.live_clients / "lists.pem") if policy.engine_lists else "",
    )
    compiled = compile_policy(policy, 1, guards=GUARDED)
    answers = str(state.path / CHALLENGES)
    return Plan(Orders.of(facts), journal=False, budget=budget, compiled=compiled), policy, answers


class _Own:
    """One Gunicorn of somebody's."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        self._budget = shared_memory(PLACES)
        self.plan, self.policy, self._answers = _plan(self._environ, self._budget)
        self._beside = Beside()
        self._listeners: list[socket.socket] = []
        self._values = self._settings()

    def settings(self) -> dict[str, object]:
        """For Gunicorn."""
        return dict(self._values)

    def _settings(self) -> dict[str, object]:
        binds = self.plan.orders.binds
        return {
            **settings(self.plan),
            "bind": [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in binds],
            "worker_class": Worker.by(self.plan),
            "on_starting": self._check,
            "when_ready": self._redirect_plain_http,
            "on_reload": self._reload,
            "child_exit": self._gone,
            "on_exit": self._end,
        }

    def _check(self, server: Any) -> None:  # noqa: ANN401 - Gunicorn's arbiter
        """Nothing that the policy decides was decided otherwise on the command line; open plain HTTP."""
        for name, value in self._values.items():
            setting = server.cfg.settings[name]
            if name not in _YOURS and setting.get() != setting.validator(value):
                server.log.error("sealgate: %s %s; leave it out", name, _INSTEAD.get(name, _DECIDED))
                sys.exit(1)
        for point in self.policy.listen.http:
            try:
                self._listeners.append(listening(point))
            except OSError as error:
                server.log.error("sealgate: cannot listen on %s: %s", point, error)  # noqa: TRY400 - same
                sys.exit(1)

    def _reload(self, server: Any) -> None:  # noqa: ANN401 - same
        """A HUP: the policy anew, or the one before where it is no good."""
        before = self.plan, self.policy, self._answers
        try:
            self.plan, self.policy, self._answers = _plan(self._environ, self._budget)
            if self.policy.listen != before[1].listen:
                raise EngineError("reload-needs-restart", "listen has changed", "restart Gunicorn for it")
        except SealgateError as error:
            self.plan, self.policy, self._answers = before
            said = f"sealgate: not reloaded, the policy before stays in force: {error}"
            server.log.error("%s", said)  # noqa: TRY400 - a sentence, not a traceback
        self._values = self._settings()
        for name, value in self._values.items():
            if name not in _YOURS:
                server.app.cfg.set(name, value)
        server.setup(server.app)
        if self.policy != before[1]:
            self._redirect_plain_http(server)

    def _redirect_plain_http(self, server: Any) -> None:  # noqa: ANN401 - same
        """Start the process that answers plain HTTP, or another one by a new policy."""
        if not self._listeners:
            return
        numbers = tuple(listener.fileno() for listener in self._listeners)
        orders = Redirect.of(
            self.policy,
            listeners=numbers,
            parent=os.getpid(),
            budget=self._budget,
            answers=self._answers,
        )
        self._beside.begin(orders, server.log.error)
        self._beside.keep(server)

    def _gone(self, server: Any, worker: Any) -> None:  # noqa: ANN401 - same
        """A worker's connections are no more."""
        del server
        Budget(0, fd=self._budget).clear(Worker.place_of(worker))

    def _end(self, server: Any) -> None:  # noqa: ANN401 - same
        del server
        self._beside.end()


def configured() -> dict[str, object]:
    """Settings by name, for the module that Gunicorn reads.

    Raises:
        SealgateError: policy or certificate are missing or no good.
    """
    return _Own(os.environ).settings()
