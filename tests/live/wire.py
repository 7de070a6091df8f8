"""Clients that send exactly the bytes they are told to, over HTTP/1.1 and HTTP/2, and read what comes."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from tests.live.served import Served, is_whole, serve

Fields = list[tuple[str, str]]


@dataclass
class Answer:
    """One HTTP answer; field names in lower case."""

    status: int
    fields: Fields
    body: bytes = b""
    complete: bool = True

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]

    def one(self, name: str) -> str:
        values = self.all(name)
        assert len(values) == 1, f"{name}: {values}"
        return values[0]

    @property
    def problem(self) -> dict[str, Any]:
        """The RFC 9457 object, checked against the status."""
        assert self.one("content-type") == "application/problem+json"
        data: dict[str, Any] = json.loads(self.body)
        assert data["status"] == self.status
        return data

    @property
    def slug(self) -> str:
        return str(self.problem["type"]).rpartition(":")[2]


_LAST_WORD = 0.05
"""Seconds for what a peer might say after an answer with which, it said, the connection ends."""


def read_until_closed(sock: socket.socket, *, silence: float = 5.0, settle: float = 0.2) -> bytes:
    """What comes until the peer closes, says nothing for `silence` s, or no more for `settle` s."""
    sock.settimeout(silence)
    data = b""
    try:
        while piece := sock.recv(65536):
            data += piece
            sock.settimeout(_LAST_WORD if is_whole(data) else settle)
    except OSError:  # silence, or a reset
        pass
    return data


def parse(data: bytes) -> list[Answer]:
    """All answers in a row, as HTTP/1.1."""
    answers = []
    while data:
        head, separator, rest = data.partition(b"\r\n\r\n")
        assert separator, f"cut off: {data[:200]!r}"
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = [(k.lower(), v.strip()) for k, _, v in (line.partition(":") for line in lines)]
        answer = Answer(int(first.split()[1]), fields)
        answer.body, data, answer.complete = _body(answer, rest)
        answers.append(answer)
    return answers


def _body(answer: Answer, rest: bytes) -> tuple[bytes, bytes, bool]:
    if answer.status < 200 or answer.status in {204, 304}:
        return b"", rest, True
    if answer.all("transfer-encoding"):
        return _chunks(rest)
    if lengths := answer.all("content-length"):
        length = int(lengths[0])
        return rest[:length], rest[length:], len(rest) >= length
    return rest, b"", True


def _chunks(rest: bytes) -> tuple[bytes, bytes, bool]:
    body = b""
    while True:
        line, separator, rest = rest.partition(b"\r\n")
        if not separator:
            return body, b"", False
        size = int(line, 16)
        if size == 0:
            return body, rest[2:], True
        body, rest = body + rest[:size], rest[size + 2 :]


def tell(served: Served, data: bytes, *, settle: float = 0.2) -> list[Answer]:
    """Send these bytes over TLS as HTTP/1.1, and read all answers."""
    with served.connect() as tls:
        tls.sendall(data)
        return parse(read_until_closed(tls, settle=settle))


def tell_plain(served: Served, data: bytes) -> list[Answer]:
    """The same on the plain port."""
    with socket.create_connection((served.host, served.http), timeout=20) as sock:
        sock.sendall(data)
        return parse(read_until_closed(sock))


def get(host: str, path: str = "/", *fields: str, method: str = "GET", close: bool = True) -> bytes:
    """An HTTP/1.1 request without a body."""
    last = ["Connection: close"] if close else []
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *fields, *last, "", ""]).encode(
        "latin-1"
    )


@dataclass
class H2:
    """An HTTP/2 connection that may say what it should not."""

    sock: socket.socket
    wire: h2.connection.H2Connection = field(init=False)
    answers: dict[int, Answer] = field(default_factory=dict)
    resets: dict[int, int] = field(default_factory=dict)
    ended: bool = False

    def __post_init__(self) -> None:
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding="latin-1",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.wire = h2.connection.H2Connection(config)
        self.wire.initiate_connection()
        self.wire.increment_flow_control_window(1 << 30)
        self.wire.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: (1 << 31) - 1})
        self.flush()

    def flush(self) -> None:
        self.sock.sendall(self.wire.data_to_send())

    def headers(self, fields: Iterable[tuple[str | bytes, str | bytes]], *, end: bool = True) -> int:
        """Begin a stream; pseudo fields included."""
        stream = self.wire.get_next_available_stream_id()
        coded = [(_bytes(k), _bytes(v)) for k, v in fields]
        self.wire.send_headers(stream, coded, end_stream=end)
        self.flush()
        return stream

    def data(self, stream: int, body: bytes, *, end: bool = True) -> None:
        """Send a body, waiting for windows; stops where the stream is over."""
        while body and not self.over(stream):
            size = min(
                len(body), self.wire.local_flow_control_window(stream), self.wire.max_outbound_frame_size
            )
            if size <= 0:
                self.step(5)
                continue
            self.wire.send_data(stream, body[:size])
            body = body[size:]
            self.flush()
        if end and not self.over(stream):
            self.wire.end_stream(stream)
            self.flush()

    def over(self, stream: int) -> bool:
        answer = self.answers.get(stream)
        return self.ended or stream in self.resets or (answer is not None and answer.complete)

    def step(self, seconds: float) -> bool:
        """Take in what comes next; false if nothing came."""
        self.sock.settimeout(seconds)
        try:
            data = self.sock.recv(65536)
        except TimeoutError:
            return False
        except OSError:
            data = b""
        if not data:
            self.ended = True
            return False
        try:
            events = self.wire.receive_data(data)
        except h2.exceptions.ProtocolError:  # this library takes nothing in after GOAWAY
            self.ended = True
            return False
        for event in events:
            self._take(event)
        self.flush_quietly()
        return True

    def flush_quietly(self) -> None:
        try:
            self.flush()
        except OSError:
            self.ended = True

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            fields = [(str(k), str(v)) for k, v in event.headers or []]
            answer = Answer(
                int(dict(fields)[":status"]), [f for f in fields if f[0] != ":status"], complete=False
            )
            self.answers[event.stream_id or 0] = answer
        elif isinstance(event, h2.events.DataReceived):
            self.answers[event.stream_id or 0].body += event.data or b""
            self.wire.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
        elif isinstance(event, h2.events.StreamEnded):
            self.answers[event.stream_id or 0].complete = True
        elif isinstance(event, h2.events.StreamReset):
            self.resets[event.stream_id or 0] = int(event.error_code or 0)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.ended = True

    def wait(self, stream: int, seconds: float = 10) -> Answer | None:
        """The complete answer, or None where the stream or the connection was cut instead."""
        end = time.monotonic() + seconds
        while not self.over(stream) and (left := end - time.monotonic()) > 0:
            self.step(left)
        return self.answers.get(stream)

    def ask(
        self,
        path: str,
        host: str,
        *fields: tuple[str | bytes, str | bytes],
        method: str = "GET",
        body: bytes = b"",
    ) -> Answer | None:
        """One request and its answer."""
        pseudo = [(":method", method), (":scheme", "https"), (":authority", host), (":path", path)]
        stream = self.headers([*pseudo, *fields], end=not body)
        if body:
            self.data(stream, body)
        return self.wait(stream)


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")


def h2_connection(served: Served) -> H2:
    """A fresh HTTP/2 connection; close its `sock`."""
    return H2(served.connect(alpn="h2"))


@dataclass
class Witness:
    """What reached the app (`apps/witness.py`), in order."""

    path: Path

    def lines(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def since(self, mark: int) -> list[dict[str, Any]]:
        """Whole requests; one whose body broke off was called and told so, and may be recorded late."""
        return [line for line in self.lines()[mark:] if not line.get("broken")]

    @property
    def mark(self) -> int:
        return len(self.lines())

    def wait_for(self, served: Served, path: str, name: str) -> dict[str, Any]:
        """The line of this path and name, once it is there."""

        def found() -> list[dict[str, Any]]:
            return [
                line
                for line in self.lines()
                if (line["path"], line.get("name", line.get("query"))) == (path, name)
            ]

        served.wait_for(found)
        return found()[0]


@contextmanager
def witnessed(
    folder: Path, *, app: str = "witness:app", env: Mapping[str, str] | None = None, **tables: Any
) -> Iterator[tuple[Served, Witness]]:
    """A running Sealgate whose app records what reaches it."""
    record = folder / "app" / "witness.jsonl"  # not beside the state directory: the app may not write there
    record.parent.mkdir()
    with serve(folder, app=app, env={"WITNESS": str(record), **(env or {})}, **tables) as served:
        yield served, Witness(record)
