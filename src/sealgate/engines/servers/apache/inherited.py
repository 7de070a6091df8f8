"""What the user's Apache says outside of all virtual hosts, and what of it would count in ours. Pure.

A virtual host inherits: some directives are replaced by its own (``Timeout``), others add up (``Header``,
``ProxyPass``, whose inherited ones even come first), and the server's sections for paths are merged before
those of the host. Nobody who reads our file sees that. So it is an allow-list: what is not known to change
nothing in our hosts is named (``harmless.py`` has the reasons), whatever an unknown module has among it.

Tried on httpd 2.4: what is passed on never asks ``<Directory>``, ``<Files>``, ``Alias`` and ``Redirect``;
``<If>`` and ``<Proxy>`` it does. What judges clients (``Require``) is not put out of force, but for Apache's
pages about itself: who writes it after `apply` finds a closed door, and ``observe`` says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sealgate.engines.configurations.directive import Directive
from sealgate.engines.servers.apache.arguments import harmless_with
from sealgate.engines.servers.apache.harmless import EVERYWHERE, FILES, OUTSIDE, REPLACED, REPLACED_BY_ONE
from sealgate.engines.servers.apache.own_hosts import Ours

__all__ = ["inherited"]

_EVERYWHERE = frozenset().union(*EVERYWHERE.values())
_OUTSIDE = frozenset().union(*OUTSIDE.values())
_LOCATIONS = frozenset({"location", "locationmatch"})
_PROXIES = frozenset({"proxy", "proxymatch"})
_ACCESS = frozenset(
    {
        *("require", "requireall", "requireany", "requirenone", "order", "allow", "deny", "satisfy"),
        *("authtype", "authname", "authuserfile", "authgroupfile", "authbasicprovider", "authmerging"),
    }
)
# Pages that Apache makes about itself. Who may see them is said beside, and about nothing else.
_ABOUT_ITSELF = frozenset({"server-status", "server-info", "ldap-status", "balancer-manager"})
# A backend of this kind is none of ours, which are http, https and unix.
_OTHER_BACKENDS = ("balancer:", "fcgi:", "ajp:", "scgi:", "uwsgi:", "ftp:")
_DEEPEST = 10


def inherited(root: Directive, own: Directive) -> tuple[Directive, ...]:
    """The user's directives that would count in our virtual hosts, in the order of his files.

    Args:
        root: his whole configuration; our file may be a part of it.
        own: our file alone, as it will be read.
    """
    hosts = own.own("virtualhost")
    roots = tuple(one for host in hosts for one in host.own("location") if one.args == ("/",))
    macros = tuple(one for one in root.walk() if one.name == "macro")
    return tuple(dict.fromkeys(_Judge(Ours(hosts, roots), macros).outside(root.inside)))


@dataclass(frozen=True, slots=True)
class _Judge:
    """Goes through the user's configuration."""

    ours: Ours
    macros: tuple[Directive, ...]

    def outside(self, directives: Iterable[Directive], deep: int = 0) -> Iterator[Directive]:
        """What stands outside of sections."""
        for one in directives:
            if one.name in FILES or one.name in _EVERYWHERE or one.name in _OUTSIDE:
                continue
            if one.name in _LOCATIONS:
                yield from self._location(one)
            elif one.name in _PROXIES:
                yield from self._proxy(one)
            elif one.name == "use":
                yield from self._use(one, deep)
            elif not self._replaced(one) and not harmless_with(one, self.ours, inside=False):
                yield one

    def _use(self, one: Directive, deep: int) -> Iterator[Directive]:
        """A macro, with its parameters as they stand: with their marks they are no known word."""
        named = [macro for macro in self.macros if macro.value.lower() == one.value.lower()]
        marked = all(word.startswith(("$", "%", "@")) for macro in named for word in macro.args[1:])
        if not named or not marked or deep > _DEEPEST:
            yield one
            return
        for macro in named:  # defined twice: whichever counts here
            yield from self.outside(macro.inside, deep + 1)

    def _location(self, section: Directive) -> Iterator[Directive]:
        handlers = {one.value.lower() for one in section.own("sethandler")}
        itself = section.name == "location" and len(section.args) == 1 and self.ours.admits(section.value)
        free = itself and bool(handlers) and handlers <= _ABOUT_ITSELF
        for one in section.inside:
            if not (free and one.name in _ACCESS) and not _for_all(one, section):
                yield from self._inside(one)

    def _proxy(self, section: Directive) -> Iterator[Directive]:
        target = section.value.lower()
        if section.name == "proxy" and target.rpartition("|")[2].startswith(_OTHER_BACKENDS):
            return
        for one in section.inside:
            if not _for_all(one, section):
                yield from self._inside(one)

    def _inside(self, one: Directive) -> Iterator[Directive]:
        """In a section for paths or backends: what is replaced there comes after the host's own word."""
        if one.name in FILES or one.name in _EVERYWHERE or harmless_with(one, self.ours, inside=True):
            return
        yield one

    def _replaced(self, one: Directive) -> bool:
        if one.name.startswith("sslproxy"):
            asked = self.ours.some("sslproxyengine")  # else no host speaks TLS to its backend
            return not asked or self.ours.anew(one.name, having="sslproxyengine")
        having = next((key for key, names in REPLACED_BY_ONE.items() if one.name in names), "")
        return bool(having or one.name in REPLACED) and self.ours.anew(one.name, having=having)


def _for_all(one: Directive, section: Directive) -> bool:
    """A restriction that is none."""
    words = (one.name, *(arg.lower() for arg in one.args))
    if one.name == "order":  # what is said last counts where nobody is named
        return words[1:] == ("deny,allow",) or any(_for_all(each, one) for each in section.own("allow"))
    return words in {("require", "all", "granted"), ("allow", "from", "all")}
