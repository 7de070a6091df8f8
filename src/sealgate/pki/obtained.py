"""A server certificate that an ACME authority issued: made live, and what is served until there is one.

A name that is certified in public needs no private authority that may certify it too: the stand-in never
widens what a stolen state directory could impersonate.

Where two certificates are wanted (``certificate.second_key_type``) the family of its key tells one from the
other. A stand-in is never served beside one that was obtained: all clients are shown the latter then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sealgate._system.clock import Clock
from sealgate.errors import CertificateError, CertificateMismatch
from sealgate.pki.constraints import outside
from sealgate.pki.imports import Pair, check_pair
from sealgate.pki.inspect import pem_of
from sealgate.pki.issue import issue_server
from sealgate.pki.keys import generate, to_pem
from sealgate.pki.live import LiveCertificate, LiveDirectory, Pem, kind_of
from sealgate.pki.renewal import due_at
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.pki.vault import ensure_authorities
from sealgate.policy.model import Policy

__all__ = ["arranged", "ensure_standby", "held_obtained", "publish_obtained"]

_NOBODY = "localhost"


def publish_obtained(
    state: State, policy: Policy, chain_pem: bytes, key_pem: bytes, *, authority: str, clock: Clock
) -> LiveCertificate:
    """Make an obtained certificate live, beside the one of the other family that is there.

    It is in the store before that.

    Args:
        state: its lock is taken.
        policy: whose names it must cover.
        chain_pem: the leaf first; a root among them is left out.
        key_pem: its key.
        authority: for messages.
        clock: the present.

    Raises:
        CertificateError: as :func:`sealgate.pki.imports.check_pair`; what was live stays live.
        CertificateMismatch: ``certificate-unwanted``: the policy asks for other keys by now.
        StateError: the state cannot be written (``state-full``); what was live stays live.
    """
    site, now = policy.site.names[0], clock()
    pair = check_pair(chain_pem, key_pem, policy.site.names, now=now, origin=authority)
    _check_wanted(pair, policy, authority)
    with state.lock():
        with Store.open(state.store) as store:
            _note(store, pair, site, clock)
            obtained = _obtained(store, site)
        directory = LiveDirectory(state.live_server(site))
        new = (pair.chain_pem, pair.key_pem)
        others = _pairs(directory, lambda one: one.fingerprint in obtained and now < one.not_after)
        first, *second = arranged(policy.certificate.key_types, others | {kind_of(pair.key_type): new})
        twofold = len(policy.certificate.key_types) > 1
        return directory.publish(*first, second=next(iter(second), None), twofold=twofold)


def _check_wanted(pair: Pair, policy: Policy, authority: str) -> None:
    key_types = policy.certificate.key_types
    if kind_of(pair.key_type) not in map(kind_of, key_types):
        raise CertificateMismatch(
            "certificate-unwanted",
            f"the certificate from {authority} has a key of type {pair.key_type}, and the policy asks for "
            f"{' and '.join(key_types)} by now",
            "nothing needs to be done: others are asked for by themselves",
            origin=authority,
        )


def arranged(key_types: Sequence[str], pairs: Mapping[str, Pem]) -> tuple[Pem, ...]:
    """Of the pairs that there are those to be served, the first first. Pure.

    Args:
        key_types: that the policy asks for.
        pairs: by the kind of their keys, at least one; a single certificate may be of another kind.
    """
    fitting = tuple(pairs[kind] for kind in map(kind_of, key_types) if kind in pairs)
    return fitting or tuple(pairs.values())[-1:]


def _pairs(directory: LiveDirectory, good: Callable[[LiveCertificate], bool]) -> dict[str, Pem]:
    """What is live and good, by kind of key."""
    live = _readable(directory)
    found = directory.pairs(live) if live is not None else {}
    both = live.both if live is not None else ()
    return {one.kind: found[one.fingerprint] for one in both if one.fingerprint in found and good(one)}


def _note(store: Store, pair: Pair, site: str, clock: Clock) -> None:
    issuer = pair.chain[1] if len(pair.chain) > 1 else None
    store.add_certificate(pair.chain[0], kind="acme", site=site, issuer=issuer, now=clock())


def _obtained(store: Store, site: str) -> frozenset[str]:
    return frozenset(row.fingerprint for row in store.certificates(kind="acme", site=site))


def held_obtained(state: State, policy: Policy, *, index: int = 0) -> LiveCertificate | None:
    """What is live, where an ACME authority issued it; None where a stand-in is, or nothing.

    Args:
        state: is read.
        policy: whose certificate.
        index: for which of the policy's key types.
    """
    site = policy.site.names[0]
    live = _readable(LiveDirectory(state.live_server(site)))
    held = live.wanted(policy.certificate.key_types, index) if live is not None else None
    if held is None or not state.store.exists():
        return None
    with Store.open(state.store, read_only=True) as store:
        return held if held.fingerprint in _obtained(store, site) else None


def ensure_standby(state: State, store: Store, policy: Policy, clock: Clock) -> LiveCertificate:
    """What is live where it is still good, else a private certificate, until the authority's is there.

    The private one has those of the site's names that the private authority may certify anyway.

    Args:
        state: its lock is taken.
        store: of the state.
        policy: whose certificate.
        clock: the present.
    """
    now, names, key_types = clock(), policy.site.names, policy.certificate.key_types
    directory, obtained = LiveDirectory(state.live_server(names[0])), _obtained(store, names[0])
    twofold = len(key_types) > 1

    def stands_in(one: LiveCertificate) -> bool:
        return one.not_before <= now < min(one.not_after, due_at(one.not_before, one.not_after))

    # One from the future was obtained with another clock; a stand-in would be made with this wrong one.
    good = _pairs(directory, lambda one: one.fingerprint in obtained and now < one.not_after)
    good = good or _pairs(directory, lambda one: one.fingerprint not in obtained and stands_in(one))
    if good:
        return _kept(directory, arranged(key_types, good), twofold=twofold)
    servers = ensure_authorities(state, store, (), now=now).servers
    refused = set(outside(names, servers.certificate))
    key = generate(policy.certificate.key_type)
    covered = [name for name in names if name not in refused] or [_NOBODY]
    leaf = issue_server(servers, key.public_key(), covered, now=now)
    store.add_certificate(leaf, kind="server", site=names[0], issuer=servers.certificate, now=now)
    return directory.publish(pem_of(leaf) + pem_of(servers.certificate), to_pem(key), twofold=twofold)


def _kept(directory: LiveDirectory, pairs: tuple[Pem, ...], *, twofold: bool) -> LiveCertificate:
    """These, and no others, are live; nothing is written where they are."""
    live = directory.current()
    assert live is not None  # noqa: S101 - they are read from there
    if tuple(directory.pairs(live).values()) == pairs and (directory.twofold or not twofold):
        return live
    return directory.publish(*pairs[0], second=next(iter(pairs[1:]), None), twofold=twofold)


def _readable(directory: LiveDirectory) -> LiveCertificate | None:
    try:
        return directory.current()
    except CertificateError:
        return None  # it is ours to publish, so what cannot be read is replaced
