"""HTTPS to an authority, bounded: who answers slowly, endlessly or elsewhere does not hold us.

Only https, verified against one's own roots or the system's; 10 s to connect to an address, 30 s for each
read, 60 s in all, whatever the number of addresses, for an answer of at most 1 MiB; and nothing is sent once
the whole attempt's time is over. Redirects are not followed here: a redirected POST would be a signature for
another address (RFC 8555 §6.4); the directory's are looked at by ``client.py``.

An authority says itself where it is asked what. One whose directory is at an address of the whole internet
leads us to no other host that is at a private one: what is behind our firewall is not its business.
"""

from __future__ import annotations

import ipaddress
import math
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, parse_header_links

from sealgate.acme.authority import Authority
from sealgate.acme.problems import host_of, quoted
from sealgate.errors import AcmeError, Fault

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["Network", "Reply", "insecure"]

CONNECT, READ, WHOLE = 10.0, 30.0, 60.0
"""Seconds: for a connection with its handshake, for one read, for a whole answer."""
LARGEST = 1 << 20
"""Bytes of an answer."""
_FRAME = 1 << 20
"""Bytes beside them: headers, and the lines between pieces, which a library may gather without end."""
LONGEST = timedelta(days=366)
"""A longer Retry-After is taken for this one."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read whole.

    Attributes:
        headers: by their lower-case names.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def retry_after(self, now: datetime) -> datetime | None:
        """When to ask again, by the authority's word (RFC 9110 §10.2.3); None: it says nothing readable.

        A date is measured from the answer's own ``Date``: the two clocks need not agree.
        """
        text = self.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdecimal():
            return now + min(timedelta(seconds=int(text[:9])), LONGEST)
        then = _date(text)
        if then is None:
            return None
        pause = then - (self.date or now)
        return now + min(max(pause, timedelta()), LONGEST)

    @property
    def date(self) -> datetime | None:
        """The authority's clock."""
        return _date(self.headers.get("date", ""))

    def links(self, relation: str) -> tuple[str, ...]:
        """Addresses of ``Link`` fields with this relation (RFC 8288), at most ten; only https ones count."""
        found = parse_header_links(self.headers.get("link", "")[:16384])
        urls = [link["url"] for link in found if link.get("rel") == relation and link.get("url")]
        joined = [self.joined(url) for url in urls]
        return tuple(url for url in joined if url.startswith("https://") and url.isascii())[:10]

    def joined(self, url: str) -> str:
        """An address that may be relative to this answer's; empty where it is none."""
        try:
            return urljoin(self.url, url)
        except ValueError:
            return ""


def _date(text: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(text)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


class _Context(ssl.SSLContext):
    """A client's context that knows when the answer must be there (monotonic seconds), and its size.

    Attributes:
        home: the host of the authority's directory.
        inside: that host is at an address that is not of the whole internet; so may others be that it names.
    """

    deadline = 0.0
    room = 0
    home = ""
    inside = False

    def check_place(self, host: str, address: str) -> None:
        """May this host be asked at this address?

        Raises:
            OSError: not on the word of this authority.
        """
        private = _is_private(address)
        if host.lower().rstrip(".") == self.home:
            self.inside = self.inside or private
        elif private and not self.inside:
            raise OSError("it names a host at a private address, and is none there itself")

    @property
    def left(self) -> float:
        """Seconds.

        Raises:
            TimeoutError: there are none.
        """
        if (left := self.deadline - time.monotonic()) <= 0:
            raise TimeoutError("the answer took too long")
        return left


_WITH_IPV4 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))
"""Addresses that end with one of IPv4: for translators (RFC 6052 §2.1), and IPv6's first ones (RFC 4291)."""


