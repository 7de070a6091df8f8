"""`sealgate serve` as a part of a measurement: its policy, store, clients and CPU time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from bench.machine import survey
from bench.processes import Command, Group, spent
from bench.rows import APPS, PYTHON
from sealgate.errors import ControlError
from sealgate.pki.clients.naming import Asked
from sealgate.pki.clients.orders import application
from sealgate.pki.inspect import issuer_key_hash
from sealgate.pki.keys import generate, spki, to_pem
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.pki.vault import ensure_authorities
from sealgate.runtime.control import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

__all__ = ["Serving", "fill", "put"]

_READY_SECONDS = 180.0


def fill(state: State, names: Sequence[str], number: int) -> None:
    """As :func:`put`, in a state directory that nobody serves."""
    now = datetime.now(UTC)
    with state.lock(), Store.open(state.store) as store:
        authorities = ensure_authorities(state, store, tuple(names), now=now)
        put(store, names[0], issuer_key_hash(authorities.clients.certificate), number)


def put(store: Store, site: str, issuer: str, number: int) -> None:
    """So many revoked certificates in the store, as if they had been issued; a third of them with a reason.

    Their PEM is left out: nothing that is measured reads it, and a million would take a gigabyte.
    """
    now = datetime.now(UTC)
    moments = [(now + timedelta(days=days)).isoformat(timespec="seconds") for days in (-2, 300, -1)]

    def rows() -> Iterator[tuple[str, str, int]]:
        for one in range(number):
            mark = sha256(b"revoked %d" % one).hexdigest()
            yield mark, f"{1 << 156 | int(mark[:38], 16):040X}", one

    with store.writing() as connection:
        connection.executemany(
            "INSERT INTO certificates VALUES (?,'client',?,?,?,?,'[]',?,?,'',?)",
            (
                (mark, site, issuer, serial, f"CN=revoked-{one}", moments[0], moments[1], moments[0])
                for mark, serial, one in rows()
            ),
        )
        connection.executemany(
            "INSERT INTO revocations VALUES (?,?,?)",
            ((mark, moments[2], "unspecified" if one % 3 else "key-compromise") for mark, _, one in rows()),
        )


class Serving:
    """`sealgate serve` under way; on one core where told.

    Args:
        policy: of an address and a port.
        directory: of this one alone; the policy and the state are in it.
        revoked: clients that are in the store already.
        core: for all its processes.
    """

    def __init__(
        self,
        policy: Callable[[str, int], str],
        directory: Path,
        *,
        revoked: int = 0,
        core: int | None = None,
    ) -> None:
        machine = survey()
        self.at = (machine.address, machine.free_port())
        self._directory, self.state = directory, directory / "state"
        names = ("localhost", machine.address)
        fill(State.open(self.state), names, revoked)
        file = directory / "sealgate.toml"
        file.write_text(policy(*self.at))
        (directory / "apps.py").write_text((APPS / "apps.py").read_text())
        argv = (PYTHON, "-m", "sealgate", "serve", "--state", str(self.state), "--config", str(file))
        self.group = Group((Command(argv, cwd=APPS),), core=core, logs=directory)

    def clients(self, names: Sequence[str]) -> dict[str, Path]:
        """A certificate for each, with its key, PEM; once the keeper answers."""
        keys = {name: generate("ecdsa-p256") for name in names}
        wanted = [application(Asked(name=name), spki(key)) for name, key in keys.items()]
        answer = self._ask(order="client-issue", applications=wanted)
        found = {}
        for told in answer["issued"]:
            found[told["name"]] = path = self._directory / f"{told['name']}.pem"
            path.write_bytes(to_pem(keys[told["name"]]) + (told["pem"] + answer["issuer"]).encode())
        return found

    def wait(self) -> float:
        """Seconds until it listens."""
        self.group.wait_for(self._answers, seconds=_READY_SECONDS)
        return time.monotonic() - self.group.started

    def _answers(self) -> bool:
        try:
            self._ask(order="status")
        except ControlError:
            return False
        return True

    def _ask(self, **order: object) -> dict[str, Any]:
        return ask(self.state, order)

    def cpu(self) -> tuple[float, float]:
        """Of the keeper, and of all others; the ended ones that were waited for too."""
        keeper, *_ = self.group.roots
        # The keeper's waited-for children are others: workers, and an nginx that was tried.
        own, waited = spent(keeper)
        others = [spent(pid) for pid in self.group.pids() if pid != keeper]
        return own, waited + sum(one + ended for one, ended in others)

    def revoke(self, name: str) -> dict[str, Any]:
        """As `sealgate client revoke` does."""
        return self._ask(order="client-revoke", which=name, reason="key-compromise")
