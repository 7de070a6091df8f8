"""Answers to an ACME authority's questions that an engine gives for a while: plain data.

http-01 (RFC 8555 §8.3): the keeper writes each answer as a file ``live/challenges/<token>`` before it tells
the engine, and removes it afterwards. So an engine that serves files only needs to know the directory, once;
one that cannot takes the texts from :class:`Challenges`.

tls-alpn-01 (RFC 8737): a certificate for each name, presented only to a client that offers ``acme-tls/1`` and
nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sealgate.errors import EngineRefused

__all__ = ["ALPN", "CHALLENGES", "MOST", "PATH", "TOKEN", "AlpnAnswer", "Challenges", "checked"]

CHALLENGES = "live/challenges"
"""Directory of http-01 answers, relative to the state directory."""
PATH = "/.well-known/acme-challenge/"
"""What stands before the token in a request's path."""
ALPN = "acme-tls/1"
TOKEN = "[A-Za-z0-9_-]{16,200}"  # noqa: S105 - what they look like
"""A token as a regular expression: base64url of 128 bits or more (RFC 8555 §8.1), and a file's name here."""
MOST = 100
"""Answers of each kind at a time: as many as the names of one certificate at the usual authority."""

_TEXT = re.compile(rf"{TOKEN}\.[A-Za-z0-9_-]{{1,200}}", re.ASCII)
_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.ASCII)
_FILE = re.compile(r"live/challenges/alpn/[a-zA-Z0-9_.-]+/[a-zA-Z0-9_.-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class AlpnAnswer:
    """The certificate that proves one name.

    Attributes:
        name: DNS name, or an address as in the SNI of RFC 8738 §6 (``1.2.0.192.in-addr.arpa``).
        chain, key: PEM files, relative to the state directory.
    """

    name: str
    chain: str
    key: str


@dataclass(frozen=True, slots=True)
class Challenges:
    """What is to be answered now.

    Attributes:
        http: token (base64url characters only) and key authorization, sorted.
        tls_alpn: sorted by name.
    """

    http: tuple[tuple[str, str], ...] = ()
    tls_alpn: tuple[AlpnAnswer, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.http or self.tls_alpn)


def checked(challenges: Challenges) -> Challenges:
    """The same, where all of it may be written into an engine's files: an authority's words are not ours.

    Raises:
        EngineRefused: `engine-refused`: more than fits, or something that is no token, text, name or file.
    """
    wrong = [repr(token) for token, text in challenges.http if not _is_answer(token, text)]
    wrong += [repr(one.name) for one in challenges.tls_alpn if not _is_certificate(one)]
    many = max(len(challenges.http), len(challenges.tls_alpn))
    if wrong or many > MOST:
        fact = f"{wrong[0][:80]} is no answer to a challenge" if wrong else f"{many} answers at a time"
        raise EngineRefused("engine-refused", f"{fact}; at most {MOST} proper ones are served", "report this")
    return challenges


def _is_answer(token: str, text: str) -> bool:
    return bool(_TEXT.fullmatch(text)) and text.partition(".")[0] == token


def _is_certificate(one: AlpnAnswer) -> bool:
    files = (one.chain, one.key)
    return bool(_NAME.fullmatch(one.name)) and all(_FILE.fullmatch(f) and "/." not in f for f in files)
