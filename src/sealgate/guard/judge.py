"""Decisions with a memory: the same few Host values and targets come again and again.

Of requests only what was allowed is remembered, by exactly what it was decided on; a policy's memory ends
with it. Clients choose the texts, so both their number and their length are bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from sealgate.guard.admission import NOTHING, Means, admission_of, store_of
from sealgate.guard.decision import (
    ADDRESS_REFUSED,
    BLOCKED,
    LAPSED,
    REVOKED,
    UNKNOWN,
    UNLISTED,
    Deny,
    Facts,
    decide,
)
from sealgate.guard.rates import Counting
from sealgate.policy.identity import stale_key

if TYPE_CHECKING:
    from sealgate.guard.certificate import Certificate
    from sealgate.guard.client import Client
    from sealgate.guard.compiled import Compiled
    from sealgate.guard.sources import Origin
    from sealgate.guard.validation.validator import Validation

__all__ = ["Judge", "Passed", "Revoked", "refusal"]

_MOST_REMEMBERED = 4096
_LONGEST_REMEMBERED = 512


class Revoked(Protocol):
    """The keys (of ``Certificate.refused_by``) of those who were revoked, at any moment."""

    def __contains__(self, key: bytes, /) -> bool:
        """Was this one?"""


class Passed(NamedTuple):
    """An allowed target.

    Attributes:
        path: decoded once.
        native: the same as WSGI's PATH_INFO carries it: UTF-8 bytes as latin-1 (PEP 3333).
        query: raw.
    """

    path: str
    native: str
    query: str


class Judge:
    """`decide` for one policy, and what comes after it.

    Args:
        compiled: the policy.
        revoked: clients.
        means: by what it judges beside the policy.

    Attributes:
        admission: what is asked of a request that was decided on; None: nothing.
        validation: what a request must be that may be made; None: anything.
        counting: counts what the app itself asks for.
    """

    __slots__ = ("_known", "_revoked", "_whence", "admission", "compiled", "counting", "validation")

    def __init__(self, compiled: Compiled, revoked: Revoked = (), means: Means = NOTHING) -> None:
        self.compiled, self._revoked = compiled, revoked
        store = store_of(compiled, means)
        self.admission = admission_of(compiled, means, store)
        self.counting = Counting(store)
        self.validation = _validation(compiled)
        self._known: dict[tuple[str, str], Passed] = {}
        self._whence: dict[str, bool] = {}

    def whence(self, address: str) -> Deny | None:
        """Judge where a request comes from; before who asks, and for what."""
        admitted = self.compiled.admitted
        if admitted is None:
            return None
        known = self._whence.get(address)
        if known is None:
            if len(self._whence) >= _MOST_REMEMBERED:
                self._whence = {}
            known = self._whence[address] = admitted.admits(address)
        return None if known else ADDRESS_REFUSED

    def stranger(self, origin: Origin) -> Deny | None:
        """Judge whence, and then who: whatever is asked for."""
        client = origin.client
        return (
            origin.lost
            or (self.whence(client.address) if self.compiled.admitted is not None else None)
            or origin.refusal
            or (self.revoked(client) if client.certificate is not None else None)
        )

    def revoked(self, client: Client) -> Deny | None:
        """Judge who asks: asked at each request, since a connection may be older than the revocation."""
        certificate = client.certificate
        if certificate is None:
            return None
        return refusal(certificate, self._revoked)

    def refused(self, client: Client) -> Deny | None:
        """Judge somebody who was let in, for as long as an exchange of theirs is under way."""
        return self.revoked(client) or (self.admission.ended(client) if self.admission else None)

    def __call__(self, client: Client, method: str, host: str, target: str, length: str) -> Passed | Deny:
        """Judge one request; the arguments are those of :class:`Facts`."""
        if not length:
            known = self._known.get((host, target))
            if known is not None:
                return known
        return self._afresh(Facts(client, method, host, target, length))

    def _afresh(self, facts: Facts) -> Passed | Deny:
        decision = decide(self.compiled, facts)
        if isinstance(decision, Deny):
            return decision
        path = decision.path
        passed = Passed(path, path if path.isascii() else path.encode().decode("latin-1"), decision.query)
        # `*` is for one method only, so it is judged each time.
        if len(facts.target) <= _LONGEST_REMEMBERED and path != "*":
            if len(self._known) >= _MOST_REMEMBERED:
                self._known = {}
            self._known[facts.host, facts.target] = passed
        return passed


def refusal(certificate: Certificate, revoked: Revoked) -> Deny | None:
    """Why this certificate does not count at this moment; None: it does.

    Args:
        certificate: of who asks.
        revoked: what is known.
    """
    for key in certificate.refused_by:
        if key in revoked:
            return _why(certificate, key)
    vouchers = certificate.vouchers
    if vouchers is None or any(key in revoked for key in vouchers):
        return None
    if not vouchers:
        return UNLISTED
    return LAPSED if any(stale_key(key) in revoked for key in vouchers) else UNKNOWN


def _why(certificate: Certificate, key: bytes) -> Deny:
    if key == certificate.lapsed_key:
        return LAPSED
    return REVOKED if key in (certificate.revocation_key, *certificate.issuer_keys) else BLOCKED


def _validation(compiled: Compiled) -> Validation | None:
    if compiled.validation is None:
        return None
    # Most workers validate nothing, and the library is large.
    from sealgate.guard.validation.validator import Validation

    return Validation(compiled.validation)
