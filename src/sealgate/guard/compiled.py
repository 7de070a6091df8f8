"""The policy as the guard needs it: small, flat, JSON, without pydantic.

The keeper compiles and publishes it (``<state>/live/guard/``) with a generation number; app workers load it.
What cannot be read completely is refused: a worker never goes on with half a policy.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, cast, get_args

from sealgate.errors import StateError
from sealgate.guard import access
from sealgate.guard.rates import Rate, rate_of
from sealgate.guard.tokens.issuer import Issuer, issuer_of
from sealgate.policy.membership import Kind
from sealgate.policy.network import FAMILIES, Admitted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from sealgate.policy.model import Policy

__all__ = ["SCHEMA", "Authority", "Compiled", "Group", "Pattern", "compile_policy"]

SCHEMA = 15
"""Version of the JSON below; a worker of another version refuses it."""

_MOST_USUAL_HOSTS = 4096
_KINDS = frozenset(get_args(Kind))


class Authority(NamedTuple):
    """One whose client certificates count.

    Attributes:
        name: how the policy calls it.
        issuers: its certificates, base64 of DER.
        own: the private one, which signs every client's certificate itself.
        listed: it comes with files of lists, which may lapse.
        fetched: its lists are fetched: ``auto``, those that a certificate names; or the address of its one
            list; empty: they are not.
        ocsp: of a certificate that names no list, its responder is asked.
    """

    name: str
    issuers: tuple[str, ...]
    own: bool
    listed: bool
    fetched: str = ""
    ocsp: bool = False


class Pattern(NamedTuple):
    """Who is in a group, by one name that one authority certified; see :mod:`sealgate.policy.membership`."""

    authority: str
    kind: Kind
    pattern: str


class Group(NamedTuple):
    """A group of clients. Single certificates may be in it besides."""

    name: str
    members: tuple[Pattern, ...]


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
        clients: ``off``, ``optional`` or ``required``: client certificates. The engine enforces it; here it
            says whether the engine tells about them.
        headers_limit: largest request header in bytes, all fields together; 0: the engine counts.
        admitted: the addresses that may come in; None: all, or the engine sees to it.
        proxies: whose word counts about whom they forward a request for; None: nobody's.
        authorities: of clients; none: no certificates are asked for.
        former: certificates, base64 of DER, of those that counted before, since the keeper began, and count
            no more.
        groups: of clients.
        access_default: who may do what no rule speaks of: a key of ``access.DEFAULT``.
        rules: who may do what.
        issuers: whose tokens count.
        rates: how often somebody may call.
        rate_store: ``memory``, or where all machines count.
        rate_store_failure: ``local`` or ``deny``, while that cannot be asked.
        api_keys: keys that were issued here count.
        api_key_header: the field that carries them, lower-case; empty: ``Authorization``.
        validation: what requests must be; see ``guard/validation``; None: anything.
        usual_hosts: complete Host values that are allowed; derived, so that most need no parsing.
    """

    generation: int
    names: frozenset[str]
    wildcards: frozenset[str]
    ports: frozenset[str]
    public_host: str
    public_port: int
    body_limit: int
    clients: str
    headers_limit: int = 0
    admitted: Admitted | None = None
    proxies: Admitted | None = None
    authorities: tuple[Authority, ...] = ()
    former: tuple[str, ...] = ()
    groups: tuple[Group, ...] = ()
    access_default: str = "none"
    rules: tuple[access.Rule, ...] = ()
    issuers: tuple[Issuer, ...] = ()
    rates: tuple[Rate, ...] = ()
    rate_store: str = "memory"
    rate_store_failure: str = "local"
    api_keys: bool = False
    api_key_header: str = ""
    validation: Mapping[str, Any] | None = None
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
                "clients": self.clients,
                "headers_limit": self.headers_limit,
                "admitted": None if self.admitted is None else asdict(self.admitted),
                "proxies": None if self.proxies is None else asdict(self.proxies),
                "authorities": [one._asdict() for one in self.authorities],
                "former": list(self.former),
                "groups": {group.name: group.members for group in self.groups},
                "access_default": self.access_default,
                "rules": access.written(self.rules),
                "issuers": [one._asdict() for one in self.issuers],
                "rates": [one._asdict() for one in self.rates],
                "rate_store": self.rate_store,
                "rate_store_failure": self.rate_store_failure,
                "api_keys": self.api_keys,
                "api_key_header": self.api_key_header,
                "validation": self.validation,
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
            clients=data["clients"],
            headers_limit=data["headers_limit"],
            admitted=_admitted(data["admitted"]),
            proxies=_admitted(data["proxies"]),
            authorities=tuple(
                Authority(**{**one, "issuers": tuple(one["issuers"])}) for one in data["authorities"]
            ),
            former=tuple(data["former"]),
            groups=tuple(
                Group(name, tuple(Pattern(*one) for one in members))
                for name, members in data["groups"].items()
            ),
            access_default=data["access_default"],
            rules=access.read(data["rules"]),
            issuers=tuple(issuer_of(one) for one in data["issuers"]),
            rates=tuple(rate_of(one) for one in data["rates"]),
            rate_store=data["rate_store"],
            rate_store_failure=data["rate_store_failure"],
            api_keys=data["api_keys"],
            api_key_header=data["api_key_header"],
            validation=data["validation"],
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


