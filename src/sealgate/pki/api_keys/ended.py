"""Which API keys were revoked, noted once more outside of the state directory.

A state directory that is brought back from a backup agrees with itself: a key that was revoked since would
count again. So the public part of each one is kept in the cache directory too, which backups leave out (as
lists of revoked clients are, ``pki/witness.py``). Whoever else may write there is this user, who needs no
such way.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable

from sealgate._system.files import check_parents, private_directory, write_atomic
from sealgate.errors import SealgateError
from sealgate.pki.witness import Witness
from sealgate.policy.api_keys import ID_LENGTH

__all__ = ["ended", "note_ended"]

_NAME = "ended-api-keys"
_LARGEST = 16 * 1024 * 1024
_ID = re.compile(rf"^[0-9A-Za-z]{{{ID_LENGTH}}}$".encode(), re.MULTILINE)


def ended(witness: Witness) -> frozenset[str]:
    """Public parts of the keys that were revoked; what cannot be read names nobody."""
    if witness.folder is None:
        return frozenset()
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(witness.folder / _NAME, flags)
        with open(handle, "rb") as file:  # noqa: PTH123 - a descriptor
            data = file.read(_LARGEST) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    except OSError:
        return frozenset()
    return frozenset(one.decode("ascii") for one in _ID.findall(data))


def note_ended(witness: Witness, marks: Iterable[str]) -> str:
    """Note these too.

    Returns:
        why that could not be; empty: it could. A revocation must not fail because a cache is full.
    """
    known = ended(witness)
    wanted = known | set(marks)
    if wanted == known:
        return ""
    if witness.folder is None:
        return "there is no cache directory: neither HOME nor SEALGATE_CACHE is set"
    try:
        check_parents(witness.folder)
        write_atomic(
            private_directory(witness.folder) / _NAME, "".join(f"{one}\n" for one in sorted(wanted)).encode()
        )
    except SealgateError as error:
        return error.fact
    except OSError as error:
        return f"{witness.folder} cannot be used ({error.strerror})"
    return ""
