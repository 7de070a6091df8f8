"""http-01 (RFC 8555 §8.3): each answer is a file that every plain listener serves, in any ``http.mode``."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from sealgate._system.files import private_directory, translated, write_atomic
from sealgate.acme.order import Answer
from sealgate.acme.problems import quoted
from sealgate.acme.solvers.looking import look, refusal, until_right
from sealgate.errors import AcmeError
from sealgate.policy.values import Endpoint

__all__ = ["PATH", "HttpSolver"]

PATH = "/.well-known/acme-challenge/"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,200}", re.ASCII)
_NAMES = 3
"""So many names are looked at on each listener: a site's listeners do not tell them apart."""


class HttpSolver:
    """Writes answers to ``live/challenges``, tells who serves them, and looks.

    Args:
        directory: of the answers, for engines that serve files.
        tell: told of all answers shown now (token to text); returns once they are served.
        listeners: the site's plain listeners; none: nothing is looked at.
        seconds: how long a listener may take to show an answer.
    """

    def __init__(
        self,
        directory: Path,
        tell: Callable[[Mapping[str, str]], None],
        listeners: Sequence[Endpoint],
        *,
        seconds: float = 10.0,
    ) -> None:
        self._directory, self._tell, self._listeners = directory, tell, listeners
        self._seconds = seconds
        self._shown: dict[str, str] = {}

    def present(self, answers: Sequence[Answer]) -> None:
        """Show these answers too.

        Raises:
            AcmeError: ``acme-port-closed``, ``acme-port-silent``, ``acme-port-redirects``,
                ``acme-port-taken``, ``acme-answer-invalid``.
            StateError: the files cannot be written.
        """
        ours = [_checked(answer) for answer in answers if answer.kind == "http-01"]
        private_directory(self._directory, 0o711)
        with translated(self._directory):
            self._directory.chmod(0o711)
        for answer in ours:
            write_atomic(self._directory / answer.token, answer.key_authorization.encode("ascii"), 0o644)
            self._shown[answer.token] = answer.key_authorization
        self._tell(dict(self._shown))
        for answer in ours[:_NAMES]:
            self._look(answer)

    def _look(self, answer: Answer) -> None:
        host = _host(answer.name)
        for listener in self._listeners:
            sight = partial(look, listener, host, PATH + answer.token, answer.key_authorization)
            seen = until_right(sight, self._seconds)
            if seen.verdict != "right":
                raise refusal(seen, answer.name, listener)

    def withdraw(self, answers: Sequence[Answer]) -> None:
        """Show these no more; also those of a run that was killed.

        Raises:
            StateError: a file cannot be removed.
            StateInsecure: the directory is a link, or others may write it.
        """
        ours = [answer for answer in answers if answer.kind == "http-01" and _TOKEN.fullmatch(answer.token)]
        if not ours:
            return
        private_directory(self._directory, 0o711)  # never through a link: what is removed there is not ours
        for answer in ours:
            self._shown.pop(answer.token, None)
            with translated(self._directory), contextlib.suppress(FileNotFoundError, NotADirectoryError):
                (self._directory / answer.token).unlink()
        self._tell(dict(self._shown))


def _checked(answer: Answer) -> Answer:
    """A token is an authority's word, and a file's name here."""
    if _TOKEN.fullmatch(answer.token) and answer.key_authorization.isascii():
        return answer
    raise AcmeError(
        "acme-answer-invalid",
        f"the authority sent a token that is none: {quoted(answer.token, 60)}",
        "check certificate.acme.directory",
    )


def _host(name: str) -> str:
    """The value of ``Host`` for a name (RFC 3986 §3.2.2)."""
    with contextlib.suppress(ValueError):
        return f"[{name}]" if ipaddress.ip_address(name).version == 6 else name
    return name
