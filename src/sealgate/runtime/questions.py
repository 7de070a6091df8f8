"""What guards ask the keeper, sorted by who finds it out.

They ask through memory that whoever takes a worker over may write (``engines/counts.py``): a question says no
more than that somebody may look. Certificates are DER, which begins with 0x30; sets of keys are asked for by
a word that does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sealgate.guard.asking import KEY_SET

__all__ = ["Questions"]

_MOST = 256


class Questions:
    """Those that nobody has looked at yet; of more than a few hundred the newest are left out.

    Args:
        read: all that was asked since it was called last.
    """

    def __init__(self, read: Callable[[], Sequence[bytes]]) -> None:
        self._read = read
        self._certificates: dict[bytes, None] = {}
        self._key_sets: dict[bytes, None] = {}

    def certificates(self) -> tuple[bytes, ...]:
        """DER of those of which nobody knows whether they are revoked."""
        self._look()
        found, self._certificates = tuple(self._certificates), {}
        return found

    def key_sets(self) -> tuple[bytes, ...]:
        """SHA-256 of the names of issuers whose tokens name a key that nobody knows."""
        self._look()
        found, self._key_sets = tuple(self._key_sets), {}
        return found

    def _look(self) -> None:
        for question in self._read():
            if question.startswith(KEY_SET):
                kept, key = self._key_sets, question.removeprefix(KEY_SET)
            else:
                kept, key = self._certificates, question
            if len(kept) < _MOST:
                kept[key] = None
