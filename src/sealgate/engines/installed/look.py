"""Look at every listener from outside, under each name, and compare it with what is meant. Blocking.

Another site on the same address may have one of the names: what is seen under the first says nothing of that.

No look reaches the backend: a path that is not canonical is answered by the server itself, and carries HSTS
as every answer does.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import socket
import ssl
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from sealgate.engines.installed.expected import Expected
from sealgate.engines.observe import reachable
from sealgate.policy.model import Endpoint, is_address

__all__ = ["Difference", "gone", "look", "showing", "until_same"]

_TIMEOUT = 5.0
_POLL = 0.05
_VERSIONS = {
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
_ODD = "//sealgate-observe"
_LONGEST = 64 * 1024
"""Bytes of an answer's head."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it shall be.

    Attributes:
        kind: ``connection``, ``certificate``, ``protocol``, ``hsts``, ``status`` or ``redirect``.
        where: the listener, and the name where it is not the site's first.
        expected, seen: in words.
    """

    kind: str
    where: str
    expected: str
    seen: str

    def __str__(self) -> str:
        return f"{self.where}: {self.kind} is {self.seen}, not {self.expected}"


def until_same(
    look_once: Callable[[], tuple[Difference, ...]],
    seconds: float,
    again: Callable[[], None] = lambda: None,
) -> tuple[Difference, ...]:
    """Look until nothing differs, or the time is over.

    Args:
        look_once: says what differs.
        seconds: the time.
        again: called once, at half of it.

    Returns:
        what the last look showed.
    """
    begun = time.monotonic()
    end, asked = begun + seconds, False
    while (differences := look_once()) and time.monotonic() < end:
        if not asked and time.monotonic() > begun + seconds / 2:
            asked = True
            again()
        time.sleep(_POLL)
    return differences


def look(expected: Expected, fingerprint: str) -> tuple[Difference, ...]:
    """One look at every listener, under each name; where one does not answer at all, no other is tried.

    Args:
        expected: what is meant.
        fingerprint: SHA-256 of the live certificate, lower-case hex.
    """
    found: list[Difference] = []
    for endpoint in expected.https:
        found += _named(expected, partial(_https, endpoint, fingerprint))
    for endpoint in expected.http:
        found += _named(expected, partial(_plain, endpoint))
    return tuple(found)


def _named(expected: Expected, seen: Callable[[Expected, str], Iterator[Difference]]) -> Iterator[Difference]:
    """Under the first name, and then under the others."""
    for one in (expected, *map(expected.under, expected.others)):
        differences = tuple(seen(one, "" if one is expected else f" as {one.name}"))
        yield from differences
        if any(difference.kind == "connection" for difference in differences):
            return


def gone(expected: Expected, fingerprint: str) -> tuple[Difference, ...]:
    """After ours was taken out: does any listener still show our certificate?"""
    still = showing(expected, {fingerprint})
    return tuple(Difference("certificate", where, "gone", "still ours") for where in still)


def showing(expected: Expected, fingerprints: set[str]) -> tuple[str, ...]:
    """The listeners that show one of these certificates, whoever listens there."""
    found = []
    for endpoint in expected.https:
        try:
            seen, _ = _handshake(endpoint, expected)
        except (OSError, ssl.SSLError):
            continue
        if seen in fingerprints:
            found.append(str(endpoint))
    return tuple(found)


def _https(endpoint: Endpoint, fingerprint: str, expected: Expected, name: str) -> Iterator[Difference]:
    """``name`` is the words for one of the others: versions are tried under the first alone."""
    where = f"{endpoint}{name}"
    try:
        seen, protocol = _handshake(endpoint, expected)
    except (OSError, ssl.SSLError) as error:
        yield Difference("connection", where, "a TLS handshake", f"none ({error})")
        return
    if seen != fingerprint:
        yield Difference("certificate", where, fingerprint[:16], seen[:16])
    if protocol != expected.protocols[-1]:
        yield Difference("protocol", where, expected.protocols[-1], protocol)
    if expected.clients == "required":
        return  # a stranger sees no more
    if not name:
        yield from _versions(endpoint, expected)
    yield from _answer(endpoint, expected, where)


def _versions(endpoint: Endpoint, expected: Expected) -> Iterator[Difference]:
    """Older versions than the newest are spoken exactly where the profile has them."""
    for version in ("TLSv1.1", "TLSv1.2"):
        try:
            spoken = bool(_handshake(endpoint, expected, version)[1])
        except (OSError, ssl.SSLError):
            spoken = False
        wanted = version in expected.protocols
        if spoken != wanted:
            words = ("refused", "spoken")
            yield Difference("protocol", str(endpoint), f"{version} {words[wanted]}", words[spoken])


def _answer(endpoint: Endpoint, expected: Expected, where: str) -> Iterator[Difference]:
    try:
        with _connect(endpoint, expected) as raw, _wrapped(raw, expected) as tls:
            status, fields = _exchange(tls, _ODD, _host(expected.name))
    except (OSError, ssl.SSLError, http.client.HTTPException) as error:
        yield Difference("status", where, "an HTTP answer", f"none ({error})")
        return
    if status != 400:
        yield Difference("status", where, f"400 for {_ODD}", str(status))
    values = fields.get_all("strict-transport-security") or []
    if values != [expected.hsts]:
        yield Difference("hsts", where, f"{expected.hsts!r}", f"{' and '.join(values) or 'not there'!r}")


def _plain(endpoint: Endpoint, expected: Expected, name: str) -> Iterator[Difference]:
    where = f"{endpoint}{name}"
    try:
        with _connect(endpoint, expected) as sock:
            status, fields = _exchange(sock, "/", _host(expected.name))
    except (OSError, http.client.HTTPException) as error:
        yield Difference("connection", where, "an HTTP answer", f"none ({error})")
        return
    if status != expected.plain:
        yield Difference("status", where, str(expected.plain), str(status))
    location = fields.get("location", "")
    if location != expected.location:
        yield Difference("redirect", where, repr(expected.location), repr(location))


def _host(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def _connect(endpoint: Endpoint, expected: Expected) -> socket.socket:
    sock = socket.create_connection(reachable(endpoint), timeout=_TIMEOUT)
    if expected.proxy_protocol:
        sock.sendall(b"PROXY UNKNOWN\r\n")
    return sock


def _wrapped(raw: socket.socket, expected: Expected, version: str = "") -> ssl.SSLSocket:
    """A handshake as a stranger: nothing is verified. With a version, that one alone, however old."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # old on purpose: it must be refused
            context.minimum_version = context.maximum_version = _VERSIONS[version]
        context.set_ciphers("ALL:@SECLEVEL=0")
    return context.wrap_socket(raw, server_hostname=None if is_address(expected.name) else expected.name)


