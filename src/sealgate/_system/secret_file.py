"""A secret that a library takes from a file only: a file for as long as that takes, and nobody else's.

On Linux it never reaches a disk (memfd_create); elsewhere, or without /proc, it is a temporary file, 0600.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

__all__ = ["secret_file"]


@contextlib.contextmanager
def secret_file(content: bytes) -> Iterator[str]:
    """The path of a file with this content, which is gone afterwards.

    Raises:
        OSError: there is no place for it.
    """
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):  # noqa: PTH112 - read once
        handle = os.memfd_create("sealgate", os.MFD_CLOEXEC)
        with open(handle, "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor
            file.write(content)
            yield f"/proc/self/fd/{handle}"
        return
    with tempfile.NamedTemporaryFile(prefix="sealgate-") as named:  # mkstemp: 0600
        named.write(content)
        named.flush()
        yield named.name
