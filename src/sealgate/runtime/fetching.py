"""The fetcher as its parent sees it: one process for each errand, which has no keys and a little time."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import sys
from collections.abc import Callable, Sequence

from sealgate._system.fetch import Failed, Fetched, Posted, Tag, Unchanged, Why
from sealgate.runtime.fetcher import Errand, answer_of, order
from sealgate.runtime.watching import environment

__all__ = ["LARGEST", "SECONDS", "fetched_apart"]

LARGEST = 64 * 1024 * 1024
"""Bytes of the largest list: 1,250,000 entries with reasons."""
SECONDS = 60.0
_LATE = 5.0
_LINE = 16 * 1024


async def fetched_apart(
    url: str,
    tag: Tag,
    *,
    allowed: Sequence[str],
    confine: Callable[[], None],
    seconds: float = SECONDS,
    size: int = LARGEST,
    post: Posted | None = None,
    roots: str = "",
) -> Fetched | Unchanged | Failed:
    """Ask one address, in a process of its own.

    Args:
        url: as a certificate, or the policy, has it.
        tag: of what we have.
        allowed: networks that may be asked though they are not of the whole internet.
        confine: run in the child before it becomes the fetcher.
        seconds: for everything.
        size: bytes that may come.
        post: sent by POST.
        roots: certificates in PEM by which the server is believed; empty: the system's.
    """
    memory = os.memfd_create("fetched", os.MFD_CLOEXEC)
    try:
        sent = base64.b64encode(post.body).decode() if post else ""
        errand = Errand(
            parent=os.getpid(),
            url=url,
            memory=memory,
            allowed=tuple(allowed),
            etag=tag.etag,
            modified=tag.modified,
            size=size,
            seconds=seconds,
            post=sent,
            kind=post.kind if post else "",
            roots=roots,
        )
        try:
            line = await _sent(errand, confine)
        except TimeoutError:
            return Failed(Why.TIME, f"no whole answer within {seconds:g} s")
        except OSError as error:
            return Failed(Why.CONNECTION, f"nobody could be sent to fetch it ({error.strerror})")
        return await asyncio.to_thread(answer_of, line, memory, errand)
    finally:
        os.close(memory)


async def _sent(errand: Errand, confine: Callable[[], None]) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "sealgate.runtime.fetcher"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE,
        env=environment(),
        cwd="/",
        pass_fds=[errand.memory],
        start_new_session=True,
        preexec_fn=confine,
    )
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - asked for
    try:
        async with asyncio.timeout(errand.seconds + _LATE):
            with contextlib.suppress(OSError):  # it ended: there is no line
                process.stdin.write(order(errand))
                await process.stdin.drain()
            process.stdin.close()
            try:
                return await process.stdout.readline()
            except ValueError:  # longer than it may be
                return b""
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
