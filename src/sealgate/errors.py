"""Every exception Sealgate raises.

::

    SealgateError                      one sentence: code, fact, remedy
    ├── PolicyError                    the policy file is wrong (several problems at once)
    ├── UsageError                     the call is wrong
    ├── StateError                     the state directory is not usable
    │   ├── StateBusy                  another keeper owns it
    │   └── StateInsecure              others may write (or read) what they must not
    ├── CertificateError               keys, certificates, authorities
    │   ├── CertificateMismatch        key, chain, names and dates do not fit together
    │   ├── CertificateDates           expired, not yet valid, clock wrong
    │   └── AcmeError                  a certificate cannot be had from an ACME authority now
    ├── TrustStoreError                a platform's trust store refused
    ├── EngineError                    the TLS/HTTP server
    │   ├── EngineMissing              not installed
    │   ├── EngineUntrusted            altered, or a version that was not tested
    │   ├── EngineRefused              it did not accept what was rendered
    │   └── NotObserved                it runs, but a handshake saw something else
    ├── ListenError                    an address that cannot be listened on
    ├── AppError                       the user's application
    └── ControlError                   talking to the running keeper

Each carries a stable ``code`` (``docs/errors/<code>.md``), the ``fact``, the ``remedy`` and whose
``fault`` it is. ``str(error)`` is the one sentence shown to people; it never contains a secret.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = [
    "AcmeError",
    "AppError",
    "CertificateDates",
    "CertificateError",
    "CertificateMismatch",
    "ControlError",
    "EngineError",
    "EngineMissing",
    "EngineRefused",
    "EngineUntrusted",
    "Exit",
    "Fault",
    "ListenError",
    "NotObserved",
    "PolicyError",
    "Problem",
    "SealgateError",
    "StateBusy",
    "StateError",
    "StateInsecure",
    "TrustStoreError",
    "UsageError",
]


class Fault(enum.Enum):
    """Whose mistake an error is."""

    CONFIGURATION = "configuration"
    ENVIRONMENT = "environment"
    PEER = "peer"
    OURS = "ours"


class Exit(enum.IntEnum):
    """Exit statuses of the command line."""

    DONE = 0
    NO = 1
    WRONG = 2
    FAILED = 3


class SealgateError(Exception):
    """One sentence for people, facts for programs.

    Args:
        code: stable, kebab-case; the name of its page in ``docs/errors/``.
        fact: what is the case, without a final stop.
        remedy: what to do about it, without a final stop.
        details: further facts for ``--json`` and tests; never secrets.
    """

    fault = Fault.ENVIRONMENT
    exit = Exit.FAILED

    def __init__(self, code: str, fact: str, remedy: str, **details: object) -> None:
        super().__init__(code, fact, remedy)
        self.code = code
        self.fact = fact
        self.remedy = remedy
        self.details = details

    def __str__(self) -> str:
        return f"{self.code}: {self.fact}; {self.remedy}."


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a policy file.

    ``key`` is the dotted path (``listen.https[1]``), ``line`` is 1-based, or None where the mistake
    has no line (an environment override, a missing key).
    """

    key: str
    line: int | None
    fact: str
    expected: str
    remedy: str = ""
    origin: str = ""

    def __str__(self) -> str:
        where = self.origin or (f"line {self.line}" if self.line else "")
        text = f"{self.key}{f' ({where})' if where else ''}: {self.fact}; expected {self.expected}"
        return f"{text}; {self.remedy}" if self.remedy else text


class PolicyError(SealgateError):
    """The policy is wrong; ``problems`` lists every mistake found, never only the first."""

    fault = Fault.CONFIGURATION
    exit = Exit.WRONG

    def __init__(
        self, code: str, fact: str, remedy: str, problems: tuple[Problem, ...] = (), **details: object
    ) -> None:
        super().__init__(code, fact, remedy, **details)
        self.problems = problems


class UsageError(SealgateError):
    """The call is wrong: an unknown name, options that exclude each other."""

    fault = Fault.CONFIGURATION
    exit = Exit.WRONG


class StateError(SealgateError):
    """The state directory cannot be used: read-only, full, damaged."""


class StateBusy(StateError):
    """Another keeper holds the state directory."""


class StateInsecure(StateError):
    """Somebody else could change or read what decides about trust."""

    fault = Fault.CONFIGURATION
    exit = Exit.WRONG


class CertificateError(SealgateError):
    """A key, certificate, request or authority that cannot be used."""


class CertificateMismatch(CertificateError):
    """Key, chain, names or usages do not fit together."""

    fault = Fault.CONFIGURATION


class CertificateDates(CertificateError):
    """Expired, not yet valid, or a clock that cannot be right."""


class AcmeError(CertificateError):
    """A certificate cannot be had from an ACME authority now.

    ``details["retry_at"]``, where it is set: the authority's own word on when to ask again (ISO 8601, UTC).
    """


class TrustStoreError(SealgateError):
    """A platform trust store could not be read or changed."""


class EngineError(SealgateError):
    """The server that Sealgate drives."""


class EngineMissing(EngineError):
    """The engine's program is not installed."""


class EngineUntrusted(EngineError):
    """The engine's program is not the one that was tested: altered, or of another version."""


class EngineRefused(EngineError):
    """The engine did not accept what was rendered, or did not start."""

    fault = Fault.OURS


class NotObserved(EngineError):
    """The engine runs, but a real handshake saw something else than what is meant."""


class ListenError(SealgateError):
    """An address that cannot be listened on: taken, or not permitted."""


class AppError(SealgateError):
    """The user's application: not found, not importable, not callable, not starting."""

    fault = Fault.CONFIGURATION
    exit = Exit.WRONG


class ControlError(SealgateError):
    """The running keeper could not be asked, or said no."""
