"""Which names an authority may certify (RFC 5280 §4.2.1.10), and which names a certificate covers (RFC 6125).

The servers authority is critically constrained to names that mean nothing on the public Internet, and the
site's own; a machine that trusts our root can thus not be fooled about anybody else, even with a stolen key.
The clients authority is excluded from every DNS name and address, in the form of the CA/Browser Forum's
Baseline Requirements §7.1.5 (zero-length dNSName, 0.0.0.0/0, ::/0): not every verifier looks at the extended
key usage of authorities (Java does not), all of them look at name constraints.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from cryptography import x509

__all__ = ["clients_constraints", "covers", "outside", "servers_constraints"]

_LOCAL_DOMAINS = ("localhost", "test", "internal", "local")
"""RFC 6761 (localhost, test), RFC 6762 (local), ICANN's reservation of 2024 (internal)."""

_LOCAL_NETWORKS = ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
"""Loopback, RFC 1918, RFC 4193."""

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(name: str) -> _Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _domain(name: str) -> str:
    """The name a subtree is judged by: a wildcard stands for everything below its parent."""
    return name.removeprefix("*.")


def _in_domain(name: str, domain: str) -> bool:
    """RFC 5280: a dNSName constraint holds for the domain itself and everything below it."""
    return name == domain or name.endswith(f".{domain}")


def _permitted(names: Iterable[str]) -> tuple[list[str], list[_Network]]:
    domains = list(_LOCAL_DOMAINS)
    networks: list[_Network] = [ipaddress.ip_network(text) for text in _LOCAL_NETWORKS]
    for name in names:
        address = _address(name)
        if address is None:
            if not any(_in_domain(_domain(name), domain) for domain in domains):
                domains.append(_domain(name))
        elif not any(address in network for network in networks):
            networks.append(ipaddress.ip_network(address))
    return domains, networks


def servers_constraints(names: Iterable[str]) -> x509.NameConstraints:
    """What the servers authority may certify: local names and addresses, and the site's.

    Args:
        names: the site's names, canonical (``policy.model.canonical_name``).
    """
    domains, networks = _permitted(names)
    subtrees: list[x509.GeneralName] = [x509.DNSName(domain) for domain in domains]
    subtrees += [x509.IPAddress(network) for network in networks]
    return x509.NameConstraints(permitted_subtrees=subtrees, excluded_subtrees=None)


def clients_constraints() -> x509.NameConstraints:
    """What the clients authority may not certify: any host at all."""
    return x509.NameConstraints(
        permitted_subtrees=None,
        excluded_subtrees=[
            x509.DNSName(""),
            x509.IPAddress(ipaddress.ip_network("0.0.0.0/0")),
            x509.IPAddress(ipaddress.ip_network("::/0")),
        ],
    )


def outside(names: Iterable[str], authority: x509.Certificate) -> tuple[str, ...]:
    """Those of the names that the authority's constraints do not permit, in the order given."""
    try:
        constraints = authority.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return ()
    permitted = constraints.permitted_subtrees or []
    domains = [subtree.value for subtree in permitted if isinstance(subtree, x509.DNSName)]
    networks = [subtree.value for subtree in permitted if isinstance(subtree, x509.IPAddress)]

    def inside(name: str) -> bool:
        address = _address(name)
        if address is None:
            return any(_in_domain(_domain(name), domain) for domain in domains)
        return any(not isinstance(network, _Address) and address in network for network in networks)

    return tuple(name for name in names if not inside(name))


def covers(certified: Iterable[str], name: str) -> bool:
    """Does a certificate for ``certified`` serve ``name``?

    A wildcard stands for exactly one label and only as the whole left-most one (RFC 6125 §6.4.3); a site's
    name that is itself a wildcard needs the same wildcard. Addresses are compared as addresses.
    """
    address = _address(name)
    for offered in certified:
        if address is not None:
            if _address(offered) == address:
                return True
            continue
        if offered.lower() == name:
            return True
        parent = name.partition(".")[2]
        if (
            offered.startswith("*.")
            and parent
            and not name.startswith("*.")
            and offered[2:].lower() == parent
        ):
            return True
    return False
