"""A ClientHello with any versions, suites and groups, and the server's first answer to it."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass

HELLO_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""RFC 8446 §4.1.3."""
GROUPS = {
    "X25519MLKEM768": 0x11EC,
    "X25519": 0x1D,
    "P-256": 0x17,
    "P-384": 0x18,
    "P-521": 0x19,
    "FFDHE2048": 0x100,
}
TLS13 = (0x1301, 0x1302, 0x1303)


@dataclass(frozen=True)
class Answer:
    """Either an alert's description, or what the ServerHello (or HelloRetryRequest) chose."""

    alert: int = -1
    version: int = 0
    suite: int = 0
    group: int = 0
    retry: bool = False


def _extension(number: int, data: bytes) -> bytes:
    return struct.pack("!HH", number, len(data)) + data


def _list16(values: tuple[int, ...]) -> bytes:
    return struct.pack("!H", 2 * len(values)) + b"".join(struct.pack("!H", value) for value in values)


def client_hello(versions: tuple[int, ...], suites: tuple[int, ...], groups: tuple[int, ...]) -> bytes:
    """No key share: a server that does TLS 1.3 answers with the group it would like."""
    schemes = (0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201)
    extensions = (
        _extension(10, _list16(groups)) + _extension(11, b"\x01\x00") + _extension(13, _list16(schemes))
    )
    if versions[0] >= 0x0304:
        listed = b"".join(struct.pack("!H", version) for version in versions)
        extensions += _extension(43, bytes([len(listed)]) + listed) + _extension(51, b"\x00\x00")
    body = struct.pack("!H", min(versions[0], 0x0303)) + os.urandom(32) + b"\x00"
    body += _list16(suites) + b"\x01\x00" + struct.pack("!H", len(extensions)) + extensions
    handshake = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack("!H", len(handshake)) + handshake


def ask(address: tuple[str, int], hello: bytes) -> Answer:
    """Send it and read the first record."""
    with socket.create_connection(address, timeout=10) as sock:
        sock.sendall(hello)
        kind, _, size = struct.unpack("!BHH", _exactly(sock, 5))
        data = _exactly(sock, size)
    return Answer(alert=data[1]) if kind == 21 else _server_hello(data)


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        assert piece, f"closed after {data!r}"
        data += piece
    return data


def _server_hello(data: bytes) -> Answer:
    assert data[0] == 2, data[:4].hex()
    version, random = int.from_bytes(data[4:6], "big"), data[6:38]
    at = 39 + data[38]
    suite = int.from_bytes(data[at : at + 2], "big")
    at += 5  # suite, compression, length of the extensions
    end = min(len(data), at + int.from_bytes(data[at - 2 : at], "big"))
    group = 0
    while at + 4 <= end:
        number, size = struct.unpack("!HH", data[at : at + 4])
        value = data[at + 4 : at + 4 + size]
        if number == 43:
            version = int.from_bytes(value, "big")
        elif number == 51:
            group = int.from_bytes(value[:2], "big")
        at += 4 + size
    return Answer(version=version, suite=suite, group=group, retry=random == HELLO_RETRY)