def _is_mode(value: object) -> bool:
    return value in ("off", "optional", "required")


def _is_authorities(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, dict)
        and one.keys() == _AUTHORITY.keys()
        and all(fits(one[key]) for key, fits in _AUTHORITY.items())
        for one in value
    )


_AUTHORITY: dict[str, Callable[[object], bool]] = {
    "name": lambda value: isinstance(value, str) and bool(value),
    "issuers": lambda value: _is_texts(value) and bool(value),
    "own": lambda value: isinstance(value, bool),
    "listed": lambda value: isinstance(value, bool),
    "fetched": lambda value: isinstance(value, str),
    "ocsp": lambda value: isinstance(value, bool),
}


def _is_admitted(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, dict) or value.keys() != {"four", "six"}:
        return False
    return _are_bounds(value["four"], FAMILIES[4]) and _are_bounds(value["six"], FAMILIES[6])


def _are_bounds(value: object, bits: int) -> bool:
    """Rising numbers, as many that begin something as that end it: cut off, they would let everyone in."""
    if not isinstance(value, list) or len(value) % 2 or not all(_is_count(bound) for bound in value):
        return False
    return all(one < next_ for one, next_ in pairwise(value)) and (not value or value[-1] <= 1 << bits)


def _is_groups(value: object) -> bool:
    return isinstance(value, dict) and all(
        name and isinstance(members, list) and all(map(_is_pattern, members))
        for name, members in value.items()
    )


def _is_pattern(value: object) -> bool:
    return _is_texts(value) and len(cast("list[str]", value)) == 3 and cast("list[str]", value)[1] in _KINDS


def _is_rules(value: object) -> bool:
    try:
        access.read(value)
    except ValueError:
        return False
    return True


def _is_list_of(read: Callable[[object], object]) -> Callable[[object], bool]:
    def is_one(value: object) -> bool:
        try:
            return isinstance(value, list) and all(read(one) for one in value)
        except ValueError:
            return False

    return is_one


def _admitted(value: dict[str, list[int]] | None) -> Admitted | None:
    return None if value is None else Admitted(tuple(value["four"]), tuple(value["six"]))


