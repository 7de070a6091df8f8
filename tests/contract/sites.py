"""The same policies on every engine: which there are, who serves what, and servers shared by the tests.

A new engine is asked by itself: it needs a row nowhere unless it refuses one of the policies below.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from sealgate.engines.registry import engine, engine_ids
from tests.live.programs import mainline_nginx
from tests.live.served import Served
from tests.live.wire import Witness, witnessed

Kind = Literal["wsgi", "asgi"]

APPS: dict[Kind, str] = {"wsgi": "witness:app", "asgi": "witness:asgi"}
"""The app of each kind. Engines are asked with WSGI where they serve that, and with ASGI by policy `asgi`."""

GROUPS = {
    "ops": [
        {"authority": "private", "uri": "spiffe://example.org/ops/*"},
        {"authority": "private", "cn": "Ann of ops"},
    ],
    "night": [],
    "workers": [{"authority": "private", "dns": "*.workers.example.org"}],
}

ACCESS = {
    "default": "none",
    "rules": [
        {"path": "/guarded/ops/**", "methods": ["GET", "POST"], "require": {"group": ["ops"]}},
        {"path": "/guarded/known/**", "require": "authenticated"},
        {"path": "/guarded/near/**", "require": {"address": ["127.0.0.0/8"]}},
        {"path": "/guarded/**", "deny": True},
    ],
}

POLICIES: dict[str, dict[str, dict[str, Any]]] = {
    "usual": {"limits": {"body": "32MiB"}, "timeouts": {"request": "2m"}},  # time for 20 MB on a busy machine
    "tight": {
        "site": {"names": ["localhost", "{host}", "api.internal"]},
        "tls": {"profile": "modern@6.0"},
        "http": {"mode": "refuse"},
        "limits": {"body": "64KiB", "headers": "8KiB"},
        "timeouts": {"handshake": "2s", "headers": "2s", "request": "3s", "idle": "4s"},
    },
    "optional": {
        "clients": {"mode": "optional", "groups": GROUPS},
        "access": ACCESS,
        "network": {"allow": ["127.0.0.1", "127.64.0.0/10"], "deny": ["127.66.0.0/16", "127.64.0.9"]},
    },
    "required": {
        "clients": {"mode": "required", "groups": GROUPS},
        "http": {"mode": "refuse"},
        "certificate": {"second_key_type": "rsa-3072"},
    },
    "asgi": {
        "clients": {"mode": "optional", "groups": GROUPS},
        "limits": {"body": "64KiB", "headers": "8KiB"},
        "timeouts": {"headers": "3s", "request": "3s", "idle": "4s"},
        "network": {"deny": ["127.66.0.0/16"]},
        "access": ACCESS,
    },
    "proxied": {
        "listen": {"proxy_protocol": True},
        "network": {"deny": ["203.0.113.66", "2001:db8:bad::/48", "::/8"]},
    },
}

ONLY: dict[str, Kind] = {"asgi": "asgi"}
"""Policies that are asked with one kind of app only, of the engines that serve it."""

REFUSES = {
    ("gunicorn", "proxied"): "listen.proxy_protocol",
    ("uvicorn", "proxied"): "listen.proxy_protocol",
    ("gunicorn", "upstream"): "site.upstream",
    ("uvicorn", "upstream"): "site.upstream",
    ("apache", "http3"): "listen.http3",
    ("gunicorn", "http3"): "listen.http3",
    ("nginx", "http3"): "listen.http3",
    ("uvicorn", "http3"): "listen.http3",
}
"""What an engine refuses at load, (engine, policy): the key; `test_refusals.py` asserts it."""


MAINLINE = "nginx-mainline"
PROGRAMS = {MAINLINE: ("nginx", "SEALGATE_NGINX", mainline_nginx)}
"""Engines that are asked on a second program too: the engine, what names the program, and where it is."""

BRIEF = {
    *("test_old_versions_are_refused", "test_weak_suites_are_refused", "test_both_versions_answer"),
    *("test_the_modern_profile_has_nothing_but_tls_13", "test_what_is_spoken_above_tls"),
    *("test_it_is_redirected_to_the_same_place", "test_it_is_refused"),
    *("test_answers_of_the_app", "test_another_host_is_421", "test_the_sites_names_are_served"),
    *("test_off_nothing_is_asked_for", "test_the_revoked_are_out", "test_a_websocket_knows_who_called"),
    *("test_optional_the_app_knows_who_called_and_who_did_not_say",),
    *("test_each_is_shown_its_own", "test_who_may_not_is_told_so_and_no_more"),
    *("test_optional_what_does_not_count_is_not_taken_for_none", "test_required_only_what_counts"),
    *("test_no_session_is_resumed", "test_all_at_once_and_twice"),
}
"""What `make test` asks of a second program; the other questions take their time in `make test-long`."""

BRIEFLY = {"usual", "optional"}
"""And with which policies: each is a server that has to start."""

AGAIN = {
    ("test_no_spelling_leads_into_what_is_denied", "asgi"),
    ("test_who_may", "asgi"),
    ("test_methods", "asgi"),
    ("test_methods", "optional"),
    ("test_no_member_of_a_family_arrives_or_breaks_anything", "asgi"),
    ("test_the_app_is_told_the_groups", "optional"),
    ("test_issued_revoked_held_and_released", "optional"),
    ("test_an_open_connection_of_a_revoked_client_gets_no_further_answer", "optional"),
    ("test_an_exchange_of_a_revoked_client_that_is_under_way_is_ended", "required"),
    ("test_renewals_where_clients_show_certificates", "optional"),
    ("test_other_methods", "required"),
    ("test_neither_a_range_nor_a_condition_makes_another_answer", "required"),
    ("test_who_was_revoked_is_on_it_when_the_command_returns", "required"),
    ("test_no_other_spelling_and_no_other_file", "required"),
    ("test_beside_it_names_are_proven", "required"),
}
"""Each engine is asked the same in `make test` with another policy, or something that says nearly as much."""


@dataclass(frozen=True)
class Site:
    """One engine serving one policy."""

    engine: str
    policy: str
    kind: Kind
    served: Served
    witness: Witness

    @property
    def inside(self) -> bool:
        """Does the app run in the engine's own process?"""
        return engine(self.engine).identity == "inside"

    @property
    def alpns(self) -> tuple[str, ...]:
        """What is spoken: HTTP/1.1 by all, HTTP/2 by engines that stand in front of the app."""
        return ("http/1.1",) if self.inside else ("http/1.1", "h2")


