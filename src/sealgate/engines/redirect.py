"""The plain HTTP listeners of engines that run the app inside of themselves: what to run, and its orders.

Gunicorn and uvicorn speak TLS or plain HTTP, never both with different answers. A small process beside them
answers plain HTTP (``runtime/inside/redirect.py``). What an ACME authority is answered there are files in a
folder (:func:`answer_exactly`), read when asked: nobody has to be told, and no restart loses them. A driver
starts it so::

    sockets = [...]  # bound to listen.http, listening
    orders = Redirect.of(policy, listeners=tuple(s.fileno() for s in sockets), parent=os.getpid())
    process = await asyncio.create_subprocess_exec(
        *command(sys.executable), stdin=PIPE, pass_fds=orders.descriptors, ...)
    process.stdin.write(orders.to_json().encode()); process.stdin.close()

It serves until SIGTERM, then closes its listeners, finishes what is under way and ends with status 0. As the
sockets listen already, no connection is lost before it is ready or between two of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

from sealgate._system.files import private_directory, write_atomic
from sealgate.engines import challenges as answers
from sealgate.engines.challenges import Challenges
from sealgate.errors import EngineRefused, StateError
from sealgate.policy.model import Policy
from sealgate.policy.network import Admitted
from sealgate.policy.published import publishes

__all__ = ["ANSWERS", "TOKEN", "Redirect", "answer_exactly", "command"]

ANSWERS = "challenges"
"""The folder of answers, in an engine's own."""

TOKEN = re.compile(answers.TOKEN, re.ASCII)
"""RFC 8555 §8.3: base64url, without padding."""

_MODULE = "sealgate.runtime.inside.redirect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """Orders of the redirect process; plain data.

    Attributes:
        listeners: descriptors of listening TCP sockets, inherited.
        mode: as ``http.mode``.
        names: as ``site.names``.
        ports: those that a Host field may name.
        public_port: where a redirect leads to.
        header_bytes: of one request's header; more is 431.
        header_seconds: from its first byte to its end; then 408.
        idle_seconds: without a first byte.
        drain_seconds: how long it may go on after SIGTERM.
        connections: open ones at most.
        parent: pid of who starts it; it ends when that one does. 0: nobody is looked at.
        budget: descriptor of the connections counted together with the engine's (``inside/budget.py``);
            -1: they are counted here alone.
        place: its own in there.
        answers: absolute path of the folder with answers to http-01 challenges; empty: there are none.
        publishes: is the list of revoked clients to be had (``engines/published.py``)?
        state: absolute path of the state directory, in which that list is; empty: there is none.
        admitted: the addresses that are redirected; None: all, or nobody is.
        credentials: fields, lower-case, that nobody may send here.
    """

    listeners: tuple[int, ...]
    mode: Literal["redirect", "refuse"]
    names: tuple[str, ...]
    ports: tuple[int, ...]
    public_port: int
    header_bytes: int
    header_seconds: float
    idle_seconds: float
    drain_seconds: float
    connections: int
    parent: int
    budget: int = -1
    place: int = 0
    answers: str = ""
    publishes: bool = False
    state: str = ""
    admitted: Admitted | None = None
    credentials: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        policy: Policy,
        *,
        listeners: Sequence[int],
        parent: int,
        budget: int = -1,
        place: int = 0,
        answers: str = "",
        state: str = "",
    ) -> Self:
        """What a policy means for it."""
        ports = {80, *(endpoint.port for endpoint in policy.listen.http)}
        ruled = policy.judges_addresses(tls=False)
        return cls(
            listeners=tuple(listeners),
            mode=policy.http.mode,
            names=policy.site.names,
            ports=tuple(sorted(ports)),
            public_port=policy.public_port,
            header_bytes=policy.limits.headers,
            header_seconds=policy.timeouts.headers,
            idle_seconds=policy.timeouts.idle,
            drain_seconds=policy.timeouts.drain,
            connections=policy.limits.connections,
            parent=parent,
            budget=budget,
            place=place,
            answers=answers,
            publishes=publishes(policy),
            state=state,
            admitted=policy.network.admitted() if ruled else None,
            credentials=policy.credential_fields,
        )

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the process inherits."""
        return self.listeners if self.budget < 0 else (*self.listeners, self.budget)

    def to_json(self) -> str:
        """For its standard input."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The reverse of :meth:`to_json`."""
        raw: dict[str, Any] = json.loads(text)
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()
        }
        if (bounds := values.get("admitted")) is not None:
            values["admitted"] = Admitted(tuple(bounds["four"]), tuple(bounds["six"]))
        return cls(**values)


def command(python: str) -> tuple[str, ...]:
    """What to run, with this interpreter."""
    return (python, "-P", "-m", _MODULE)


def answer_exactly(folder: Path, challenges: Challenges) -> None:
    """Have the folder hold these answers to http-01 challenges and no others; they count at once.

    Raises:
        EngineRefused: `engine-refused`; what was answered before still is.
    """
    wanted = dict(challenges.http)
    for token in wanted:
        if not TOKEN.fullmatch(token):  # an authority's word, and a file's name here
            fact = f"a challenge has a token that is none: {token[:128]!r}"
            raise EngineRefused("engine-refused", fact, "use another ACME directory")
    private_directory(folder)
    before = {path.name: path for path in folder.iterdir()}
    added: list[Path] = []
    try:
        for token, text in wanted.items():
            if token not in before:
                added.append(folder / token)
            write_atomic(folder / token, text.encode("ascii"))
        for name in before.keys() - wanted:
            before[name].unlink(missing_ok=True)
    except (StateError, OSError, UnicodeEncodeError) as error:
        for path in added:
            path.unlink(missing_ok=True)
        fact = f"an answer to a challenge could not be put into {folder}: {error}"
        raise EngineRefused("engine-refused", fact, "see to room and permissions there") from None
