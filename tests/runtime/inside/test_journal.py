"""Lines of a log: whole, JSON, bounded; and nobody waits for a reader that does not read."""

from __future__ import annotations

import json
import os
import time

from hypothesis import given
from hypothesis import strategies as st

from sealgate.runtime.inside import journal as module
from sealgate.runtime.inside.cycle import Exchange, peer_text
from sealgate.runtime.inside.journal import Journal


def everything(fd: int) -> list[bytes]:
    data = b""
    while piece := os.read(fd, 65536):
        data += piece
    os.close(fd)
    assert data == b"" or data.endswith(b"\n")
    return data.splitlines()


def written(*events: dict[str, object]) -> list[dict[str, object]]:
    reading, writing = os.pipe()
    journal = Journal(writing)
    for event in events:
        journal.write(event)
    journal.close()
    os.close(writing)
    return [json.loads(line) for line in everything(reading)]


def test_order_and_empty_values() -> None:
    assert written({"status": 200, "host": "", "client": None}, {"status": 404}) == [
        {"status": 200},
        {"status": 404},
    ]


def test_many_lines_are_all_there() -> None:
    events: list[dict[str, object]] = [{"status": number, "path": "/" + "x" * 90} for number in range(400)]
    assert written(*events) == events


@given(st.text(), st.text(max_size=9000), st.text(max_size=9000))
def test_hostile_text_stays_inside_its_value(host: str, path: str, agent: str) -> None:
    line = module._line({"status": 1, "host": host, "path": path, "user_agent": agent})
    assert line.count(b"\n") == 1
    assert len(line) <= 4096
    assert json.loads(line)["status"] == 1
    exchange = Exchange(5.0, peer_text("192.0.2.1", "TLSv1.3", "X", b"der"))
    exchange.host, exchange.path, exchange.agent, exchange.method = host, path, agent, path
    text = exchange.line(1_000_000_000.25, 5.0)
    assert "\n" not in text
    said = json.loads(text)
    assert said["time"] == "2001-09-09T01:46:40.250Z"
    assert (said["address"], said["status"], said["milliseconds"]) == ("192.0.2.1", 0, 0)
    assert said.get("path", "") == path[:512]


def test_a_reader_that_stops_holds_up_nobody_and_the_loss_is_said() -> None:
    reading, writing = os.pipe()
    journal = Journal(writing)
    began = time.monotonic()
    for _ in range(module._MOST + 2000):
        journal.write({"status": 200, "path": "/" + "x" * 60})
    assert time.monotonic() - began < 5
    time.sleep(3 * module._EVERY)  # the pipe is full now, and the thread waits
    for _ in range(module._MOST + 2000):
        journal.write({"status": 200})
    import threading

    lines: list[bytes] = []
    reader = threading.Thread(target=lambda: lines.extend(everything(reading)))
    reader.start()
    journal.close(10)
    os.close(writing)
    reader.join()
    lost = [json.loads(line) for line in lines if b"lines-lost" in line]
    assert lost
    told = sum(int(line["lines"]) for line in lost)
    assert told + len(lines) - len(lost) == 2 * (module._MOST + 2000)


def test_a_closed_output_is_nobodys_problem() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    journal = Journal(writing)
    journal.write({"status": 200})
    journal.close()
    os.close(writing)
