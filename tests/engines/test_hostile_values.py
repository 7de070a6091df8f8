"""Values that look like configuration: every engine writes them so that they are read back, or refuses.

Read back by readers that are not the engines' own (crossplane for nginx, `engines/configurations/` for
Apache, JSON), compared with a harmless value: the same directives, in the same blocks, with as many words.
Then by the servers themselves: they check their files, and requests arrive at the socket that was named.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sealgate.engines.configurations.apache import read_apache
from sealgate.engines.configurations.directive import Directive
from sealgate.engines.configurations.library import Texts
from sealgate.engines.configurations.nginx import read_nginx
from sealgate.engines.contract import Program, enforced
from sealgate.engines.facts import AppFacts, RenderFacts, Worker
from sealgate.engines.registry import engine, engine_ids
from sealgate.errors import SealgateError
from sealgate.policy.model import Policy
from sealgate.policy.profiles import load_profile

NAMES = {
    "one": ["a.test"],
    "three hundred": [f"{'x' * 40}-{number}.example.org" for number in range(300)],
    "idna": ["bücher.example", "пример.испытание", "straße.test"],
    "addresses": ["::1", "2001:db8::1", "192.0.2.1", "localhost", "*.a.localhost"],
    "wild": ["*.example.org", "example.org", "*.a.example.org"],
    "long": [".".join(["x" * 63] * 3 + ["y" * 61]), f"{'z' * 63}.test"],
    "inner hyphens": ["a--b.test", "xn--bcher-kva.test"],
}
NO_NAMES = [
    'a"b.test', "a'b", "a;b.test", "a{b.test", "a}b", "$host.test", "${x}.test", "a b.test", "a\nb.test",
    "a\\b.test", "a#b.test", "a,b.test", "a|b.test", "a(b.test", "%41.test", "a/b.test", "a:b.test", "",
    "a\0b", "a<b>.test", "`id`.test", "~.*", "*", "*.*.test", "☃.net",
]  # fmt: skip
PIECES = [
    '"', "'", " ", ";", "{", "}", "$", "${x}", "$host", "\\", '\\"', "#", "|", "%41", "%", "?", "<", ">", "`",
    ",", "*", "é", "(", ")", "!", "=", "&", "~", "^", ":", "::", "-", "//", "=x", "@",
]  # fmt: skip
_UNIX = "/run/a{}b.sock"
READERS: Mapping[str, Callable[[str, Texts], Any]] = {"nginx": read_nginx, "apache": read_apache}


def _facts(which: str, tables: dict[str, Any], **more: Any) -> RenderFacts:
    """For an upstream, else for an app, in whichever way the engine runs it."""
    policy = Policy.model_validate(tables)
    found, upstream = engine(which), policy.site.upstream
    asked = policy.clients.mode != "off"
    inside = found.identity == "inside"
    basic = RenderFacts(
        policy=policy,
        profile=load_profile(policy.tls.profile),
        backend="upstream" if upstream else found.apps[0],
        chain="live/server/site/chain.pem",
        key="live/server/site/key.pem",
        certificate_folder="live/server/site",
        trust="live/clients/trust.pem" if asked else "",
        trust_folder="live/clients" if asked else "",
        system_trust="/etc/ssl/certs/ca-certificates.crt" if upstream.startswith("https") else "",
        workers=() if upstream or inside else (Worker("run/app-1.sock"),),
        proof="" if found.identity != "proof" else "p" * 64,
        app=AppFacts("a:b", "/srv/app", "/s/live/guard/p.json", "/srv/p.toml", "/usr/bin/python3")
        if inside
        else None,
        version=_version(which),
    )
    return replace(basic, **more)


@cache
def _program(which: str) -> Program:
    return engine(which).program(os.environ, True)


def _version(which: str) -> str:
    return _program(which).version


def rendered(which: str, facts: RenderFacts) -> Mapping[str, bytes] | None:
    """The engine's files; None where it refuses, as it may: before it is started, so `check` says it."""
    try:
        enforced(engine(which), facts.policy)
    except SealgateError:
        return None
    return engine(which).render(facts)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (key, *_strings(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
    elif isinstance(value, str):
        yield value


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items()}
    return [_shape(inner) for inner in value] if isinstance(value, list) else type(value).__name__


def _tree(directive: Directive) -> Any:
    return directive.name, len(directive.args), [_tree(one) for one in directive.inside]


def read_back(which: str, files: Mapping[str, bytes]) -> tuple[list[Any], set[str]]:
    """The structure of all files, and every word in them."""
    shapes: list[Any] = []
    words: set[str] = set()
    for name, content in sorted(files.items()):
        text = content.decode()
        if name.endswith(".json"):
            shapes.append(_shape(json.loads(text)))
            words |= set(_strings(json.loads(text)))
        elif name.endswith(".conf") and which in READERS:
            configuration = READERS[which]("/m", Texts({"/m": text}))
            missing = [one for one in configuration.unread if "cannot be read" not in one.why]
            assert missing == [], missing
            shapes.append(_tree(configuration.root))
            words |= {arg for one in configuration.root.walk() for arg in one.args}
        else:
            shapes.append((name, text))
    return shapes, words


def _holds(words: set[str], value: str) -> bool:
    # A backslash in nginx's quotes is written twice; crossplane leaves both.
    doubled = value.replace("\\", "\\\\")
    return any(value in word or doubled in word for word in words)


@cache
def _structure(which: str, harmless: str) -> Any:
    """Of the files for a policy with nothing odd in it, as JSON."""
    files = rendered(which, _facts(which, json.loads(harmless)))
    return None if files is None else read_back(which, files)[0]


def _same(which: str, upstream: str) -> None:
    """Refused, or written so that it is read back as it is, in the same structure."""
    files = rendered(which, _facts(which, {"site": {"upstream": f"unix:{upstream}"}}))
    if files is None:
        return
    shape, words = read_back(which, files)
    assert shape == _structure(which, '{"site": {"upstream": "unix:/run/a.sock"}}')
    assert _holds(words, upstream)


def test_every_engine_with_files_of_its_own_syntax_has_a_second_reader() -> None:
    """Whoever adds an engine adds a reader, unless its files are JSON."""
    for which in engine_ids():
        files = rendered(which, _facts(which, {"site": {"names": ["a.test"]}}))
        assert files is not None, which
        foreign = [name for name in files if name.endswith(".conf") and which not in READERS]
        # OpenSSL's file names groups of a profile, and no value of anybody.
        assert [name for name in foreign if "openssl" not in name] == [], which


@pytest.mark.parametrize("which", engine_ids())
@pytest.mark.parametrize("piece", PIECES)
def test_an_upstreams_path(which: str, piece: str) -> None:
    _same(which, _UNIX.format(piece))


@pytest.mark.parametrize("which", engine_ids())
@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=25))
@example(text='";}\\" ${')
@settings(max_examples=50)
def test_any_upstreams_path(which: str, text: str) -> None:
    _same(which, f"/{text}")


