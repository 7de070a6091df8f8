"""What the keeper writes for the others: certificate, client authorities, the guard's policy. Blocking.

A reload prepares a draft of the guard's policy beside the one in force, for the first new worker alone; it
replaces the other only once the engine has been seen to serve by it.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from sealgate._system.board import Board
from sealgate._system.clock import system_clock
from sealgate._system.files import write_atomic
from sealgate._system.rate_table import RateTable
from sealgate.engines.contract import Capability, Enforcer
from sealgate.engines.registry import engine
from sealgate.errors import SealgateError
from sealgate.guard.compiled import Authority, Compiled, compile_policy
from sealgate.pki.api_keys.orders import catch_up as catch_up_keys
from sealgate.pki.api_keys.orders import issued as issued_keys
from sealgate.pki.client_trust import (
    InForce,
    client_authorities,
    ensure_client_trust,
    in_force,
    standing_authorities,
    write_lists,
)
from sealgate.pki.clients.blocks import blocked
from sealgate.pki.clients.listing import membership_keys, revocation_keys, write_list
from sealgate.pki.clients.publishing import publish_list
from sealgate.pki.lists.shelf import Fetched
from sealgate.pki.live import LiveCertificate, LiveDirectory
from sealgate.pki.revocations import Revocations
from sealgate.pki.server import ensure_server_certificate
from sealgate.pki.state import State
from sealgate.policy.identity import blocked_key, lapsed_key, membership_key, revocation_key, stale_key
from sealgate.policy.load import Loaded
from sealgate.policy.model import Policy
from sealgate.runtime.described import described
from sealgate.runtime.issued import Issued
from sealgate.runtime.site import Site

__all__ = ["LONG", "Publication", "as_it_is", "told_authorities"]

LONG = 10_000
"""Revoked clients on lists from which on an engine is given none where a guard stands behind it: it checks a
list's signature at each handshake, 6 ms for 100,000, and reads all of it at each change."""
_SHORT = 8_000


