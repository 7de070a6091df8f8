"""A policy file as bytes, then as TOML: read once, judged before anything is believed.

What may go wrong with the file itself, each with its own code: it is not there (``policy-missing``), it is
not a file that can be read (``policy-unreadable``), somebody else may change it (``policy-insecure``), it is
not TOML (``policy-syntax``).
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealgate.errors import PolicyError, Problem
from sealgate.policy.positions import Positions, find_positions
from sealgate.policy.quoting import dotted, printable

__all__ = ["Document", "parse", "read"]

_LARGEST = 4 * 1024 * 1024  # a hundred thousand networks fit
# tomllib is quadratic in the parts of one dotted key; no host name has more than 127 labels.
_DEEP = re.compile(r"(?:[\w\"'-]+[ \t]*\.[ \t]*){200}")
_BOM = b"\xef\xbb\xbf"
_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")

# What tomllib says (by how it begins), and what it means to somebody who never read the TOML specification.
_PLAIN = (
    ("Invalid value", "a value is missing or is not TOML (text stands in quotes)"),
    ("Expected newline or end of document", "something is left over after the value"),
    ("Expected '=' after a key", 'a key without "=" and a value after it'),
    ("Expected ']' at the end of a table", 'a "[table]" line without its closing bracket'),
    ("Expected ']]' at the end of an array", 'a "[[table]]" line without its closing brackets'),
    ("Unclosed array", "a list that is never closed"),
    ("Unclosed inline table", "a table in braces that is never closed"),
    ("Unterminated string", "a text without its closing quote"),
    ("Expected \"'", "a text without its closing quote"),
    ("Expected '\"", "a text without its closing quote"),
    ("Illegal character", "a control character in a text"),
    ("Found invalid character", "a line end or control character in a comment or a text"),
    ("Unescaped '\\'", 'a "\\" in a quoted text (write "\\\\", or use single quotes)'),
    ("Invalid statement", "a line that does not begin with a key, a [table] or #"),
    ("Invalid initial character for a key", "a line that does not begin with a key, a [table] or #"),
    ("Invalid date or datetime", "a date that does not exist"),
    ("Cannot declare", "a table that is written twice"),
    ("Cannot overwrite a value", "a key that is written twice"),
    ("Cannot mutate immutable", "a list or table in braces that is extended further down"),
    ("Duplicate inline table key", "a key that is written twice"),
    ("Cannot redefine namespace", "a table that is written twice"),
    ("Escaped character is not a Unicode", "an escape that is no character"),
    ("Invalid hex value", "an escape that is no character"),
    ("Invalid character in", "a character that cannot stand there"),
)


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: plain data, and where each key stands."""

    data: dict[str, Any]
    positions: Positions


def read(path: Path, *, euid: int) -> str:
    """The text of the policy file.

    Args:
        path: as the user named it; symbolic links are followed, and every place they lead through is checked.
        euid: 0 demands that nobody but root can change the file or a directory above it.

    Raises:
        PolicyError: ``policy-missing``, ``policy-unreadable``, ``policy-insecure``, ``policy-syntax``.
    """
    raw = _bytes(path, euid=euid)
    if raw.startswith(_BOM):
        raise _unreadable(path, "begins with a byte order mark", "save it as UTF-8 without one")
    try:
        return raw.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _unreadable(path, f"is not UTF-8 (line {line})", "save it as UTF-8") from None


def _bytes(path: Path, *, euid: int) -> bytes:
    # O_NONBLOCK: opening a FIFO nobody writes to would wait for ever.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise PolicyError(
            "policy-missing",
            f"there is no policy file {printable(str(path))}",
            "write one with `sealgate init`, or name another with --config",
            path=str(path),
        ) from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, f"cannot be opened ({_reason(error)})", "check its name and rights") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _unreadable(path, "is not a regular file", "name a TOML file")
        _refuse_foreign_hands(path, found, euid=euid)
        with open(descriptor, "rb", closefd=False) as file:
            return _bounded(path, file.read(_LARGEST + 1))
    finally:
        os.close(descriptor)


