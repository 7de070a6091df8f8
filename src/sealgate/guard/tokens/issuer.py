"""Whose tokens count, as the compiled policy has it."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

__all__ = ["Issuer", "issuer_of"]


class Issuer(NamedTuple):
    """Whose tokens count.

    Attributes:
        name: its ``iss``, exactly.
        audience: one of these must be in ``aud``.
        algorithms: allowed.
        bound: is ``cnf`` (RFC 8705 §3.1) ``off``, ``optional`` or ``required``?
    """

    name: str
    audience: tuple[str, ...]
    algorithms: tuple[str, ...]
    bound: Literal["off", "optional", "required"] = "optional"


def issuer_of(value: Any) -> Issuer:  # noqa: ANN401 - of JSON
    """One of the compiled policy.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(value, dict) or value.keys() != set(Issuer._fields):
        raise ValueError("keys of an issuer are missing or unknown")
    if not isinstance(value["name"], str) or not value["name"] or value["bound"] not in _BOUND:
        raise ValueError("an issuer has a wrong name, or a wrong word for what its tokens are bound to")
    for key in ("audience", "algorithms"):
        if not isinstance(value[key], list) or not all(isinstance(one, str) and one for one in value[key]):
            raise ValueError(f"an issuer's {key} is no list of texts")
    if "none" in value["algorithms"] or any(one.startswith("HS") for one in value["algorithms"]):
        raise ValueError("an issuer has an algorithm that anybody can sign by")
    return Issuer(value["name"], tuple(value["audience"]), tuple(value["algorithms"]), value["bound"])


_BOUND = ("off", "optional", "required")
