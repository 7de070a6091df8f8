"""Directives outside of all virtual hosts that are harmless in ours with some arguments only. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sealgate.engines.challenges import PATH
from sealgate.engines.configurations.directive import Directive
from sealgate.engines.servers.apache.harmless import MODULES, SPECIAL
from sealgate.engines.servers.apache.own_hosts import Ours

__all__ = ["harmless_with"]


@dataclass(frozen=True, slots=True)
class _Place:
    """Our file, and whether the directive stands in a section, which comes after our hosts' own words."""

    ours: Ours
    inside: bool


_Judge = Callable[[Directive, _Place], bool]

_SPECIAL_BEGINNINGS = ("sealgate", "redirect_", "proxy-")
_HSTS = "strict-transport-security"
_TOLD_OURSELVES = frozenset({"server", "x-powered-by"})
_HTTPOXY = "proxy"  # nobody means this field (https://httpoxy.org)
# Begins with a letter other than that of /.well-known, for certain: no alternative, no repetition before.
_ELSEWHERE = re.compile(r"(?:\(\?i\))?(?:\^/[A-Za-z0-9]|\^?/\\\.(?![wW])[A-Za-z0-9])[A-Za-z0-9/][^|]*")


def harmless_with(one: Directive, ours: Ours, *, inside: bool) -> bool:
    """Is it known, and does it change nothing in our hosts with its arguments?

    Args:
        one: a directive of the user's.
        ours: our file.
        inside: it stands in a section for paths or backends, which comes after our hosts' own words.
    """
    judge = _BY_ARGUMENTS.get(one.name)
    return judge is not None and judge(one, _Place(ours, inside))


def _header(one: Directive, at: _Place) -> bool:
    """``Header [condition] action field [value]``; early ones come before everything of ours."""
    args = [arg.lower() for arg in one.args]
    args = args[1:] if args[:1] in (["always"], ["onsuccess"]) else args
    if len(args) < 2 or "early" in args:
        return False
    action, field, value = args[0], args[1].rstrip(":"), args[2:3]
    if field == _HSTS and not at.inside:
        return at.ours.says(_HSTS)
    if field == "vary":
        return action in {"add", "append", "merge"}
    if field == "x-content-type-options":
        return action in {"set", "setifempty"} and value == ["nosniff"]
    return action == "unset" and field in _TOLD_OURSELVES


def _request_header(one: Directive, at: _Place) -> bool:
    field = one.args[1].lower().rstrip(":") if len(one.args) > 1 else ""
    if one.value.lower() == "unset" and field == _HTTPOXY:
        return True
    return not at.inside and at.ours.sends(field)


def _variables(first: int, *, late: bool = False) -> _Judge:
    """Of a directive whose arguments from there on are variables; late ones count after all of ours."""

    def judge(one: Directive, at: _Place) -> bool:
        names = [arg.removeprefix("!").partition("=")[0] for arg in one.args[first:]]
        after = at.inside or late
        return all(not _special(name) or (not after and at.ours.unmarks(name)) for name in names)

    return judge


def _set_env(one: Directive, _at: _Place) -> bool:
    return not _special(one.value)


def _special(name: str) -> bool:
    plain = name.lower()
    return plain in SPECIAL or plain.startswith(_SPECIAL_BEGINNINGS) or not re.fullmatch(r"[\w.-]+", name)


def _error_document(one: Directive, at: _Place) -> bool:
    return at.ours.answers(one.value)


def _redirect(one: Directive, at: _Place) -> bool:
    """It is asked for the files of challenges alone: there it must not lead away."""
    found = _from(one)
    # Apache takes several slashes for one; and what stands in a macro's or a variable's place is not known.
    path = re.sub("/+", "/", found[0]) if found and not re.search("[$%@]", found[0]) else ""
    return not at.inside and path[:1] == "/" and not (PATH.startswith(path) or path.startswith(PATH))


def _from(one: Directive) -> tuple[str, ...]:
    """What is led elsewhere: the first argument that is no status; empty: there is none."""
    status = one.value.isdigit() or one.value.lower() in {"permanent", "temp", "seeother", "gone"}
    return one.args[1:2] if status else one.args[:1]


