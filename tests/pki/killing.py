"""Processes that die at a chosen step: as hard as a power cut, as far as a process can tell."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Callable
from multiprocessing.process import BaseProcess

Step = Callable[[str], None]
_FORK = multiprocessing.get_context("fork")
KILLED = 9


def _start(process: BaseProcess) -> None:
    with warnings.catch_warnings():
        # Python 3.12 warns of forks beside threads (pytest-xdist's); the child does our own work only.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()


def steps_of(work: Callable[[Step], object]) -> list[str]:
    """Every step that ``work`` takes, in order, numbered; it is done in a process of its own."""
    ours, theirs = _FORK.Pipe()

    def child() -> None:
        names: list[str] = []
        work(names.append)
        theirs.send(names)
        os._exit(0)

    process = _FORK.Process(target=child)
    _start(process)
    assert ours.poll(60), "the work did not end"
    names: list[str] = ours.recv()
    process.join(30)
    return names


def die_at(number: int, work: Callable[[Step], object]) -> int:
    """Do ``work`` in a process that ends at its step ``number`` (from 0), and return how it ended."""

    def child() -> None:
        taken = 0

        def step(_name: str) -> None:
            nonlocal taken
            if taken == number:
                os._exit(KILLED)
            taken += 1

        work(step)
        os._exit(0)

    process = _FORK.Process(target=child)
    _start(process)
    process.join(60)
    assert process.exitcode is not None
    return process.exitcode
