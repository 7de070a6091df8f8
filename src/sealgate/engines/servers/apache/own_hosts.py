"""Our virtual hosts, as our file says them: what they say anew, what they cancel. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sealgate.engines.configurations.directive import Directive

__all__ = ["Ours"]


@dataclass(frozen=True, slots=True)
class Ours:
    """Our file.

    Attributes:
        hosts: its virtual hosts.
        roots: their sections for every path, which come after all of the user's for paths.
    """

    hosts: tuple[Directive, ...]
    roots: tuple[Directive, ...]

    def anew(self, name: str, having: str = "") -> bool:
        """Do all hosts say it themselves? Of those that have another directive, where one is named."""
        hosts = [host for host in self.hosts if not having or host.own(having)]
        return bool(hosts) and all(host.own(name) for host in hosts)

    def some(self, name: str) -> bool:
        """Does a host have this directive?"""
        return any(host.own(name) for host in self.hosts)

    def cancels(self, name: str, *args: str) -> bool:
        """Does every section for all paths have this one, with these arguments among its own?"""
        wanted = set(args)
        return 0 < len(self.hosts) == len(self.roots) and all(
            any(wanted <= {arg.lower() for arg in one.args} for one in root.own(name)) for root in self.roots
        )

    def admits(self, path: str) -> bool:
        """Do all hosts let everybody ask for this path, after whatever the user's sections say of it?"""
        return bool(self.hosts) and all(any(_admits(one, path) for one in host.inside) for host in self.hosts)

    def unmarks(self, variable: str) -> bool:
        """Do all hosts take out this variable, or set it themselves, after the user's?"""
        words = {f"!{variable}", variable}
        return bool(self.hosts) and all(
            any(words & set(one.args[2:]) for one in host.own("setenvif")) for host in self.hosts
        )

    def answers(self, status: str) -> bool:
        """Has every host its own answer of this status, for every path too?"""
        return self.cancels("errordocument", status) and all(
            any(one.value == status for one in host.own("errordocument")) for host in self.hosts
        )

    def sends(self, field: str) -> bool:
        """Is this request field set or taken out by every host that passes requests on, whatever comes?"""
        passing = [host for host in self.hosts if host.own("proxypass")]
        return bool(passing) and all(
            any(_unconditional(one) and one.args[1].lower() == field for one in host.own("requestheader"))
            for host in passing
        )

    def says(self, field: str) -> bool:
        """Is this answer field set or taken out by every host, in both of Apache's tables?"""
        wanted = {("always", field), ("onsuccess", field)}
        return bool(self.hosts) and all(wanted <= _said(host) for host in self.hosts)


def _admits(section: Directive, path: str) -> bool:
    granted = any(one.args == ("all", "granted") for one in section.own("require"))
    return section.name == "locationmatch" and granted and re.search(section.value, path) is not None


def _said(host: Directive) -> set[tuple[str, ...]]:
    """Tables and answer fields that a host sets or takes out."""
    words = [tuple(arg.lower() for arg in one.args[:3]) for one in host.own("header")]
    return {(word[0], word[2]) for word in words if len(word) == 3 and word[1] in {"set", "unset"}}


def _unconditional(one: Directive) -> bool:
    """Is a request field set or taken out in any case?"""
    action = one.value.lower()
    return (action == "unset" and len(one.args) == 2) or (action == "set" and len(one.args) == 3)
