"""What nginx is given, compared with what was looked at: `SEALGATE_GOLDEN=write` writes the files anew."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from sealgate.engines.contract import Refusal, enforced
from sealgate.engines.facts import Backend, RenderFacts, Worker
from sealgate.engines.servers.nginx import ENGINE
from sealgate.engines.servers.nginx.binary import built, find
from sealgate.engines.servers.nginx.capabilities import capabilities
from sealgate.engines.servers.nginx.render import CONFIGURATION, build_of, generation, processes, render
from sealgate.engines.servers.nginx.spoofing import KNOWN
from sealgate.engines.servers.nginx.words import Build, longer, pattern, quoted, time
from sealgate.errors import EngineRefused, PolicyError
from sealgate.guard.headers import is_spoofable
from sealgate.policy.model import Policy
from sealgate.policy.profiles import load_profile
from tests.live.programs import mainline_nginx

GOLDEN = Path(__file__).parents[3] / "golden" / "nginx"
WORKERS = (Worker("run/app-1.sock"), Worker("run/app-2.sock", draining=True))
PROOF = "p" * 43

CASES: dict[str, tuple[Backend, dict[str, Any], str]] = {
    "wsgi": ("wsgi", {}, "1.22.1"),
    "asgi": (
        "asgi",
        {
            "site": {"workers": 3},
            "limits": {"body": "32MiB", "headers": "32KiB"},
            "timeouts": {"idle": "90s"},
        },
        "1.22.1",
    ),
    "mainline": ("asgi", {"clients": {"mode": "optional"}}, "1.31.3"),
    "mainline-sessions": ("wsgi", {}, "1.27.3"),
    "mainline-two-keys": ("wsgi", {"certificate": {"second_key_type": "rsa-3072"}}, "1.31.3"),
    "two-keys": ("wsgi", {"certificate": {"second_key_type": "rsa-3072"}}, "1.22.1"),
    "upstream-http": ("upstream", {"site": {"upstream": "http://backend.internal:9000"}}, "1.22.1"),
    "upstream-https": ("upstream", {"site": {"upstream": "https://localhost:9443"}}, "1.22.1"),
    "upstream-unix": (
        "upstream",
        {"site": {"upstream": 'unix:/run/my "app"; {x}\\y.sock'}, "limits": {"body": "0"}},
        "1.22.1",
    ),
    "clients-required": ("wsgi", {"clients": {"mode": "required"}}, "1.22.1"),
    "clients-lists": ("wsgi", {"clients": {"mode": "optional"}}, "1.22.1"),
    "modern": ("asgi", {"tls": {"profile": "modern@6.0"}, "limits": {"connections": 100}}, "1.22.1"),
    "refuse": ("wsgi", {"http": {"mode": "refuse"}}, "1.22.1"),
    "proxy-protocol": ("wsgi", {"listen": {"proxy_protocol": True, "http": []}}, "1.22.1"),
    "addresses": (
        "wsgi",
        {
            "network": {
                "allow": ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"],
                "deny": ["10.66.0.0/16", "2001:db8:bad::/48"],
            }
        },
        "1.22.1",
    ),
    "addresses-proxied": (
        "upstream",
        {
            "site": {"upstream": "http://127.0.0.1:9000"},
            "listen": {"proxy_protocol": True},
            "http": {"mode": "refuse"},
            "network": {"deny": ["192.0.2.0/24", "::/0"]},
        },
        "1.22.1",
    ),
    "mixed-names": (
        "upstream",
        {
            "site": {
                "names": [
                    "localhost",
                    "*.app.localhost",
                    "api.example.org",
                    "*.example.org",
                    "::1",
                    "192.0.2.1",
                ],
                "url": "https://api.example.org",
                "upstream": "http://127.0.0.1:9000",
            },
            "listen": {"https": ["127.0.0.1:8443", "[::1]:8443"]},
            "http": {"hsts": {"max_age": 31536000, "include_subdomains": True, "preload": True}},
        },
        "1.22.1",
    ),
}
CHECKED = [name for name in CASES if name != "upstream-http"]  # nginx would look up that name
INSTALLED = [name for name in CHECKED if CASES[name][2] == "1.22.1"]

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "http3": ({"listen": {"http3": True}}, "listen.http3"),
    "upstream-address": ({"site": {"upstream": "https://192.0.2.1"}}, "site.upstream"),
    "upstream-dollar": ({"site": {"upstream": "unix:/run/$app.sock"}}, "site.upstream"),
    "few-connections": ({"limits": {"connections": 15}}, "limits.connections"),
    "fine-timers": ({"timeouts": {"idle": "10.5ms"}}, "timeouts.idle"),
}


def facts(name: str) -> RenderFacts:
    backend, tables, version = CASES[name]
    policy = Policy.model_validate(tables)
    return RenderFacts(
        policy=policy,
        profile=load_profile(policy.tls.profile),
        backend=backend,
        chain="live/server/site/chain.pem",
        key="live/server/site/key.pem",
        second_chain="live/server/site/second-chain.pem" if policy.certificate.second_key_type else "",
        second_key="live/server/site/second-key.pem" if policy.certificate.second_key_type else "",
        certificate_folder="live/server/site",
        trust="live/clients/trust.pem",
        trust_folder="live/clients",
        lists="live/clients/lists.pem" if name == "clients-lists" else "",
        system_trust="/etc/ssl/certs/ca-certificates.crt" if name == "upstream-https" else "",
        workers=() if backend == "upstream" else WORKERS,
        proof=PROOF,
        version=version,
    )


def text(given_facts: RenderFacts, build: Build | None = None) -> str:
    return render(given_facts, build)[CONFIGURATION].decode("ascii")


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
        assert content == (folder / file).read_bytes(), f"{name}/{file}"


def test_no_case_is_forgotten() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {*CASES, "refused.txt"}


def test_refusals_are_the_ones_that_were_looked_at() -> None:
    lines = []
    for name, (tables, key) in REFUSED.items():
        policy = Policy.model_validate(tables)
        (row,) = [row for row in capabilities(policy) if isinstance(row, Refusal)]
        assert row.key == key
        with pytest.raises(PolicyError):
            enforced(ENGINE, policy)
        lines.append(f"{name}: {row.key}: {row.reason}; use {row.way_out}\n")
    golden = GOLDEN / "refused.txt"
    if os.environ.get("SEALGATE_GOLDEN") == "write":
        golden.write_text("".join(lines))
    assert golden.read_text() == "".join(lines)


@pytest.mark.parametrize("name", CASES)
def test_rendering_is_pure_and_holds_no_key(name: str) -> None:
    assert render(facts(name)) == render(facts(name))
    assert "PRIVATE KEY" not in text(facts(name))
    assert (PROOF in text(facts(name))) is facts(name).guarded


def empty_list(authority: trustme.CA) -> bytes:
    """A revocation list of the authority with nobody on it."""
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject)
    built = builder.last_update(now).next_update(now + timedelta(days=1)).sign(key, hashes.SHA256())
    return built.public_bytes(serialization.Encoding.PEM)


def nginx_says(folder: Path, files: dict[str, bytes], program: Path | None = None) -> str:
    """Nginx's own check in a state directory like the real one; empty: it takes them, without a warning."""
    for name in ("engines/nginx", "run/engine", "live/clients"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    (folder / "live/clients/trust.pem").write_bytes(authority.cert_pem.bytes())
    (folder / "live/clients/lists.pem").write_bytes(empty_list(authority))
    for name, content in files.items():
        (folder / "engines/nginx" / name).write_bytes(content)
    user = " user root;" if os.geteuid() == 0 else ""
    command = [
        str(program or find(os.environ)),
        "-p",
        ".",
        "-c",
        f"engines/nginx/{CONFIGURATION}",
        "-e",
        "stderr",
        "-t",
    ]
    done = subprocess.run(
        [*command, "-g", f"daemon off;{user}"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = [
        line for line in done.stderr.splitlines() if not line.endswith(("syntax is ok", "is successful"))
    ]
    assert bool(lines) or done.returncode == 0
    return "\n".join(lines)


@pytest.mark.parametrize("name", INSTALLED)
def test_nginx_takes_every_file(name: str, tmp_path: Path) -> None:
    assert nginx_says(tmp_path, render(facts(name))) == ""


@pytest.mark.parametrize("name", CHECKED)
def test_todays_nginx_takes_every_file_too(name: str, tmp_path: Path) -> None:
    program = mainline_nginx()
    build = built(program)
    assert build.version[:2] == tuple(map(int, ENGINE.versions[-1].split(".")))
    given = replace(facts(name), version=".".join(map(str, build.version)))
    assert nginx_says(tmp_path, render(given, build), program) == ""


def test_what_was_written_for_an_older_one_is_warned_about(tmp_path: Path) -> None:
    """So that the test above would see it."""
    assert "deprecated" in nginx_says(tmp_path, render(facts("wsgi")), mainline_nginx())


def test_nginx_would_say_what_it_does_not_take(tmp_path: Path) -> None:
    files = render(facts("wsgi"))
    broken = files[CONFIGURATION].replace(b"server_tokens off;", b"server_token off;")
    assert "server_token" in nginx_says(tmp_path, {**files, CONFIGURATION: broken})


def test_a_thousand_long_names(tmp_path: Path) -> None:
    label = "a" * 60
    names = [f"{'*.' if n % 2 else ''}n{n}.{label}.{label}.{label}.example.org" for n in range(1000)]
    policy = Policy.model_validate({"site": {"names": names, "upstream": "http://127.0.0.1:9000"}})
    many = replace(facts("wsgi"), policy=policy, backend="upstream")
    assert nginx_says(tmp_path, render(many)) == ""


@pytest.mark.parametrize(
    ("version", "there", "absent"),
    [
        (
            "1.22.1",
            ("ssl http2", "ssl_session_tickets off"),
            ("http2 on", "keepalive_min", "certificate_cache", "inheritable"),
        ),
        ("1.23.2", ("ssl http2", "ssl_session_tickets on"), ("http2 on",)),
        ("1.25.1", ("http2 on", "ssl_session_tickets on"), ("ssl http2", "keepalive_min")),
        (
            "1.27.4",
            ("keepalive_min_timeout 5000ms", "ssl_certificate_cache", "ssl_object_cache_inheritable off;"),
            ("ssl http2",),
        ),
        ("", ("ssl http2",), ("http2 on",)),
    ],
)
def test_differences_between_versions(version: str, there: tuple[str, ...], absent: tuple[str, ...]) -> None:
    rendered = text(replace(facts("wsgi"), version=version))
    assert all(word in rendered for word in there)
    assert not any(word in rendered for word in absent)


def test_a_post_quantum_group_only_where_openssl_has_it() -> None:
    old, new = Build(openssl=(3, 4, 9)), Build(openssl=(3, 5, 0))
    assert "ssl_ecdh_curve X25519:P-256:P-384;" in text(facts("wsgi"), old)
    assert "ssl_ecdh_curve X25519MLKEM768:X25519:P-256:P-384;" in text(facts("wsgi"), new)


def test_modules_that_a_build_lacks_are_not_spoken_of() -> None:
    small = text(facts("wsgi"), Build(without=frozenset({"http_fastcgi_module", "http_scgi_module"})))
    assert "fastcgi_temp_path" not in small
    assert "scgi_temp_path run" not in small.replace("uwsgi_temp_path", "")
    assert "fastcgi_temp_path" in text(facts("wsgi"))


@pytest.mark.parametrize("name", ["clients-required", "clients-lists", "mainline"])
def test_no_session_of_a_client_with_a_certificate_is_resumed(name: str) -> None:
    rendered = text(facts(name))
    assert "ssl_session_cache off;" in rendered
    assert "ssl_session_tickets off;" in rendered


@pytest.mark.parametrize("name", CASES)
def test_hsts_stands_wherever_fields_are_added(name: str) -> None:
    """A location with any `add_header` of its own takes none over from the server."""
    secure = text(facts(name)).partition("\n    server {")[2].partition("\n    server {")[0]
    locations = re.findall(r"location [^{]*\{.*?\n        \}", secure, re.DOTALL)
    assert locations
    for location in locations:
        assert ("add_header" in location) == ("Strict-Transport-Security $sealgate_hsts always" in location)


def test_every_name_kept_from_backends_is_one_that_the_guard_takes_out_too() -> None:
    assert [name for name in KNOWN if not is_spoofable(name) and name not in {"via", "proxy"}] == []
    assert len(set(KNOWN)) == len(KNOWN) > 150


@pytest.mark.parametrize(
    ("connections", "cores", "wanted"), [(16, 4, 1), (1024, 4, 2), (10000, 4, 4), (10_000_000, 1, 1)]
)
def test_few_connections_are_not_shared_among_many_processes(
    connections: int, cores: int, wanted: int
) -> None:
    policy = Policy.model_validate({"limits": {"connections": connections}})
    assert processes(replace(facts("wsgi"), policy=policy, concurrency=cores)) == wanted


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_numbers_are_compared_by_their_digits(limit: int, number: int) -> None:
    assert bool(re.fullmatch(longer(limit), str(number))) is (number > limit)


def read_back(word: str) -> str:
    """As ngx_conf_read_token does."""
    assert word[0] == word[-1] == '"'
    return re.sub(r'\\(["\'\\])', r"\1", word[1:-1])


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="$")))
def test_words_are_read_back_as_they_were(value: str) -> None:
    word = quoted(value)
    assert read_back(word) == value
    assert re.fullmatch(r'"(?:[^"\\]|\\.)*"', word)  # nothing of it is outside of the quotes


@pytest.mark.parametrize("value", ["a\nb", "a\0b", "a\x7fb", "${x}", "a$b"])
def test_what_cannot_be_escaped_is_refused(value: str) -> None:
    with pytest.raises(EngineRefused, match="cannot say"):
        quoted(value)


def test_variables_where_they_are_meant() -> None:
    assert quoted("$a/b", variables=True) == '"$a/b"'
    with pytest.raises(ValueError, match="control"):
        pattern("a\nb")


@pytest.mark.parametrize(
    ("seconds", "word"), [(0.01, "10ms"), (1.0005, "1000ms"), (0.0001, "1ms"), (60, "60000ms")]
)
def test_times_are_never_longer_than_meant(seconds: float, word: str) -> None:
    assert time(seconds) == word


def test_what_a_version_says_of_a_build() -> None:
    assert build_of(replace(facts("wsgi"), version="1.29.3")).version == (1, 29, 3)
    assert build_of(replace(facts("wsgi"), version="odd")) == Build()


def test_each_load_has_a_flag_of_its_own() -> None:
    assert b"run/engine/closing-7;" in generation(7)