def _is_private(text: str) -> bool:
    """Is this no address of the whole internet? Of one in IPv6 clothes the inner one counts."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return not address.is_global
    inner = address.ipv4_mapped or address.sixtofour
    if any(address in network for network in _WITH_IPV4):
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if inner is not None:
        return not inner.is_global
    return address.is_site_local or not address.is_global


class _Socket(ssl.SSLSocket):
    """A socket that reads no longer than its context says: a time limit for each read alone has no end."""

    def recv_into(self, buffer: WriteableBuffer, nbytes: int | None = None, flags: int = 0) -> int:
        """As of the class above."""
        context = self.context
        if not isinstance(context, _Context):
            return super().recv_into(buffer, nbytes, flags)
        self.settimeout(min(READ, context.left))
        count = super().recv_into(buffer, nbytes, flags)
        context.room -= count
        if context.room < 0:
            raise OSError("the answer is too long")
        return count


class _Connection(urllib3.connection.HTTPSConnection):
    """Tries the addresses of a name one after the other, all of them within the answer's time."""

    def _new_conn(self) -> socket.socket:
        try:
            sock = self._connected()
        except TimeoutError as error:
            raise urllib3.exceptions.ConnectTimeoutError(self, "no address answers in time") from error
        except (OSError, UnicodeError) as error:
            raise urllib3.exceptions.NewConnectionError(self, str(error)) from error
        for option in self.socket_options or ():
            sock.setsockopt(*option)
        return sock

    def _connected(self) -> socket.socket:
        context, problem = self.ssl_context, OSError("the name has no address")
        assert isinstance(context, _Context)  # noqa: S101 - the adapter's
        # urllib3 keeps IPv6's brackets away, and a final dot for the resolver.
        host = self._dns_host.strip("[]")
        for family, kind, number, _, address in socket.getaddrinfo(host, self.port, type=socket.SOCK_STREAM):
            sock = socket.socket(family, kind, number)
            try:
                if not self.proxy:  # else the proxy says where its name leads
                    context.check_place(host, str(address[0]))
                sock.settimeout(min(CONNECT, context.left))
                sock.connect(address)
                sock.settimeout(min(CONNECT, context.left))  # for the handshake
            except OSError as error:
                sock.close()
                problem = error
                if time.monotonic() >= context.deadline:
                    break
            else:
                return sock
        raise problem


class _Pool(urllib3.HTTPSConnectionPool):
    """Connections of that kind."""

    ConnectionCls = _Connection


_POOLS: dict[str, Any] = {"http": urllib3.HTTPConnectionPool, "https": _Pool}


class _Verifying(Protocol):
    """What a pool of connections is asked to verify."""

    cert_reqs: str | None


class _Adapter(HTTPAdapter):
    """Verifies by our context alone: neither certifi nor a variable of the environment chooses the roots."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, *rest: bool, **settings: bool) -> None:
        """As of the class above."""
        super().init_poolmanager(connections, maxsize, *rest, **settings, ssl_context=self._context)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **settings: object) -> urllib3.ProxyManager:
        """As of the class above."""
        manager: urllib3.ProxyManager = super().proxy_manager_for(
            proxy, **settings, ssl_context=self._context
        )
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def cert_verify(self, conn: _Verifying, *_rest: object) -> None:
        """As of the class above."""
        conn.cert_reqs = "CERT_REQUIRED"


class _Session(requests.Session):
    """Looks for no redirect: although none is followed, it would unpack all that stands beside one."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere."""
        del resp


