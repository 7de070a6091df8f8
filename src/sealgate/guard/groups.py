"""In which groups a client is: by the policy's patterns, and by what `client add --group` gave to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sealgate.policy.identity import membership_key
from sealgate.policy.membership import matches

if TYPE_CHECKING:
    from sealgate.guard.certificate import Certificate
    from sealgate.guard.compiled import Group

__all__ = ["Given", "Groups"]


class Given(Protocol):
    """The groups that single certificates were given: keys of `policy.identity.membership_key`."""

    def __contains__(self, key: bytes, /) -> bool:
        """Is this certificate in this group?"""


class Groups:
    """The groups of one policy.

    Args:
        groups: with their patterns.
        given: and by single certificates.
    """

    __slots__ = ("_given", "_groups")

    def __init__(self, groups: tuple[Group, ...] = (), given: Given = ()) -> None:
        self._groups, self._given = groups, given

    def of(self, certificate: Certificate) -> tuple[str, ...]:
        """In which of them it is; in their order in the policy."""
        return tuple(group.name for group in self._groups if self._is_in(group, certificate))

    def _is_in(self, group: Group, certificate: Certificate) -> bool:
        key = certificate.revocation_key
        if key and membership_key(key, group.name) in self._given:
            return True
        return any(
            member.authority == certificate.authority and matches(member.kind, member.pattern, certificate)
            for member in group.members
        )
