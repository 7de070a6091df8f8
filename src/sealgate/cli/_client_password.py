"""The password of a PKCS#12 file: from a file or descriptor, asked for without echo, or made and shown once.

Never an argument and never in the environment, which other users' programs and crash reports can read.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

import click

from sealgate.cli._output import safe
from sealgate.errors import UsageError

__all__ = ["password_for", "show_once"]

_LONGEST = 1024
_SHORTEST = 8
# Without letters and digits that look alike; 24 of 54 are 138 bits.
_ALPHABET = "abcdefghijkmnpqrstuvwxyzACDEFGHJKLMNPQRSTUVWXYZ2345679"


def password_for(path: Path, file: Path | None, descriptor: int | None) -> tuple[bytes, bool]:
    """The password for this file, and whether it was made here and must be shown.

    Raises:
        UsageError: ``passphrase-unreadable``, ``passphrase-short``, ``passphrase-missing``.
    """
    if file is not None or descriptor is not None:
        text = _first_line(_read(file, descriptor))
    elif not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "passphrase-missing",
            f"{path.name} needs a password, and nobody can be asked here",
            "give it by --password-file FILE or --password-fd N",
        )
    else:
        question = f"Password for {safe(path.name)} (empty: one is made and shown)"
        text = click.prompt(question, hide_input=True, default="", show_default=False, err=True)
        if not text:
            return "".join(secrets.choice(_ALPHABET) for _ in range(24)).encode(), True
        if click.prompt("Again", hide_input=True, default="", show_default=False, err=True) != text:
            raise UsageError("passphrase-short", "the two passwords differ", "type the same one twice")
    if len(text) < _SHORTEST:
        raise UsageError(
            "passphrase-short",
            f"a password for a key needs at least {_SHORTEST} characters",
            "give a longer one",
        )
    return text.encode(), False


def show_once(password: bytes) -> None:
    """On the terminal alone, whatever standard error is."""
    with open("/dev/tty", "w", encoding="utf-8") as terminal:  # noqa: PTH123 - a device
        terminal.write(f"password (shown this once): {password.decode()}\n")


def _read(file: Path | None, descriptor: int | None) -> bytes:
    from sealgate._system.files import check_not_readable_by_others

    try:
        if file is not None:
            check_not_readable_by_others(file, code="key-readable-by-others")
            with file.open("rb") as opened:
                return opened.read(_LONGEST + 1)
        assert descriptor is not None  # noqa: S101 - one of the two
        with open(os.dup(descriptor), "rb") as opened:  # noqa: PTH123 - a descriptor
            return opened.read(_LONGEST + 1)
    except OSError as error:
        raise UsageError(
            "passphrase-unreadable",
            f"the password cannot be read ({error.strerror})",
            "name a text file of mode 0600, or an open descriptor",
        ) from error


def _first_line(data: bytes) -> str:
    try:
        lines = data[:_LONGEST].decode().splitlines()
    except UnicodeDecodeError:
        raise UsageError(
            "passphrase-unreadable", "the password is not text in UTF-8", "give its first line as text"
        ) from None
    return lines[0] if lines else ""
