"""The app's threads: a fixed number of turns to run it, and more threads than that only while some wait.

Theory: a turn is the right to run the app. A request is begun when there is one. A thread that must wait for
a slow reader steps aside: it gives its turn to whoever is next, and asks for another one before it goes on.
New requests and threads that come back stand in one queue, so nobody is passed over. So never more than
`threads` calls of the app run at once, however many readers are waited for.
"""

from __future__ import annotations

import threading
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue

__all__ = ["Turns"]

_IDLE_SECONDS = 30.0  # after which a thread that is one too many ends

Task = Callable[[], object]


class Turns:
    """Stands where Gunicorn has its thread pool.

    Args:
        threads: turns.
    """

    def __init__(self, threads: int) -> None:
        self._threads = self._free = threads
        self._lock = threading.Lock()
        self._queue: deque[Task | threading.Event] = deque()
        self._tasks: SimpleQueue[Task] = SimpleQueue()
        self._count = self._idle = 0

    def submit(self, task: Callable[..., object], *args: object) -> None:
        """Run it in a thread, when it is its turn. Never waits."""
        with self._lock:
            self._queue.append(partial(task, *args))
            self._dispatch()

    def step_aside(self) -> None:
        """From a thread that has a turn: somebody else may have it."""
        with self._lock:
            self._free += 1
            self._dispatch()

    def come_back(self) -> None:
        """Wait for a turn."""
        mine = threading.Event()
        with self._lock:
            self._queue.append(mine)
            self._dispatch()
        mine.wait()

    def shutdown(self, *, wait: bool = True) -> None:
        """As of Gunicorn's own pool; these threads keep no process from its end."""

    def _dispatch(self) -> None:
        """Give out the free turns. Under the lock."""
        while self._free and self._queue:
            heir = self._queue[0]
            if isinstance(heir, threading.Event):
                heir.set()
            elif self._idle:
                self._idle -= 1
                self._tasks.put(heir)
            elif not self._another(heir):
                return  # the next thread that is done takes it
            self._queue.popleft()
            self._free -= 1

    def _another(self, task: Task) -> bool:
        """Start a thread with this task; false: the system gives no more of them."""
        try:
            threading.Thread(target=self._work, args=(task,), name="app", daemon=True).start()
        except RuntimeError:
            return False
        self._count += 1
        return True

    def _work(self, task: Task | None) -> None:
        while task is not None:
            try:
                task()
            except BaseException:  # noqa: BLE001 - a turn that was never given back would be missed for ever
                traceback.print_exc()
            with self._lock:
                self._idle += 1
                self._free += 1
                self._dispatch()
            task = self._next()

    def _next(self) -> Task | None:
        """The next task of this thread; None: it is one too many."""
        while True:
            try:
                return self._tasks.get(timeout=_IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if self._idle and self._count > self._threads:
                        self._idle -= 1
                        self._count -= 1
                        return None