class Network:
    """One authority's HTTPS; for one thread at a time.

    Args:
        authority: whose.
        until: monotonic seconds; nothing is sent later.
    """

    def __init__(self, authority: Authority, *, until: float = math.inf) -> None:
        self.until = until
        self.host = host_of(authority.directory)
        self._context = _context(authority)
        self._context.home = _hostname(authority.directory)
        self._session = _Session()
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # ACME has none
        self._session.mount("https://", _Adapter(self._context))
        self._session.headers.update(
            {"User-Agent": f"sealgate/{version('sealgate')}", "Accept-Encoding": "identity"}
        )

    def close(self) -> None:
        """End its connections."""
        self._session.close()

    def send(self, method: str, url: str, *, data: bytes | None = None, accept: str = "") -> Reply:
        """One request, one answer.

        Args:
            method: ``GET``, ``HEAD`` or ``POST``.
            url: https.
            data: a JWS.
            accept: media type.

        Raises:
            AcmeError: ``acme-directory-insecure``, ``acme-unreachable``, ``acme-untrusted``,
                ``acme-answer-invalid``, ``acme-timeout``.
        """
        if not url.startswith("https://"):
            raise insecure(self.host, url)
        headers = {"Accept": accept} if accept else {}
        if data is not None:
            headers["Content-Type"] = "application/jose+json"
        now = time.monotonic()
        if now >= self.until:
            raise _over(self.host)
        self._context.deadline = min(now + WHOLE, self.until)
        self._context.room = LARGEST + _FRAME
        try:
            with self._session.request(
                method,
                url,
                data=data,
                headers=headers,
                timeout=(CONNECT, READ),
                proxies=get_environ_proxies(url),
                allow_redirects=False,
                stream=True,
            ) as response:
                body = self._read(response)
                return Reply(
                    url=url,
                    status=response.status_code,
                    headers={name.lower(): value for name, value in response.headers.items()},
                    body=body,
                )
        except requests.exceptions.SSLError as error:
            raise _untrusted(self.host, error) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            if self._context.room < 0:
                raise _endless(self.host) from error
            raise _unreachable(self.host, error) from error

    def _read(self, response: requests.Response) -> bytes:
        body = bytearray()
        for chunk in response.raw.stream(65536, decode_content=False):
            body += chunk
            if len(body) > LARGEST:
                raise _endless(self.host)
        return bytes(body)


def _hostname(url: str) -> str:
    """Lower case, without brackets and final dot."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _context(authority: Authority) -> _Context:
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _Socket
    if authority.ca_file is None:
        context.load_default_certs()
        return context
    try:
        context.load_verify_locations(cafile=str(authority.ca_file))
    except (OSError, ssl.SSLError, ValueError) as error:
        raise AcmeError(
            "acme-ca-file",
            f"no certificate can be read from certificate.acme.ca_file {quoted(str(authority.ca_file))}",
            "name the PEM file of the root of the authority's own HTTPS, or leave it out",
            path=str(authority.ca_file),
        ) from error
    return context


def insecure(host: str, url: str) -> AcmeError:
    """An address that anybody between here and there could answer for."""
    return AcmeError(
        "acme-directory-insecure",
        f"{host} names an address that is not https: {quoted(url)}",
        "nothing was sent there; name the authority's https directory in certificate.acme.directory",
        authority=host,
        url=url,
    )


def _endless(host: str) -> AcmeError:
    return AcmeError(
        "acme-answer-invalid",
        f"{host} answered with more than {LARGEST >> 20} MiB",
        "this is no ACME authority, or one in trouble: check certificate.acme.directory",
        authority=host,
    )


def _over(host: str) -> AcmeError:
    error = AcmeError(
        "acme-timeout",
        f"{host} came to no end in the time that an attempt has",
        "what was begun is gone on with at the next try, by itself",
        authority=host,
    )
    error.fault = Fault.PEER
    return error


def _untrusted(host: str, error: Exception) -> AcmeError:
    return AcmeError(
        "acme-untrusted",
        f"the HTTPS certificate of {host} cannot be verified ({_reason(error)})",
        "where it is a private one, name its root in certificate.acme.ca_file; check the machine's clock",
        authority=host,
    )


def _unreachable(host: str, error: Exception) -> AcmeError:
    return AcmeError(
        "acme-unreachable",
        f"{host} cannot be reached ({_reason(error)})",
        "check certificate.acme.directory and the way out of this machine; it is tried again by itself",
        authority=host,
    )


def _reason(error: BaseException) -> str:
    """The innermost cause, in its own words, shortened."""
    for _ in range(10):
        inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        deeper = getattr(error, "reason", None)
        deeper = (
            deeper if isinstance(deeper, BaseException) else inner or error.__cause__ or error.__context__
        )
        if deeper is None:
            break
        error = deeper
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return quoted(str(text)).strip('"')
