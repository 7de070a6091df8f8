"""What is asked once it is known who calls, from where, and for what: may they?

The order is the contract's: how often they call from there; the token, which says more of who calls; the rule
of ``[access]``; how often they call. The first that denies answers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from sealgate.guard.access import DEFAULT, Access
from sealgate.guard.decision import Deny
from sealgate.guard.rates import Limiter, Unavailable, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sealgate.guard.asking import Asked
    from sealgate.guard.client import Client
    from sealgate.guard.compiled import Compiled
    from sealgate.guard.fields import Fields
    from sealgate.guard.rates import Budget, Store
    from sealgate.guard.tokens.showing import Showing
    from sealgate.guard.tokens.verifier import Documents

__all__ = ["NOTHING", "Admission", "Admitted", "Means", "admission_of", "store_of"]

Headers = tuple[tuple[str, str], ...]


class Means(NamedTuple):
    """By what a guard judges beside its policy, and what changes while it is in force.

    Attributes:
        issued: keys by which tokens count; None: none do.
        store: who counts how often somebody calls, on this machine; None: nobody can say.
        shared: who counts for all machines: of an address, and of what holds while it cannot be asked.
        asked: who can find out by which keys an issuer signs.
    """

    issued: Documents | None = None
    store: Store | None = None
    shared: Callable[[str, str], Store] | None = None
    asked: Asked | None = None


NOTHING = Means()


class Admitted(NamedTuple):
    """Who may, or who may not.

    Attributes:
        client: the caller, with all that is known by now.
        headers: further ones of the app's answer, lower-case.
        deny: he may not.
    """

    client: Client
    headers: Headers = ()
    deny: Deny | None = None


class Admission:
    """The steps that a policy asks for.

    Args:
        access: the rules.
        showing: reads tokens; None: nobody's count.
        limiter: how often; None: nobody asks.

    Attributes:
        blocking: it may wait for another machine's word.
    """

    __slots__ = ("_access", "_limiter", "_showing", "blocking")

    def __init__(
        self, access: Access, showing: Showing | None = None, limiter: Limiter | None = None
    ) -> None:
        self._access, self._showing, self._limiter = access, showing, limiter
        self.blocking = limiter is not None and limiter.blocking

    def __call__(self, client: Client, method: str, path: str, fields: Fields) -> Admitted:
        """May this caller do that?

        Args:
            client: as the engine knows it.
            method: as received.
            path: canonical, decoded once.
            fields: of the request.
        """
        headers: Headers = ()
        limiter = self._limiter
        if limiter is not None:
            deny, headers = limiter.address(client.address)
            if deny is not None:
                return Admitted(client, (), deny)
        if self._showing is not None:
            known = self._showing(client, fields)
            if isinstance(known, Deny):
                return _denied(client, known, headers)
            client = known
        refused = self._access(client, method, path)
        if refused is not None:
            return _denied(client, refused, headers)
        if limiter is not None:
            deny, more = limiter.principal(client)
            if deny is not None:
                return Admitted(client, (), deny)
            headers = joined(headers, more)
        return Admitted(client, headers)

    def ended(self, client: Client) -> Deny | None:
        """Does what somebody was let in by not count any more?"""
        if client.token is None or self._showing is None:
            return None
        return self._showing.refused(client.token)


def _denied(client: Client, deny: Deny, headers: Headers) -> Admitted:
    """A refusal costs budget too, and says so."""
    return Admitted(client, (), replace(deny, headers=(*deny.headers, *headers)) if headers else deny)


def store_of(compiled: Compiled, means: Means) -> Store:
    """Who counts how often somebody calls."""
    if compiled.rate_store == "memory":
        return means.store or _Nothing()
    return means.shared(compiled.rate_store, compiled.rate_store_failure) if means.shared else _Nothing()


class _Nothing:
    """Nothing was ever published: no token counts, and nobody can say how often somebody called."""

    generation = 0
    blocking = False

    def read(self) -> tuple[int, bytes]:
        """See :class:`~sealgate.guard.tokens.verifier.Documents`."""
        return 0, b""

    def take(self, who: bytes, wider: bytes, budgets: Sequence[Budget]) -> Sequence[int]:
        """See :class:`~sealgate.guard.rates.Store`."""
        del who, wider, budgets
        raise Unavailable


def admission_of(compiled: Compiled, means: Means = NOTHING, store: Store | None = None) -> Admission | None:
    """What a policy asks for; None: nothing.

    Args:
        compiled: the policy.
        means: by what it is judged.
        store: of :func:`store_of`; None: another one.
    """
    plain = not compiled.rules and compiled.access_default == "none"
    tokens = bool(compiled.issuers or compiled.api_keys)
    if plain and not tokens and not compiled.rates:
        return None
    nothing = _Nothing()
    limiter = Limiter(compiled.rates, store or store_of(compiled, means)) if compiled.rates else None
    challenge = f'Bearer realm="{compiled.public_host}"' if tokens else ""
    access = Access(compiled.rules, DEFAULT[compiled.access_default], challenge)
    if not tokens:
        return Admission(access, None, limiter)
    from sealgate.guard.asking import AskingForKeys
    from sealgate.guard.tokens.showing import Showing
    from sealgate.guard.tokens.verifier import Verifier

    showing = Showing(
        Verifier(compiled.issuers, means.issued or nothing, AskingForKeys(means.asked)),
        challenge,
        api_keys=compiled.api_keys,
        api_key_header=compiled.api_key_header,
    )
    return Admission(access, showing, limiter)
