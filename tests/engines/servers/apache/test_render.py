"""What Apache is given, compared with what was looked at: `SEALGATE_GOLDEN=write` writes the files anew."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.engines.contract import Refusal
from sealgate.engines.facts import Backend, RenderFacts, Worker
from sealgate.engines.servers.apache import ENGINE
from sealgate.engines.servers.apache.backends import links
from sealgate.engines.servers.apache.binary import Build, build, find
from sealgate.engines.servers.apache.facts import ANSWERS, CONFIG, FOLDER, RUNTIME, quoted
from sealgate.engines.servers.apache.limits import capacity
from sealgate.engines.servers.apache.render import MODULES, module_lines, render
from sealgate.engines.servers.apache.tls import HYBRID_DEFINED
from sealgate.errors import EngineRefused
from sealgate.policy.model import Policy
from sealgate.policy.profiles import load_profile

GOLDEN = Path(__file__).parents[3] / "golden" / "apache"
WORKERS = (Worker("run/app-1.sock"), Worker("run/app-2.sock", draining=True))
PROOF = "p" * 43

CASES: dict[str, tuple[Backend, dict[str, Any]]] = {
    "wsgi": ("wsgi", {}),
    "asgi": (
        "asgi",
        {
            "site": {"workers": 3},
            "limits": {"body": "32MiB", "headers": "32KiB", "connections": 100},
            "timeouts": {"idle": "90s"},
        },
    ),
    "upstream-http": ("upstream", {"site": {"upstream": "http://backend.internal:9000"}}),
    "upstream-https": ("upstream", {"site": {"upstream": "https://backend.example.org:9443"}}),
    "upstream-unix": ("upstream", {"site": {"upstream": "unix:/run/app.sock"}}),
    "clients-required": ("wsgi", {"clients": {"mode": "required"}}),
    "clients-lists": (
        "asgi",
        {
            "clients": {
                "mode": "optional",
                "authorities": [{"name": "partners", "file": "partners.pem", "crl": "partners.crl"}],
            }
        },
    ),
    "modern": ("asgi", {"tls": {"profile": "modern@6.0"}}),
    "two-keys": ("wsgi", {"certificate": {"second_key_type": "rsa-3072"}}),
    "refuse": ("wsgi", {"http": {"mode": "refuse"}}),
    "proxy-protocol": ("wsgi", {"listen": {"proxy_protocol": True, "http": []}}),
    "addresses": (
        "wsgi",
        {
            "network": {
                "allow": ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"],
                "deny": ["10.66.0.0/16", "2001:db8:bad::/48"],
            }
        },
    ),
    "addresses-proxied": (
        "upstream",
        {
            "site": {"upstream": "http://127.0.0.1:9000"},
            "listen": {"proxy_protocol": True},
            "http": {"mode": "refuse"},
            "network": {"deny": ["192.0.2.0/24", "::/0"]},
        },
    ),
    "mixed-names": (
        "upstream",
        {
            "site": {
                "names": ["localhost", "api.example.org", "*.example.org", "::1", "192.0.2.1"],
                "url": "https://api.example.org",
                "upstream": "http://127.0.0.1:9000",
            },
            "listen": {"https": ["[::1]:8443", "127.0.0.1:8443"]},
            "http": {"hsts": {"max_age": 31536000, "include_subdomains": True, "preload": True}},
        },
    ),
}


def facts(name: str) -> RenderFacts:
    backend, tables = CASES[name]
    policy = Policy.model_validate(tables)
    asked = policy.clients.mode != "off"
    return RenderFacts(
        policy=policy,
        profile=load_profile(policy.tls.profile),
        backend=backend,
        chain="live/server/site/chain.pem",
        key="live/server/site/key.pem",
        second_chain="live/server/site/second-chain.pem" if policy.certificate.second_key_type else "",
        second_key="live/server/site/second-key.pem" if policy.certificate.second_key_type else "",
        certificate_folder="live/server/site",
        trust="live/clients/trust.pem" if asked else "",
        trust_folder="live/clients" if asked else "",
        lists="live/clients/lists.pem" if policy.client_lists else "",
        system_trust="/etc/ssl/certs/ca-certificates.crt" if name == "upstream-https" else "",
        workers=() if backend == "upstream" else WORKERS,
        proof="" if backend == "upstream" else PROOF,
    )


@pytest.fixture(scope="module")
def installed() -> tuple[Path, Build]:
    program = find({})
    return program, build(program)


def refused(installed: tuple[Path, Build], state: Path, rendered: dict[str, bytes], *defined: str) -> str:
    """What Apache's own check says about these files; empty: it takes them."""
    program, found = installed
    folder = state / FOLDER
    (folder / ANSWERS).mkdir(parents=True, exist_ok=True)
    (state / RUNTIME).mkdir(parents=True, exist_ok=True)
    pairs = [f"live/server/site/{name}.pem" for name in ("chain", "key", "second-chain", "second-key")]
    for place in (*pairs, "live/clients/trust.pem"):
        (state / place).parent.mkdir(parents=True, exist_ok=True)
        (state / place).write_text("-\n")
    (state / "live/clients/lists.pem").write_text("-\n")
    for name, content in {**rendered, MODULES: module_lines(found.folder, found.inside)}.items():
        (folder / name).write_bytes(content)
    command = [str(program), "-t", "-d", str(state), "-f", f"{FOLDER}/{CONFIG}", *defined]
    done = subprocess.run(command, cwd=state, capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else done.stderr


@pytest.mark.parametrize("name", CASES)
def test_rendered_files_are_the_ones_that_were_looked_at(name: str) -> None:
    rendered, folder = render(facts(name)), GOLDEN / name
    if os.environ.get("SEALGATE_GOLDEN") == "write":
        shutil.rmtree(folder, ignore_errors=True)
        for file, content in rendered.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.*")} == rendered.keys()
    for file, content in rendered.items():
        assert content == (folder / file).read_bytes(), f"{name}/{file}"


@pytest.mark.parametrize("name", CASES)
def test_rendering_is_pure_and_holds_no_key(name: str) -> None:
    rendered = render(facts(name))
    assert rendered == render(facts(name))
    for content in rendered.values():
        assert b"PRIVATE KEY" not in content
        content.decode("ascii")


@pytest.mark.parametrize("defined", [(), ("-D", HYBRID_DEFINED)])
@pytest.mark.parametrize("name", CASES)
def test_apache_takes_every_file(
    name: str, defined: tuple[str, ...], installed: tuple[Path, Build], tmp_path: Path
) -> None:
    assert refused(installed, tmp_path, dict(render(facts(name))), *defined) == ""


def test_its_check_sees_a_mistake(installed: tuple[Path, Build], tmp_path: Path) -> None:
    rendered = dict(render(facts("wsgi")))
    rendered[CONFIG] += b"NoSuchDirective on\n"
    assert "NoSuchDirective" in refused(installed, tmp_path, rendered)


@pytest.mark.parametrize(
    "value", ["a\nb", "a\rb", "a\0b", "${HOME}", "x${", "\x7f", "\u2028", "ä", "a\tb"], ids=ascii
)
def test_what_cannot_be_escaped_is_refused(value: str) -> None:
    with pytest.raises(EngineRefused):
        quoted(value)


@pytest.mark.parametrize("value", ['a"b', "a\nb", "${x}"])
def test_what_cannot_be_escaped_for_rewriting_is_refused(value: str) -> None:
    with pytest.raises(EngineRefused):
        quoted(value, rewrite=True)


# How Apache itself reads an argument (`ap_getword_conf` in server/util.c).
def argument(line: str) -> tuple[str, str]:
    assert line[0] == '"'
    word, at = "", 1
    while line[at] != '"':
        if line[at] == "\\" and line[at + 1] in '"\\':
            at += 1
        word, at = word + line[at], at + 1
    return word, line[at + 1 :]


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_an_escaped_value_is_one_argument(value: str) -> None:
    if "${" not in value:
        assert argument(quoted(value) + " next") == (value, " next")


PATHS = ["/run/a b.sock", "/run/a'b.sock", "/run/a;b{c}.sock", "/run/#$%<x>.sock", '/run/"q\\.sock']


@pytest.mark.parametrize("path", PATHS)
def test_odd_paths_are_taken_whole(path: str, installed: tuple[Path, Build], tmp_path: Path) -> None:
    policy = Policy.model_validate({"site": {"upstream": "http://127.0.0.1:9"}})
    site = policy.site.model_copy(update={"upstream": f"unix:{path}"})
    odd = replace(facts("upstream-unix"), policy=policy.model_copy(update={"site": site}))
    assert refused(installed, tmp_path, dict(render(odd))) == ""


def test_many_names(installed: tuple[Path, Build], tmp_path: Path) -> None:
    names = [f"n{number}.example.org" for number in range(300)] + ["xn--bcher-kva.example", "2001:db8::1"]
    policy = Policy.model_validate({"site": {"names": names, "upstream": "http://[::1]:9000"}})
    many = replace(facts("upstream-http"), policy=policy)
    assert refused(installed, tmp_path, dict(render(many))) == ""


@pytest.mark.parametrize(
    ("tables", "key"),
    [
        ({"listen": {"http3": True}}, "listen.http3"),
        ({"timeouts": {"handshake": "500ms"}}, "timeouts.handshake"),
        ({"timeouts": {"headers": "2.5s"}}, "timeouts.headers"),
        ({"timeouts": {"request": "1500ms"}}, "timeouts.request"),
        ({"timeouts": {"idle": "900ms"}}, "timeouts.idle"),
        ({"site": {"upstream": "https://192.0.2.1:9000"}}, "site.upstream"),
    ],
)
def test_refusals(tables: dict[str, Any], key: str) -> None:
    rows = ENGINE.capabilities(Policy.model_validate(tables))
    (refusal,) = [row for row in rows if isinstance(row, Refusal)]
    assert refusal.key == key
    assert refusal.way_out


@given(st.integers(1, 200_000), st.integers(1, 64))
def test_never_more_connections_than_allowed(connections: int, cores: int) -> None:
    held = capacity(connections, cores)
    most = held.processes * (held.threads + int(held.threads * held.factor))
    assert connections * 0.75 - 1 <= most <= connections


@pytest.mark.parametrize("name", ["wsgi", "asgi"])
def test_every_name_leads_to_a_worker_that_serves(name: str) -> None:
    workers = (Worker("run/app-1.sock"), Worker("run/app-2.sock", draining=True), Worker("run/app-3.sock"))
    found = links(3, workers)
    assert list(found) == ["app-0.sock", "app-1.sock", "app-2.sock"]
    assert set(found.values()) == {"../../run/app-1.sock", "../../run/app-3.sock"}
    assert links(3, ()) == {}


def test_identity_fields_are_set_once_and_nothing_else_is_believed() -> None:
    config = render(facts("clients-required"))[CONFIG].decode()
    for name in ("address", "path", "proof", "verified", "certificate"):
        for spelling in (f"sealgate-{name}", f"sealgate_{name}"):
            assert f"RequestHeader unset {spelling}\n" in config
        first = config.index(f"RequestHeader set sealgate-{name}")
        assert config.index(f"RequestHeader unset sealgate_{name}") < first
    assert len(re.findall(rf'sealgate-proof "{PROOF}"', config)) == 1
    assert "SSLVerifyClient require" in config
    assert "SSLSessionTickets off" in config
    assert "SSLCARevocationCheck none" in config