def _bounded(path: Path, raw: bytes) -> bytes:
    if len(raw) > _LARGEST:
        raise _unreadable(
            path, "is larger than 4 MiB", "a policy is a few hundred lines; name the right file"
        )
    return raw


def _reason(error: OSError | ValueError) -> str:
    number = getattr(error, "errno", None)
    known = {
        errno.EACCES: "permission denied",
        errno.ELOOP: "a loop of links",
        errno.ENXIO: "a socket or pipe",
    }
    return known.get(number or 0) or (os.strerror(number).lower() if number else "not a file name")


def _unreadable(path: Path, fact: str, remedy: str) -> PolicyError:
    return PolicyError("policy-unreadable", f"{printable(str(path))} {fact}", remedy, path=str(path))


def _refuse_foreign_hands(path: Path, found: os.stat_result, *, euid: int) -> None:
    """Refuse a policy that somebody else may change: the file, or any directory on the way to it."""
    if why := _foreign_hand(found, euid=euid):
        raise _insecure(path, why, "chmod go-w" if "may write" in why else "chown root", path)
    for directory in _ways_to(path):
        status = directory.stat()
        # In a sticky directory of root's (/tmp) others may add files, but not replace those of somebody else.
        if status.st_mode & stat.S_ISVTX and status.st_uid == 0:
            continue
        if why := _foreign_hand(status, euid=euid):
            raise _insecure(directory, why, "chmod go-w" if "may write" in why else "chown root", path)


def _foreign_hand(status: os.stat_result, *, euid: int) -> str:
    if status.st_mode & stat.S_IWOTH:
        return "everyone may write to it"
    if euid != 0:
        return ""
    if status.st_uid != 0:
        return f"it belongs to user {status.st_uid}, not to root"
    return f"group {status.st_gid} may write to it" if status.st_mode & stat.S_IWGRP and status.st_gid else ""


def _insecure(where: Path, why: str, command: str, policy: Path) -> PolicyError:
    place = printable(str(where))
    return PolicyError(
        "policy-insecure",
        f"others could change what {printable(str(policy))} says: {place}: {why}",
        f"`{command} {place}`, or move the policy where only you may write",
        path=str(where),
    )


def _ways_to(path: Path) -> list[Path]:
    """Every directory above the name given and above the file it leads to."""
    given = Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve would follow the links that are to be checked
    real = given.resolve()
    return list(dict.fromkeys((*given.parents, *real.parents)))


def parse(text: str, *, name: str) -> Document:
    """Parse TOML.

    Raises:
        PolicyError: ``policy-syntax`` with line and column where they are known.
    """
    if _DEEP.search(text):
        raise _syntax(name, "", None, "a key with more than 200 parts")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _translated(name, text, str(error)) from None
    except RecursionError:
        raise _syntax(name, "", None, "lists or tables nested too deeply") from None
    except ValueError:
        # int() refuses more than 4300 digits, datetime an impossible zone.
        raise _syntax(name, "", None, "a number or date that is out of range") from None
    return Document(data, find_positions(text))


def _translated(name: str, text: str, message: str) -> PolicyError:
    match = _AT.search(message)
    what = next((plain for start, plain in _PLAIN if message.startswith(start)), "not TOML")
    line = int(match[1]) if match and match[1] else text.rstrip("\n").count("\n") + 1
    column = int(match[2]) if match and match[2] else None
    if "twice" in what and (twice := find_positions(text).twice):
        # tomllib notices at the end of the line; the key itself is what people look for.
        path, line = twice[0]
        return _syntax(name, f"line {line}", line, f"{what}: {dotted(path)}")
    where = f"line {line}" + (f", column {column}" if column else "")
    return _syntax(name, where, line, what)


def _syntax(name: str, where: str, line: int | None, what: str) -> PolicyError:
    at = f" ({where})" if where else ""
    return PolicyError(
        "policy-syntax",
        f"{name} is not TOML{at}: {what}",
        "mend it there and run `sealgate check`",
        (Problem("", line, what, "TOML", origin=where),),
        line=line,
    )
