"""The certificate in ``live/``, as far as its renewal is concerned: dates, names, and who gave it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from sealgate.acme.ari import certificate_id
from sealgate.acme.backoff import Life
from sealgate.acme.history import History, origin
from sealgate.pki.inspect import fingerprint, key_type_of, names_of

__all__ = ["PLACEHOLDER", "UNKNOWN", "Held", "held_from", "spread_of"]

PLACEHOLDER = ""
"""``Held.authority`` of a certificate that stands in until the real one is there."""
UNKNOWN = "?"
"""``Held.authority`` where nobody knows any more who gave it."""


@dataclass(frozen=True, slots=True)
class Held:
    """The certificate in ``live/``.

    Attributes:
        authority: address of the directory it came from; :data:`PLACEHOLDER`, :data:`UNKNOWN`.
        profile: that was asked for.
        ari: its id there (``ari.certificate_id``); empty where it has none.
        obtained: when it came, by our clock of then.
        revoked: its authority was told that it counts no more.
    """

    not_before: datetime
    not_after: datetime
    names: frozenset[str]
    key_type: str
    authority: str
    profile: str = ""
    ari: str = ""
    obtained: datetime | None = None
    revoked: bool = False

    @property
    def life(self) -> Life:
        """From when until when it counts."""
        return Life(self.not_before, self.not_after)


def held_from(
    certificate: x509.Certificate, history: History, *, placeholder: bool, revoked: bool = False
) -> Held:
    """What there is to know about the certificate in ``live/``.

    Args:
        certificate: the leaf.
        history: tells who gave it.
        placeholder: it is of the private authority.
        revoked: by our own word to its authority.
    """
    came = origin(history, fingerprint(certificate))
    authority = PLACEHOLDER if placeholder else came.authority if came else UNKNOWN
    return Held(
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        names=frozenset(names_of(certificate)),
        key_type=key_type_of(certificate.public_key()),
        authority=authority,
        profile=came.profile if came else "",
        ari=certificate_id(certificate),
        obtained=came.at if came else None,
        revoked=revoked,
    )


def spread_of(fingerprint: str) -> float:
    """In [0, 1), fixed for each certificate: from its SHA-256 in hex."""
    return int(fingerprint[:13] or "0", 16) / 16**13
