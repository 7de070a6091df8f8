"""What the server itself would say of our file: asked beside everything that is in force, for ``plan``.

Our file is written into a directory of its own that goes again; only a copy of the main configuration must
stand beside the real one for a moment, for what it includes by relative names.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from sealgate._system.clock import system_clock
from sealgate._system.files import FileLock
from sealgate.engines.installed.change import without
from sealgate.engines.installed.contract import Place
from sealgate.engines.installed.decide import Disk
from sealgate.engines.installed.process import check
from sealgate.engines.installed.swap import write_beside
from sealgate.errors import EngineRefused, StateError
from sealgate.pki.keys import generate, signature_hash, to_pem
from sealgate.pki.state import State
from sealgate.pki.witness import Witness

__all__ = ["Trial", "trial"]

_DENIED = "ermission denied"


@dataclass(frozen=True, slots=True)
class Trial:
    """How it went.

    Attributes:
        accepted: None: it could not be asked.
        said: what is wrong, or why it could not be asked; empty: nothing is.
        remedy: what to do about that.
    """

    accepted: bool | None
    said: str = ""
    remedy: str = ""


def trial(place: Place, disk: Disk, state: State, site: str, render: Callable[[State], bytes]) -> Trial:
    """Have the server read what ``apply`` would write.

    Args:
        place: the server.
        disk: what is there.
        state: the real one; where no certificate is live in it yet, another stands in.
        site: the policy's first name.
        render: our file for a state directory.
    """
    with tempfile.TemporaryDirectory(prefix="sealgate-plan-") as name:
        folder = Path(name)
        if not (state.live_server(site) / "chain.pem").exists():
            state = State(folder, FileLock(folder / "keeper.lock"), Witness(folder, None))
            _stand_in(state.live_server(site))
        here = replace(place, folder=folder)
        copy = place.main.with_name(f".{place.main.name}.sealgate-plan")
        try:
            write_beside(here.own, render(state))
            main = place.included.include(without(place, disk.main), str(here.own))
            write_beside(copy, main)
            check(place, copy)
        except StateError as error:
            return Trial(None, error.fact, error.remedy)
        except EngineRefused as error:
            said = error.fact.replace(str(here.own), "our file").replace(str(copy), str(place.main))
            # Others than root may not read what the server reads: that says nothing about the file.
            return Trial(None if os.geteuid() and _DENIED in said else False, said, error.remedy)
        finally:
            copy.unlink(missing_ok=True)
    return Trial(accepted=True)


def _stand_in(folder: Path) -> None:
    """A pair that nobody will ever be shown."""
    key = generate("ecdsa-p256")
    now, name = system_clock(), x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(minutes=5))
    folder.mkdir(parents=True, mode=0o700)
    write_beside(folder / "key.pem", to_pem(key))
    certificate = builder.sign(key, signature_hash(key))
    write_beside(folder / "chain.pem", certificate.public_bytes(serialization.Encoding.PEM))
