"""One POST over HTTP/1.1, and the status of its answer: bounded in time and size, never led elsewhere.

Not a general client: no redirect is followed, no proxy is asked, no cookie is kept, and of the answer only
its first line counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Target", "post"]

_LONGEST_LINE = 4096


@dataclass(frozen=True, slots=True)
class Target:
    """Where to. ``context`` None: plain HTTP."""

    host: str
    port: int
    path: str
    context: ssl.SSLContext | None

    @property
    def authority(self) -> str:
        """For the Host field."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.context else 80) else f"{host}:{self.port}"


async def post(target: Target, body: bytes, headers: Mapping[str, str], *, seconds: float) -> int:
    """Send it.

    Args:
        target: where to.
        body: sent whole.
        headers: further fields; checked for line ends.
        seconds: for everything together: name, connection, handshake, sending, answer.

    Returns:
        the status.

    Raises:
        OSError: no connection, no handshake (``ssl.SSLError``), no HTTP answer, too late (``TimeoutError``).
    """
    fields = {
        "Host": target.authority,
        "User-Agent": "sealgate",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    if head.count("\n") != len(fields):
        raise ValueError("a line end in a header field")
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(
            target.host, target.port, ssl=target.context, limit=_LONGEST_LINE
        )
        try:
            writer.write(f"POST {target.path} HTTP/1.1\r\n{head}\r\n".encode("ascii") + body)
            await writer.drain()
            return _status(await _line(reader))
        finally:
            # Nothing more is of interest, and nobody is waited for.
            with contextlib.suppress(OSError):
                writer.transport.abort()


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError:
        raise OSError("no HTTP answer (its first line has no end)") from None


def _status(line: bytes) -> int:
    version, _, rest = line.partition(b" ")
    code = rest[:3]
    if not version.startswith(b"HTTP/1.") or not (code.isdigit() and len(code) == 3):
        raise OSError("no HTTP answer")
    return int(code)
