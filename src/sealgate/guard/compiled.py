"""The policy as the guard needs it: small, flat, JSON, without pydantic.

The keeper compiles and publishes it (``<state>/live/guard/``) with a generation number; app workers load it.
What cannot be read completely is refused: a worker never goes on with half a policy.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from sealgate.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealgate.policy.model import Policy

__all__ = ["SCHEMA", "Compiled", "compile_policy"]

SCHEMA = 1
"""Version of the JSON below; a worker of another version refuses it."""

_MOST_USUAL_HOSTS = 4096


@dataclass(frozen=True, slots=True)
class Compiled:
    """What the guard decides by.

    Attributes:
        generation: rises with every publication.
        names: exact names of the site: lower-case A-labels, IP addresses (IPv6 without brackets).
        wildcards: what stands after ``*.``; the star is one label (RFC 6125 §6.4.3).
        ports: ports a Host field may name, in decimal; without a port it is always the site's.
        public_host: the host in ``site.url`` or the first name (IPv6 in brackets).
        public_port: the port clients type.
        body_limit: largest request body in bytes.
        usual_hosts: complete Host values that are allowed; derived, so that most need no parsing.
    """

    generation: int
    names: frozenset[str]
    wildcards: frozenset[str]
    ports: frozenset[str]
    public_host: str
    public_port: int
    body_limit: int
    usual_hosts: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "usual_hosts", frozenset(islice(self._exact_hosts(), _MOST_USUAL_HOSTS)))

    def _exact_hosts(self) -> Iterator[str]:
        for name in sorted(self.names):
            host = f"[{name}]" if ":" in name else name
            yield host
            for port in sorted(self.ports):
                yield f"{host}:{port}"

    def to_json(self) -> str:
        """One JSON object, stable in order, for ``live/guard/``."""
        return json.dumps(
            {
                "schema": SCHEMA,
                "generation": self.generation,
                "names": sorted(self.names),
                "wildcards": sorted(self.wildcards),
                "ports": sorted(self.ports),
                "public_host": self.public_host,
                "public_port": self.public_port,
                "body_limit": self.body_limit,
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Compiled:
        """Read what :meth:`to_json` wrote.

        Raises:
            StateError: ``compiled-policy-refused``, for anything else: other schema, missing or further keys,
                wrong types, not JSON.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise _refused("it is not JSON") from error
        except RecursionError as error:
            raise _refused("it is nested too deeply") from error
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise _refused(f"its schema is not {SCHEMA}")
        if data.keys() != _KEYS.keys():
            raise _refused("keys are missing or unknown")
        for key, fits in _KEYS.items():
            if not fits(data[key]):
                raise _refused(f"{key} has a wrong value")
        return cls(
            generation=data["generation"],
            names=frozenset(data["names"]),
            wildcards=frozenset(data["wildcards"]),
            ports=frozenset(data["ports"]),
            public_host=data["public_host"],
            public_port=data["public_port"],
            body_limit=data["body_limit"],
        )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_port(value: object) -> bool:
    return _is_count(value) and 1 <= value <= 65535  # type: ignore[operator]  # _is_count: it is an int


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and item for item in value)


def _is_ports(value: object) -> bool:
    return _is_texts(value) and all(  # each is the decimal form of a port, so that comparing text is enough
        item.isascii() and item.isdigit() and str(int(item)) == item and _is_port(int(item))
        for item in value  # type: ignore[attr-defined]  # _is_texts: it is a list
    )


_KEYS = {
    "schema": _is_count,
    "generation": _is_count,
    "names": _is_texts,
    "wildcards": _is_texts,
    "ports": _is_ports,
    "public_host": lambda value: isinstance(value, str) and bool(value),
    "public_port": _is_port,
    "body_limit": _is_count,
}


def _refused(why: str) -> StateError:
    return StateError(
        "compiled-policy-refused",
        f"the compiled policy for the guard cannot be used: {why}",
        "restart 'sealgate serve' so that it is written again, by the same version that reads it",
    )


def compile_policy(policy: Policy, generation: int) -> Compiled:
    """The part of a policy the guard decides by."""
    host = policy.public_url.removeprefix("https://")
    port = f":{policy.public_port}"
    names = policy.site.names
    ports = {policy.public_port, *(endpoint.port for endpoint in policy.listen.https)}
    return Compiled(
        generation=generation,
        names=frozenset(name for name in names if not name.startswith("*.")),
        wildcards=frozenset(name[2:] for name in names if name.startswith("*.")),
        ports=frozenset(str(number) for number in ports),
        public_host=host.removesuffix(port),
        public_port=policy.public_port,
        body_limit=policy.limits.body,
    )
