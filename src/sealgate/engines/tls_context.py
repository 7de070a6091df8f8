"""TLS for servers that run on Python's own ``ssl``: one context that follows the files it is made from.

Theory: a server keeps one :class:`LiveContext` for its life. It never does a handshake itself: each
connection is handed to the newest *prepared* context, an ordinary one that is made once from chain, key and
trust and never changed. When the files change another is made and takes its place as a whole; one that cannot
be made (half a pair, a key that does not fit) never replaces a good one. A context changed in place would let
a client whose authority is gone resume by its ticket; a new one knows no ticket and no session of the old.

Where client certificates are asked for, nothing is resumed at all: expiry and revocation are then looked at
in every handshake. Tickets are off. The cache by session id (TLS 1.2) cannot be switched off in Python, so
each connection begins in a context of its own, empty and without files, whose cache nobody else will ever
ask; it takes certificate and authorities from the prepared one.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

from sealgate.engines.facts import RenderFacts
from sealgate.engines.tls_alert import AlertingObject
from sealgate.errors import EngineRefused

__all__ = [
    "OPENSSL_FILE",
    "SEEN_WITHIN",
    "LiveContext",
    "TlsSettings",
    "groups_known",
    "openssl_configuration",
    "openssl_groups",
]

OPENSSL_FILE = "openssl.cnf"
"""How engines call what :func:`openssl_configuration` says."""

_CHECK = 0.2
SEEN_WITHIN = _CHECK + 0.05
"""Seconds after which every handshake of every process is by the files as they are."""
_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
_SINCE_3_5 = frozenset({"X25519MLKEM768"})
_VERIFY: Mapping[str, ssl.VerifyMode] = {
    "off": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}
_Stamp = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """What a context is made from; plain data, so that it travels as JSON (:meth:`as_dict`).

    Attributes:
        chain, key: PEM files, absolute or relative to the process's directory.
        trust: PEM file of the authorities of client certificates; only read where they are asked for.
        lists: PEM file of their revocation lists, one for each; empty: there are none.
        clients: as ``clients.mode``.
        protocols: ``TLSv1.2``, ``TLSv1.3``; the oldest first.
        tls12_suites: OpenSSL's names.
        groups: of the profile; see :func:`openssl_groups`.
        server_preferred_order: the server's order of suites counts.
        alpn: protocols offered, the preferred first.
        second_chain, second_key: of a certificate of the other family; empty: none is wanted.
    """

    chain: str
    key: str
    trust: str
    clients: Literal["off", "optional", "required"]
    protocols: tuple[str, ...]
    tls12_suites: tuple[str, ...]
    groups: tuple[str, ...]
    server_preferred_order: bool
    alpn: tuple[str, ...]
    lists: str = ""
    second_chain: str = ""
    second_key: str = ""

    @classmethod
    def of(cls, facts: RenderFacts, *, alpn: tuple[str, ...] = ("http/1.1",)) -> TlsSettings:
        """From what the keeper tells an engine."""
        profile = facts.profile
        return cls(
            chain=facts.chain,
            key=facts.key,
            trust=facts.trust,
            clients=facts.policy.clients.mode,
            protocols=profile.protocols,
            tls12_suites=profile.tls12_suites,
            groups=profile.groups,
            server_preferred_order=profile.server_preferred_order,
            alpn=alpn,
            lists=facts.lists if facts.policy.clients.mode != "off" else "",
            second_chain=facts.second_chain,
            second_key=facts.second_key,
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TlsSettings:
        """What :meth:`as_dict` gave, also after a journey through JSON, or of an earlier version."""
        values: dict[str, Any] = {field.name: data[field.name] for field in fields(cls) if field.name in data}
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        return cls(**values)


def groups_known(version: tuple[int, ...] = ssl.OPENSSL_VERSION_INFO) -> frozenset[str]:
    """Groups of the profiles that OpenSSL of this version can do; the hybrid one came with 3.5."""
    always = frozenset({"X25519", "P-256", "P-384"})
    return always | _SINCE_3_5 if version[:2] >= (3, 5) else always


def openssl_groups(groups: tuple[str, ...], version: tuple[int, ...] = ssl.OPENSSL_VERSION_INFO) -> str:
    """OpenSSL's list of those groups that it knows: ``X25519:P-256:P-384``."""
    known = groups_known(version)
    return ":".join(group for group in groups if group in known)


