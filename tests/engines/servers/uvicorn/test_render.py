"""What uvicorn's workers are told, as it was looked at: `SEALGATE_GOLDEN=write` writes the files anew."""

from __future__ import annotations

import json
import os
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.engines.contract import Refusal, enforced
from sealgate.engines.facts import AppFacts, RenderFacts
from sealgate.engines.registry import engine
from sealgate.engines.servers.uvicorn.render import render
from sealgate.engines.servers.uvicorn.settings import SITE, Settings
from sealgate.engines.tls_context import OPENSSL_FILE
from sealgate.errors import PolicyError
from sealgate.policy.model import Policy
from sealgate.policy.profiles import load_profile

GOLDEN = Path(__file__).parents[3] / "golden" / "uvicorn"

CASES: dict[str, dict[str, Any]] = {
    "usual": {},
    "two-keys": {"certificate": {"second_key_type": "rsa-3072"}},
    "refuse": {"http": {"mode": "refuse"}, "listen": {"http": []}},
    "clients-required": {"clients": {"mode": "required"}, "site": {"workers": 4}},
    "modern": {"tls": {"profile": "modern@6.0"}, "limits": {"body": "0", "headers": "32KiB"}},
    "addresses": {
        "network": {
            "allow": ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"],
            "deny": ["10.66.0.0/16", "2001:db8:bad::/48"],
        }
    },
    "mixed-names": {
        "site": {
            "names": ["localhost", "api.example.org", "*.example.org", "::1", "192.0.2.1"],
            "url": "https://api.example.org",
        },
        "http": {"hsts": {"max_age": 31536000, "include_subdomains": True, "preload": True}},
        "timeouts": {"idle": "90s", "headers": "1500ms"},
    },
}
REFUSED: dict[str, dict[str, Any]] = {
    "site.upstream": {"site": {"upstream": "http://127.0.0.1:9000"}},
    "listen.proxy_protocol": {"listen": {"proxy_protocol": True}},
    "listen.http3": {"listen": {"http3": True}},
}


def facts(tables: dict[str, Any]) -> RenderFacts:
    policy = Policy.model_validate(tables)
    return RenderFacts(
        policy=policy,
        profile=load_profile(policy.tls.profile),
        backend="asgi",
        chain="live/server/site/chain.pem",
        key="live/server/site/key.pem",
        second_chain="live/server/site/second-chain.pem" if policy.certificate.second_key_type else "",
        second_key="live/server/site/second-key.pem" if policy.certificate.second_key_type else "",
        certificate_folder="live/server/site",
        trust="live/clients/trust.pem",
        trust_folder="live/clients",
        app=AppFacts("orders:app", "/srv/orders", "/s/live/guard/policy.json", "/srv/s.toml", "/p/python"),
    )


@pytest.mark.parametrize("name", CASES)
def test_rendered_files_are_the_ones_that_were_looked_at(name: str) -> None:
    rendered, folder = render(facts(CASES[name])), GOLDEN / name
    if os.environ.get("SEALGATE_GOLDEN") == "write":
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for file, content in rendered.items():
            (folder / file).write_bytes(content)
    assert {path.name for path in folder.iterdir()} == rendered.keys()
    assert json.loads(rendered[SITE]) == json.loads((folder / SITE).read_bytes())
    if ssl.OPENSSL_VERSION_INFO < (3, 5):  # later ones know one group more
        assert rendered[OPENSSL_FILE] == (folder / OPENSSL_FILE).read_bytes()


@pytest.mark.parametrize("key", REFUSED)
def test_what_uvicorn_cannot_enforce_is_refused_with_the_way_out(key: str) -> None:
    policy = Policy.model_validate(REFUSED[key])
    with pytest.raises(PolicyError) as caught:
        enforced(engine("uvicorn"), policy)
    assert caught.value.code == "engine-cannot"
    assert [problem.key for problem in caught.value.problems] == [key]
    (refusal,) = [row for row in engine("uvicorn").capabilities(policy) if isinstance(row, Refusal)]
    assert 'site.engine = "envoy"' in refusal.way_out


@pytest.mark.parametrize("name", CASES)
def test_one_promise_one_enforcer(name: str) -> None:
    promises = [row.promise for row in enforced(engine("uvicorn"), Policy.model_validate(CASES[name]))]
    assert len(promises) == len(set(promises))


@given(st.text(min_size=1), st.text())
def test_whatever_the_app_and_its_folder_are_called_arrives(app: str, folder: str) -> None:
    whole = facts({})
    assert whole.app is not None
    named = replace(whole, app=replace(whole.app, app=app, folder=folder))
    settings = Settings.from_json(render(named)[SITE])
    assert settings == Settings.of(named)
    assert (settings.app, settings.folder) == (app, folder)
