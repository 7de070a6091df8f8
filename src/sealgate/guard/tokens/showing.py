"""Callers who show tokens: who they are by it, and what those hear whose token does not count.

Outside, all tokens that do not count look the same: 401 with ``invalid_token`` (RFC 6750 §3.1). Which it was,
an unknown issuer, a signature, a revoked key, stands in the log.
"""

from __future__ import annotations

from dataclasses import replace
from time import time
from typing import TYPE_CHECKING

from sealgate.guard.decision import Deny
from sealgate.guard.tokens.credentials import Mistaken, bearer_of, key_of
from sealgate.guard.tokens.refused import KeysUnknown, Refused
from sealgate.policy.api_keys import PREFIX
from sealgate.policy.problems import problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealgate.guard.client import Client, Token
    from sealgate.guard.fields import Fields
    from sealgate.guard.tokens.verifier import Verifier

__all__ = ["Showing"]

_REFUSED = problem("token-refused")
_UNKNOWN = problem("issuer-unavailable")
_MALFORMED = problem("credentials-malformed")


class Showing:
    """For one policy.

    Args:
        verifier: of tokens.
        challenge: what ``WWW-Authenticate`` says first.
        api_keys: keys that were issued here count.
        api_key_header: the field that carries them; empty: ``Authorization``.
        clock: seconds since 1970.
    """

    __slots__ = ("_api_keys", "_clock", "_header", "_malformed", "_refused", "_verifier")

    def __init__(
        self,
        verifier: Verifier,
        challenge: str,
        *,
        api_keys: bool = False,
        api_key_header: str = "",
        clock: Callable[[], float] = time,
    ) -> None:
        self._verifier, self._clock = verifier, clock
        self._api_keys, self._header = api_keys, api_key_header
        self._refused = (("www-authenticate", f'{challenge}, error="invalid_token"'),)
        self._malformed = (("www-authenticate", f'{challenge}, error="invalid_request"'),)

    def __call__(self, client: Client, fields: Fields) -> Client | Deny:
        """The caller, with the token shown, if any.

        Args:
            client: as the engine knows it.
            fields: of the request.
        """
        try:
            token = self._token(client, fields)
        except Mistaken as error:
            return Deny(_MALFORMED, str(error), self._malformed)
        except KeysUnknown as error:
            return Deny(_UNKNOWN, str(error))
        except Refused as error:
            return Deny(_REFUSED, str(error), self._refused)
        return client if token is None else replace(client, token=token)

    def _token(self, client: Client, fields: Fields) -> Token | None:
        """The one shown; None: none was. Raises Mistaken and Refused."""
        bearer = bearer_of(fields("authorization"))
        key = key_of(fields(self._header)) if self._header else ""
        if bearer and key:
            raise Mistaken("credentials-twice")
        if not bearer and not key:
            return None
        if key:
            return self._verifier.api_key(key, self._clock())
        if self._api_keys and bearer.startswith(PREFIX):
            if self._header:
                raise Refused("api-key-elsewhere")
            return self._verifier.api_key(bearer, self._clock())
        certificate = client.certificate
        return self._verifier.verify(bearer, certificate.fingerprint if certificate else "", self._clock())

    def refused(self, token: Token) -> Deny | None:
        """Does a token that counted not count any more?"""
        if self._verifier.stands(token, self._clock()):
            return None
        return Deny(_REFUSED, "token-ended", self._refused)
