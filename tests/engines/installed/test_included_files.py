"""Our file for installed servers, as it was looked at: `SEALGATE_GOLDEN=write` writes it anew."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme

from sealgate.engines.contract import Capability, Refusal
from sealgate.engines.facts import RenderFacts
from sealgate.engines.installed.contract import included, included_ids
from sealgate.engines.installed.expected import Expected, expected_of
from sealgate.engines.registry import engine
from sealgate.errors import EngineError, EngineRefused
from sealgate.policy.fields import leaves, shape_of
from sealgate.policy.model import Endpoint, Policy
from sealgate.policy.profiles import load_profile

IN_FRONT = tuple(name for name in included_ids() if included(name).backend == "upstream")
GOLDEN = Path(__file__).parents[2] / "golden" / "installed"
SHARED = (Endpoint("127.0.0.1", 8080),)

CASES: dict[str, dict[str, Any]] = {
    "http": {"site": {"upstream": "http://127.0.0.1:9000"}},
    "https": {"site": {"upstream": "https://localhost:9443"}},
    "unix": {"site": {"upstream": "unix:/run/app.sock"}, "http": {"mode": "refuse"}},
    "modern": {
        "site": {"upstream": "http://127.0.0.1:9000"},
        "tls": {"profile": "modern@6.0"},
        "listen": {"http": [], "proxy_protocol": True},
    },
    "addresses": {
        "site": {"upstream": "http://127.0.0.1:9000"},
        "network": {"allow": ["127.0.0.0/8", "10.0.0.0/8", "2001:db8::/32"], "deny": ["10.66.0.0/16"]},
    },
    "names": {
        "site": {
            "names": ["localhost", "api.example.org", "*.example.org", "xn--bcher-kva.example", "::1"],
            "url": "https://api.example.org",
            "upstream": "http://127.0.0.1:9000",
        },
        "listen": {"https": ["127.0.0.1:8443", "[::1]:8443"], "http": ["127.0.0.1:8080", "[::1]:8080"]},
        "limits": {"body": "2GiB", "headers": "5000B", "connections": 70000},
        "timeouts": {"handshake": "1500ms", "idle": "1h"},
    },
}
WRAPPED = {
    "nginx": 'events {{}}\npid "{folder}/pid";\nhttp {{ access_log off; include "{own}"; }}\n',
    "apache": 'ServerRoot "{folder}"\nPidFile "{folder}/pid"\nErrorLog "{folder}/log"\nServerName localhost\n'
    "LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so\n"
    "LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so\n"
    'Include "{own}"\n',
}


def facts(tables: Mapping[str, Any], which: str, folder: str = "/state") -> RenderFacts:
    policy = Policy.model_validate(tables)
    return RenderFacts(
        policy=policy,
        profile=load_profile(policy.tls.profile),
        backend="upstream",
        chain=f"{folder}/chain.pem",
        key=f"{folder}/key.pem",
        certificate_folder=folder,
        challenge_folder=f"{folder}/live/challenges",
        system_trust=f"{folder}/chain.pem" if policy.site.upstream.startswith("https") else "",
        version={"nginx": "1.22.1", "apache": "2.4.62"}[which],
    )


def accepted(which: str, folder: Path, content: bytes) -> subprocess.CompletedProcess[str]:
    """Does the server take it?"""
    pair = trustme.CA().issue_cert("localhost")
    (folder / "chain.pem").write_bytes(pair.cert_chain_pems[0].bytes())
    (folder / "key.pem").write_bytes(pair.private_key_pem.bytes())
    own, main = folder / "own.conf", folder / "main.conf"
    own.write_bytes(content)
    main.write_text(WRAPPED[which].format(folder=folder, own=own))
    program = engine(which).program(os.environ, False)
    return subprocess.run(
        included(which).check(program.path, main), capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("which", IN_FRONT)
@pytest.mark.parametrize("name", CASES)
def test_rendered_files_are_the_ones_that_were_looked_at(which: str, name: str) -> None:
    path = GOLDEN / which / f"{name}.conf"
    rendered = included(which).render(facts(CASES[name], which), SHARED)
    if os.environ.get("SEALGATE_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rendered)
    assert rendered.decode() == path.read_text()


@pytest.mark.parametrize("which", IN_FRONT)
@pytest.mark.parametrize("name", CASES)
def test_the_server_takes_every_file(which: str, name: str, tmp_path: Path) -> None:
    content = included(which).render(facts(CASES[name], which, str(tmp_path)), SHARED)
    done = accepted(which, tmp_path, content)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("which", IN_FRONT)
def test_three_hundred_long_names(which: str, tmp_path: Path) -> None:
    """Whatever the sizes of the user's hash tables are."""
    names = [f"{'long-name-' * 3}{number:03}.{'example-' * 3}x.test" for number in range(300)]
    tables = {"site": {"names": names, "upstream": "http://127.0.0.1:9000"}}
    content = included(which).render(facts(tables, which, str(tmp_path)), ())
    done = accepted(which, tmp_path, content)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("which", IN_FRONT)