def engine_of(which: str) -> str:
    """The engine's id; of itself, or of a second program."""
    return PROGRAMS[which][0] if which in PROGRAMS else which


def everyone() -> list[str]:
    """All that are asked: the engines, and second programs."""
    return [*engine_ids(), *PROGRAMS]


def environment(which: str) -> dict[str, str]:
    """What makes `sealgate serve` run that program."""
    if which not in PROGRAMS:
        return {}
    _, variable, program = PROGRAMS[which]
    return {variable: str(program())}


def kind_of(which: str, policy: str = "usual") -> Kind:
    """With which kind of app an engine is asked."""
    which = engine_of(which)
    return ONLY.get(policy) or ("wsgi" if "wsgi" in engine(which).apps else "asgi")


def askable(policy: str) -> list[str]:
    """The engines that serve this policy."""
    return [
        which
        for which in everyone()
        if (engine_of(which), policy) not in REFUSES
        and kind_of(which, policy) in engine(engine_of(which)).apps
    ]


def on(*policies: str) -> pytest.MarkDecorator:
    """Ask every engine that serves these policies: the fixture `site`."""
    cases = [
        pytest.param((which, policy), id=f"{which}-{policy}")
        for policy in policies
        for which in askable(policy)
    ]
    return pytest.mark.parametrize("site", cases, indirect=True)


every_engine = pytest.mark.parametrize("which", everyone())
"""For tests that start servers of their own."""


def at_least(*engines: str) -> pytest.MarkDecorator:
    """As `every_engine`, for what is our own work; those that are not named are asked in `make test-long`."""
    cases = [
        pytest.param(which, marks=() if which in engines else pytest.mark.long) for which in engine_ids()
    ]
    return pytest.mark.parametrize("which", cases)


class Pool:
    """Running sites; the ones asked for last stay, so that tests in order share them."""

    _MOST = 2

    def __init__(self) -> None:
        self._running: dict[tuple[str, str], tuple[Site, ExitStack]] = {}

    def get(self, which: str, policy: str) -> Site:
        """The site, started if it does not run."""
        pair = (which, policy)
        if pair in self._running:
            self._running[pair] = self._running.pop(pair)
            return self._running[pair][0]
        while len(self._running) >= self._MOST:
            self._end(next(iter(self._running)))
        with ExitStack() as stack:  # what does not start leaves nothing behind
            site = started(stack, which, policy)
            self._running[pair] = (site, stack.pop_all())
        return site

    def _end(self, pair: tuple[str, str]) -> None:
        self._running.pop(pair)[1].close()

    def close(self) -> None:
        """End all of them."""
        for pair in list(self._running):
            self._end(pair)


def started(stack: ExitStack, which: str, policy: str, **further: dict[str, Any]) -> Site:
    """A site of its own, until the stack ends. Tables in `further` are laid over the policy's."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sealgate-contract-")))
    kind = kind_of(which, policy)
    tables = {
        name: {**table, **further.get(name, {})} for name, table in {**further, **POLICIES[policy]}.items()
    }
    tables["site"] = {**tables.get("site", {}), "engine": engine_of(which)}
    served, witness = stack.enter_context(witnessed(folder, app=APPS[kind], env=environment(which), **tables))
    return Site(engine_of(which), policy, kind, served, witness)
