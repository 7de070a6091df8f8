"""The kinds of value that a policy is made of: durations, sizes, addresses, names; each normalised here.

A validator's ``ValueError`` is a part of a sentence for people ("not a duration"); what would have been right
stands beside it as :class:`Expected`.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, Literal

import idna
from pydantic import AfterValidator, BeforeValidator, Field, StrictStr, WithJsonSchema

from sealgate.policy.network import network_of

__all__ = [
    "LOOPBACK_HOST",
    "Address",
    "App",
    "Duration",
    "Endpoint",
    "Expected",
    "File",
    "Grace",
    "List",
    "Name",
    "Network",
    "Size",
    "Upstream",
    "Url",
    "canonical_name",
    "endpoint_of",
    "is_address",
    "is_loopback_host",
    "is_loopback_name",
    "is_public_name",
]

# Bounded digits: int() refuses more than 4300 with a message of its own.
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(ms|s|m|h|d)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"(\d{1,15})(B|KiB|MiB|GiB)?", re.ASCII)
_BYTES = {None: 1, "B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_APP = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*(\(\))?")
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)", re.ASCII)
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII)
# Names that no public authority signs and no outsider resolves (RFC 6761, 6762, 8375; ICANN's .internal).
_PRIVATE_SUFFIXES = (".localhost", ".test", ".internal", ".local", ".home.arpa")
LOOPBACK_HOST = (
    r"(?:(?:[a-z0-9_*-]+\.)*localhost(?:\.localdomain)?\.?"
    r"|127(?:\.[0-9]{1,3}){1,3}\.?"
    r"|\[[0:]*:0{0,3}1\]"
    r"|\[[0:]*:ffff:(?:127(?:\.[0-9]{1,3}){3}|7f[0-9a-f]{2}:[0-9a-f]{1,4})\])(?::[0-9]*)?"
)
"""Host values that lead to the machine itself, with any port; to be matched whole, whatever the case.

