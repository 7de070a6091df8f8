"""An issuer of tokens: a key (ES256), the set that it publishes, what it signs (RFC 7515, 7517, 7519)."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

__all__ = ["AUDIENCE", "CLIENT", "ISSUER", "SCOPE", "Issuing"]

ISSUER = "https://issuer.bench.invalid"
AUDIENCE = "https://api.bench.invalid"
SCOPE = "hello:read"
CLIENT = "good"
_KID = "bench-1"
_BYTES = 32
_SECONDS = 24 * 3600


class Issuing:
    """With a key of its own."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def jwk(self) -> dict[str, str]:
        """The public key."""
        numbers = self._key.public_key().public_numbers()
        x, y = (_text(one.to_bytes(_BYTES, "big")) for one in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": _KID, "alg": "ES256", "use": "sig"}

    @property
    def jwks(self) -> str:
        """The set, as JSON."""
        return json.dumps({"keys": [self.jwk]})

    def token(self, subject: str = "bench") -> str:
        """A JWT that counts for a day."""
        now = int(time.time())
        head = {"alg": "ES256", "typ": "JWT", "kid": _KID}
        body = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "scope": f"{SCOPE} hello:write"}
        dates = {"iat": now, "nbf": now, "exp": now + _SECONDS, "jti": f"{now:x}"}
        signed = ".".join(_text(json.dumps(one).encode()) for one in (head, body | dates))
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_text(r.to_bytes(_BYTES, 'big') + s.to_bytes(_BYTES, 'big'))}"


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
