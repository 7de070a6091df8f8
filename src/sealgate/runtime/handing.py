"""What guards in others' servers judge by (``sealgate.protect``), handed out by ``sealgate watch``.

No keeper runs there: commands change the state directory, each under its lock, and this reads it. What counts
is put into memory that any process of the same user may ask for, over a unix socket: the compiled policy, the
table of the revoked, the keys by which tokens count, the budgets of callers. A beat says that it was true a
moment ago; guards answer nobody once it stops.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import sealgate
from sealgate._system.board import Board
from sealgate._system.clock import system_clock
from sealgate._system.files import private_directory
from sealgate._system.pulse import Pulse
from sealgate._system.rate_table import RateTable
from sealgate._system.sockets import bind_unix, connect_unix, peer_uid
from sealgate.errors import SealgateError
from sealgate.guard.compiled import Compiled, compile_policy
from sealgate.pki.api_keys.ended import ended
from sealgate.pki.api_keys.orders import issued as issued_keys
from sealgate.pki.client_trust import ensure_client_trust, in_force, standing_authorities
from sealgate.pki.clients.blocks import blocked
from sealgate.pki.clients.listing import membership_keys, revocation_keys, witnessed_keys
from sealgate.pki.revocations import Revocations
from sealgate.pki.state import State
from sealgate.policy.identity import blocked_key, lapsed_key
from sealgate.policy.load import Loaded
from sealgate.runtime.described import described
from sealgate.runtime.issued import Issued
from sealgate.runtime.publication import as_it_is, told_authorities

__all__ = ["GUARDED", "HANDED", "SOCKET", "Handing", "receive"]

SOCKET = "guard.sock"
HANDED = ("policy", "revoked", "issued", "rates", "pulse")
"""The descriptors, in their order."""
GUARDED = frozenset({"network.allow", "limits.headers"})
"""What a guard in somebody's server has to see to, as no server of ours does."""

_EVERY = 0.2
_FILES_EVERY = 5.0
_AT_ONCE = 16


def hello() -> bytes:
    """What comes with the descriptors: whose memory that is, one line."""
    return f"sealgate {sealgate.__version__}\n".encode()


