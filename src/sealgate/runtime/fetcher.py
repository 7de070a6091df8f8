"""The fetcher: a process without keys that asks one address of a stranger's choice, and ends.

Started as ``python -P -m sealgate.runtime.fetcher``. What to ask comes as one line of JSON on standard input;
what came goes into memory that was handed over, and one line of JSON about it to standard output. Whoever
takes this process over through an answer has no key, no file and no order to give; what it brings is judged
by the keeper as what a stranger brings.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import os
import sys
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

from sealgate._system.fetch import Bounds, Failed, Fetched, Posted, Tag, Unchanged, Why, fetch, verifying
from sealgate._system.process import die_with_parent

__all__ = ["Errand", "answer_of", "main"]

_LONGEST = 64 * 1024
_CONNECT = 3.0
_ENDED = Failed(Why.ANSWER, "who was sent to fetch it came to an end")


@dataclass(frozen=True, slots=True)
class Errand:
    """What to ask.

    Attributes:
        parent: pid of who waits.
        url: as a certificate, or the policy, has it.
        memory: descriptor for what comes.
        allowed: networks that may be asked though they are not of the whole internet.
        etag, modified: of what we have; both empty: of nothing.
        size: bytes that may come.
        seconds: for everything.
        post: what is sent by POST, base64; empty: nothing is (GET).
        kind: its media type.
        roots: certificates in PEM by which the server is believed; empty: the system's.
    """

    parent: int
    url: str
    memory: int
    allowed: tuple[str, ...] = ()
    etag: str = ""
    modified: str = ""
    size: int = 64 * 1024 * 1024
    seconds: float = 60.0
    post: str = ""
    kind: str = ""
    roots: str = ""


def _told(answer: Fetched | Unchanged | Failed) -> dict[str, Any]:
    match answer:
        case Fetched(body, tag):
            return {"size": len(body), "etag": tag.etag, "modified": tag.modified}
        case Unchanged():
            return {"unchanged": True}
        case Failed(why, said, again):
            return {"why": why.value, "said": said, "again": again.total_seconds() if again else None}


def answer_of(line: bytes, memory: int, errand: Errand) -> Fetched | Unchanged | Failed:
    """What a fetcher told; whatever is no sound word of it is a failure.

    Args:
        line: from its standard output.
        memory: descriptor of what came.
        errand: what it was told.
    """
    try:
        told = json.loads(line)
        if "size" in told:
            body = os.pread(memory, min(os.fstat(memory).st_size, errand.size + 1), 0)
            if told["size"] == len(body) <= errand.size:
                return Fetched(body, Tag(str(told["etag"])[:1024], str(told["modified"])[:1024]))
            return _ENDED
        if told.get("unchanged") is True and (errand.etag or errand.modified):
            return Unchanged()
        again = told["again"]
        wait = timedelta(seconds=min(float(again), 1e9)) if again is not None else None
        said = ascii(str(told["said"]))[1:-1][:200]
        return Failed(Why(told["why"]), said, wait)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return _ENDED


def _written(memory: int, body: bytes) -> None:
    at = 0
    view = memoryview(body)
    while at < len(body):
        at += os.pwrite(memory, view[at:], at)


def main() -> int:
    """Ask, and tell."""
    errand = Errand(**json.loads(sys.stdin.buffer.readline(_LONGEST)))
    die_with_parent(errand.parent)
    allowed = tuple(map(ipaddress.ip_network, errand.allowed))
    tag = Tag(errand.etag, errand.modified)
    bounds, post = Bounds(size=errand.size, seconds=errand.seconds), None
    if errand.post:  # a few hundred bytes each way: the time for all of it bounds them
        post = Posted(base64.b64decode(errand.post), errand.kind)
        bounds = replace(bounds, connect=_CONNECT, window=errand.seconds, least=1)
    context = verifying(errand.roots) if errand.roots else None
    answer = asyncio.run(
        fetch(errand.url, tag=tag, allowed=allowed, context=context, bounds=bounds, post=post)
    )
    if isinstance(answer, Fetched):
        _written(errand.memory, answer.body)
    sys.stdout.buffer.write(json.dumps(_told(answer)).encode() + b"\n")
    return 0


def order(errand: Errand) -> bytes:
    """The line for its standard input."""
    return json.dumps(asdict(errand)).encode() + b"\n"


if __name__ == "__main__":
    sys.exit(main())
