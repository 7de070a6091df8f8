"""The same app as people guard it themselves: middleware of Falcon, PyJWT, limits, openapi-core. WSGI.

nginx before it has looked at the client's certificate, and says so in two fields. What it needs to know is in
the environment: ``BENCH_KEYS`` (a file with a JWK Set), ``BENCH_OPENAPI`` (a document; without: nothing is
validated). Where there is a choice it takes the cheaper one: keys are read once, the limiter counts in memory
of its own and by fixed windows, only requests are validated.
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import falcon
import jwt
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from bench.apps import orders
from bench.issuer import AUDIENCE, CLIENT, ISSUER, SCOPE

__all__ = ["app"]


class Certificates:
    """Which client nginx has let in: the rule is one name."""

    def process_request(self, request: falcon.Request, _response: falcon.Response) -> None:
        """403, or the caller's name."""
        named = request.get_header("X-Client-DN") or ""
        if request.get_header("X-Client-Verify") != "SUCCESS" or named != f"CN={CLIENT}":
            raise falcon.HTTPForbidden
        request.context.caller = named


class Tokens:
    """A JWT in Authorization, verified at each request."""

    def __init__(self, keys: Path) -> None:
        self._keys = {key.key_id: key.key for key in jwt.PyJWKSet.from_json(keys.read_text()).keys}

    def process_request(self, request: falcon.Request, _response: falcon.Response) -> None:
        """401, or the claims."""
        scheme, _, token = (request.auth or "").partition(" ")
        if scheme.lower() != "bearer":
            raise falcon.HTTPUnauthorized(challenges=["Bearer"])
        try:
            key = self._keys[jwt.get_unverified_header(token)["kid"]]
            request.context.claims = jwt.decode(
                token,
                key,
                algorithms=["ES256"],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={"require": ["exp"]},
            )
        except (jwt.InvalidTokenError, KeyError):
            raise falcon.HTTPUnauthorized(challenges=['Bearer error="invalid_token"']) from None


class Rules:
    """What a token must be good for."""

    def process_request(self, request: falcon.Request, _response: falcon.Response) -> None:
        """403, or nothing."""
        if SCOPE not in request.context.claims.get("scope", "").split():
            raise falcon.HTTPForbidden


class Limiter:
    """How often one client may call; nginx counts by address."""

    def __init__(self) -> None:
        self._strategy = FixedWindowRateLimiter(MemoryStorage())
        self._rate = RateLimitItemPerSecond(1_000_000)

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        """429, or how much is left."""
        caller = request.context.caller
        if not self._strategy.hit(self._rate, caller):
            raise falcon.HTTPTooManyRequests
        window = self._strategy.get_window_stats(self._rate, caller)
        response.set_header("RateLimit", f'"client";r={window.remaining};t={int(window.reset_time)}')


class Validating:
    """openapi-core, asked to validate requests alone.

    Its own middleware makes objects of them, and looks at answers too: ten times the work, by the profile.
    """

    def __init__(self, document: Path) -> None:
        # It is in a folder of its own (bench/openapi-core.txt), so this file is read without it, too.
        core: Any = importlib.import_module("openapi_core")
        own: Any = importlib.import_module("openapi_core.contrib.falcon")
        self._wrong = importlib.import_module("openapi_core.exceptions").OpenAPIError
        self._request = own.FalconOpenAPIRequest
        self._api = core.OpenAPI.from_dict(json.loads(document.read_text()))

    def process_request(self, request: falcon.Request, _response: falcon.Response) -> None:
        """422, or nothing."""
        try:
            self._api.validate_request(self._request(request))
        except self._wrong:
            raise falcon.HTTPUnprocessableEntity from None


def _middleware() -> list[Any]:
    found: list[Any] = [Certificates(), Tokens(Path(os.environ["BENCH_KEYS"])), Rules(), Limiter()]
    if document := os.environ.get("BENCH_OPENAPI"):
        found.append(Validating(Path(document)))
    return found


app = orders(_middleware())