Written for Python, RE2 and PCRE alike, as every engine asks it: RFC 6761 §6.3 with the name's final dot,
what resolvers take for the same (systemd's nss-myhostname: ``localhost.localdomain``), RFC 1122 §3.2.1.3 (g),
RFC 4291 §2.5.3 and §2.5.5.2. Rather too wide than too narrow: a value too short is only forgotten early.
"""
_LOOPBACK_HOST = re.compile(LOOPBACK_HOST, re.IGNORECASE | re.ASCII)
_LONGEST_NAME = 253  # RFC 1035 §2.3.4, without the final dot
# Bytes that would have to be escaped in one or the other server's configuration or in a URL.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Expected:
    """What a value should have been, in words for people; stands in a field's annotation.

    ``bounds`` says how limits of the value are written: as they are, as durations or as sizes.
    """

    noun: str
    example: str = ""
    bounds: Literal["plain", "duration", "size"] = "plain"


def _duration(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("no text with a unit")
    match = _DURATION.fullmatch(value)
    if not match:
        raise ValueError("not a duration")
    return float(match[1]) * _SECONDS[match[2]]


def _size(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("no text with a unit")
    match = _SIZE.fullmatch(value)
    if not match:
        raise ValueError("not a size")
    return int(match[1]) * _BYTES[match[2]]


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    Field(ge=0.01, le=366 * 86400),
    Expected("a duration", "30s", "duration"),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h|d)$", "examples": ["30s", "5m"]}),
]
"""Seconds; written as ``"500ms"``, ``"30s"``, ``"5m"``, ``"12h"``, ``"90d"``."""

Grace = Annotated[
    float,
    BeforeValidator(_duration),
    Field(ge=0, le=30 * 86400),
    Expected("a duration", "12h", "duration"),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h|d)$", "examples": ["0s", "12h"]}),
]
"""Likewise, and ``"0s"`` for none."""

Size = Annotated[
    int,
    BeforeValidator(_size),
    Field(ge=0, le=2**40),
    Expected("a size", "1MiB", "size"),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(B|KiB|MiB|GiB)?$", "examples": ["1MiB"]}),
]
"""Bytes; written as ``"16KiB"``, ``"1MiB"``."""


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """A host (IP address, normalised) and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Reachable from this machine only."""
        return ipaddress.ip_address(self.host).is_loopback


_HOSTS = {"localhost": "127.0.0.1", "*": "0.0.0.0"}  # noqa: S104 - the user's own word


def _endpoint(value: object) -> object:
    if isinstance(value, Endpoint):
        return value
    if not isinstance(value, str):
        raise ValueError("no text")
    return endpoint_of(value)


def endpoint_of(value: str) -> Endpoint:
    """An address and a port as a policy writes them.

    Raises:
        ValueError: what is wrong, as a sentence part.
    """
    host, colon, port = value.rpartition(":")
    if not colon or not re.fullmatch(r"\d{1,5}", port, re.ASCII) or not 1 <= int(port) <= 65535:
        raise ValueError("no port from 1 to 65535 after the last colon")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address stands in brackets before the port")
    try:
        address = ipaddress.ip_address(_HOSTS.get(host, host))
    except ValueError:
        raise ValueError("not an IP address before the port") from None
    if "%" in str(address):
        raise ValueError("an address with a zone is not supported")
    # ::ffff:127.0.0.1 is the same listener as 127.0.0.1, and must compare as such.
    return Endpoint(str(getattr(address, "ipv4_mapped", None) or address), int(port))


Address = Annotated[
    Endpoint,
    BeforeValidator(_endpoint),
    Expected("an IP address and a port", "127.0.0.1:8443"),
    WithJsonSchema({"type": "string", "examples": ["127.0.0.1:8443", "[::1]:8443", "0.0.0.0:443"]}),
]


def is_address(name: str) -> bool:
    """Is this name of a site an IP address (and not a DNS name)?"""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback_name(name: str) -> bool:
    """Names that never leave the machine: localhost, *.localhost (RFC 6761 §6.3), loopback addresses."""
    if is_address(name):
        return ipaddress.ip_address(name).is_loopback
    return name == "localhost" or name.endswith(".localhost")


def is_loopback_host(host: str) -> bool:
    """Is this Host value, or this name of a site, one of :data:`LOOPBACK_HOST`? Brackets may be missing."""
    return is_loopback_name(host) or _LOOPBACK_HOST.fullmatch(host) is not None


def is_public_name(name: str) -> bool:
    """A name (wildcards too) or an address that others can reach, and a public authority may sign."""
    if is_address(name):
        return ipaddress.ip_address(name).is_global
    bare = name.removeprefix("*.")
    return "." in bare and not bare.endswith(_PRIVATE_SUFFIXES)


def canonical_name(value: str) -> str:
    """A DNS name as lower-case A-labels (wildcard ``*.`` allowed), or an IP address in its shortest form.

    Raises:
        ValueError: what is wrong, as a sentence part.
    """
    if not value:
        raise ValueError("an empty name")
    if _UNSAFE.search(value) or value != value.strip():
        raise ValueError("blank or control characters in a name")
    if len(value) > _LONGEST_NAME:
        # Before idna sees it: its work grows faster than its input.
        raise ValueError("longer than 253 characters")
    bare = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    if is_address(bare):
        address = ipaddress.ip_address(bare)
        if "%" in bare or address.is_unspecified or address.is_multicast:
            raise ValueError("not an address that a client can type")
        return str(address)
    wild, rest = ("*.", value[2:]) if value.startswith("*.") else ("", value)
    labels = _labels(rest)
    if wild and len(labels) < 2:
        raise ValueError("a wildcard needs at least two labels after it")
    name = wild + ".".join(labels)
    if len(name) > _LONGEST_NAME:
        raise ValueError("longer than 253 characters")
    return name


def _labels(value: str) -> list[str]:
    try:
        labels = (
            idna.encode(value.removesuffix("."), uts46=True, std3_rules=False).decode().lower().split(".")
        )
    except (idna.IDNAError, UnicodeError):
        raise ValueError("not a DNS name") from None
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("not a DNS name (letters, digits and inner hyphens)")
    if _NUMBER.fullmatch(labels[-1]):
        # Clients take what ends in a number for an IPv4 address (WHATWG URL, "ends in a number"); looked at
        # only now, because full-width digits are digits by now.
        raise ValueError("neither an IPv4 address nor a DNS name")
    return labels


Name = Annotated[
    StrictStr, AfterValidator(canonical_name), Expected("a DNS name or an IP address", "api.example.com")
]


def _app(value: str) -> str:
    if value and not _APP.fullmatch(value):
        module, _, attribute = value.rpartition(".")
        meant = f'; did you mean "{module}:{attribute}"?' if _APP.fullmatch(f"{module}:{attribute}") else ""
        raise ValueError(f"not of the form module:attribute{meant}")
    return value


def _no_controls(value: str) -> str:
    if _UNSAFE.search(value):
        raise ValueError("control characters")
    return value


def _upstream(value: str) -> str:
    """``http://host:port``, ``https://host:port`` or ``unix:/path``; no path, query or user."""
    if not value:
        return value
    _no_controls(value)
    if value.startswith("unix:"):
        if not value.startswith("unix:/"):
            raise ValueError("a unix socket needs an absolute path: unix:/run/app.sock")
        if len(value.encode()) - 5 > 107:
            raise ValueError("a unix socket path is at most 107 bytes long")
        return value
    match = re.fullmatch(r"(https?)://(\[[0-9A-Fa-f:.]+\]|[^/\[\]:@?#\s]+)(?::(\d{1,5}))?/?", value, re.ASCII)
    if not match:
        raise ValueError("not of the form http://host:port, https://host:port or unix:/path")
    host = canonical_name(match[2])
    port = int(match[3] or (443 if match[1] == "https" else 80))
    if not 1 <= port <= 65535 or host.startswith("*"):
        raise ValueError("not a host and a port from 1 to 65535")
    return f"{match[1]}://{f'[{host}]' if ':' in host else host}:{port}"


def _url(value: str) -> str:
    if not value:
        return value
    match = re.fullmatch(r"https://(\[[0-9A-Fa-f:.]+\]|[^/\[\]:@?#\s]+)(?::(\d{1,5}))?/?", value, re.ASCII)
    if not match:
        raise ValueError("not of the form https://name or https://name:port")
    port = int(match[2] or 443)
    if not 1 <= port <= 65535:
        raise ValueError("no port from 1 to 65535")
    host = canonical_name(match[1])
    host = f"[{host}]" if ":" in host else host
    return f"https://{host}" + ("" if port == 443 else f":{port}")


App = Annotated[StrictStr, AfterValidator(_app), Expected("a module and its attribute", "orders:app")]


_FETCHED = re.compile(r"https?://[A-Za-z0-9.\-_\[\]:]{1,260}(/[!-~]{0,1700})?", re.ASCII)


def _list(value: str) -> str:
    if "://" in value and not _FETCHED.fullmatch(value):
        raise ValueError("an address that is not http:// or https:// with a host, in plain characters")
    return _no_controls(value)


Network = Annotated[
    StrictStr,
    AfterValidator(network_of),
    Expected("an address or a network", "10.0.0.0/8"),
    WithJsonSchema({"type": "string", "examples": ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"]}),
]
"""Addresses with the same first bits, in its shortest form; a bare address is a network of one."""

List = Annotated[
    StrictStr,
    AfterValidator(_list),
    Expected('"auto", an http or https address, a path, or "off"', "http://crl.example.com/clients.crl"),
]
File = Annotated[StrictStr, AfterValidator(_no_controls), Expected("a path", "certs/site.pem")]
Upstream = Annotated[
    StrictStr,
    AfterValidator(_upstream),
    Expected('"http://host:port", "https://host:port" or "unix:/path"', "http://127.0.0.1:9000"),
]
Url = Annotated[
    StrictStr,
    AfterValidator(_url),
    Expected("https:// and a name, without a path", "https://api.example.com"),
]
