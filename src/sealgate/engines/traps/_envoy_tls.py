"""Traps of Envoy's TLS towards clients: their certificates, lists of the revoked, Envoy's own certificate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cryptography import x509

from sealgate.engines.configurations.directive import Directive
from sealgate.engines.configurations.library import Library, UnreadableError
from sealgate.engines.traps._envoy_http import on, typed
from sealgate.engines.traps.trap import Known, Trap

__all__ = ["KNOWN", "Tls", "tls_of", "tls_traps"]

NOT_ASKED = Known(
    "envoy-client-not-asked",
    "client certificates are required, and nobody is asked",
    "require_client_certificate without trusted_ca does nothing: everybody gets in, with or without one",
    "validation_context: { trusted_ca: { filename: ... } } beside it",
)
UNVERIFIED = Known(
    "envoy-client-unverified",
    "trust_chain_verification: ACCEPT_UNTRUSTED",
    "a certificate of anybody's own making is accepted, and passed on to the app like a good one",
    "take it out (the default is VERIFY_TRUST_CHAIN)",
)
VERIFY_UNUSED = Known(
    "envoy-verify-unused",
    "client certificates are asked for, and nobody looks at the answer",
    "without require_client_certificate a client without one gets in like any other",
    "require_client_certificate: true; or a rule by `authenticated` (rbac), or SANITIZE_SET for the app",
)
CRL_MISSING = Known(
    "envoy-crl-missing",
    "client certificates without a revocation list",
    "a certificate that was revoked is good until it expires; Envoy fetches no list by itself",
    "crl: { filename: ... }, with a list of every authority of the chain, by SDS",
)
CRL_STATIC = Known(
    "envoy-crl-never-reloaded",
    "a revocation list that is read once",
    "in the bootstrap or a listener it is read at start alone: who is revoked later gets in, and when the "
    "list expires nobody does",
    "a validation context by SDS (path_config_source) with watched_directory, and new lists by rename",
)
CRL_GARBAGE = Known(
    "envoy-crl-unusable",
    "a revocation list that is none",
    "Envoy says nothing about it, and then refuses every client",
    "a list in PEM, looked at before it is put there: openssl crl -in FILE -noout",
)
CERTIFICATE_STATIC = Known(
    "envoy-certificate-never-reloaded",
    "a certificate that is read once",
    "tls_certificates are read at start alone: after a renewal the old one is served until it expires",
    "tls_certificate_sds_secret_configs with path_config_source, and new files by rename",
)
KEY_INLINE = Known(
    "envoy-key-inline",
    "a private key in the configuration",
    "a mistake anywhere in the bootstrap makes Envoy print all of it into its log",
    "private_key: { filename: ... }, a file that only Envoy can read",
)
QUIC_CLIENTS = Known(
    "envoy-quic-client-certificates",
    "client certificates over QUIC",
    "Envoy before 1.40 asks for none over HTTP/3: everybody gets in there",
    "Envoy 1.40 or newer; or no QUIC listener beside client certificates",
)
EARLY_DATA = Known(
    "envoy-quic-early-data",
    "early data over QUIC",
    "it is on unless it is switched off: who recorded a request can send it again, before the handshake "
    "has shown who asks",
    "enable_early_data: false",
)

KNOWN = (
    NOT_ASKED, UNVERIFIED, VERIFY_UNUSED, CRL_MISSING, CRL_STATIC, CRL_GARBAGE, CERTIFICATE_STATIC,
    KEY_INLINE, QUIC_CLIENTS, EARLY_DATA,
)  # fmt: skip

_AUTHORITIES = (
    "trusted_ca", "ca_certificate_provider_instance", "system_root_certs", "custom_validator_config",
    "verify_certificate_hash", "verify_certificate_spki",
)  # fmt: skip
_PLUGIN = "custom_validator_config"
# Without a type of their own: of QUIC, and of protocols that begin in plain text.
_CONTEXTS = frozenset({"downstream_tls_context", "tls_socket_config"})
# Ways in which the answer is used: by the app, a rule, a program that is asked, a script.
_LOOKING = (
    "SANITIZE_SET", "APPEND_FORWARD", "DOWNSTREAM_PEER", "authenticated", "principal_name",
    "peer_certificate", "downstreamSslConnection", "connection.mtls", "include_tls_session",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tls:
    """What one transport socket says of clients.

    Attributes:
        context: the DownstreamTlsContext.
        checks: its validation contexts, wherever they stand.
        static: those of them that are read once.
        hidden: is there one that could not be seen?
    """

    context: Directive
    checks: tuple[Directive, ...]
    static: tuple[Directive, ...]
    hidden: bool

    @property
    def required(self) -> Directive | None:
        """``require_client_certificate``, where it is true."""
        found = self.context.last("require_client_certificate")
        return found if on(found) else None

    @property
    def authority(self) -> Directive | None:
        """What certificates are held against."""
        found = (one for check in self.checks for one in check.own(*_AUTHORITIES))
        return next(found, None)

    @property
    def lists(self) -> tuple[Directive, ...]:
        """The revocation lists."""
        return tuple(one for check in self.checks for one in check.own("crl"))


def tls_of(chain: Directive, secrets: Mapping[str, Directive]) -> Tls | None:
    """The TLS of a filter chain; ``secrets`` are the static ones by name."""
    for one in chain.walk():
        if one.name in _CONTEXTS or typed(one, "DownstreamTlsContext"):
            return _tls(one, secrets)
    return None


def _tls(context: Directive, secrets: Mapping[str, Directive]) -> Tls:
    checks: list[Directive] = []
    static: list[Directive] = []
    hidden = False
    for common in context.own("common_tls_context"):
        for place in (common, *common.own("combined_validation_context")):
            static += place.own("validation_context", "default_validation_context")
            for named in place.own("validation_context_sds_secret_config"):
                found = [one for one in named.walk() if one.name == "validation_context"]
                name = named.last("name")
                kept = secrets.get(name.value) if name and not named.own("sds_config") else None
                static += kept.own("validation_context") if kept else ()
                checks += found
                hidden = hidden or not (found or kept)
    return Tls(context, (*static, *checks), tuple(static), hidden)


def tls_traps(chain: Directive, tls: Tls, library: Library) -> Iterator[Trap]:
    """Of one filter chain that speaks TLS."""
    yield from _own_certificate(tls.context)
    yield from _quic(chain, tls)
    for check in tls.checks:
        lenient = check.last("trust_chain_verification")
        if lenient is not None and lenient.value in {"ACCEPT_UNTRUSTED", "1"}:
            yield UNVERIFIED.on(lenient)
    if tls.authority is None:
        if tls.required is not None and not tls.hidden:
            yield NOT_ASKED.on(tls.required)
        return
    if not tls.lists and not tls.hidden and tls.authority.name != _PLUGIN:
        yield CRL_MISSING.on(tls.authority)
    yield from _lists(tls, library)
    if tls.required is None and not _looked_at(chain):
        yield VERIFY_UNUSED.on(tls.authority)


def _lists(tls: Tls, library: Library) -> Iterator[Trap]:
    for one in tls.lists:
        if any(one in check.inside for check in tls.static):
            yield CRL_STATIC.on(one)
        text = _text(one, library)
        if text is not None and not _is_list(text):
            yield CRL_GARBAGE.on(one)


def _text(source: Directive, library: Library) -> str | None:
    """What a list holds, where that can be seen; a relative name starts nobody knows where."""
    inline, file = source.last("inline_string"), source.last("filename")
    if inline is not None:
        return inline.value
    if file is None or not file.value.startswith("/"):
        return None
    try:
        return library.read(file.value)
    except UnreadableError:
        return None


def _is_list(text: str) -> bool:
    try:
        x509.load_pem_x509_crl(text.encode("utf-8", "replace"))
    except ValueError:
        return False
    return True


def _own_certificate(context: Directive) -> Iterator[Trap]:
    for common in context.own("common_tls_context"):
        for one in common.own("tls_certificates"):
            yield CERTIFICATE_STATIC.on(one)
    for one in context.walk():
        if one.name == "private_key" and one.own("inline_string", "inline_bytes"):
            yield KEY_INLINE.on(one)


def _quic(chain: Directive, tls: Tls) -> Iterator[Trap]:
    for quic in (one for one in chain.walk() if typed(one, "QuicDownstreamTransport")):
        early = quic.last("enable_early_data")
        if early is None or on(early):
            yield EARLY_DATA.on(early or quic)
        if tls.authority is not None or tls.required is not None:
            yield QUIC_CLIENTS.on(tls.required or tls.authority or quic)


def _looked_at(chain: Directive) -> bool:
    words = (text for one in chain.walk() for text in (one.name, *one.args))
    return any(mark in word for word in words for mark in _LOOKING)
