"""What Envoy is given, compared with what was looked at: `SEALGATE_GOLDEN=write` writes the files anew."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from sealgate.engines.challenges import AlpnAnswer, Challenges
from sealgate.engines.facts import Backend, RenderFacts, Worker
from sealgate.engines.servers.envoy.binary import find
from sealgate.engines.servers.envoy.render import BOOTSTRAP, render, render_endpoints
from sealgate.errors import EngineRefused
from sealgate.policy.model import Policy
from sealgate.policy.profiles import load_profile

CHALLENGES = Challenges(
    http=(("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ", "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ.9jg46WB3rR_AHD-EBXdN7c"),),
    tls_alpn=(
        AlpnAnswer("localhost", "live/challenges/alpn/a/chain.pem", "live/challenges/alpn/a/key.pem"),
        AlpnAnswer(
            "1.2.0.192.in-addr.arpa", "live/challenges/alpn/b/chain.pem", "live/challenges/alpn/b/key.pem"
        ),
    ),
)
GOLDEN = Path(__file__).parents[3] / "golden" / "envoy"
PROOF = "a-proof-of-the-deployment_0123456789"
WORKERS = (Worker("run/app-1.sock"), Worker("run/app-2.sock", draining=True))

CASES: dict[str, tuple[Backend, dict[str, Any]]] = {
    "wsgi": ("wsgi", {}),
    "asgi": ("asgi", {"limits": {"body": "32MiB", "headers": "32KiB"}, "timeouts": {"idle": "90s"}}),
    "upstream-http": ("upstream", {"site": {"upstream": "http://backend.internal:9000"}}),
    "upstream-https": ("upstream", {"site": {"upstream": "https://backend.example.org:9443"}}),
    "upstream-unix": ("upstream", {"site": {"upstream": "unix:/run/app.sock"}}),
    "clients-required": ("wsgi", {"clients": {"mode": "required"}}),
    "http3-modern": ("asgi", {"listen": {"http3": True}, "tls": {"profile": "modern@6.0"}}),
    "two-keys": ("wsgi", {"certificate": {"second_key_type": "rsa-3072"}}),
    "refuse": ("wsgi", {"http": {"mode": "refuse"}}),
    "proxy-protocol": ("wsgi", {"listen": {"proxy_protocol": True, "http": []}}),
    "challenges": ("wsgi", {"clients": {"mode": "required"}, "http": {"mode": "refuse"}}),
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
        system_trust="/etc/ssl/certs/ca-certificates.crt" if name == "upstream-https" else "",
        workers=() if backend == "upstream" else WORKERS,
        proof=PROOF,
        challenges=CHALLENGES if name == "challenges" else Challenges(),
    )


@pytest.mark.parametrize("name", CASES)
def test_rendered_files_are_the_ones_that_were_looked_at(name: str) -> None:
    rendered, folder = render(facts(name)), GOLDEN / name
    if os.environ.get("SEALGATE_GOLDEN") == "write":
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for file, content in rendered.items():
            (folder / file).write_bytes(content)
    assert {path.name for path in folder.iterdir()} == rendered.keys()
    for file, content in rendered.items():
        assert json.loads(content) == json.loads((folder / file).read_bytes()), f"{name}/{file}"


@pytest.mark.parametrize("name", CASES)
def test_rendering_is_pure(name: str) -> None:
    assert render(facts(name)) == render(facts(name))
    assert render_endpoints(facts(name)).items() <= render(facts(name)).items()


@pytest.mark.parametrize("name", CASES)
def test_rendered_files_hold_no_key(name: str) -> None:
    for file, content in render(facts(name)).items():
        assert b"PRIVATE KEY" not in content
        assert b"inline_" not in content or file == "rds.json"  # answers to challenges are for everybody
        content.decode("ascii")


def test_another_certificate_in_the_same_file_is_another_chain() -> None:
    """Envoy reads a file anew only for a chain that is not the same."""
    asked = facts("challenges")
    one, other = (render(asked, {"localhost": seen})["lds.json"] for seen in ("first", "second"))
    assert one != other
    assert render(asked, {"localhost": "first"})["lds.json"] == one


@pytest.mark.parametrize(
    "wrong",
    [
        Challenges(http=(("short", "short.x"),)),
        Challenges(http=(("a" * 16, "b" * 16 + ".x"),)),
        Challenges(http=(("a" * 16 + "/..", "a" * 16 + "/...x"),)),
        Challenges(http=tuple((f"{n:016}", f"{n:016}.x") for n in range(101))),
        Challenges(tls_alpn=(AlpnAnswer("a b", "live/challenges/alpn/a/c", "live/challenges/alpn/a/k"),)),
        Challenges(tls_alpn=(AlpnAnswer("*.a.b", "live/challenges/alpn/a/c", "live/challenges/alpn/a/k"),)),
        Challenges(tls_alpn=(AlpnAnswer("a.b", "live/server/a/c", "live/challenges/alpn/a/k"),)),
        Challenges(tls_alpn=(AlpnAnswer("a.b", "live/challenges/alpn/../c", "live/challenges/alpn/a/k"),)),
    ],
)
def test_an_authoritys_words_are_judged_before_they_are_written(wrong: Challenges) -> None:
    with pytest.raises(EngineRefused, match="engine-refused"):
        render(replace(facts("wsgi"), challenges=wrong))


@given(st.lists(st.from_regex(r"run/app-[0-9a-f]{32}\.sock", fullmatch=True), max_size=20, unique=True))
def test_endpoints_name_each_worker_once(sockets: list[str]) -> None:
    several = replace(facts("asgi"), workers=tuple(Worker(path) for path in sockets))
    for content in render_endpoints(several).values():
        (assignment,) = json.loads(content)["resources"]
        hosts = [host for locality in assignment["endpoints"] for host in locality["lb_endpoints"]]
        assert [host["endpoint"]["address"]["pipe"]["path"] for host in hosts] == sockets


@pytest.mark.parametrize("name", CASES)
def test_envoy_takes_every_file(name: str, tmp_path: Path) -> None:
    """`--mode validate` does not look into files named by a bootstrap, so they are put inside of it."""
    folder = tmp_path / "engines" / "envoy"
    folder.mkdir(parents=True)
    rendered = {file: json.loads(content) for file, content in render(facts(name)).items()}
    for file, content in rendered.items():
        (folder / file).write_text(json.dumps(content))
    for one in facts(name).challenges.tls_alpn:
        pair = trustme.CA().issue_cert("localhost")
        (tmp_path / one.chain).parent.mkdir(parents=True)
        (tmp_path / one.chain).write_bytes(pair.cert_chain_pems[0].bytes())
        (tmp_path / one.key).write_bytes(pair.private_key_pem.bytes())
    bootstrap = rendered[BOOTSTRAP]
    del bootstrap["dynamic_resources"]
    bootstrap["layered_runtime"]["layers"] = bootstrap["layered_runtime"]["layers"][:1]
    bootstrap["static_resources"] = {
        kind: [
            {key: value for key, value in item.items() if key != "@type"}
            for item in rendered[file]["resources"]
        ]
        for kind, file in (("listeners", "lds.json"), ("clusters", "cds.json"))
    }
    (tmp_path / "static.json").write_text(json.dumps(bootstrap))
    binary, _ = find(os.environ)
    command = [str(binary), "--mode", "validate", "-c", "static.json", "--log-level", "error"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
