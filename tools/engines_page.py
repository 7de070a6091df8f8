"""The lines of docs/reference/engines.md: who keeps each promise with each engine, and what is refused.

A test sees to it that every refusal there is in the source is among those that these policies bring about.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any
from unittest import mock

from sealgate.engines.contract import ALWAYS, Capability, Engine, Refusal
from sealgate.engines.installed.contract import Included, included, included_ids
from sealgate.engines.registry import engine, engine_ids
from sealgate.engines.tls_context import groups_known
from sealgate.policy.model import Policy

__all__ = ["lines"]

_APP = {"site": {"app": "orders:app"}}
_ISSUER = {
    "issuer": "https://login.example.com",
    "jwks_file": "keys.json",
    "audience": ["https://api.example.com"],
}
_UPSTREAM = {"site": {"upstream": "http://127.0.0.1:9000"}}


def _acme(challenge: str) -> dict[str, dict[str, Any]]:
    return {"certificate": {"source": "acme", "acme": {"challenge": challenge}}}


# What a policy may say beside the defaults, where engines differ: a line of the file, and its tables.
_OTHERS: dict[str, dict[str, dict[str, Any]]] = {
    'site.upstream = "http://127.0.0.1:9000"': _UPSTREAM,
    "listen.http = []": {**_APP, "listen": {"http": []}},
    "listen.proxy_protocol = true": {**_APP, "listen": {"proxy_protocol": True}},
    "listen.http3 = true": {**_APP, "listen": {"http3": True}},
    'tls.profile = "modern@6.0"': {**_APP, "tls": {"profile": "modern@6.0"}},
    'certificate.source = "acme"': {**_APP, **_acme("http-01")},
    'http.mode = "refuse"': {**_APP, "http": {"mode": "refuse"}},
    'clients.mode = "optional"': {**_APP, "clients": {"mode": "optional"}},
    'clients.mode = "required"': {**_APP, "clients": {"mode": "required"}},
    'clients.authorities = [{ name = "partners", file = "partners.pem", crl = "partners.crl" }]': {
        **_APP,
        "clients": {
            "mode": "required",
            "authorities": [{"name": "partners", "file": "partners.pem", "crl": "partners.crl"}],
        },
    },
    'clients.authorities = [{ name = "private" }, { name = "guests", file = "guests.pem", crl = "off" }]': {
        **_APP,
        "clients": {
            "mode": "required",
            "authorities": [{"name": "private"}, {"name": "guests", "file": "guests.pem", "crl": "off"}],
        },
    },
    'clients.authorities = [{ name = "partners", file = "partners.pem" }]': {
        **_APP,
        "clients": {"mode": "required", "authorities": [{"name": "partners", "file": "partners.pem"}]},
    },
    "access.rules = [{ ... }]": {**_APP, "access": {"rules": [{"path": "/admin/**", "deny": True}]}},
    'access.rules = [{ ... }], site.upstream = "..."': {
        **_UPSTREAM,
        "access": {"rules": [{"path": "/admin/**", "deny": True}]},
    },
    "tokens.issuers = [{ ... }]": {**_APP, "tokens": {"issuers": [_ISSUER]}},
    'tokens.issuers = [{ ... }], site.upstream = "..."': {
        **_UPSTREAM,
        "tokens": {"issuers": [_ISSUER]},
        "access": {"default": "none"},
    },
    "limits.rates = [{ ... }]": {**_APP, "limits": {"rates": [{"by": "address", "rate": "100/min"}]}},
    'limits.rates = [{ ... }], site.upstream = "..."': {
        **_UPSTREAM,
        "limits": {"rates": [{"by": "address", "rate": "100/min"}]},
    },
    'validation.openapi = "api.yaml"': {**_APP, "validation": {"openapi": "api.yaml"}},
    'validation.openapi = "api.yaml", site.upstream = "..."': {
        **_UPSTREAM,
        "validation": {"openapi": "api.yaml"},
    },
    "tokens.api_keys = true": {**_APP, "tokens": {"api_keys": True}},
    'tokens.api_keys = true, site.upstream = "..."': {
        **_UPSTREAM,
        "tokens": {"api_keys": True},
        "access": {"default": "none"},
    },
    'limits.rate_store = "redis://127.0.0.1:6379/0"': {
        **_APP,
        "limits": {"rates": [{"by": "address", "rate": "100/min"}], "rate_store": "redis://127.0.0.1:6379/0"},
    },
    'network.trusted_proxies = ["10.0.0.0/8"]': {
        **_APP,
        "network": {"deny": ["127.0.0.0/8"], "trusted_proxies": ["10.0.0.0/8"]},
    },
    'network.trusted_proxies = ["10.0.0.0/8"], site.upstream = "..."': {
        **_UPSTREAM,
        "network": {"trusted_proxies": ["10.0.0.0/8"]},
    },
    'network.allow = ["10.0.0.0/8"]': {**_APP, "network": {"allow": ["10.0.0.0/8"]}},
    'network.deny = ["127.0.0.0/8"]': {**_APP, "network": {"deny": ["127.0.0.0/8"]}},
}
# Values that some engine cannot take; what the others make of them is no news.
_ODD: dict[str, dict[str, dict[str, Any]]] = {
    'site.upstream = "https://192.0.2.1"': {"site": {"upstream": "https://192.0.2.1"}},
    'site.upstream = "unix:/run/a$#b"': {"site": {"upstream": "unix:/run/a$#b"}},
    'certificate.acme.challenge = "tls-alpn-01"': {**_APP, **_acme("tls-alpn-01")},
    'limits.headers = "1500B"': {**_APP, "limits": {"headers": "1500B"}},
    "limits.connections = 1": {**_APP, "limits": {"connections": 1}},
    'timeouts.idle = "10.5ms"': {**_APP, "timeouts": {"idle": "10.5ms"}},
    'timeouts.headers = "1500ms"': {**_APP, "timeouts": {"headers": "1500ms"}},
}
# What a policy may say to a server that somebody else runs, beside the backend that it is made for.
_INSTALLED: dict[str, dict[str, dict[str, Any]]] = {
    'site.app = "orders:app"': _APP,
    'site.upstream = "http://127.0.0.1:9000"': _UPSTREAM,
    "listen.proxy_protocol = true": {"listen": {"proxy_protocol": True}},
    "listen.http3 = true": {"listen": {"http3": True}},
    'certificate.source = "acme"': _acme("http-01"),
    'certificate.acme.challenge = "tls-alpn-01"': _acme("tls-alpn-01"),
    'certificate.second_key_type = "rsa-3072"': {"certificate": {"second_key_type": "rsa-3072"}},
    'clients.mode = "optional"': {"clients": {"mode": "optional"}},
    'clients.mode = "required"': {"clients": {"mode": "required"}},
    'clients.authorities = [{ name = "partners", file = "p.pem" }]': {
        "clients": {"mode": "required", "authorities": [{"name": "partners", "file": "p.pem"}]}
    },
    'clients.authorities = [{ name = "partners", file = "p.pem", crl = "p.crl", grace = "6h" }]': {
        "clients": {
            "mode": "required",
            "authorities": [{"name": "partners", "file": "p.pem", "crl": "p.crl", "grace": "6h"}],
        }
    },
    "access.rules = [{ ... }]": {"access": {"rules": [{"path": "/admin/**", "deny": True}]}},
    "tokens.issuers = [{ ... }]": {"tokens": {"issuers": [_ISSUER]}},
    "limits.rates = [{ ... }]": {"limits": {"rates": [{"by": "address", "rate": "100/min"}]}},
    'validation.openapi = "api.yaml"': {"validation": {"openapi": "api.yaml"}},
    "tokens.api_keys = true": {"tokens": {"api_keys": True}},
    'network.trusted_proxies = ["10.0.0.0/8"]': {"network": {"trusted_proxies": ["10.0.0.0/8"]}},
    'network.allow = ["10.0.0.0/8"]': {"network": {"allow": ["10.0.0.0/8"]}},
    'network.deny = ["127.0.0.0/8"]': {"network": {"deny": ["127.0.0.0/8"]}},
    'limits.body = "0"': {"limits": {"body": "0"}},
    'limits.headers = "1500B"': {"limits": {"headers": "1500B"}},
    "limits.connections = 1": {"limits": {"connections": 1}},
    'timeouts.headers = "1500ms"': {"timeouts": {"headers": "1500ms"}},
}
_RUNS = {
    "h2": "in workers of their own",
    "proof": "in workers of their own",
    "inside": "inside of it",
}
_LIBRARY = (3, 0)  # of OpenSSL: the page shall be the same on every machine

Said = dict[str, tuple[Capability | Refusal, ...]]
Server = Engine | Included


def lines() -> Iterator[str]:
    """The page, without its title."""
    engines = [engine(name) for name in engine_ids()]
    yield "One policy, any server, the same promises. `site.engine` chooses the server. What it cannot"
    yield "enforce is refused when the policy is loaded, with the reason and the way out. `sealgate check`"
    yield "prints what holds for your own policy, and by what means."
    yield from _at_a_glance(engines)
    yield from ("", "## What is refused", "")
    yield from _refused(engines, {**_OTHERS, **_ODD})
    yield from _other_apps(engines)
    yield from ("", "## Who keeps each promise", "")
    yield "The server itself (`engine`), the `guard` in the app's process, the `keeper`, or the operating"
    yield "system (`os`). Where servers count in units of their own, each wording has a row. First with the"
    yield "defaults:"
    defaults = _said(engines, _APP)
    yield from _promises(engines, {"": defaults}, known=set())
    yield from ("", "And what is different with other values:")
    others = {written: _said(engines, tables) for written, tables in _OTHERS.items()}
    known = {(name, *_facts(row)) for name, rows in defaults.items() for row in rows}
    yield from _promises(engines, others, known=known)
    yield from _servers_of_yours()


def _servers_of_yours() -> Iterator[str]:
    servers = [included(name) for name in included_ids()]
    yield from ("", "## A server of yours", "")
    yield "`sealgate apply` puts the site into a server that you run yourself:"
    yield "[nginx, Apache](../guides/installed-server.md),"
    yield "[Gunicorn](../guides/gunicorn.md#let-apply-do-it-in-your-services-own-file)."
    yield "No keeper stands beside it, and no guard behind nginx and Apache. So `plan` and `apply` refuse:"
    yield ""
    yield from _refused(servers, _INSTALLED)
    yield ""
    yield "And with the defaults, in front of the backend each is made for, this holds:"
    yield from _promises(servers, {"": _said(servers, {})}, known=set())


def _at_a_glance(engines: list[Engine]) -> Iterator[str]:
    yield from ("", *_head("", engines))
    facts = {
        "`site.engine`": [f"`{each.id}`" for each in engines],
        "tested versions": [", ".join(each.versions) for each in engines],
        "apps": [" and ".join(kind.upper() for kind in each.apps) for each in engines],
        "they run": [_RUNS[each.identity] for each in engines],
    }
    yield from (f"| {name} | {' | '.join(cells)} |" for name, cells in facts.items())


def _head(*columns: str | Sequence[Server]) -> tuple[str, str]:
    names = [n for c in columns for n in ([c] if isinstance(c, str) else [each.title for each in c])]
    return f"| {' | '.join(names)} |", "|" + "---|" * len(names)


def _said(engines: Sequence[Server], tables: Mapping[str, Any]) -> Said:
    """What each engine says of a policy; without a `site`, in front of the backend that it is made for."""
    found = {}
    for each in engines:
        usual = _UPSTREAM if isinstance(each, Included) and each.backend == "upstream" else _APP
        site = tables.get("site", usual["site"])
        policy = Policy.model_validate({**tables, "site": {**site, "engine": each.id}})
        with ExitStack() as stack:
            module = importlib.import_module(each.capabilities.__module__)
            if hasattr(module, "groups_known"):
                known = groups_known(_LIBRARY)
                stack.enter_context(mock.patch.object(module, "groups_known", return_value=known))
            found[each.id] = each.capabilities(policy)
    return found


def _facts(row: Capability | Refusal) -> tuple[str, ...]:
    """What makes a row a row of its own."""
    said = row.reason if isinstance(row, Refusal) else row.promise
    return row.key, said, _keeper(row)


def _refusals(said: Said, name: str) -> list[Refusal]:
    return [row for row in said[name] if isinstance(row, Refusal)]


def _refused(engines: Sequence[Server], policies: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A row for each refusal, under the first of the policies that brings it about."""
    yield from _head("policy", "engine", "because", "use instead")
    known: set[tuple[str, Refusal]] = set()
    for written, tables in policies.items():
        said = _said(engines, tables)
        for each in engines:
            for row in _refusals(said, each.id):
                if (each.id, row) not in known:
                    known.add((each.id, row))
                    yield f"| `{written}` | {each.title} | {_escaped(row.reason)} | {_escaped(row.way_out)} |"


