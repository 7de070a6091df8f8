"""Who answers for a certificate, and who is left out: OCSP responders in AuthorityInfoAccess. Pure.

Who is asked says :func:`sealgate.policy.points.responders_of`, by which the guard knows that somebody can be
asked at all; both must mean the same. Here stands why the others are not, so that "there is nobody to ask"
can say it. What other access methods name (caIssuers, ...) is no responder, and is passed over in silence.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from sealgate.policy.points import LeftOut, Why, responders_of

__all__ = ["LeftOut", "Responders", "Why", "responders_in"]

_MOST = 4
"""Addresses that are asked of one certificate: each costs a deadline while the client waits."""
_LOOKED_AT = 16
_LONGEST = 2048


@dataclass(frozen=True, slots=True)
class Responders:
    """Of one certificate (RFC 5280 §4.2.2.1).

    Attributes:
        urls: http and https, in the certificate's order; the next is for when one fails.
        left_out: the others.
    """

    urls: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()


def responders_in(certificate: x509.Certificate) -> Responders:
    """The responders that a certificate names which was verified, in its order."""
    try:
        value = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return Responders(())
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return Responders((), (LeftOut(Why.DAMAGED, ""),))
    urls = responders_of(certificate)
    every = [one.access_location for one in value if one.access_method == AuthorityInformationAccessOID.OCSP]
    left_out = [
        LeftOut(why, str(name.value)[:_LONGEST]) for name in every[:_LOOKED_AT] if (why := _why(name))
    ]
    if len(urls) > _MOST or len(every) > _LOOKED_AT:
        left_out.append(LeftOut(Why.MANY, ""))
    return Responders(urls[:_MOST], tuple(left_out))


def _why(name: x509.GeneralName) -> Why | None:
    """None: it can be asked."""
    if not isinstance(name, x509.UniformResourceIdentifier):
        return Why.DIRECTORY
    if not name.value.lower().startswith(("http://", "https://")):  # RFC 3986 §3.1: in any case
        return Why.SCHEME
    return Why.LONG if len(name.value) > _LONGEST else None
