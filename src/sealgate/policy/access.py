"""``[access]``: who may do what, by rules of which the first that fits decides.

A rule says whom it lets in (``require``), or that it lets in nobody (``deny``): one of the two, so that half
a rule is a mistake and never an open door. What fits a path is in :mod:`sealgate.policy.routes`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    StrictBool,
    StrictStr,
    model_validator,
)
from pydantic_core import CoreSchema

from sealgate.policy.base import Model
from sealgate.policy.groups import GroupName
from sealgate.policy.routes import ANY, Pattern, PatternError
from sealgate.policy.values import Expected, Network

__all__ = ["Access", "Requirement", "Rule", "Scope"]

_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}", re.ASCII)  # RFC 9110 §5.6.2: token
_SCOPE = re.compile(r"[!#-\[\]-~]{1,128}", re.ASCII)  # RFC 6749 §3.3
_ANYBODY: tuple[dict[str, object], ...] = ()
_KNOWN: tuple[dict[str, object], ...] = ({},)


def _path(value: str) -> str:
    try:
        return Pattern.of(value).text
    except PatternError as error:
        raise ValueError(f"no pattern: it {error}") from None


def _method(value: str) -> str:
    if not _METHOD.fullmatch(value) or (ANY in value and value != ANY):
        raise ValueError("no method of HTTP")
    if value.upper() != value:
        raise ValueError(f'methods are written in capitals; did you mean "{value.upper()}"?')
    return value


def _scope(value: str) -> str:
    if not _SCOPE.fullmatch(value):
        raise ValueError("no scope: printable ASCII without blanks, quotes and backslashes")
    return value


def _alternatives(value: object) -> object:
    """One table is one alternative; the two words are none, and one that asks for nothing in particular."""
    if value == "none":
        return _ANYBODY
    if value == "authenticated":
        return _KNOWN
    if isinstance(value, str):
        raise ValueError("neither of the two words")
    if value in ({}, []):
        raise ValueError("empty: whom does it let in?")
    if isinstance(value, list) and {} in value:
        raise ValueError("an empty table in it: whom does it let in?")
    return [value] if isinstance(value, dict) else value


class _AsWritten:
    """For the JSON Schema: what people may write, before it is a list of alternatives."""

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, object]:
        several = handler(core)
        words = {"enum": ["none", "authenticated"]}
        return {"anyOf": [words, several["items"], {**several, "minItems": 1}]}


Scope = Annotated[StrictStr, AfterValidator(_scope), Expected("a scope", "orders:write")]
_Method = Annotated[StrictStr, AfterValidator(_method), Expected("a method, or * for all", "GET")]


class Requirement(Model):
    """What a caller must have; all that is said must hold."""

    group: Annotated[tuple[GroupName, ...], Field(max_length=64)] = ()
    """In one of these groups of clients."""
    authority: Annotated[tuple[StrictStr, ...], Field(max_length=64), Expected("names of authorities")] = ()
    """With a client certificate of one of these authorities."""
    scope: Annotated[tuple[Scope, ...], Field(max_length=64)] = ()
    """With a token that has all of these scopes."""
    token: StrictBool = False
    """With a token."""
    address: Annotated[tuple[Network, ...], Field(max_length=1000)] = ()
    """From one of these networks."""

    @property
    def certified(self) -> bool:
        """Can it hold with a client certificate only?"""
        return bool(self.group or self.authority)

    @property
    def tokened(self) -> bool:
        """Can it hold with a token only?"""
        return bool(self.scope or self.token)


_Require = Annotated[
    tuple[Requirement, ...],
    BeforeValidator(_alternatives),
    Field(max_length=32),
    Expected('"none", "authenticated", or a table such as { group = ["ops"] }'),
    _AsWritten(),
]


class Rule(Model):
    """Whom requests of some paths and methods are for."""

    path: Annotated[StrictStr, AfterValidator(_path), Expected("a pattern of paths", "/admin/**")]
    """* is one segment or a part of it, ** any number of segments: "/admin/**" is "/admin" too."""
    methods: Annotated[tuple[_Method, ...], Field(min_length=1, max_length=32)] = (ANY,)
    """For which it is; GET is HEAD too. A preflight (OPTIONS) has no credentials: "none" for that."""
    require: _Require | None = None
    """none | authenticated | a table, all of whose keys must hold | a list of tables, any of which."""
    deny: StrictBool = False
    """Nobody, instead."""

    def as_word(self, name: str) -> str:
        """``require`` is a list of alternatives in the model, and may be a word in the file."""
        if name != "require" or self.require is None or self.require not in {(), (Requirement(),)}:
            return ""
        return "authenticated" if self.require else "none"

    @model_validator(mode="after")
    def _one(self) -> Rule:
        if self.deny == (self.require is not None):
            raise ValueError("not exactly one of require and deny = true")
        return self


class Access(Model):
    """Who may do what; the first rule that fits decides."""

    default: Literal["auto", "none", "authenticated", "deny"] = "auto"
    """Where no rule fits. auto: authenticated once clients or tokens are configured, else none."""
    rules: Annotated[
        tuple[Annotated[Rule, Expected('{ path = "/health", require = "none" }')], ...],
        Field(max_length=10_000),
    ] = ()
    """In their order."""
