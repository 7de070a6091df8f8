"""nginx's TLS directives as a policy's: certificate, profile, client certificates."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from sealgate.engines.configurations.directive import Directive
from sealgate.engines.proposals._nginx_site import Site
from sealgate.engines.proposals.proposal import Carried, Changed, Finding, Left
from sealgate.policy.model import Authority
from sealgate.policy.profiles import load_profile

__all__ = ["certificate", "clients", "path_of", "profile"]

_INTERMEDIATE, _MODERN = "intermediate@6.0", "modern@6.0"
_VERIFY = {"on": "required", "optional": "optional", "optional_no_ca": "optional"}
_CERTBOT = "/etc/letsencrypt/live/"
_RENEWED = (
    "certbot renews this certificate by answering on port 80, where this site answers from now on: "
    'let Sealgate obtain it (certificate.source = "acme"), or have certbot prove the names by DNS'
)


def path_of(directive: Directive, folder: str) -> str:
    """The absolute path it names; empty where that is known only while nginx runs, or is no file."""
    word = directive.value
    if not word or any(mark in word for mark in "$\\\ufffd") or re.match(r"(data|engine|store):", word):
        return ""
    return posixpath.normpath(posixpath.join(folder, word))


def certificate(site: Site, folder: str) -> Iterator[Finding]:
    """``ssl_certificate`` and its key as ``certificate.files``: whoever renews them now goes on."""
    chains, keys = site.each("ssl_certificate"), site.each("ssl_certificate_key")
    for more in (*chains[1:], *keys[1:]):
        yield Left(more, "a policy has one certificate; the first is taken")
    if not chains or not keys:
        yield from (Left(one, "certificate and key are needed, both") for one in (*chains, *keys))
        return
    chain, key = path_of(chains[0], folder), path_of(keys[0], folder)
    if not chain or not key:
        yield Left(chains[0], "its file is known only while nginx runs, or is none; name it by hand")
        return
    yield Carried(("certificate", "source"), "files", chains[0])
    yield Carried(("certificate", "files", "chain"), chain, chains[0])
    yield Carried(("certificate", "files", "key"), key, keys[0])
    if chain.startswith(_CERTBOT):
        yield Changed(chains[0], _RENEWED)
    if passwords := site.effective("ssl_password_file"):
        yield Left(passwords, "a key with a passphrase is not read; store it without one, mode 0600")


def profile(site: Site) -> Iterator[Finding]:
    """Protocols and suites as the nearest dated profile; what is no longer offered is said."""
    protocols = site.effective("ssl_protocols")
    offered = set(protocols.args) if protocols else set()
    name = _MODERN if offered == {"TLSv1.3"} else _INTERMEDIATE
    if protocols is not None:
        yield Carried(("tls", "profile"), name, protocols)
        if gone := sorted(offered - set(load_profile(name).protocols)):
            yield Changed(protocols, f"stricter: {', '.join(gone)} no longer offered")
        if offered == {"TLSv1.2"}:
            yield Changed(protocols, "TLSv1.3 is offered as well")
    for ciphers in (site.effective("ssl_ciphers"),):
        if ciphers is not None:
            yield Changed(ciphers, _suites(ciphers.value, name))


def _suites(text: str, name: str) -> str:
    chosen = load_profile(name)
    words = [word for word in re.split(r"[:, ]+", text) if word]
    named = {word for word in words if re.fullmatch(r"[A-Z0-9]+(-[A-Z0-9]+)+", word)}
    known = {*chosen.tls12_suites, *chosen.tls13_suites}
    if len(named) < len([word for word in words if not word.startswith(("!", "-", "@"))]):
        return f"families of suites are named; {name} has these: {', '.join(sorted(known))}"
    gone = sorted(named - known)
    return f"stricter: no longer offered: {', '.join(gone)}" if gone else f"the suites of {name}"


def clients(site: Site, folder: str) -> Iterator[Finding]:
    """``ssl_verify_client`` and its authorities as ``clients``."""
    verify, trust = site.effective("ssl_verify_client"), site.effective("ssl_client_certificate")
    if verify is None or verify.value == "off":
        if trust is not None and verify is None:
            yield Left(trust, "has no effect without ssl_verify_client")
        return
    mode = _VERIFY.get(verify.value)
    if mode is None:
        yield Left(verify, "is known only while nginx runs; set clients.mode by hand")
        return
    yield Carried(("clients", "mode"), mode, verify)
    if verify.value == "optional_no_ca":
        yield Changed(verify, "stricter: a certificate that is shown must be valid")
    if verify.value != "on":
        yield Changed(verify, "who shows no certificate still gets in; the app must ask who called")
    if crl := site.effective("ssl_crl"):
        yield Left(crl, "name these revocation lists in clients.authorities.crl, or the revoked get in")
    file = path_of(trust, folder) if trust else ""
    if trust is None or not file:
        yield Left(trust or verify, "no file of authorities; name one in clients.authorities by hand")
        return
    authority = Authority(name=_authority_name(file), file=file, crl="off")
    yield Carried(("clients", "authorities"), (authority,), trust)


def _authority_name(file: str) -> str:
    stem = posixpath.basename(file).partition(".")[0].lower()
    name = re.sub(r"[^a-z0-9._-]+", "-", stem).strip("-._")[:63]
    return name if name and name != "private" else "clients"
