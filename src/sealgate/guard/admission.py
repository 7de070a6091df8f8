"""What is asked once it is known who calls, from where, and for what: may they?

The order is the contract's: the token, which says more of who calls, then the rule of ``[access]``. The first
that denies answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from sealgate.guard.access import DEFAULT, Access
from sealgate.guard.decision import Deny

if TYPE_CHECKING:
    from sealgate.guard.client import Client
    from sealgate.guard.compiled import Compiled
    from sealgate.guard.tokens.showing import Showing
    from sealgate.guard.tokens.verifier import Documents

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
        showing: reads tokens; None: nobody's count.
    """

    __slots__ = ("_access", "_showing")

    def __init__(self, access: Access, showing: Showing | None = None) -> None:
        self._access, self._showing = access, showing

    def __call__(self, client: Client, method: str, path: str, fields: Fields) -> Admitted | Deny:
        """May this caller do that?

        Args:
            client: as the engine knows it.
            method: as received.
            path: canonical, decoded once.
            fields: of the request.
        """
        if self._showing is not None:
            known = self._showing(client, fields("authorization"))
            if isinstance(known, Deny):
                return known
            client = known
        return self._access(client, method, path) or Admitted(client)

    def ended(self, client: Client) -> Deny | None:
        """Does what somebody was let in by not count any more?"""
        if client.token is None or self._showing is None:
            return None
        return self._showing.refused(client.token)


class _Nothing:
    """Nothing was ever published: no token counts."""

    generation = 0

    def read(self) -> tuple[int, bytes]:
        """See :class:`~sealgate.guard.tokens.verifier.Documents`."""
        return 0, b""


def admission_of(compiled: Compiled, issued: Documents | None = None) -> Admission | None:
    """What a policy asks for; None: nothing.

    Args:
        compiled: the policy.
        issued: keys by which tokens count; None: none do.
    """
    if not compiled.issuers and not compiled.rules and compiled.access_default == "none":
        return None
    challenge = f'Bearer realm="{compiled.public_host}"' if compiled.issuers else ""
    access = Access(compiled.rules, DEFAULT[compiled.access_default], challenge)
    if not compiled.issuers:
        return Admission(access)
    from sealgate.guard.tokens.showing import Showing
    from sealgate.guard.tokens.verifier import Verifier

    return Admission(access, Showing(Verifier(compiled.issuers, issued or _Nothing()), challenge))
