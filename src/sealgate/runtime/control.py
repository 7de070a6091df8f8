"""Orders to a running keeper: one JSON object a line, over a unix socket that only its own user can reach.

An app worker may have the same uid. So the peer must also show a token from a file (0600) that Landlock
hides from workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from sealgate._system.files import write_atomic
from sealgate._system.sockets import bind_unix, connect_unix, peer_uid
from sealgate.errors import ControlError, Exit, SealgateError

__all__ = ["Control", "ask"]

_SOCKET, _TOKEN = "control.sock", "control.token"
_LONGEST = 1 << 20
_HEAR = 5.0
_MOST = 64
"""Connections at a time: who has no token is heard for a while, and could fill the keeper's memory."""
_ANSWER = 330.0

Handler = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


def ask(state: Path, order: Mapping[str, Any]) -> dict[str, Any]:
    """Give the running keeper an order and wait for its answer.

    Args:
        state: the state directory.
        order: `{"order": "renew", ...}`.

    Raises:
        ControlError: `keeper-not-running`; or what the keeper answered, with its code.
    """
    run = state / "run"
    try:
        token = (run / _TOKEN).read_text()
        with connect_unix(run / _SOCKET, timeout=_ANSWER) as sock:
            sock.sendall(json.dumps({"token": token, **order}).encode() + b"\n")
            with sock.makefile("rb") as file:
                line = file.readline(_LONGEST)
    except (OSError, ValueError) as error:
        raise ControlError(
            "keeper-not-running", f"no keeper answers in {state} ({error})", "start it with: sealgate serve"
        ) from None
    if not line:
        raise ControlError("keeper-gone", "the keeper gave no answer", "look at what it said")
    answer: dict[str, Any] = json.loads(line)
    if "code" in answer:
        refusal = ControlError(answer["code"], answer["fact"], answer["remedy"])
        refusal.exit = Exit(answer["exit"])  # as if it had been found without a keeper
        raise refusal
    return answer


class Control:
    """The keeper's side."""

    def __init__(self, run: Path, handler: Handler) -> None:
        self._run = run
        self._handler = handler
        self._token = secrets.token_urlsafe(32)
        self._server: asyncio.Server | None = None
        self._heard = 0

    async def open(self) -> None:
        """Begin to listen."""
        write_atomic(self._run / _TOKEN, self._token.encode())
        sock = bind_unix(self._run / _SOCKET)
        self._server = await asyncio.start_unix_server(self._serve, sock=sock, limit=_LONGEST)

    async def close(self) -> None:
        """Listen no more, and leave nothing behind."""
        if self._server is not None:
            self._server.close()
        for name in (_SOCKET, _TOKEN):
            (self._run / name).unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._heard < _MOST:
            self._heard += 1
            try:
                with contextlib.suppress(OSError, ValueError, TimeoutError):
                    answer = await self._answer(reader, writer)
                    writer.write(json.dumps(answer, default=str).encode() + b"\n")
                    await writer.drain()
            finally:
                self._heard -= 1
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict[str, Any]:
        sock: socket.socket = writer.get_extra_info("socket")
        line = await asyncio.wait_for(reader.readline(), _HEAR)
        if peer_uid(sock) not in (0, os.geteuid()):
            return _no("control-forbidden", "the keeper takes no orders from another user", "run as its user")
        order = _order(line)
        if not hmac.compare_digest(
            str(order.get("token", "")).encode(errors="replace"), self._token.encode()
        ):
            return _no("control-forbidden", "the keeper's token was not shown", "run the command again")
        try:
            return await self._handler(order)
        except SealgateError as error:
            return _no(error.code, error.fact, error.remedy, error.exit)
        except Exception as error:  # noqa: BLE001 - whoever asked must get an answer, and the keeper goes on
            fact = f"the keeper did something wrong itself ({type(error).__name__}: {error})"
            return _no("internal-error", fact, "report this, after taking out what is private")


def _order(line: bytes) -> dict[str, Any]:
    """What was asked; garbage is an order without a token."""
    try:
        order = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return order if isinstance(order, dict) else {}


def _no(code: str, fact: str, remedy: str, status: Exit = Exit.FAILED) -> dict[str, Any]:
    return {"code": code, "fact": fact, "remedy": remedy, "exit": int(status)}
