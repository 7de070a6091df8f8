"""``sealgate apply --engine gunicorn``: what our file says to a Gunicorn that somebody else runs.

Gunicorn executes its configuration at each start, check and HUP, and our file, which is the last of it, calls
:func:`applied`. What must outlive a HUP (listeners for plain HTTP, the process that answers there, the count
of connections) is kept in the arbiter's process. When a HUP no longer comes by here, ours was taken out: then
that is closed too. The user's own hooks are called after ours.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sealgate.engines.facts import RenderFacts
from sealgate.engines.inside import listening
from sealgate.engines.redirect import Redirect
from sealgate.engines.servers.gunicorn.orders import Orders
from sealgate.guard.compiled import compile_policy
from sealgate.pki.live import verify_pair
from sealgate.policy.load import DEFAULT_NAME, loads
from sealgate.policy.model import Endpoint, Policy
from sealgate.policy.profiles import load_profile
from sealgate.runtime.inside.budget import Budget, shared_memory
from sealgate.runtime.inside.gunicorn.beside import Beside
from sealgate.runtime.inside.gunicorn.plan import GUARDED, PLACES, Plan, settings
from sealgate.runtime.inside.gunicorn.worker import Worker

__all__ = ["applied"]

_YOURS = ("workers", "threads")


@dataclass(slots=True)
class _Site:
    """What stands in the arbiter's process.

    Attributes:
        policy: in force.
        users: the user's own hooks, by name.
        loads: how often our file was executed.
        budget: descriptor of the connections counted together.
        listeners: of plain HTTP.
        beside: the process that answers there.
    """

    policy: Policy
    users: Mapping[str, Any]
    loads: int
    budget: int
    listeners: dict[Endpoint, socket.socket]
    beside: Beside = field(default_factory=Beside)

    # Gunicorn's hooks: it counts their parameters.

    def on_starting(self, server: Any) -> None:  # noqa: ANN401 - Gunicorn's arbiter
        """Plain HTTP first: where it cannot be had, nothing is served."""
        try:
            self._open()
        except OSError as error:
            server.log.error("sealgate: %s", error)  # noqa: TRY400 - a sentence, not a traceback
            sys.exit(1)
        self._user("on_starting", server)

    def when_ready(self, server: Any) -> None:  # noqa: ANN401 - same
        """After a start."""
        self._attach(server)
        self._answer_plain(server)
        self._user("when_ready", server)

    def on_reload(self, server: Any) -> None:  # noqa: ANN401 - same
        """After a HUP, before the new workers; it must not end the arbiter: a look from outside will tell."""
        self._attach(server)
        try:
            self._open()
        except OSError as error:
            server.log.error("sealgate: %s", error)  # noqa: TRY400 - same
        self._answer_plain(server)
        self._user("on_reload", server)

    def child_exit(self, server: Any, worker: Any) -> None:  # noqa: ANN401 - same
        """A worker's connections are no more; those from before an apply were never counted."""
        if isinstance(worker, Worker):
            Budget(0, fd=self.budget).clear(Worker.place_of(worker))
        self._user("child_exit", server, worker)

    def on_exit(self, server: Any) -> None:  # noqa: ANN401 - same
        """The end."""
        self._close()
        self._user("on_exit", server)

    def _user(self, name: str, *arguments: Any) -> None:  # noqa: ANN401 - same
        hook = self.users.get(name)
        if callable(hook):
            hook(*arguments)

    # What they do

    def _attach(self, server: Any) -> None:  # noqa: ANN401 - same
        """See to it that a HUP after which ours is gone leaves nothing of ours open.

        Right after the configuration was read: workers that are forked later would inherit the listeners.
        """
        app = server.app
        if "reload" in vars(app):
            return
        original: Callable[[], None] = app.reload

        def reload() -> None:
            before = self.loads
            original()
            if self.loads == before:
                del app.reload
                self._close()
                self.beside.leave(server)
                _standing.clear()

        app.reload = reload

    def _open(self) -> None:
        """Listen on the policy's plain addresses, and on no other.

        Raises:
            OSError: one of them is taken.
        """
        wanted = self.policy.listen.http
        for endpoint in [one for one in self.listeners if one not in wanted]:
            self.listeners.pop(endpoint).close()
        for endpoint in wanted:
            if endpoint not in self.listeners:
                try:
                    self.listeners[endpoint] = listening(endpoint)
                except OSError as error:
                    raise OSError(f"cannot listen on {endpoint}: {error}") from None

    def _answer_plain(self, server: Any) -> None:  # noqa: ANN401 - same
        """Start the process that answers plain HTTP; the one before ends when it has finished."""
        if not self.listeners:
            self.beside.end()
            return
        numbers = tuple(listener.fileno() for listener in self.listeners.values())
        orders = Redirect.of(self.policy, listeners=numbers, parent=os.getpid(), budget=self.budget)
        self.beside.begin(orders, server.log.error)
        self.beside.keep(server)

    def _close(self) -> None:
        while self.listeners:
            self.listeners.popitem()[1].close()
        self.beside.end()


_standing: list[_Site] = []
"""Of this process: none or one."""


def applied(
    names: Mapping[str, Any], *, chain: str, key: str, trust: str, lists: str, policy: str
) -> dict[str, object]:
    """Gunicorn's settings by a policy that was applied.

    Args:
        names: what the user's file says; his hooks are among it.
        chain: as :class:`RenderFacts` has it.
        key: likewise.
        trust: likewise.
        lists: likewise.
        policy: the text of a policy file.

    Raises:
        SealgateError: policy or certificate are no good; nothing is served by halves.
    """
    read = loads(policy, path=Path(DEFAULT_NAME).absolute(), environ={}).policy
    verify_pair(Path(chain).read_bytes(), Path(key).read_bytes(), chain)
    facts = RenderFacts(
        policy=read,
        profile=load_profile(read.tls.profile),
        backend="wsgi",
        chain=chain,
        key=key,
        certificate_folder=str(Path(chain).parent),
        trust=trust,
        lists=lists,
    )
    site = _standing[0] if _standing else _Site(read, names, 0, shared_memory(PLACES), {})
    orders = Orders.of(facts)
    plan = Plan(orders, journal=False, budget=site.budget, compiled=compile_policy(read, 1, guards=GUARDED))
    values = {name: value for name, value in settings(plan).items() if name not in _YOURS}
    _standing[:] = [site]
    # The user's hooks as they are now; when our file is executed twice, ours are not his.
    hooks = {name: getattr(site, name) for name in _HOOKS}
    site.policy, site.loads = read, site.loads + 1
    site.users = {name: names[name] for name in _HOOKS if name in names and names[name] != hooks[name]}
    binds = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in orders.binds]
    return {**values, "bind": binds, "worker_class": Worker.by(plan), **hooks}


_HOOKS = ("on_starting", "when_ready", "on_reload", "child_exit", "on_exit")
