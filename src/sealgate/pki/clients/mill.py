"""Work of many: keys made and files written by several processes. What a child imports, it imports here."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

__all__ = ["make_keys", "write_pairs"]


def make_keys(number: int) -> list[tuple[bytes, bytes]]:
    """So many keys, ECDSA P-256: PKCS#8 PEM, and DER of the public part."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(number)]
    return [
        (
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        )
        for key in keys
    ]


def write_pairs(folder: str, pairs: list[tuple[str, bytes, bytes]]) -> int:
    """Write NAME.key and NAME.pem of each; a NAME.pem never stands without its key.

    Nothing is synced: whoever calls has the keys on disk already, and syncs when all are written.

    Args:
        folder: where.
        pairs: name, key and chain, PEM.

    Returns:
        how many.

    Raises:
        OSError: one could not be written.
    """
    base = Path(folder)
    for name, key, chain in pairs:
        _whole(base / f"{name}.key", key, 0o600)
        _whole(base / f"{name}.pem", chain, 0o644)
    return len(pairs)


def _whole(path: Path, data: bytes, mode: int) -> None:
    draft = path.with_name(f".{path.name}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        handle = os.open(draft, flags, mode)
    except FileExistsError:  # of a run that was killed
        draft.unlink()
        handle = os.open(draft, flags, mode)
    with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor
        file.write(data)  # all of it, or it raises: os.write may write a part, and say so
    draft.replace(path)
