"""Callers who show tokens: who they are by it, and what those hear whose token does not count.

Outside, all tokens that do not count look the same: 401 with ``invalid_token`` (RFC 6750 §3.1). Which it was,
an unknown issuer, a signature, a date, stands in the log.
"""

from __future__ import annotations

from dataclasses import replace
from time import time
from typing import TYPE_CHECKING

from sealgate.guard.decision import Deny
from sealgate.guard.tokens.credentials import Mistaken, bearer_of
from sealgate.guard.tokens.verifier import Refused, Verifier
from sealgate.policy.problems import problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sealgate.guard.client import Client, Token

__all__ = ["Showing"]

_REFUSED = problem("token-refused")
_MALFORMED = problem("credentials-malformed")


class Showing:
    """For one policy.

    Args:
        verifier: of the issuers' tokens.
        challenge: what ``WWW-Authenticate`` says first.
        clock: seconds since 1970.
    """

    __slots__ = ("_clock", "_malformed", "_refused", "_verifier")

    def __init__(self, verifier: Verifier, challenge: str, clock: Callable[[], float] = time) -> None:
        self._verifier, self._clock = verifier, clock
        self._refused = (("www-authenticate", f'{challenge}, error="invalid_token"'),)
        self._malformed = (("www-authenticate", f'{challenge}, error="invalid_request"'),)

    def __call__(self, client: Client, authorization: Sequence[str]) -> Client | Deny:
        """The caller, with the token shown, if any.

        Args:
            client: as the engine knows it.
            authorization: values of all fields of that name.
        """
        try:
            text = bearer_of(authorization)
        except Mistaken as error:
            return Deny(_MALFORMED, str(error), self._malformed)
        if not text:
            return client
        certificate = client.certificate
        try:
            token = self._verifier.verify(text, certificate.fingerprint if certificate else "", self._clock())
        except Refused as error:
            return Deny(_REFUSED, str(error), self._refused)
        return replace(client, token=token)

    def refused(self, token: Token) -> Deny | None:
        """Does a token that counted not count any more?"""
        if self._verifier.stands(token, self._clock()):
            return None
        return Deny(_REFUSED, "token-ended", self._refused)
