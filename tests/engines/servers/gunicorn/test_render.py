"""What Gunicorn is told, compared with what was looked at: `SEALGATE_GOLDEN=write` writes the files anew."""

from __future__ import annotations

import json
import os
import ssl
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import Config

from sealgate.engines.contract import Refusal
from sealgate.engines.facts import AppFacts, RenderFacts
from sealgate.engines.registry import engine
from sealgate.engines.servers.gunicorn import installation
from sealgate.engines.servers.gunicorn.orders import FILE, Orders
from sealgate.engines.servers.gunicorn.render import render
from sealgate.engines.tls_context import OPENSSL_FILE
from sealgate.errors import EngineMissing, EngineUntrusted
from sealgate.policy.model import Policy
from sealgate.policy.profiles import load_profile
from sealgate.runtime.inside.gunicorn.plan import Plan, settings

GOLDEN = Path(__file__).parents[3] / "golden" / "gunicorn"
HOSTILE = 'it\'s "quoted" ; { $HOME } \\ \n ünï/☃:app'

CASES: dict[str, dict[str, Any]] = {
    "usual": {},
    "two-keys": {"certificate": {"second_key_type": "rsa-3072"}},
    "clients-required": {"clients": {"mode": "required"}, "tls": {"profile": "modern@6.0"}},
    "lists": {
        "clients": {
            "mode": "optional",
            "authorities": [{"name": "partners", "file": "partners.pem", "crl": "partners.crl"}],
        }
    },
    "several": {
        "site": {"names": ["api.example.org", "localhost", "::1"], "workers": 4, "threads": 1},
        "listen": {"https": ["0.0.0.0:443", "[::1]:8443"], "http": []},
        "limits": {"body": "0", "headers": "2KiB", "connections": 7},
        "timeouts": {"handshake": "1500ms", "drain": "100ms"},
        "http": {"mode": "refuse"},
    },
    "hostile": {},
}
REFUSED: dict[str, dict[str, Any]] = {
    "upstream": {"site": {"upstream": "http://127.0.0.1:9000"}},
    "proxy-protocol": {"listen": {"proxy_protocol": True}},
    "http3": {"listen": {"http3": True}},
}


def facts(name: str) -> RenderFacts:
    policy = Policy.model_validate(CASES[name])
    app = HOSTILE if name == "hostile" else "orders:app"
    folder = f"/srv/{HOSTILE}" if name == "hostile" else "/srv"
    return RenderFacts(
        policy=policy,
        profile=load_profile(policy.tls.profile),
        backend="wsgi",
        chain="live/server/site/chain.pem",
        key="live/server/site/key.pem",
        second_chain="live/server/site/second-chain.pem" if policy.certificate.second_key_type else "",
        second_key="live/server/site/second-key.pem" if policy.certificate.second_key_type else "",
        certificate_folder="live/server/site",
        trust="live/clients/trust.pem",
        trust_folder="live/clients",
        lists="live/clients/lists.pem" if policy.client_lists else "",
        app=AppFacts(app, folder, "/state/live/guard/policy.json", "/srv/sealgate.toml", "/usr/bin/python3"),
    )


def compared(path: Path, content: bytes) -> None:
    if os.environ.get("SEALGATE_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert content == path.read_bytes(), path


@pytest.mark.parametrize("name", CASES)
def test_rendered_files_are_the_ones_that_were_looked_at(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Which groups there are depends on OpenSSL; here, on none in particular.
    monkeypatch.setattr("sealgate.engines.tls_context.openssl_groups", ":".join)
    rendered = render(facts(name))
    for file, content in rendered.items():
        compared(GOLDEN / name / file, content)
    assert {path.name for path in (GOLDEN / name).iterdir()} == rendered.keys()


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_the_ones_that_were_looked_at(name: str) -> None:
    rows = engine("gunicorn").capabilities(Policy.model_validate(REFUSED[name]))
    said = {row.key: [row.reason, row.way_out] for row in rows if isinstance(row, Refusal)}
    compared(GOLDEN / "refusals" / f"{name}.json", (json.dumps(said, indent=1) + "\n").encode())


@pytest.mark.parametrize("name", CASES)
def test_the_orders_say_what_was_meant(name: str) -> None:
    """Whatever stands in them: JSON has one way to write a text, and it is ASCII."""
    given, rendered = facts(name), render(facts(name))
    assert rendered[FILE].isascii()
    orders = Orders.from_json(rendered[FILE])
    assert given.app is not None
    assert (orders.app, orders.folder) == (given.app.app, given.app.folder)
    assert orders == Orders.of(given)
    assert b"PRIVATE KEY" not in rendered[FILE] + rendered[OPENSSL_FILE]


@pytest.mark.parametrize("name", CASES)
def test_gunicorn_takes_every_setting(name: str) -> None:
    config = Config()
    for key, value in settings(Plan(Orders.of(facts(name)))).items():
        config.set(key, value)
    assert config.is_ssl
    assert config.forwarded_allow_ips == []
    assert config.forwarder_headers == []
    assert config.header_map == "refuse"


def test_what_openssl_here_cannot_do_is_said() -> None:
    rows = engine("gunicorn").capabilities(Policy())
    (groups,) = [row for row in rows if not isinstance(row, Refusal) and "key exchange" in row.promise]
    hybrid = ssl.OPENSSL_VERSION_INFO[:2] >= (3, 5)
    assert ("X25519MLKEM768" in groups.promise) is hybrid
    assert ("X25519MLKEM768 only from OpenSSL 3.5 on" in groups.how) is not hybrid


def test_the_gunicorn_there_is() -> None:
    found = installation.program({}, False)
    assert found.version.startswith(installation.TESTED[-1] + ".")
    assert not found.pinned


def test_no_gunicorn(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(EngineMissing, match="pip install") as caught:
        installation.program({}, False)
    assert caught.value.code == "engine-missing"


def test_another_gunicorn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: "99.1.2")
    with pytest.raises(EngineUntrusted, match=r"Gunicorn 99\.1\.2 is installed") as caught:
        installation.program({}, False)
    assert caught.value.code == "engine-untested"
    assert installation.program({}, True).version == "99.1.2"
