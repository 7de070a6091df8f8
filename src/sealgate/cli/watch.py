"""``sealgate watch``: the watcher alone, beside servers that Sealgate does not run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealgate.cli._options import Context, common_options, load_context
from sealgate.cli._output import note

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from sealgate.monitor.snapshot import Snapshot
    from sealgate.pki.state import State
    from sealgate.runtime.following import Following

__all__ = ["command"]

_EVERY = 20.0  # seconds: each look is some connections, of which the server's access log may tell


@click.command("watch", short_help="Watch a deployment that other servers serve.")
@common_options
def command(config: Path | None, state: Path | None, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Page, metrics, probes and alerts, until SIGTERM; `sealgate serve` does the same by itself.

    A changed policy counts within 20 seconds, or at once with SIGHUP; a bad one is an alert, and the one
    before it stays.

    Apps under `sealgate.protect` judge by what this hands out: policy, revocations, keys. Without it they
    answer 503.

    Reads the state directory and shakes hands with the listeners; of the state nothing is written but the
    watcher's own notes, and authorities and lists of clients that are taken over from the policy's files.
    """
    import asyncio

    context = load_context(config, state, as_json)
    asyncio.run(_watch(context))


async def _watch(context: Context) -> None:
    import asyncio
    import os
    import signal
    from functools import partial

    from sealgate._system.files import FileLock, private_directory
    from sealgate._system.notify import notify
    from sealgate.pki.state import State
    from sealgate.policy.load import load
    from sealgate.runtime.alone import Alone
    from sealgate.runtime.confinement import confine_watcher
    from sealgate.runtime.following import Following
    from sealgate.runtime.handing import Handing
    from sealgate.runtime.key_sets import KeySets
    from sealgate.runtime.separation import plan
    from sealgate.runtime.watching import Watching

    path = context.loaded.path
    state = State.open(context.state_path, create=False)
    with state.lock():
        pass  # a keeper that runs has a watcher of its own: state-busy, with its pid
    following = Following(lambda: load(path, environ=os.environ, euid=os.geteuid()))
    folder = private_directory(state.path / "monitor")
    separation = plan(state.path, policy=path, workers=False)
    other = asyncio.Event()
    handing = Handing(state, lambda: following.loaded, note)
    alone = Alone(state, lambda: following.loaded, handing)
    key_sets = KeySets(alone, partial(confine_watcher, separation), note)
    watching = Watching(
        folder,
        lambda: following.settings,
        lambda: asyncio.to_thread(_looked, state, following),
        partial(confine_watcher, separation),
        note,
        other,
        _EVERY,
    )
    stop, asked = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, asked.set)
    with FileLock(folder / "lock"):
        await asyncio.to_thread(key_sets.adopt, following.loaded)
        kept = (
            watching.keep(),
            handing.keep(),
            key_sets.keep(),
            _follow(following, asked, other, key_sets.poke),
        )
        tasks = [asyncio.create_task(one) for one in kept]
        click.echo(f"sealgate: {_shown(following)}")
        notify("READY=1")
        await stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _looked(state: State, following: Following) -> Snapshot:
    from dataclasses import replace

    from sealgate._system.clock import system_clock
    from sealgate.monitor.alone import alone

    found = alone(state, following.loaded.policy, system_clock(), watcher=True)
    return replace(found, drift=(*found.drift, *following.drift))


async def _follow(
    following: Following, asked: asyncio.Event, other: asyncio.Event, poke: Callable[[], None]
) -> None:
    """Take a changed policy, at each look or when asked to (SIGHUP); until cancelled."""
    import asyncio
    import contextlib
    from functools import partial

    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asked.wait(), _EVERY)
        before, forced = following.drift, asked.is_set()
        asked.clear()
        if await asyncio.to_thread(partial(following.look, asked=forced)):
            note(f"the policy was changed: {_shown(following)}")
            other.set()
            poke()
        elif following.drift and following.drift != before:
            note(f"{following.drift[0].fact}; {following.drift[0].remedy}")


def _shown(following: Following) -> str:
    where = " and ".join(map(str, following.loaded.policy.monitor.endpoints)) or "nowhere"
    return f"watching {following.loaded.policy.public_url} (shown on {where})"