@pytest.mark.parametrize("which", engine_ids())
@pytest.mark.parametrize("piece", [*PIECES, "\n", "\r", "\0", "\x7f", "\u2028"])
def test_where_files_lie(which: str, piece: str) -> None:
    """The state directory's own names are tame; no engine relies on it."""
    tables = '{"clients": {"mode": "required"}}'
    path = f"live/server/a{piece}b/x.pem"
    try:
        files = rendered(which, replace(_facts(which, json.loads(tables)), chain=path, key=path, trust=path))
    except SealgateError:
        return
    assert files is not None
    shape, words = read_back(which, files)
    assert shape == _structure(which, tables)
    assert all(_holds({word}, path) for word in words if "live/server/a" in word)


@pytest.mark.parametrize("which", [each for each in engine_ids() if engine(each).identity == "inside"])
@given(text=st.text(max_size=60))
@settings(max_examples=60)
def test_where_an_app_lies(which: str, text: str) -> None:
    plain = _facts(which, {})
    assert plain.app is not None
    hostile = replace(
        plain, app=replace(plain.app, folder=f"/{text}", policy=f"/{text}.toml", guard=f"/{text}.json")
    )
    files, harmless = rendered(which, hostile), rendered(which, plain)
    assert files is not None
    assert harmless is not None
    assert read_back(which, files)[0] == read_back(which, harmless)[0]


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_reaches_no_engine(name: str) -> None:
    with pytest.raises(ValidationError):
        Policy.model_validate({"site": {"names": [name]}})


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory with a certificate, readable by whomever a server becomes."""
    folder = tmp_path_factory.mktemp("state")
    authority = trustme.CA()
    leaf = authority.issue_cert("a.test")
    site, clients = folder / "live/server/site", folder / "live/clients"
    version = site / "versions/000001"
    for each in (version, clients, folder / "run/engine", folder / "engines"):
        each.mkdir(parents=True)
    leaf.private_key_pem.write_to_path(version / "key.pem")
    (version / "chain.pem").write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
    (site / "current").symlink_to("versions/000001")
    for name in ("chain.pem", "key.pem"):
        (site / name).symlink_to(f"current/{name}")
    authority.cert_pem.write_to_path(clients / "trust.pem")
    return folder


def _nginx_check(state: Path) -> list[str]:
    root = " user root;" if os.geteuid() == 0 else ""
    options = [
        "-p",
        ".",
        "-c",
        "engines/nginx/nginx.conf",
        "-e",
        "stderr",
        "-g",
        f"daemon off;{root}",
        "-t",
        "-q",
    ]
    return [str(_program("nginx").path), *options]


def _apache_check(state: Path) -> list[str]:
    from sealgate.engines.servers.apache.binary import build
    from sealgate.engines.servers.apache.render import MODULES, module_lines

    made = build(_program("apache").path)
    (state / "engines/apache" / MODULES).write_bytes(module_lines(made.folder, made.inside))
    return [str(_program("apache").path), "-d", str(state), "-f", "engines/apache/httpd.conf", "-t"]


CHECKS = {"nginx": _nginx_check, "apache": _apache_check}


def _taken(which: str, state: Path, facts: RenderFacts) -> None:
    """The server itself takes its files, or the engine has refused."""
    files = rendered(which, facts)
    if files is None:
        return
    for name, content in files.items():
        file = state / "engines" / which / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    done = subprocess.run(
        CHECKS[which](state), cwd=state, capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": os.defpath, "LANG": "C"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-600:]


@pytest.mark.parametrize("which", CHECKS)
@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("backend", ["app", "upstream"])
def test_servers_take_all_names(which: str, names: str, backend: str, state: Path) -> None:
    site: dict[str, Any] = {"names": NAMES[names]}
    if backend == "upstream":
        site["upstream"] = "http://127.0.0.1:9000"
    facts = _facts(which, {"site": site})
    assert rendered(which, facts) is not None
    _taken(which, state, facts)


def _all_good(which: str, folder: str) -> str:
    """A path with every piece that the engine does not refuse by itself."""
    good = [
        p for p in PIECES if rendered(which, _facts(which, {"site": {"upstream": f"unix:{_UNIX.format(p)}"}}))
    ]
    return f"{folder}/{''.join(good).replace('/', '')}"[:100]


@pytest.mark.parametrize("which", CHECKS)
def test_servers_take_what_was_escaped(which: str, state: Path) -> None:
    _taken(which, state, _facts(which, {"site": {"upstream": f"unix:{_all_good(which, '/run')}"}}))


@pytest.mark.parametrize("which", [each for each in engine_ids() if engine(each).identity != "inside"])
def test_requests_arrive_at_that_very_socket(which: str, state: Path) -> None:
    """Without the keeper, which would confine the engine: whom it becomes must reach the folders."""
    with tempfile.TemporaryDirectory(prefix="s") as name:
        Path(name).chmod(0o755)
        shutil.copytree(state / "live", Path(name) / "s/live", symlinks=True)
        for folder in (Path(name) / "s/run", Path(name) / "s/engines" / which):
            folder.mkdir(parents=True)
        for path in Path(name).rglob("*"):
            path.chmod(0o755)
        said = asyncio.run(asyncio.wait_for(_asked(which, Path(name) / "s", _all_good(which, name)), 60))
    assert said == b"HTTP/1.1 200 OK"


async def _asked(which: str, state: Path, path: str) -> bytes:
    """The first line of an answer from behind the engine."""
    backend = await asyncio.start_unix_server(_answer, path)
    Path(path).chmod(0o777)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    site = {"names": ["a.test"], "upstream": f"unix:{path}"}
    facts = _facts(which, {"site": site, "listen": {"https": [f"127.0.0.1:{port}"], "http": []}})
    driver = engine(which).drive(state, _program(which), lambda: None, uid=-1)
    try:
        await driver.start(facts)
        context = ssl.create_default_context(cafile=state / "live/clients/trust.pem")
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="a.test"
        )
        writer.write(f"GET / HTTP/1.1\r\nHost: a.test:{port}\r\nConnection: close\r\n\r\n".encode())
        said = await reader.read()
        writer.close()
        return said.partition(b"\r\n")[0]
    finally:
        await driver.stop()
        driver.remove()
        backend.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    await writer.drain()
    writer.close()