class Publication:
    """The published files of one state directory.

    Args:
        state: its lock is held.
        root: the same directory, without symbolic links.
        say: one line for people.
    """

    def __init__(self, state: State, root: Path, say: Callable[[str], None]) -> None:
        self._state, self._root, self._say = state, root, say
        self.guard = root / "live" / "guard" / "policy.json"
        self.draft = self.guard.with_name("next.json")
        self.generation = 0
        self.revocations = Revocations()
        self._issued = Issued(say)
        self.rates = RateTable()
        self._issuers: dict[str, None] = {}
        self._listed = False
        self.others = False
        self._in_force: tuple[InForce, ...] = ()
        self._fetched: tuple[Fetched, ...] = ()
        self._seen: object = None
        self._said: object = None
        self._lapsed: frozenset[str] = frozenset()
        self.long = False
        self._unpublished = ""

    @property
    def trust(self) -> bytes:
        """The published authorities of client certificates, and revocation lists; empty: there are none."""
        folder = self._root / "live" / "clients"
        paths = [folder / name for name in ("trust.pem", "lists.pem", "crl.pem")]
        return b"".join(path.read_bytes() for path in paths if path.exists())

    def materials(self, loaded: Loaded, *, force: bool = False) -> LiveCertificate:
        """A certificate that fits the policy, and the authorities of its clients.

        Raises:
            SealgateError: what was live stays live.
        """
        certificate = self.certificate(loaded, force=force)
        self._issued.follow(loaded, strict=True)
        self._issued.password(loaded)
        self.api_keys(loaded)
        self.clients(loaded, adding=True)
        return certificate

    @property
    def issued(self) -> Board:
        """The keys by which tokens count."""
        return self._issued.board

    def keys(self, loaded: Loaded) -> None:
        """Follow the files of keys by which tokens count; one that is wrong replaces nothing."""
        self._issued.follow(loaded)
        self.api_keys(loaded)

    def key_sets(self, sets: dict[str, list[dict[str, Any]]]) -> None:
        """By issuer, the keys of all that publish them; tokens count by these from now on."""
        self._issued.fetched(sets)

    def api_keys(self, loaded: Loaded) -> None:
        """Exactly those that the store has, where the policy wants any."""
        wanted = loaded.policy.tokens.api_keys
        if wanted and (back := catch_up_keys(self._state, system_clock)):
            self._say(f"the store was brought back from a backup: API keys revoked again: {', '.join(back)}")
        self._issued.api_keys(issued_keys(self._state, system_clock) if wanted else [])

    def certificate(self, loaded: Loaded, *, force: bool = False) -> LiveCertificate:
        """A certificate that fits the policy; what was live stays live where none can be had."""
        return ensure_server_certificate(
            self._state, loaded.policy, system_clock, base=loaded.base, force=force
        )

    def clients(self, loaded: Loaded, *, adding: bool = False) -> None:
        """The authorities of its clients, and their lists; unsound ones never replace what is live.

        Args:
            loaded: the policy.
            adding: who was refused stays refused for now: others may still be served by the policy before.
        """
        known = False
        try:  # what is unsound keeps nobody else's list, and no date, from counting
            try:
                self._take_over(loaded, adding=adding)
            finally:
                if loaded.policy.own_list:
                    self.list(loaded, anew=not self._listed)
                known = True
        finally:  # a store that could not be asked, or is older than it was, lets nobody in again
            self._revoke(loaded, adding=adding or not known)
            self._publish(loaded)

    def _publish(self, loaded: Loaded) -> None:
        """Our own list, for others. Where that fails it is said, and tried again with the next look."""
        failed = ""
        try:
            if loaded.policy.own_list:
                self.publish()
        except SealgateError as error:
            failed = str(error)
            if failed != self._unpublished:
                self._say(f"the list of revoked clients that others fetch is not the one in force: {failed}")
        self._unpublished = failed

    def publish(self) -> None:
        """Have others fetch our own list that is in force. Raises StateError: they get the one before."""
        publish_list(self._state)

    def _take_over(self, loaded: Loaded, *, adding: bool) -> None:
        """What the policy's files hold, where they changed since; of others than those in force only if told.

        `others` says then that there are some.
        """
        policy, base = loaded.policy, loaded.base
        if policy.clients.mode == "off":
            self._in_force, self._seen, self.others = (), None, False
            return
        if self._seen == self._signature(loaded):
            return
        self._seen, wrong = None, None
        try:
            # The guard must know them as soon as the engine does: that takes a reload.
            self.others = not adding and self._others(loaded)
        except SealgateError as error:  # a file of one authority keeps nobody's lists from being taken over
            wrong = error
        try:
            standing = self.others or wrong is not None
            ensure_client_trust(self._state, policy, system_clock, base=base, standing=standing)
        finally:
            with contextlib.suppress(SealgateError):  # never published: what is wrong is on its way
                found = standing_authorities(self._state, policy, system_clock)
                self._in_force = in_force(self._state, found)
        if wrong is not None:
            raise wrong
        if (
            not adding and not self.others
        ):  # after a reload it is looked at once more: files may change meanwhile
            self._seen = self._signature(loaded)

    def _signature(self, loaded: Loaded) -> object:
        """Something that is another one after each change of the policy's files, or of ours that follow."""
        policy, state = loaded.policy, self._state
        names = [f"{one.name}.pem" for one in policy.clients.authorities if one.listed]
        ours = [state.live_clients / "trust.pem", *(state.live_client_lists / name for name in names)]
        theirs = [loaded.base / path for path in _files(policy)]
        return (policy.clients, [as_it_is(path) for path in (*theirs, *ours)])

    def _others(self, loaded: Loaded) -> bool:
        try:
            told = Compiled.from_json(self.guard.read_bytes()).authorities
        except (OSError, SealgateError):  # not published yet
            return False
        return tuple(told_authorities(self._state, loaded)) != told

    @property
    def lapses_in(self) -> float:
        """Seconds until the next list counts no more; never more than a day."""
        now = system_clock()
        lists: tuple[InForce | Fetched, ...] = (*self._in_force, *self._fetched)
        ends = [one.until for one in lists if one.until is not None and one.until >= now]
        return min([86400.0, *((end - now).total_seconds() for end in ends)])

    def shut(self, told: Iterable[Mapping[str, Any]], *keys: bytes) -> None:
        """Certificates that were revoked just now: the guard of every process refuses their next request.

        Args:
            told: of each, as the orders about clients say it.
            keys: further ones.
        """
        self.revocations.add((*map(_key, told), *keys))

    def given(self, told: Iterable[Mapping[str, Any] | None]) -> None:
        """Certificates that were issued just now: their groups, before anybody has them; as `shut`."""
        self.revocations.add(
            membership_key(_key(one), group) for one in told if one is not None for group in one["groups"]
        )

    def _revoke(self, loaded: Loaded, *, adding: bool = False) -> None:
        """Exactly those on the lists in force, and nobody else; or these too."""
        now = system_clock()
        lapsed = frozenset(one.name for one in self._in_force if one.lapsed(now))
        # A million are not read every 15 seconds. Looked at before it is read: what is written in between is
        # read again the next time.
        counting = tuple(one.counts(now) for one in self._fetched)
        store = as_it_is(self._state.store)
        said = (loaded.policy.own_list, store, self._in_force, lapsed, self._fetched, counting)
        if not adding and said == self._said:
            return
        own: list[bytes] = []
        if loaded.policy.own_list:
            own = revocation_keys(self._state, system_clock)
        self._count(loaded, len(own) + sum(len(one.packed) // 16 for one in self._in_force))
        if loaded.policy.own_list:
            own += membership_keys(self._state, system_clock)
        own += (blocked_key(one.fingerprint) for one in blocked(self._state))
        self._said = None
        keys = dict.fromkeys((*own, *map(lapsed_key, lapsed)))
        for one in self._in_force:
            keys |= dict.fromkeys(one.keys())
        for each in self._fetched:
            keys |= dict.fromkeys(each.keys())
        for each, counts in zip(self._fetched, counting, strict=True):  # last: who is on it is known before
            if each.key:
                keys[each.key if counts else stale_key(each.key)] = None
        if adding:
            self.revocations.add(keys)
        else:
            self._replace(keys, own)
            self._said = said
        self._tell(lapsed)

    def _replace(self, keys: Collection[bytes], own: Collection[bytes]) -> None:
        """Nobody's lists keep others' revocations from counting: where all have no room, those fetched go."""
        try:
            self.revocations.replace(keys)
        except ValueError as error:
            self._say(f"clients whose lists are fetched get 503: {error}; shorten lists, or their life")
            lists = itertools.chain.from_iterable(one.keys() for one in self._in_force)
            lapsed = map(lapsed_key, (one.name for one in self._in_force if one.lapsed(system_clock())))
            self.revocations.replace(dict.fromkeys((*own, *lapsed, *lists)))

    def _count(self, loaded: Loaded, revoked: int) -> None:
        """Are the lists that an engine would be given long ones?"""
        before, self.long = self.long, revoked > (_SHORT if self.long else LONG)
        if self.long and not before and loaded.policy.worker_app and loaded.policy.engine_lists:
            self._say(
                f"{revoked} certificates of clients are on lists: the server is given none, for which every "
                "handshake would pay; the guard refuses each request of theirs"
            )

    def in_step(self) -> bool:
        """Is all that the store says in the table?"""
        said = self._said
        return isinstance(said, tuple) and said[1] == as_it_is(self._state.store)

    def keep_step(self) -> None:
        """What was written into the store since it was in step stands in the table already: `shut`, `given`.

        A million would be read again for one who was revoked, and the next order would wait for that.
        """
        if isinstance(self._said, tuple):
            self._said = (self._said[0], as_it_is(self._state.store), *self._said[2:])

    def _tell(self, lapsed: frozenset[str]) -> None:
        """Whose clients are kept out since, and whose are not any more."""
        for name in sorted(lapsed - self._lapsed):
            self._say(
                f"clients of {name} are refused from now on: its list of the revoked counts no more; "
                "get its newest one"
            )
        for name in sorted(self._lapsed - lapsed):
            self._say(f"clients of {name} are let in again: its list counts")
        self._lapsed = lapsed

    def list(self, loaded: Loaded, *, anew: bool = True) -> None:
        """Our own list of revoked clients: anew, or where it is due.

        Always anew at the first time: whoever wrote to the store before may have been killed in between.
        """
        write_list(self._state, loaded.policy, system_clock, anew=anew, say=self._say)
        write_lists(self._state, loaded.policy)
        self._listed = True

    def fetched(self, loaded: Loaded, lists: Iterable[Fetched]) -> None:
        """These are the lists that were fetched, and no others."""
        self._fetched = tuple(lists)
        if loaded.policy.own_list:  # the store may have been made older since the last look
            self.list(loaded, anew=False)
        self._revoke(loaded)

    def answered(self, lists: Iterable[Fetched], added: Iterable[bytes]) -> None:
        """As `fetched`, of answers about single ones: `added` counts at once, the rest at the next look.

        The whole table costs a second beside a million. What is known is noted all the same: whatever is put
        together meanwhile must not take back what was added.
        """
        self._fetched = tuple(lists)
        self.revocations.add(added)

    def released(self, loaded: Loaded) -> None:
        """A hold, or a block, was taken back: who was refused is let in again, and nobody else."""
        self._said = None
        if loaded.policy.own_list:  # the store may have been made older since the last look
            self.list(loaded, anew=False)
        self._revoke(loaded)

    def materials_back(self, before: Site) -> None:
        """Undo `materials`, byte for byte, where it changed anything."""
        directory = LiveDirectory(self._state.live_server(before.policy.site.names[0]))
        if directory.fingerprints() != before.certificate.fingerprints:
            directory.rollback()
        self.keys(before.loaded)
        if before.policy.clients.mode != "off":
            with contextlib.suppress(SealgateError):  # what is there is what it was, or sound
                self._take_over(before.loaded, adding=True)
            self._revoke(before.loaded)

    def certificate_back(self, before: Site) -> LiveCertificate:
        """Put the certificate before the last one back."""
        return LiveDirectory(self._state.live_server(before.policy.site.names[0])).rollback()

    def compile(self, loaded: Loaded, path: Path, *, shared: bool) -> None:
        """Compile the guard's policy into a file, under the next generation.

        Args:
            loaded: the policy.
            path: `guard` or `draft`.
            shared: workers run as another user.
        """
        if not self.generation:
            with contextlib.suppress(OSError, SealgateError):
                self.generation = Compiled.from_json(self.guard.read_bytes()).generation
        self.generation += 1
        rows = engine(loaded.policy.site.engine).capabilities(loaded.policy)
        guards = {r.key for r in rows if isinstance(r, Capability) and r.enforcer is Enforcer.GUARD}
        authorities = tuple(told_authorities(self._state, loaded))
        told = [one for authority in authorities for one in authority.issuers]
        # Connections may be older than a policy, and Envoy keeps them: who verified them must still count.
        former = [one for one in self._issuers if one not in told]
        self._issuers.update(dict.fromkeys(told))
        compiled = compile_policy(
            loaded.policy,
            self.generation,
            guards=guards,
            authorities=authorities,
            former=former,
            operations=described(loaded),
        )
        text = compiled.to_json()
        write_atomic(path, text.encode(), 0o644 if shared else 0o600)


def told_authorities(state: State, loaded: Loaded) -> Iterable[Authority]:
    """The authorities of clients, as the guard is told of them.

    Raises:
        CertificateError: their files are no good.
    """
    if loaded.policy.clients.mode == "off":
        return
    for one in client_authorities(state, loaded.policy, system_clock, base=loaded.base):
        issuers = (base64.b64encode(anchor.public_bytes(Encoding.DER)).decode() for anchor in one.anchors)
        said = one.authority
        fetched = (said.url or said.crl) if said.fetched else ""
        ocsp = said.ocsp == "fallback"
        yield Authority(one.name, tuple(issuers), said.own, said.listed, fetched, ocsp)


def _files(policy: Policy) -> Iterable[str]:
    for one in policy.clients.authorities:
        yield from (one.file, one.crl) if one.listed else (one.file,) if one.file else ()


def as_it_is(path: Path) -> object:
    """Something that is another one after each change of the file; one that is not there is like no other."""
    try:
        seen = path.stat()
    except OSError:
        return object()
    return (path, seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


def _key(told: Mapping[str, Any]) -> bytes:
    """By what the guard knows a certificate that the orders about clients tell of."""
    return revocation_key(bytes.fromhex(told["issuer_key_sha256"]), int(told["serial"], 16))
