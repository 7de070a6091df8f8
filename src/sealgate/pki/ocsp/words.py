"""Why an answer does not count, by stable words."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Reason", "Refusal", "Refused"]


class Reason(enum.StrEnum):
    """Why an answer does not count; stable words. The first five are the responder's (RFC 6960 §4.2.1)."""

    MALFORMED = "malformed-request"
    INTERNAL = "internal-error"
    LATER = "try-later"
    SIGNED = "signature-required"
    UNAUTHORIZED = "unauthorized"

    LARGE = "too-large"
    UNREADABLE = "unreadable"
    TYPE = "other-type"
    VERSION = "other-version"
    CERTIFICATE = "other-certificate"
    SEVERAL = "several-about-it"
    CRITICAL = "unknown-critical"
    RESPONDER = "wrong-responder"
    USAGE = "may-not-answer"
    UNCHECKED = "responder-may-be-revoked"
    LIFE = "responder-not-in-date"
    ALGORITHM = "unknown-algorithm"
    WEAK = "weak-signature"
    SIGNATURE = "bad-signature"
    NONCE = "wrong-nonce"
    EARLY = "not-begun"
    ENDED = "ended"
    OLDER = "older"


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer that does not count; ``said`` is a part of a sentence, ASCII."""

    reason: Reason
    said: str


class Refusal(Exception):
    """The same on its way out of the judging."""

    def __init__(self, reason: Reason, said: str) -> None:
        super().__init__(said)
        self.refused = Refused(reason, said)
