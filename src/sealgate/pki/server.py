"""What the keeper calls: a live server certificate that fits the policy.

Each function looks first and writes only what is due, so the keeper may call them as often as it likes: at
start, on reload, on a timer, when :func:`watched_files` change.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from sealgate._system.clock import Clock
from sealgate.errors import CertificateDates, CertificateError, CertificateMismatch
from sealgate.pki.authority import Issuer
from sealgate.pki.client_trust import ensure_client_trust
from sealgate.pki.imports import Pair, check_pair, read_pair
from sealgate.pki.inspect import issuer_key_hash, key_type_of, pem_of
from sealgate.pki.issue import issue_server
from sealgate.pki.keys import KeyType, generate, to_pem
from sealgate.pki.live import LiveCertificate, LiveDirectory, Pem
from sealgate.pki.obtained import ensure_standby
from sealgate.pki.renewal import Decision, Held, Reason, Wanted, decide
from sealgate.pki.requests import note_import
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.pki.vault import KeepRootKey, check_covered, ensure_authorities, new_root
from sealgate.policy.model import Policy
from sealgate.policy.profiles import load_profile

__all__ = [
    "ensure_root",
    "ensure_server_certificate",
    "renew_root",
    "server_decision",
    "watched_files",
]


def ensure_server_certificate(
    state: State, policy: Policy, clock: Clock, *, base: Path = Path(), force: bool = False
) -> LiveCertificate:
    """Make a certificate live that fits the policy, and say what is live.

    With ``certificate.source = "private"`` one is issued where none fits or one is due (the authority is
    made on first use); with ``"files"`` the files are read, checked, and published where they differ; with
    ``"acme"`` what is live stays, or a stand-in is made: getting one takes longer than a start may.

    Args:
        state: its lock is taken (a keeper holds it already).
        policy: whose certificate.
        clock: the present.
        base: the policy file's directory; relative paths in the policy count from there.
        force: issue another one although none is due (``"private"`` alone).

    Raises:
        CertificateError: and its families; what was live stays live.
        StateError: the state cannot be written.
    """
    with state.lock(), Store.open(state.store) as store:
        if policy.certificate.source == "files":
            return _from_files(state, store, policy, clock, base)
        if policy.certificate.source == "acme":
            return ensure_standby(state, store, policy, clock)
        return _private(state, store, policy, clock, force=force)


def watched_files(policy: Policy, base: Path) -> tuple[Path, ...]:
    """Files of others: when one changes, what this module ensures is to be ensured again."""
    files = policy.certificate.files
    names = [files.chain, files.key] if policy.certificate.source == "files" else []
    names += [authority.file for authority in policy.clients.authorities if authority.file]
    return tuple(base / name for name in names)


def ensure_root(state: State, policy: Policy, clock: Clock) -> x509.Certificate:
    """The private root, made where there is none yet; its PEM file is ``state.root_pem``.

    Raises:
        CertificateError, StateError: as :func:`ensure_server_certificate`.
    """
    with state.lock(), Store.open(state.store) as store:
        return ensure_authorities(state, store, policy.site.names, now=clock()).root


def renew_root(
    state: State, policy: Policy, clock: Clock, *, base: Path = Path(), keep: KeepRootKey | None = None
) -> LiveCertificate:
    """A new root that permits the policy's names, and a certificate under it. Clients must trust it anew.

    Client certificates stay good: the clients authority keeps its key.

    Raises:
        CertificateError, StateError: as :func:`ensure_server_certificate`.
        UsageError: about ``keep``.
    """
    with state.lock():
        with Store.open(state.store) as store:
            new_root(state, store, policy.site.names, now=clock(), keep=keep)
        ensure_client_trust(state, policy, clock, base=base)
        return ensure_server_certificate(state, policy, clock, base=base)


def _held(live: LiveCertificate | None, servers: x509.Certificate) -> Held | None:
    if live is None:
        return None
    leaf = live.leaf
    try:
        leaf.verify_directly_issued_by(servers)
        # The same key under a new root: the chain must bring the new certificate of it.
        same = servers.public_bytes(serialization.Encoding.DER) in live.chain
    except Exception:  # noqa: BLE001 - whatever the reason, it is not from this authority
        same = False
    issuer = issuer_key_hash(servers) if same else ""
    return Held(
        live.not_before, live.not_after, frozenset(live.names), key_type_of(leaf.public_key()), issuer
    )


def server_decision(
    live: LiveCertificate | None,
    servers: x509.Certificate,
    policy: Policy,
    clock: Clock,
    *,
    index: int = 0,
    force: bool = False,
) -> Decision:
    """Is another certificate due from the private authority, and why?

    Args:
        live: the one there is for that key type.
        servers: the authority.
        policy: whose certificate.
        clock: the present.
        index: which of the policy's key types.
        force: it is.
    """
    key_type = policy.certificate.key_types[index]
    wanted = Wanted(frozenset(policy.site.names), key_type, issuer_key_hash(servers))
    return decide(_held(live, servers), wanted, now=clock(), force=force)


def _readable(directory: LiveDirectory) -> LiveCertificate | None:
    try:
        return directory.current()
    except CertificateError:
        # It is ours to publish, so what cannot be read is replaced.
        return None


def _private(state: State, store: Store, policy: Policy, clock: Clock, *, force: bool) -> LiveCertificate:
    now, names, key_types = clock(), policy.site.names, policy.certificate.key_types
    authorities = ensure_authorities(state, store, names, now=now)
    check_covered(authorities, names)
    directory, twofold = LiveDirectory(state.live_server(names[0])), len(key_types) > 1
    live = _readable(directory)
    kept = directory.pairs(live) if live is not None else {}
    pairs: list[Pem | None] = []
    for index in range(len(key_types)):
        held = live.wanted(key_types, index) if live is not None else None
        decision = server_decision(
            held, authorities.servers.certificate, policy, clock, index=index, force=force
        )
        if decision.reason is Reason.CLOCK:
            raise CertificateDates(
                "certificate-not-yet-valid", decision.sentence, "set the machine's clock, then try again"
            )
        pairs.append(kept.get(held.fingerprint) if held is not None and not decision.due else None)
    if live is not None and tuple(pairs) == tuple(kept.values()) and (directory.twofold or not twofold):
        return live
    made = [
        pair or _issued(authorities.servers, store, names, key_type, now=now)
        for pair, key_type in zip(pairs, key_types, strict=True)
    ]
    return directory.publish(*made[0], second=next(iter(made[1:]), None), twofold=twofold)


def _issued(servers: Issuer, store: Store, names: Sequence[str], key_type: KeyType, *, now: datetime) -> Pem:
    key = generate(key_type)
    leaf = issue_server(servers, key.public_key(), names, now=now)
    store.add_certificate(leaf, kind="server", site=names[0], issuer=servers.certificate, now=now)
    return pem_of(leaf) + pem_of(servers.certificate), to_pem(key)


def _from_files(state: State, store: Store, policy: Policy, clock: Clock, base: Path) -> LiveCertificate:
    now, site, files = clock(), policy.site.names[0], policy.certificate.files
    chain_path, key_path = base / files.chain, base / files.key
    chain_pem, key_pem = read_pair(chain_path, key_path)
    origins = {"origin": str(chain_path), "key_origin": str(key_path)}
    pair = check_pair(chain_pem, key_pem, policy.site.names, now=now, **origins)
    _check_profile(pair, policy, chain_path)
    directory = LiveDirectory(state.live_server(site))
    live = _readable(directory)
    if live is not None and directory.pair() == (pair.chain_pem, pair.key_pem):
        return live
    note_import(store, pair, site, now=now)
    return directory.publish(pair.chain_pem, pair.key_pem)


def _check_profile(pair: Pair, policy: Policy, origin: Path) -> None:
    profile = load_profile(policy.tls.profile)
    if not profile.accepts_key(pair.key_type):
        kinds = " or ".join(profile.certificate_types).upper()
        raise CertificateMismatch(
            "key-not-in-profile",
            f"the key in {origin} is of type {pair.key_type}, which {profile.id} does not allow",
            f"get a certificate with a key of the kind {kinds}, or set another tls.profile",
            origin=str(origin),
        )