def _redirect_match(one: Directive, at: _Place) -> bool:
    pattern = _from(one)
    return not at.inside and bool(pattern) and _ELSEWHERE.fullmatch(pattern[0]) is not None


def _filters(first: int, last: int | None) -> _Judge:
    """Filters that our hosts keep from doing anything."""

    def judge(one: Directive, at: _Place) -> bool:
        if at.inside and one.name == "addoutputfilter":  # see `harmless.py` about mod_mime
            return False
        names = [name.upper() for arg in one.args[first:last] for name in arg.split(";") if name]
        return all(
            (name == "DEFLATE" and at.ours.unmarks("no-gzip"))
            or (name == "BROTLI_COMPRESS" and at.ours.unmarks("no-brotli"))
            or (name == "INCLUDES" and at.ours.cancels("options", "none"))
            for name in names
        )

    return judge


def _cancelled(name: str, *args: str) -> _Judge:
    return lambda _one, at: at.ours.cancels(name, *args)


def _endings(name: str) -> _Judge:
    """Of a directive whose arguments but the first are endings of names, which this one takes out again."""

    def judge(one: Directive, at: _Place) -> bool:
        return not at.inside and at.ours.cancels(
            name, *(ending.lower().removeprefix(".") for ending in one.args[1:])
        )

    return judge


def _load_module(one: Directive, at: _Place) -> bool:
    return not at.inside and one.value.removesuffix("_module") in MODULES


def _tls_command(one: Directive, at: _Place) -> bool:
    """They add up, the last one counts; parameters of Diffie-Hellman are for suites that no profile has."""
    if at.inside or one.value.lower() == "dhparameters":
        return not at.inside
    tls = [host for host in at.ours.hosts if host.own("sslprotocol")]
    return one.value.lower() in {"groups", "curves"} and all(
        any(each.value.lower() == "groups" for each in host.own("sslopensslconfcmd")) for host in tls
    )


def _options(one: Directive, _at: _Place) -> bool:
    """What is told to scripts only; ``FakeBasicAuth`` would tell it to the backend."""
    known = {"stdenvvars", "exportcertdata", "strictrequire", "optrenegotiate", "legacydnstringformat"}
    return all(arg.lower().lstrip("+-") in known for arg in one.args)


def _off(one: Directive, _at: _Place) -> bool:
    return one.value.lower() == "off"


_BY_ARGUMENTS: Mapping[str, _Judge] = {
    "header": _header,
    "requestheader": _request_header,
    "setenvif": _variables(2),
    "setenvifnocase": _variables(2),
    "browsermatch": _variables(1),
    "browsermatchnocase": _variables(1),
    "setenvifexpr": _variables(1),
    "setenv": _set_env,
    "passenv": _variables(0, late=True),
    "unsetenv": _variables(0, late=True),
    "errordocument": _error_document,
    "redirect": _redirect,
    "redirectpermanent": _redirect,
    "redirecttemp": _redirect,
    "redirectmatch": _redirect_match,
    "setoutputfilter": _filters(0, 1),
    "addoutputfilter": _filters(0, 1),
    "addoutputfilterbytype": _cancelled("filterchain", "!"),
    "filterchain": _cancelled("filterchain", "!"),
    "sethandler": _cancelled("sethandler", "none"),
    "options": _cancelled("options", "none"),
    "adddefaultcharset": _cancelled("adddefaultcharset", "off"),
    "expiresactive": _cancelled("expiresactive", "off"),
    "expiresdefault": _cancelled("expiresactive", "off"),
    "expiresbytype": _cancelled("expiresactive", "off"),
    "addlanguage": _endings("removelanguage"),
    "addencoding": _endings("removeencoding"),
    "loadmodule": _load_module,
    "sslopensslconfcmd": _tls_command,
    "ssloptions": _options,
    "mergetrailers": _off,
    "stricthostcheck": _off,
    "cookietracking": _off,
    "session": _off,
    "checkspelling": _off,
}
