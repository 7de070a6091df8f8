"""The control socket's bounds: who only connects costs little, and keeps nobody out for long."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sealgate.errors import ControlError
from sealgate.runtime import control
from sealgate.runtime.control import Control, ask

LIMIT = 10.0


async def handler(order: Mapping[str, Any]) -> dict[str, Any]:
    return {"said": order["order"]}


def test_so_many_connections_at_a_time(tmp_path: Path) -> None:
    async def crowd() -> None:
        (tmp_path / "run").mkdir()
        keeper = Control(tmp_path / "run", handler)
        await keeper.open()
        where = str(tmp_path / "run" / "control.sock")
        silent = [await asyncio.open_unix_connection(where) for _ in range(control._MOST)]
        reader, writer = await asyncio.open_unix_connection(where)
        assert await asyncio.wait_for(reader.read(), control._HEAR / 2) == b"", (
            "one more is sent away at once"
        )
        for _, each in (*silent, (reader, writer)):
            each.close()
        async with asyncio.timeout(LIMIT):
            while True:
                with contextlib.suppress(ControlError):
                    assert await asyncio.to_thread(ask, tmp_path, {"order": "ping"}) == {"said": "ping"}
                    break
        await keeper.close()

    asyncio.run(crowd())
