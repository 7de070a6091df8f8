"""What the keeper tells the renderer beyond the policy. Plain data; paths are relative to the state directory,
in which Envoy is started: so nothing rendered depends on where it lies, and unix socket paths stay short."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sealgate.policy.model import Policy, is_loopback_name
from sealgate.policy.profiles import Profile

__all__ = ["FOLDER", "Backend", "Json", "RenderFacts", "Worker", "seconds"]

type_url = "type.googleapis.com/"
FOLDER = "engines/envoy"

Json = dict[str, object]
Backend = Literal["wsgi", "asgi", "upstream"]


@dataclass(frozen=True, slots=True)
class Worker:
    """An app worker's socket, and whether new requests may go to it."""

    socket: str
    draining: bool = False


@dataclass(frozen=True, slots=True)
class RenderFacts:
    """Everything that rendering depends on."""

    policy: Policy
    profile: Profile
    backend: Backend
    chain: str
    key: str
    certificate_folder: str
    trust: str = ""
    trust_folder: str = ""
    system_trust: str = ""
    concurrency: int = 2
    workers: tuple[Worker, ...] = field(default=())
    admin: str = "run/admin.sock"

    @property
    def guarded(self) -> bool:
        """Does the guard judge each request behind this engine?"""
        return self.backend != "upstream"

    @property
    def hsts(self) -> str:
        """The value for names that are not loopback's, or for those where there are no others."""
        names = [name for name in self.policy.site.names if not is_loopback_name(name)]
        return self.policy.hsts_value((names or list(self.policy.site.names))[0])

    @property
    def hsts_local(self) -> str:
        """The value for loopback names where the site has others too; empty where it makes no difference."""
        kinds = {is_loopback_name(name) for name in self.policy.site.names}
        return self.policy.hsts_value("localhost") if len(kinds) == 2 else ""


def seconds(value: float) -> str:
    """A protobuf Duration in JSON, at most nine decimals."""
    return f"{value:.3f}".rstrip("0").rstrip(".") + "s"


def typed(message: str, **fields: object) -> Json:
    """An Any: a message with its type."""
    return {"@type": type_url + message, **fields}
