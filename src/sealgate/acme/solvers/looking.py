"""Looking at our own listeners from outside, before an authority does: who is there, and what does he answer?

Bounded like everything that is asked of a network: a stranger may have the port, and be slow or endless.
"""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sealgate._system.ports import owner
from sealgate.acme.problems import quoted
from sealgate.errors import AcmeError, Fault
from sealgate.policy.quoting import printable
from sealgate.policy.values import Endpoint

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["Sight", "Verdict", "judge", "look", "refusal", "until_right"]

_EVERY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is connected to instead
_LARGEST = 4096
_PAUSE = 0.1

Verdict = Literal["right", "closed", "silent", "redirect", "other", "broken"]


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen at one listener.

    Attributes:
        how: what this is known by, for people; hostile parts are escaped.
    """

    verdict: Verdict
    how: str = ""


def reach(endpoint: Endpoint) -> tuple[str, int]:
    """Where to connect to reach a listener on this machine."""
    return _EVERY.get(endpoint.host, endpoint.host), endpoint.port


class _Limited(socket.socket):
    """A connection that ends at a time (monotonic seconds)."""

    deadline = 0.0

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """As of the class above."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.settimeout(left)
        return super().recv_into(buffer, nbytes, flags)


def _connected(endpoint: Endpoint, seconds: float) -> socket.socket:
    sock = socket.create_connection(reach(endpoint), timeout=seconds)
    limited = _Limited(sock.family, sock.type, sock.proto, fileno=sock.detach())
    limited.settimeout(seconds)
    limited.deadline = time.monotonic() + seconds
    return limited


def look(endpoint: Endpoint, host: str, path: str, expected: str, *, seconds: float = 5.0) -> Sight:
    """One GET as an authority sends it, to our own listener; is the answer ours?

    Args:
        endpoint: the listener.
        host: value of ``Host``.
        path: of the request.
        expected: the body that is ours.
        seconds: for all of it.
    """
    connection = http.client.HTTPConnection(*reach(endpoint), timeout=seconds)
    try:
        connection.sock = _connected(endpoint, seconds)
    except ConnectionRefusedError:
        return Sight("closed", f"connecting to {endpoint} was refused")
    except OSError as error:
        return _failed(endpoint, error)
    try:
        connection.request(
            "GET", path, headers={"Host": host, "Connection": "close", "User-Agent": "sealgate"}
        )
        response = connection.getresponse()
        return judge(
            endpoint,
            response.status,
            response.getheader("location") or "",
            response.getheader("server") or "",
            response.read(_LARGEST),
            expected,
        )
    except (OSError, http.client.HTTPException, ValueError) as error:
        return _failed(endpoint, error)
    finally:
        connection.close()


def _failed(endpoint: Endpoint, error: Exception) -> Sight:
    if isinstance(error, TimeoutError):
        return Sight("silent", f"{endpoint} did not answer in time")
    if isinstance(error, http.client.HTTPException | ValueError):
        return Sight("broken", f"what answers on {endpoint} does not speak HTTP")
    return Sight("broken", f"{endpoint}: {quoted(str(error), 80)}")


def judge(endpoint: Endpoint, status: int, location: str, server: str, body: bytes, expected: str) -> Sight:
    """Is this answer ours? (RFC 8555 §8.3: white space at its end does not count.)"""
    if status == 200 and body.rstrip() == expected.encode():
        return Sight("right")
    who = f" ({quoted(server, 60)})" if server else ""
    if 300 <= status < 400:
        return Sight("redirect", f"{endpoint}{who} redirects to {quoted(location, 120)}")
    what = "200 with another text" if status == 200 else str(status)
    return Sight("other", f"{endpoint}{who} answers {what}")


def until_right(sight: Callable[[], Sight], seconds: float) -> Sight:
    """Look again while a listener is just opening or taking the answer in; the last sight."""
    end = time.monotonic() + seconds
    while (seen := sight()).verdict != "right" and time.monotonic() < end:
        time.sleep(_PAUSE)
    return seen


def refusal(seen: Sight, name: str, endpoint: Endpoint) -> AcmeError:
    """Why an authority cannot see the answer for `name` at a plain listener of ours."""
    who = owner(endpoint.port)
    whose = f" (that port is held by {printable(who)})" if who else ""
    details: dict[str, object] = {"names": (name,), "seen": seen.verdict}
    if seen.verdict == "closed":
        error = AcmeError(
            "acme-port-closed",
            f"nobody listens where the answer for {name} must be seen: {seen.how}",
            "start `sealgate serve`, or this policy's server; http-01 needs a plain listener (listen.http)",
            **details,
        )
    elif seen.verdict == "silent":
        error = AcmeError(
            "acme-port-silent",
            f"the answer for {name} cannot be seen: {seen.how}{whose}",
            "look for a firewall on this machine, or a server that hangs: ss -ltnp",
            **details,
        )
    elif seen.verdict == "redirect":
        error = AcmeError(
            "acme-port-redirects",
            f"the answer for {name} cannot be seen: {seen.how}{whose}",
            "another server has it: give it to Sealgate, or have it leave /.well-known/acme-challenge/ alone",
            **details,
        )
    else:
        error = AcmeError(
            "acme-port-taken",
            f"the answer for {name} cannot be seen: {seen.how}{whose}, which is not what was put there",
            "find who has that port: ss -ltnp; give it to Sealgate, or take another challenge",
            **details,
        )
    error.fault = Fault.ENVIRONMENT
    return error