def _other_apps(engines: list[Engine]) -> Iterator[str]:
    """Kinds of app that an engine does not serve; seen when the app is imported."""
    for kind in sorted({kind for each in engines for kind in each.apps}):
        able = [f'"{each.id}"' for each in engines if kind in each.apps]
        for each in engines:
            if kind not in each.apps:
                only = " and ".join(one.upper() for one in each.apps)
                cells = f"{each.title} | it serves {only} apps only | site.engine = {' or '.join(able)}"
                yield f"| `site.app` is {kind.upper()} | {cells} |"


def _promises(
    engines: Sequence[Server], policies: Mapping[str, Said], *, known: set[tuple[str, ...]]
) -> Iterator[str]:
    """A row for each promise, but those known; a cell for who keeps it."""
    first = ["policy"] if len(policies) > 1 else []
    yield from ("", *_head(*first, "key", "promise", engines))
    for written, said in policies.items():
        cells: dict[str, dict[str, dict[str, str]]] = {}
        for each in engines:
            refusals = _refusals(said, each.id)
            for row in refusals or said[each.id]:
                if (each.id, *_facts(row)) not in known:
                    promise = "" if isinstance(row, Refusal) else row.promise
                    cells.setdefault(row.key, {}).setdefault(promise, {})[each.id] = _keeper(row)
        for key, promises in cells.items():
            refused = promises.pop("", {})
            for promise, by in promises.items():
                columns = [f"`{written}`"] if first else []
                columns += [f"`{key}`" if key != ALWAYS else "always", _escaped(promise)]
                columns += [{**refused, **by}.get(each.id, "") for each in engines]
                yield f"| {' | '.join(columns)} |"


def _keeper(row: Capability | Refusal) -> str:
    return "**refused**" if isinstance(row, Refusal) else row.enforcer.value


def _escaped(text: str) -> str:
    """Text in a Markdown table: bars would end the cell."""
    return " ".join(text.split()).replace("|", "\\|")