class LiveContext(ssl.SSLContext):
    """A server's context that always serves what is in the files now.

    Args:
        settings: what it is made from.
        say: told once of each reason for which changed files do not count.
        every: the files are looked at once in so many seconds at most, when somebody connects.
        clock: seconds, monotonic.

    Raises:
        EngineRefused: ``engine-refused``: there is nothing good to begin with.
    """

    def __new__(cls, settings: TlsSettings, **options: Any) -> Self:  # noqa: ANN401 - __init__ has their types
        """An SSLContext is made here; ``__init__`` does the rest."""
        del settings, options
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(
        self,
        settings: TlsSettings,
        *,
        say: Callable[[str], None] = lambda _: None,
        every: float = _CHECK,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._say = say
        self._every = every
        self._clock = clock
        self._lock = threading.Lock()
        self._said = ""
        self._looked = clock()
        # First the stamp, then the files: what changes in between is seen at the next look.
        self._stamp = _stamp(settings)
        try:
            self._prepared = _prepare(settings)
        except (OSError, ValueError) as error:
            raise EngineRefused(
                "engine-refused",
                f"the certificate in {settings.chain} cannot be served ({error})",
                "make a new one with: sealgate cert renew",
            ) from error

    @property
    def prepared(self) -> ssl.SSLContext:
        """The newest one, after a look at the files if it is time for one."""
        now = self._clock()
        if now - self._looked >= self._every and self._lock.acquire(blocking=False):
            try:
                self._looked = now
                self.refresh()
            finally:
                self._lock.release()
        return self._prepared

    def refresh(self) -> bool:
        """Look at the files now; true if another context serves since."""
        stamp = _stamp(self._settings)
        if stamp == self._stamp or not stamp:
            return False
        try:
            prepared = _prepare(self._settings)
        except (OSError, ValueError) as error:
            if self._said != str(error):
                self._said = str(error)
                self._say(f"the new certificate is not served, the one before is ({error})")
            return False
        self._prepared, self._stamp, self._said = prepared, stamp, ""
        return True

    def wrap_socket(self, sock: Any, *args: Any, **options: Any) -> ssl.SSLSocket:  # noqa: ANN401 - as SSLContext's
        """By the newest prepared context."""
        prepared = self.prepared
        if self._settings.clients == "off":
            return prepared.wrap_socket(sock, *args, **options)
        handshake = options.pop("do_handshake_on_connect", True)
        options["do_handshake_on_connect"] = False
        wrapped = _configured(self._settings).wrap_socket(sock, *args, **options)
        wrapped.context = prepared
        if handshake:
            wrapped.do_handshake()
        return wrapped

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:  # noqa: ANN401 - as SSLContext's
        """By the newest prepared context."""
        prepared = self.prepared
        if self._settings.clients == "off":
            return prepared.wrap_bio(*args, **options)
        wrapped = _configured(self._settings).wrap_bio(*args, **options)
        wrapped.context = prepared
        return wrapped


def _pair(chain: str, key: str) -> tuple[Path, Path]:
    """Chain and key behind their links, in one directory where they are linked there.

    ``chain.pem`` and ``key.pem`` both lead through ``current``. Following it once gives a pair that fits.
    """
    first, second = Path(chain), Path(key)
    leaf = first.resolve(strict=True)
    linked = first.parent == second.parent and second.is_symlink()
    return leaf, leaf.with_name(second.name) if linked else second.resolve(strict=True)


def _pairs(settings: TlsSettings) -> tuple[tuple[Path, Path], ...]:
    """The certificates with their keys; each fits, although one may be of the version before the other's."""
    pairs = (_pair(settings.chain, settings.key),)
    if not settings.second_chain:
        return pairs
    second = _pair(settings.second_chain, settings.second_key)
    return pairs if second[0] == pairs[0][0] else (*pairs, second)  # there is none yet: it leads to the first


def _others(settings: TlsSettings) -> tuple[Path, ...]:
    """Authorities and lists of client certificates, behind their links."""
    paths = () if settings.clients == "off" else (settings.trust, settings.lists)
    return tuple(Path(path).resolve(strict=True) for path in paths if path)


def _stamp(settings: TlsSettings) -> _Stamp:
    """What changes when the files do; nothing where one of them is not there."""
    try:
        files = [path for pair in _pairs(settings) for path in pair] + [*_others(settings)]
        found = [path.stat() for path in files]
    except OSError:
        return ()
    return (*files, *((s.st_dev, s.st_ino, s.st_mtime_ns, s.st_ctime_ns, s.st_size) for s in found))


def _no_password() -> str:
    """An encrypted key is refused; OpenSSL would ask on the terminal."""
    return ""


def _prepare(settings: TlsSettings) -> ssl.SSLContext:
    """A context with certificate and authorities; raises OSError or ValueError where they are no good."""
    context = _configured(settings)
    for chain, key in _pairs(settings):  # OpenSSL keeps one of each family
        context.load_cert_chain(chain, key, password=_no_password)
    for path in _others(settings):  # authorities, then lists: OpenSSL takes both from such a file
        context.load_verify_locations(cafile=path)
    return context


def _configured(settings: TlsSettings) -> ssl.SSLContext:
    """A context as the profile says, without files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.protocols[0]]
    context.maximum_version = _VERSIONS[settings.protocols[-1]]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.sslobject_class = AlertingObject
    if not settings.server_preferred_order:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if settings.tls12_suites:
        context.set_ciphers(":".join(settings.tls12_suites))
    if hasattr(context, "set_groups"):  # Python 3.15; before, OPENSSL_CONF says it where we start the process
        context.set_groups(openssl_groups(settings.groups))
    if settings.alpn:
        context.set_alpn_protocols(list(settings.alpn))
    context.verify_mode = _VERIFY[settings.clients]
    if settings.clients != "off":
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    if settings.lists:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    return context


def openssl_configuration(groups: tuple[str, ...]) -> bytes:
    """An ``OPENSSL_CONF`` by which contexts offer these groups only: Python before 3.15 cannot say it itself.

    It counts for the whole process, so for connections of the app too. The other two lines are what Debian
    and others have in their own.
    """
    return (
        "openssl_conf = sealgate\n"
        "[sealgate]\nssl_conf = sealgate_ssl\n"
        "[sealgate_ssl]\nsystem_default = sealgate_tls\n"
        f"[sealgate_tls]\nGroups = {openssl_groups(groups)}\n"
        "MinProtocol = TLSv1.2\nCipherString = DEFAULT@SECLEVEL=2\n"
    ).encode("ascii")
