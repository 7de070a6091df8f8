"""The page of a snapshot, served on a port of its own by the watcher's own means."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sealgate.monitor.alerts import Notes
from sealgate.monitor.judge import judge
from sealgate.monitor.metrics import Watched
from sealgate.monitor.snapshot import Snapshot
from sealgate.monitor.web import page, probes
from sealgate.monitor.web.serving import serve
from tests.monitor.made import NOW


@dataclass
class Shown:
    """What is shown; may be changed while it is served."""

    snapshot: Snapshot | None
    port: int = 0
    fresh: bool = True

    def watched(self) -> Watched:
        alerts = judge(self.snapshot, NOW) if self.snapshot else ()
        return Watched(self.snapshot, self.fresh, alerts, Notes(), NOW)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def shown(
    snapshot: Snapshot | None, *, most: int = 64, what: str = "page", first: float | None = None
) -> Iterator[Shown]:
    """Served until the end of the block."""
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    found = Shown(snapshot, sock.getsockname()[1])
    app = page.app(found.watched, f"127.0.0.1:{found.port}") if what == "page" else probes.app(found.watched)
    loop = asyncio.new_event_loop()
    task = loop.create_task(serve(app, sock, most=most, first=first))

    def run() -> None:
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass
        finally:
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(20)
        assert not thread.is_alive()
        sock.close()