@pytest.mark.parametrize(
    "odd", ["sp ace", "semi;colon", "br{ace}", "hash#", "quo'te", 'quo"te', "back\\slash"]
)
def test_odd_paths_are_escaped(which: str, odd: str, tmp_path: Path) -> None:
    folder = tmp_path / odd
    folder.mkdir()
    content = included(which).render(facts(CASES["http"], which, str(folder)), ())
    pair = trustme.CA().issue_cert("localhost")
    (folder / "chain.pem").write_bytes(pair.cert_chain_pems[0].bytes())
    (folder / "key.pem").write_bytes(pair.private_key_pem.bytes())
    done = accepted(which, tmp_path, content)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("which", IN_FRONT)
@pytest.mark.parametrize("odd", ["new\nline", "${variable}", "bell\x07"])
def test_what_cannot_be_escaped_is_refused(which: str, odd: str) -> None:
    with pytest.raises(EngineRefused, match="engine-refused"):
        included(which).render(facts(CASES["http"], which, f"/state/{odd}"), ())


@pytest.mark.parametrize("which", IN_FRONT)
@pytest.mark.parametrize("odd", ["/a*/x.conf", "/a?/x.conf", "/a[1]/x.conf", "/a\nb/x.conf"])
def test_a_path_that_would_be_a_pattern_is_not_included(which: str, odd: str) -> None:
    with pytest.raises(EngineError, match="server-config-unfit"):
        included(which).include(b"http {\n}\n", odd)


def test_an_address_that_apache_listens_on_already_is_not_listened_on_twice() -> None:
    render = included("apache").render
    assert b"Listen 127.0.0.1:8080" in render(facts(CASES["http"], "apache"), ())
    assert b"Listen 127.0.0.1:8080" not in render(facts(CASES["http"], "apache"), SHARED)


@pytest.mark.parametrize("which", IN_FRONT)
@pytest.mark.parametrize("name", CASES)
def test_somebody_answers_for_every_key(which: str, name: str) -> None:
    rows = included(which).capabilities(Policy.model_validate(CASES[name]))
    assert not [row for row in rows if isinstance(row, Refusal)]
    claimed = {row.key for row in rows}
    idle = {"site.app", "site.workers", "site.threads"}
    for path, _ in leaves(shape_of(Policy)):
        key = ".".join(path)
        assert claimed & {".".join(path[:count]) for count in range(1, len(path) + 1)} or key in idle, key


TIMES = {"handshake": "1500ms", "headers": "40s", "request": "120s", "idle": "60s"}
TIMERS = {
    "nginx": [
        ("handshake", "client_header_timeout 1500ms;", "within 1.5 s"),
        ("headers", "client_header_timeout 1500ms;", "1.5 s after"),
        ("request", "proxy_read_timeout 60000ms;", "more than 60 s"),
        ("request", "client_body_timeout 60000ms;", "more than 60 s"),
        ("idle", "keepalive_timeout 60000ms;", "after 60 s"),
    ],
    "apache": [
        ("handshake", "RequestReadTimeout handshake=1 header=40 body=120", "within 1 s"),
        ("headers", "RequestReadTimeout handshake=1 header=40 body=120", "complete 40 s after"),
        ("request", "RequestReadTimeout handshake=1 header=40 body=120", "complete within 120 s"),
        ("request", "ProxyTimeout 60", "more than 60 s before"),
        ("idle", "KeepAliveTimeout 60000ms", "after 60 s"),
    ],
}


@pytest.mark.parametrize("which", IN_FRONT)
def test_what_is_promised_is_what_the_file_says(which: str) -> None:
    tables = {**CASES["http"], "timeouts": TIMES}
    content = included(which).render(facts(tables, which), ()).decode()
    rows = included(which).capabilities(Policy.model_validate(tables))
    said = {row.key: row.promise for row in rows if isinstance(row, Capability)}
    for key, directive, words in TIMERS[which]:
        assert directive in content
        assert words in said[f"timeouts.{key}"], said[f"timeouts.{key}"]


@pytest.mark.parametrize("name", CASES)
def test_what_is_expected_comes_back_as_it_was(name: str) -> None:
    expected = expected_of(facts(CASES[name], "nginx"))
    assert Expected.from_json(expected.as_json()) == expected


def test_what_a_stranger_must_see() -> None:
    expected = expected_of(facts(CASES["names"], "nginx"))
    assert (expected.plain, expected.location) == (308, "https://localhost/")
    assert expected.hsts == "max-age=300"
    assert expected_of(facts(CASES["unix"], "nginx")).location == ""


def test_a_stranger_must_see_the_same_under_other_names() -> None:
    names = ["*.a.test", "a.test", "localhost", "::1", "www.a.test"]
    site = {"names": names, "upstream": "http://127.0.0.1:9000"}
    tables = {**CASES["http"], "site": site, "listen": {"https": ["127.0.0.1:443"], "http": ["127.0.0.1:80"]}}
    first = expected_of(facts(tables, "nginx"))
    others = [first.under(one) for one in first.others]
    assert first.name == "a.test"
    assert [one.name for one in others] == ["www.a.test", "localhost", "::1"]
    assert [one.location for one in others] == [
        f"https://{host}/" for host in ("www.a.test", "localhost", "[::1]")
    ]
    assert first.hsts == others[0].hsts != others[1].hsts
    assert all(one.others == () for one in others)
    old = {key: value for key, value in first.as_json().items() if key != "others"}
    assert Expected.from_json(old).others == ()
    many = {**tables, "site": {**site, "names": [f"n{number}.test" for number in range(30)]}}
    assert len(expected_of(facts(many, "nginx")).others) == 19
