"""What the keeper writes for the others: certificate, client authorities, the guard's policy. Blocking.

A reload prepares a draft of the guard's policy beside the one in force, for the first new worker alone; it
replaces the other only once the engine has been seen to serve by it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from sealgate._system.clock import system_clock
from sealgate._system.files import write_atomic
from sealgate.errors import SealgateError
from sealgate.guard.compiled import Compiled, compile_policy
from sealgate.pki.live import LiveCertificate, LiveDirectory
from sealgate.pki.server import ensure_client_trust, ensure_server_certificate
from sealgate.pki.state import State
from sealgate.policy.load import Loaded
from sealgate.runtime.site import Site

__all__ = ["Publication"]


class Publication:
    """The published files of one state directory.

    Args:
        state: its lock is held.
        root: the same directory, without symbolic links.
    """

    def __init__(self, state: State, root: Path) -> None:
        self._state = state
        self.guard = root / "live" / "guard" / "policy.json"
        self.draft = self.guard.with_name("next.json")
        self.generation = 0

    def materials(self, loaded: Loaded, *, force: bool = False) -> LiveCertificate:
        """A certificate that fits the policy, and the authorities of its clients.

        Raises:
            SealgateError: what was live stays live.
        """
        certificate = ensure_server_certificate(
            self._state, loaded.policy, system_clock, base=loaded.base, force=force
        )
        if loaded.policy.clients.mode != "off":
            ensure_client_trust(self._state, loaded.policy, system_clock, base=loaded.base)
        return certificate

    def materials_back(self, before: Site) -> None:
        """Undo `materials`, byte for byte, where it changed anything."""
        directory = LiveDirectory(self._state.live_server(before.policy.site.names[0]))
        if directory.fingerprint() != before.certificate.fingerprint:
            directory.rollback()
        if before.policy.clients.mode != "off":
            with contextlib.suppress(SealgateError):  # what is there is what it was, or sound
                ensure_client_trust(self._state, before.policy, system_clock, base=before.loaded.base)

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
        text = compile_policy(loaded.policy, self.generation).to_json()
        write_atomic(path, text.encode(), 0o644 if shared else 0o600)
