"""A snapshot where no keeper runs: the state directory, and handshakes with whoever serves. Blocking."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from datetime import datetime
from functools import partial

import sealgate
from sealgate.engines.registry import engine
from sealgate.errors import SealgateError
from sealgate.monitor import gather, installed
from sealgate.monitor.snapshot import Drift, Listener, Snapshot
from sealgate.pki.state import State
from sealgate.policy.model import Policy

__all__ = ["alone"]

_NO_NAMES: tuple[str, ...] = ()
_NO_LISTENERS: tuple[Listener, ...] = ()
_NO_DRIFT: tuple[Drift, ...] = ()


def alone(
    state: State,
    policy: Policy,
    now: datetime,
    environ: Mapping[str, str] = os.environ,
    *,
    watcher: bool = False,
) -> Snapshot:
    """Everything that can be known without a keeper.

    Args:
        state: read, never written.
        policy: as it is on disk.
        now: the present.
        environ: where the engine's program is looked for.
        watcher: does `sealgate watch` run?
    """
    tries = gather.Tries()
    live = tries("certificate", lambda: gather.live_certificate(state, policy), None)
    servers = tries("installed servers", lambda: installed.servers(state), _NO_NAMES)
    wanted = live.shown if live else {}
    listeners = tries("listeners", lambda: gather.look(policy, wanted, now), _NO_LISTENERS)
    listeners += tries("plain listeners", lambda: gather.look_plain(policy, now), _NO_LISTENERS)
    drift = _NO_DRIFT
    for server in servers:
        drift += tries(server, partial(installed.drift, state, policy.site.names[0], server), _NO_DRIFT)
    kind = engine(servers[0] if len(servers) == 1 else policy.site.engine)
    version = ""
    if servers:
        with contextlib.suppress(SealgateError):
            version = kind.program(environ, True).version  # noqa: FBT003 - as the contract has it
    read = tries("store", lambda: gather.record(state, policy, now), gather.Record())
    return Snapshot(
        at=now,
        version=sealgate.__version__,
        site=gather.site_facts(policy),
        engine=gather.engine_facts(kind.id, kind.title, version, kind.versions),
        certificate=gather.certificate(policy, live, state),
        second=gather.second(policy, live, state),
        missing=gather.missing(policy, live),
        listeners=listeners,
        authorities=tries("authorities", lambda: gather.authorities(state, policy), ()),
        lists=tries("revocation lists", lambda: gather.lists(state, policy), ()),
        clients=read.clients,
        renewals=read.renewals,
        drift=drift,
        troubles=tuple(tries.troubles),
        servers=tuple(engine(server).title for server in servers),
        watcher=watcher,
    )
