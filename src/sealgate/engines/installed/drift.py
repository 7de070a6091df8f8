"""What is not as it was applied: pure, but for a look into files of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sealgate.engines.installed.change import live_fingerprint
from sealgate.engines.installed.decide import Disk
from sealgate.engines.installed.inherits import Inherited
from sealgate.engines.installed.journal import Record
from sealgate.engines.installed.look import Difference
from sealgate.errors import CertificateError
from sealgate.pki.live import verify_pair

__all__ = ["Drift", "certificate_drift", "file_drift", "inherited_drift", "known_versions", "seen_drift"]


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that somebody changed, or that was left undone.

    Attributes:
        kind: stable, for scripts.
        fact: in words.
        remedy: what to type.
    """

    kind: str
    fact: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.fact}; {self.remedy}"


_APPLY = "to have it as the policy says: sealgate apply"


def file_drift(
    disk: Disk, record: Record, standing: bytes, wanted: bytes, paths: tuple[str, str]
) -> Iterator[Drift]:
    """What became of our file and of the line.

    Args:
        disk: what is there.
        record: the journal; something stands.
        standing: the bytes that were applied.
        wanted: what the policy asks for now.
        paths: of our file and of the main configuration.
    """
    own, main = paths
    if record.pending is not None:
        act = record.pending.act
        yield Drift(
            "interrupted",
            f"{record.pending.order} was broken off before it could {act}",
            "finish it with sealgate apply, or undo it with sealgate rollback",
        )
    if disk.own is None:
        yield Drift("file-missing", f"{own} is gone", _APPLY)
    elif disk.own != standing and record.pending is None:
        yield Drift("file-edited", f"somebody edited {own}", _APPLY)
    elif record.pending is None and record.read not in {None, disk.stamp}:
        fact = f"{own} was touched since it was applied: what the server has in memory may differ"
        yield Drift("file-touched", fact, "have the server read it again: sealgate apply")
    if disk.lines == 0:
        yield Drift("include-missing", f"{main} does not include {own} any more", _APPLY)
    elif disk.lines > 1:
        yield Drift("include-twice", f"{main} includes {own} {disk.lines} times", _APPLY)
    if wanted != standing and record.pending is None:
        yield Drift("policy-changed", "the policy was changed after the last apply", "see: sealgate plan")


def certificate_drift(chain: Path, key: Path, issued: frozenset[str] | None) -> Iterator[Drift]:
    """Is the certificate on disk one that was published here?

    Args:
        chain: what the server reads.
        key: likewise.
        issued: fingerprints of all that were issued or imported here; None: not known.
    """
    remedy = "make another with: sealgate cert renew; then: sealgate apply"
    try:
        verify_pair(chain.read_bytes(), key.read_bytes(), str(chain))
    except (OSError, CertificateError) as error:
        fact = error.fact if isinstance(error, CertificateError) else f"{chain.parent}: {error.strerror}"
        yield Drift("certificate-replaced", fact, remedy)
        return
    fingerprint = live_fingerprint(str(chain))
    if issued is not None and fingerprint not in issued:
        fact = f"somebody put certificate {fingerprint[:16]} into {chain.parent}"
        yield Drift("certificate-replaced", fact, remedy)


def inherited_drift(found: tuple[Inherited, ...]) -> Iterator[Drift]:
    """What somebody added to his own configuration since, and counts in our site too."""
    for one in found:
        yield Drift("server-inherits", str(one), f"{one.remedy}; then: sealgate apply")


def known_versions(live: Path) -> dict[str, str]:
    """Earlier certificates that are still there: the beginning of their fingerprints to their version."""
    found = {}
    for path in sorted((live / "versions").glob("*/chain.pem")):
        with contextlib.suppress(ValueError):
            found[live_fingerprint(str(path))[:16]] = str(int(path.parent.name))
    return found


def seen_drift(differences: tuple[Difference, ...], known: Mapping[str, str]) -> Iterator[Drift]:
    """What a look showed; a certificate of ours that is not the live one is an older one still in memory."""
    for difference in differences:
        if difference.kind == "certificate" and difference.seen in known:
            live = known.get(difference.expected, "?")
            fact = (
                f"{difference.where} still serves certificate {difference.seen} (version "
                f"{known[difference.seen]}); on disk is {difference.expected} (version {live})"
            )
            yield Drift("certificate-older", fact, "have the server read it again: sealgate apply")
        else:
            yield Drift(f"seen-{difference.kind}", str(difference), _APPLY)