_VALIDATION = {"mode", "unknown", "definitions", "operations"}
_KEYS: dict[str, Callable[[Any], bool]] = {
    "schema": _is_count,
    "generation": _is_count,
    "names": _is_texts,
    "wildcards": _is_texts,
    "ports": _is_ports,
    "public_host": lambda value: isinstance(value, str) and bool(value),
    "public_port": _is_port,
    "body_limit": _is_count,
    "clients": _is_mode,
    "headers_limit": _is_count,
    "admitted": _is_admitted,
    "proxies": _is_admitted,
    "authorities": _is_authorities,
    "former": _is_texts,
    "groups": _is_groups,
    "access_default": lambda value: isinstance(value, str) and value in access.DEFAULT,
    "rules": _is_rules,
    "issuers": _is_list_of(issuer_of),
    "rates": _is_list_of(rate_of),
    "rate_store": lambda value: isinstance(value, str) and bool(value),
    "rate_store_failure": lambda value: value in ("local", "deny"),
    "api_keys": lambda value: isinstance(value, bool),
    "api_key_header": lambda value: isinstance(value, str),
    "validation": lambda value: value is None or (isinstance(value, dict) and value.keys() == _VALIDATION),
}


def _refused(why: str) -> StateError:
    return StateError(
        "compiled-policy-refused",
        f"the compiled policy for the guard cannot be used: {why}",
        "restart 'sealgate serve' so that it is written again, by the same version that reads it",
    )


def compile_policy(
    policy: Policy,
    generation: int,
    *,
    guards: Collection[str] = (),
    authorities: Iterable[Authority] = (),
    former: Iterable[str] = (),
    operations: Mapping[str, Any] | None = None,
) -> Compiled:
    """The part of a policy the guard decides by.

    Args:
        policy: the policy.
        generation: rises with every publication.
        guards: keys that the engine leaves to the guard, where others enforce them: ``limits.headers``,
            ``network.allow`` (and with it ``network.deny``).
        authorities: of clients.
        former: certificates of those that counted before, base64 of DER.
        operations: what the policy's OpenAPI document says (``policy/openapi/operations.py``).
    """
    if (operations is None) == bool(policy.validation.openapi):
        raise ValueError("a document that nobody read: nothing would be validated")
    host = policy.public_url.removeprefix("https://")
    port = f":{policy.public_port}"
    names = policy.site.names
    default, rules = access.access_of(policy)
    admitted = policy.network.admitted() if "network.allow" in guards else None
    ports = {policy.public_port, *(endpoint.port for endpoint in policy.listen.https)}
    return Compiled(
        generation=generation,
        names=frozenset(name for name in names if not name.startswith("*.")),
        wildcards=frozenset(name[2:] for name in names if name.startswith("*.")),
        ports=frozenset(str(number) for number in ports),
        public_host=host.removesuffix(port),
        public_port=policy.public_port,
        body_limit=policy.limits.body,
        clients=policy.clients.mode,
        headers_limit=policy.limits.headers if "limits.headers" in guards else 0,
        admitted=None if admitted is None or admitted.everyone else admitted,
        proxies=policy.network.trusted(),
        authorities=tuple(authorities),
        former=tuple(former),
        groups=() if policy.clients.mode == "off" else tuple(_groups(policy)),
        access_default=default,
        rules=rules,
        issuers=tuple(_issuers(policy)),
        rates=tuple(Rate(one.by, one.count, one.period, one.most) for one in policy.limits.rates),
        rate_store=policy.limits.rate_store,
        rate_store_failure=policy.limits.rate_store_failure,
        api_keys=policy.tokens.api_keys,
        api_key_header=policy.tokens.api_key_header,
        validation=operations
        and {"mode": policy.validation.mode, "unknown": policy.validation.unknown, **operations},
    )


def _groups(policy: Policy) -> Iterator[Group]:
    for name, members in policy.clients.groups.items():
        yield Group(name, tuple(Pattern(one.authority, one.kind, one.pattern) for one in members))


def _issuers(policy: Policy) -> Iterator[Issuer]:
    for one in policy.tokens.issuers:
        yield Issuer(one.issuer, one.audience, one.algorithms, one.certificate_bound)
