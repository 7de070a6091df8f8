"""Keys and values that the design names and this version does not have.

Whoever copies one from a newer page is told that, instead of being asked whether a typing error was meant.
Each issue that adds a table takes its line out here.
"""

from __future__ import annotations

__all__ = ["LATER_KEYS", "LATER_VALUES"]

LATER_KEYS = frozenset(
    {
        "access",
        "certificate.acme",
        "clients.authorities.crl",
        "clients.authorities.grace",
        "clients.authorities.ocsp",
        "clients.groups",
        "limits.rate_store",
        "limits.rate_store_failure",
        "limits.rates",
        "monitor",
        "network",
        "tokens",
        "validation",
    }
)

LATER_VALUES = {
    "certificate.source": frozenset({"acme"}),
    "site.engine": frozenset({"nginx", "apache", "gunicorn", "uvicorn"}),
}
