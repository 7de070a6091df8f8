"""What the keeper writes for the others: certificate, client authorities, the guard's policy. Blocking.

A reload prepares a draft of the guard's policy beside the one in force, for the first new worker alone; it
replaces the other only once the engine has been seen to serve by it.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealgate._system.clock import system_clock
from sealgate._system.files import write_atomic
from sealgate.engines.contract import Capability, Enforcer
from sealgate.engines.registry import engine
from sealgate.errors import SealgateError
from sealgate.guard.compiled import Compiled, compile_policy
from sealgate.pki.clients.office import membership_keys, revocation_keys, write_list
from sealgate.pki.lists import lists_of
from sealgate.pki.lists import revocation_keys as listed_keys
from sealgate.pki.live import LiveCertificate, LiveDirectory
from sealgate.pki.revocations import Revocations
from sealgate.pki.server import client_anchors, ensure_client_trust, ensure_server_certificate
from sealgate.pki.state import State
from sealgate.policy.identity import membership_key, revocation_key
from sealgate.policy.load import Loaded
from sealgate.runtime.site import Site

__all__ = ["Publication"]


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
        self._issuers: dict[str, None] = {}
        self._listed = False

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
        self.clients(loaded, adding=True)
        return certificate

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
        if loaded.policy.clients.mode != "off":
            ensure_client_trust(self._state, loaded.policy, system_clock, base=loaded.base)
        if loaded.policy.own_list:
            self.list(loaded, anew=not self._listed)
        self._revoke(loaded, adding=adding)

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
        keys: list[bytes] = []
        if loaded.policy.own_list:
            keys = revocation_keys(self._state, system_clock) + membership_keys(self._state, system_clock)
        elif loaded.policy.client_lists:
            folder = self._root / "live" / "clients"
            anchors = x509.load_pem_x509_certificates((folder / "trust.pem").read_bytes())
            keys = listed_keys(lists_of((folder / "lists.pem").read_bytes()), anchors)
        if adding:
            self.revocations.add(keys)
        else:
            self.revocations.replace(keys)

    def list(self, loaded: Loaded, *, anew: bool = True) -> None:
        """Our own list of revoked clients: anew, or where it is due.

        Always anew at the first time: whoever wrote to the store before may have been killed in between.
        """
        write_list(self._state, loaded.policy, system_clock, anew=anew, say=self._say)
        self._listed = True

    def released(self, loaded: Loaded) -> None:
        """A hold was taken back: who was refused is let in again."""
        self._revoke(loaded)

    def materials_back(self, before: Site) -> None:
        """Undo `materials`, byte for byte, where it changed anything."""
        directory = LiveDirectory(self._state.live_server(before.policy.site.names[0]))
        if directory.fingerprints() != before.certificate.fingerprints:
            directory.rollback()
        if before.policy.clients.mode != "off":
            with contextlib.suppress(SealgateError):  # what is there is what it was, or sound
                ensure_client_trust(self._state, before.policy, system_clock, base=before.loaded.base)
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
        issuers: tuple[x509.Certificate, ...] = ()
        if loaded.policy.clients.mode != "off":
            issuers = client_anchors(self._state, loaded.policy, system_clock, base=loaded.base)
        told = [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in issuers]
        # Connections may be older than a policy, and Envoy keeps them: who verified them must still count.
        former = [one for one in self._issuers if one not in told]
        self._issuers.update(dict.fromkeys(told))
        compiled = compile_policy(loaded.policy, self.generation, guards=guards, issuers=told, former=former)
        text = compiled.to_json()
        write_atomic(path, text.encode(), 0o644 if shared else 0o600)


def _key(told: Mapping[str, Any]) -> bytes:
    """By what the guard knows a certificate that the orders about clients tell of."""
    return revocation_key(bytes.fromhex(told["issuer_key_sha256"]), int(told["serial"], 16))
