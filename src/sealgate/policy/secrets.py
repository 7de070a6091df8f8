"""References to secrets: a policy file says where a secret is, never what it is.

``{ file = "..." }`` names a file that only its owner can read, ``{ env = "..." }`` an environment variable.
A reference may be printed and logged; the value leaves this module only as what :meth:`SecretRef.read` gives,
wrapped so that it shows itself nowhere by accident.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, StrictStr, model_validator

from sealgate.errors import PolicyError
from sealgate.policy.base import Model
from sealgate.policy.quoting import printable
from sealgate.policy.values import Expected, File

__all__ = ["Secret", "SecretRef"]

_LARGEST = 64 * 1024
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Secret:
    """Bytes that no ``repr``, ``str``, format or pickle shows; :meth:`reveal` gives them, by name."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The secret itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


def _variable(value: str) -> str:
    if value and not _VARIABLE.fullmatch(value):
        raise ValueError("not the name of a variable")
    return value


class SecretRef(Model):
    """Where a secret is: one of a file or an environment variable."""

    file: File = ""
    """File that holds the secret; 0600, yours or root's; a final line end does not count."""
    env: Annotated[
        StrictStr, AfterValidator(_variable), Expected("the name of a variable", "WEBHOOK_SECRET")
    ] = ""
    """Environment variable that holds the secret."""

    @model_validator(mode="after")
    def _one(self) -> SecretRef:
        if bool(self.file) == bool(self.env):
            raise ValueError("one of file and env, not both")
        return self

    def read(self, *, base: Path, environ: Mapping[str, str], euid: int) -> Secret:
        """Fetch the secret.

        Args:
            base: directory that relative paths start from; the policy file's.
            environ: where variables are looked up.
            euid: who may own the file, besides root.

        Raises:
            PolicyError: ``secret-missing``, ``secret-insecure``, ``secret-unreadable``.
        """
        value = _from_environment(self.env, environ) if self.env else _from_file(base / self.file, euid=euid)
        if not value:
            raise _error("secret-missing", self, "is empty", "put the secret there")
        return Secret(value)


def _from_environment(name: str, environ: Mapping[str, str]) -> bytes:
    if name not in environ:
        raise PolicyError("secret-missing", f"the variable {name} is not set", "set it where Sealgate starts")
    return os.fsencode(environ[name])


def _error(code: str, reference: SecretRef | Path, fact: str, remedy: str) -> PolicyError:
    if isinstance(reference, SecretRef):
        reference = Path(reference.file or f"${reference.env}")
    return PolicyError(code, f"the secret {printable(str(reference))} {fact}", remedy, where=str(reference))


def _from_file(path: Path, *, euid: int) -> bytes:
    # O_NOFOLLOW: whoever may write the directory must not choose which file is taken for the secret.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise _error("secret-missing", path, "is not there", "write it there, with mode 0600") from None
    except OSError as error:
        reason = "is a symbolic link" if path.is_symlink() else f"cannot be opened ({error.strerror})"
        raise _error(
            "secret-unreadable", path, reason, "name a plain file that Sealgate's user may read"
        ) from None
    try:
        _check(path, os.fstat(descriptor), euid=euid)
        with open(descriptor, "rb", closefd=False) as file:
            value = file.read(_LARGEST + 1)
    finally:
        os.close(descriptor)
    if len(value) > _LARGEST:
        raise _error("secret-unreadable", path, "is larger than 64 KiB", "name the right file")
    return value.removesuffix(b"\n").removesuffix(b"\r")


def _check(path: Path, status: os.stat_result, *, euid: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _error("secret-unreadable", path, "is not a regular file", "name a plain file")
    if status.st_uid not in {0, euid}:
        fact = f"belongs to user {status.st_uid}"
        raise _error(
            "secret-insecure", path, fact, "it must belong to the user that runs Sealgate, or to root"
        )
    if status.st_mode & 0o077:
        fact = f"can be opened by others (mode {stat.S_IMODE(status.st_mode):04o})"
        raise _error(
            "secret-insecure", path, fact, f"`chmod 600 {printable(str(path))}`, and change the secret"
        )