class Handing:
    """Keeps what guards judge by, and hands it out.

    Args:
        state: the state directory. Of it nothing is changed but the authorities of clients and their lists,
            which are taken over from the policy's files.
        loaded: the policy that counts.
        say: one line for people.
    """

    def __init__(self, state: State, loaded: Callable[[], Loaded], say: Callable[[str], None]) -> None:
        self._state, self._loaded, self._say = state, loaded, say
        self.revocations, self.rates, self.pulse = Revocations(), RateTable(), Pulse()
        self.policy = Board("policy")
        self._issued = Issued(say)
        self._compiled: Compiled | None = None
        self._policy_of: object = None
        self._store: object = None
        self._lists: object = None
        self._files_at = -_FILES_EVERY
        self._said = ""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """In the order of ``HANDED``."""
        issued = self._issued.board
        return (self.policy.fd, self.revocations.fd, issued.fd, self.rates.fd, self.pulse.fd)

    def key_sets(self, sets: dict[str, list[dict[str, object]]]) -> None:
        """By issuer, the keys of all that publish them; see ``key_sets.py``."""
        self._issued.fetched(sets)

    def look(self) -> None:
        """Have everything say what the state directory says; what cannot be had lets the beat stop. Blocking.

        Raises:
            SealgateError, OSError: what is wrong.
        """
        loaded, now = self._loaded(), time.monotonic()
        store = as_it_is(self._state.store)
        other = loaded.policy != self._policy_of
        files = other or now - self._files_at >= _FILES_EVERY
        if store != self._store or files:
            # Whoever is revoked is known before anybody else is let in by a newer policy.
            self._revoke(loaded)
            self._keys(loaded, strict=other)
            self._store = store
        if files:
            self._compile(loaded)
            self._files_at, self._policy_of = now, loaded.policy
        self.pulse.beat()

    def _revoke(self, loaded: Loaded) -> None:
        state, policy, now = self._state, loaded.policy, system_clock()
        if policy.clients.mode == "off":
            self.revocations.replace(())
            return
        self._take_over(loaded)
        lists = in_force(state, standing_authorities(state, policy, system_clock))
        keys: dict[bytes, None] = {}
        if policy.own_list:
            keys |= dict.fromkeys(revocation_keys(state, system_clock))
            keys |= dict.fromkeys(witnessed_keys(state))
            keys |= dict.fromkeys(membership_keys(state, system_clock))
        keys |= dict.fromkeys(blocked_key(one.fingerprint) for one in blocked(state))
        for one in lists:
            keys |= dict.fromkeys(one.keys())
            if one.lapsed(now):
                keys[lapsed_key(one.name)] = None
        self.revocations.replace(keys)

    def _take_over(self, loaded: Loaded) -> None:
        """Authorities and lists from the policy's files, where these changed: all that is written."""
        paths = [Path(part) for one in loaded.policy.clients.authorities for part in (one.file, one.crl)]
        seen = (loaded.policy.clients, [as_it_is(loaded.base / path) for path in paths if path.name])
        if seen != self._lists:
            ensure_client_trust(self._state, loaded.policy, system_clock, base=loaded.base)
            self._lists = seen

    def _keys(self, loaded: Loaded, *, strict: bool) -> None:
        self._issued.follow(loaded, strict=strict)
        gone: Iterable[str] = ended(self._state.witness)
        rows = issued_keys(self._state, system_clock) if loaded.policy.tokens.api_keys else []
        self._issued.api_keys([row for row in rows if row["id"] not in gone])
        if loaded.policy.limits.rate_store_password is not None:
            self._issued.password(loaded)

    def _compile(self, loaded: Loaded) -> None:
        authorities = tuple(told_authorities(self._state, loaded))
        told = tuple(one for authority in authorities for one in authority.issuers)
        before = self._compiled
        known = (
            [*before.former, *(one for each in before.authorities for one in each.issuers)] if before else []
        )
        made = compile_policy(
            loaded.policy,
            before.generation if before else 1,
            guards=GUARDED,
            authorities=authorities,
            former=[one for one in dict.fromkeys(known) if one not in told],
            operations=described(loaded),
        )
        if made == before:
            return
        if before is not None:
            made = replace(made, generation=before.generation + 1)
        self._compiled = made
        self.policy.write(made.to_json().encode())

    # Handing out

    async def keep(self) -> None:
        """Look, and hand out, until cancelled."""
        listener = bind_unix(private_directory(self._state.path / "run") / SOCKET)
        listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
        handing = asyncio.create_task(self._hand_out(listener))
        try:
            while True:
                said = ""
                try:
                    await asyncio.to_thread(self.look)
                except SealgateError as error:
                    said = str(error)
                except Exception as error:  # noqa: BLE001 - the next look must still be made
                    said = f"{type(error).__name__}: {error}"
                if said and said != self._said:
                    self._say(f"guards under sealgate.protect answer nobody from now on: {said}")
                elif self._said and not said:
                    self._say("guards under sealgate.protect answer again")
                self._said = said
                await asyncio.sleep(_EVERY)
        finally:
            handing.cancel()
            await asyncio.gather(handing, return_exceptions=True)
            listener.close()
            with contextlib.suppress(OSError):
                (self._state.path / "run" / SOCKET).unlink()

    async def _hand_out(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(listener)
            except OSError:
                await asyncio.sleep(_EVERY)
                continue
            with sock, contextlib.suppress(OSError):
                if peer_uid(sock) in {0, os.geteuid()}:
                    fds = array.array("i", self.descriptors)
                    sock.sendmsg([hello()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])


def receive(path: Path, seconds: float) -> dict[str, int]:
    """The descriptors by name, from whoever hands them out; the caller closes them.

    Args:
        path: of the socket.
        seconds: that it may take.

    Raises:
        OSError: nobody does, or it is another user's, or another version's.
    """
    with connect_unix(path, timeout=seconds) as sock:
        if peer_uid(sock) not in {0, os.geteuid()}:
            raise OSError("the socket is another user's")
        said, fds, _, _ = socket.recv_fds(sock, 256, len(HANDED), socket.MSG_CMSG_CLOEXEC)
    if said == hello() and len(fds) == len(HANDED):
        return dict(zip(HANDED, fds, strict=True))
    for fd in fds:
        os.close(fd)
    raise OSError("it is another version of Sealgate")