def _handshake(endpoint: Endpoint, expected: Expected, version: str = "") -> tuple[str, str]:
    """Fingerprint and version."""
    with _connect(endpoint, expected) as raw, _wrapped(raw, expected, version) as tls:
        der = tls.getpeercert(binary_form=True) or b""
        return hashlib.sha256(der).hexdigest(), tls.version() or ""


def _exchange(sock: socket.socket, target: str, host: str) -> tuple[int, http.client.HTTPMessage]:
    request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: sealgate\r\nConnection: close\r\n\r\n"
    sock.sendall(request.encode("ascii"))
    line, _, fields = _head(sock).partition(b"\r\n")
    words = line.split(None, 2)
    if not line.startswith(b"HTTP/") or len(words) < 2 or not (words[1].isdigit() and len(words[1]) == 3):
        raise http.client.BadStatusLine(repr(line[:80]))
    return int(words[1]), http.client.parse_headers(io.BytesIO(fields))


def _head(sock: socket.socket) -> bytes:
    """Status line and fields. Whoever has the address may be slow, or never end: all of it has one time."""
    end, heard = time.monotonic() + _TIMEOUT, b""
    while b"\r\n\r\n" not in heard:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError("its head takes too long")
        if len(heard) > _LONGEST:
            raise OSError("its head has no end")
        sock.settimeout(left)
        data = sock.recv(65536)
        if not data:
            raise OSError("it ended the connection")
        heard += data
    return heard.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
