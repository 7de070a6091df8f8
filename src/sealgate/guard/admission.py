"""What is asked once it is known who calls, from where, and for what: may they?

The order is the contract's: the rule of ``[access]`` comes after all that says who calls, and before the app.
The first that denies answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from sealgate.guard.access import DEFAULT, Access

if TYPE_CHECKING:
    from sealgate.guard.client import Client
    from sealgate.guard.compiled import Compiled
    from sealgate.guard.decision import Deny

__all__ = ["Admission", "Admitted", "Fields", "admission_of"]


class Fields(Protocol):
    """The request's header, as it came."""

    def __call__(self, name: str, /) -> list[str]:
        """All values of the field of that name (lower-case), as latin-1; in WSGI joined by commas."""


class Admitted(NamedTuple):
    """Who may.

    Attributes:
        client: the caller, with all that is known by now.
    """

    client: Client


class Admission:
    """The steps that a policy asks for.

    Args:
        access: the rules.
    """

    __slots__ = ("_access",)

    def __init__(self, access: Access) -> None:
        self._access = access

    def __call__(self, client: Client, method: str, path: str, fields: Fields) -> Admitted | Deny:  # noqa: ARG002
        """May this caller do that?

        Args:
            client: as the engine knows it.
            method: as received.
            path: canonical, decoded once.
            fields: of the request.
        """
        return self._access(client, method, path) or Admitted(client)


def admission_of(compiled: Compiled) -> Admission | None:
    """What a policy asks for; None: nothing."""
    if not compiled.rules and compiled.access_default == "none":
        return None
    return Admission(Access(compiled.rules, DEFAULT[compiled.access_default]))
