"""`sealgate init --from nginx`, called as users call it: on a server's files, of which nothing is changed."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.cli.calls import sealgate

CONFIGURATION = """\
events {}
http {
    include sites/*;
}
"""
SITE = """\
server {
    listen 80;
    server_name api.test;
    return 301 https://$host$request_uri;
}
server {
    listen 443 ssl;
    server_name api.test;
    ssl_certificate chain.pem;
    ssl_certificate_key key.pem;
    ssl_protocols TLSv1.3;
    ssl_verify_client on;
    ssl_client_certificate clients.pem;
    auth_basic no;
    location / { proxy_pass http://127.0.0.1:9000; }
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """nginx's files in `etc`, its certificate with them; they are as they were at the end."""
    etc = tmp_path / "etc"
    (etc / "sites").mkdir(parents=True)
    (etc / "nginx.conf").write_text(CONFIGURATION)
    (etc / "sites/api").write_text(SITE)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(etc / "clients.pem")
    certificate(etc, authority, trustme.KeyType.ECDSA)
    before = {path: path.read_bytes() for path in etc.rglob("*") if path.is_file()}
    yield tmp_path
    assert {path: path.read_bytes() for path in etc.rglob("*") if path.is_file()} == before


def certificate(etc: Path, authority: trustme.CA, kind: trustme.KeyType) -> None:
    leaf = authority.issue_cert("api.test", key_type=kind)
    (etc / "key.pem").write_bytes(b"")
    (etc / "key.pem").chmod(0o600)
    leaf.private_key_pem.write_to_path(etc / "key.pem", append=True)
    (etc / "chain.pem").write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))


def propose(folder: Path, *more: str, **variables: str) -> dict[str, object]:
    result = sealgate(
        "init", "--from", "nginx", "--server-config", "etc/nginx.conf", *more, cwd=folder, **variables
    )
    assert result.status == 0, result.err
    return tomllib.loads((folder / "sealgate.toml").read_text())


def test_the_proposal_is_sound(folder: Path) -> None:
    found = propose(folder, "--engine", "envoy")
    assert found["site"] == {"names": ["api.test"], "upstream": "http://127.0.0.1:9000", "engine": "envoy"}
    assert found["listen"] == {"https": ["0.0.0.0:443"], "http": ["0.0.0.0:80"]}
    assert found["tls"] == {"profile": "modern@6.0"}
    result = sealgate("check", cwd=folder)
    assert (result.status, result.err) == (0, "")
    assert "sealgate.toml is sound: http://127.0.0.1:9000 at https://api.test" in result.out


def test_what_was_left_is_said_and_stands_in_the_file(folder: Path) -> None:
    result = sealgate("init", "--from", "nginx", "--server-config", "etc/nginx.conf", cwd=folder)
    place = f"{folder}/etc/sites/api:14"
    assert f"{place}: auth_basic no: passwords are not checked" in result.err
    text = " ".join((folder / "sealgate.toml").read_text().replace("#:", "").split())
    for shown in (" ".join(result.err.split()), text):
        assert "WOULD BECOME OPEN TO EVERYBODY" in shown
        assert f"- {place}: the whole site asks for a password (auth_basic)" in shown
        assert (
            f"SHORTER, or smaller, than there: - {folder}/etc/sites/api:6: proxy_read_timeout 60s"
            " (the default)" in shown
        )
    assert f"- {place}: auth_basic" in text
    assert f"(From {folder}/etc/sites/api:8.)" in text


def test_the_engine_is_the_server_that_people_have_where_it_can(folder: Path) -> None:
    found = propose(folder)
    engine = found["site"].get("engine", "envoy")  # type: ignore[attr-defined]
    text = (folder / "sealgate.toml").read_text()
    assert engine == "nginx" or "nginx is not proposed" in text
    assert sealgate("check", cwd=folder).status == 0


def test_an_installed_server_that_would_refuse_it_is_not_planned_for(folder: Path) -> None:
    result = sealgate(
        "init",
        "--from",
        "nginx",
        "--server-config",
        "etc/nginx.conf",
        "--force",
        "--engine",
        "nginx",
        cwd=folder,
    )
    assert "`sealgate apply` would refuse this policy: clients.mode" in result.err
    assert "sealgate serve" in result.err
    assert "sealgate plan" not in result.err


def test_a_server_that_runs_is_planned_for_not_replaced(folder: Path) -> None:
    other = SITE.replace("    ssl_verify_client on;\n", "").replace(
        "    ssl_client_certificate clients.pem;\n", ""
    )
    plain = folder / "plain.conf"
    plain.write_text(
        f"events {{}}\nhttp {{\n{other}}}\n".replace(" chain", " etc/chain").replace(" key.", " etc/key.")
    )
    arguments = ("init", "--from", "nginx", "--server-config", "plain.conf", "--force")
    result = sealgate(*arguments, "--engine", "nginx", cwd=folder)
    assert f"sealgate plan --server-config {plain}" in result.err
    assert f"sealgate apply --server-config {plain}" in result.err
    assert "sealgate serve" not in result.err
    assert "sealgate serve" in sealgate(*arguments, "--engine", "envoy", cwd=folder).err


def test_a_profile_that_the_certificate_does_not_fit(folder: Path) -> None:
    """Put back at the end: the fixture looks whether anything changed."""
    etc = folder / "etc"
    before = {name: (etc / name).read_bytes() for name in ("chain.pem", "key.pem")}
    certificate(etc, trustme.CA(), trustme.KeyType.RSA)
    try:
        found = propose(folder, "--engine", "envoy")
        assert found["tls"] == {"profile": "intermediate@6.0"}
        text = " ".join((folder / "sealgate.toml").read_text().replace("#:", "").split())
        assert "does not allow the certificate's key" in text
        assert sealgate("check", cwd=folder).status == 0
    finally:
        for name, content in before.items():
            (etc / name).write_bytes(content)


def test_a_certificate_that_check_refuses_is_named_by_init(folder: Path) -> None:
    """nginx serves an authority's own certificate, and one for other names; put back at the end."""
    etc = folder / "etc"
    before = {name: (etc / name).read_bytes() for name in ("chain.pem", "key.pem", "clients.pem")}
    authority = trustme.CA()
    authority.cert_pem.write_to_path(etc / "chain.pem")
    authority.private_key_pem.write_to_path(etc / "key.pem")
    (etc / "clients.pem").write_bytes(before["chain.pem"])
    try:
        call = ("init", "--from", "nginx", "--server-config", "etc/nginx.conf", "--engine", "envoy")
        result = sealgate(*call, cwd=folder)
        text = (folder / "sealgate.toml").read_text().replace("#:", "")
        for shown in (" ".join(said.split()) for said in (result.err, text)):
            assert "REFUSED by `sealgate check` and `serve` until it is mended" in shown
            assert f"- {folder}/etc/sites/api:9: certificate-is-authority: " in shown
            assert f"- {folder}/etc/sites/api:13: trust-not-authority: " in shown
        told = json.loads(sealgate(*call, "--json", "--force", cwd=folder).out)["refused"]
        checked = json.loads(sealgate("check", "--json", cwd=folder).out)["broken"]
        assert [{**each, "place": ""} for each in told] == [{**each, "place": ""} for each in checked]
        assert len(checked) == 2
    finally:
        for name, content in before.items():
            (etc / name).write_bytes(content)


def test_a_certificate_that_is_not_there_is_named_by_init(folder: Path) -> None:
    site = folder / "etc/sites/api"
    before = site.read_text()
    site.write_text(before.replace("ssl_certificate chain.pem", "ssl_certificate gone.pem"))
    try:
        result = sealgate("init", "--from", "nginx", "--server-config", "etc/nginx.conf", cwd=folder)
        assert result.status == 0
        assert "REFUSED by" in result.err
        assert f"{folder}/etc/gone.pem" in " ".join(result.err.split())
    finally:
        site.write_text(before)


def test_flags_win_and_print_writes_nothing(folder: Path) -> None:
    result = sealgate(
        "init", "--from", "nginx", "--server-config", "etc/nginx.conf", "--http", "off", "--print", cwd=folder
    )
    assert tomllib.loads(result.out)["listen"]["http"] == []
    assert not (folder / "sealgate.toml").exists()


def test_json(folder: Path) -> None:
    result = sealgate("init", "--from", "nginx", "--server-config", "etc/nginx.conf", "--json", cwd=folder)
    found = json.loads(result.out)
    assert found["from"] == f"{folder}/etc/nginx.conf"
    assert found["carried"]["site.names"] == f"{folder}/etc/sites/api:8"
    assert [each["directive"] for each in found["left"]] == ["auth_basic no"]
    assert [each["place"] for each in found["opened"]] == [f"{folder}/etc/sites/api:14"]
    assert len(found["shorter"]) == 2
    assert found["refused"] == []


def test_json_says_too_that_apply_would_refuse(folder: Path) -> None:
    call = ("init", "--from", "nginx", "--server-config", "etc/nginx.conf", "--json", "--force")
    (refused,) = json.loads(sealgate(*call, "--engine", "nginx", cwd=folder).out)["apply_refuses"]
    assert refused["key"] == "clients.mode"
    assert "revoked certificate could not be refused" in refused["fact"]
    assert "sealgate serve" in refused["remedy"]
    (refused,) = json.loads(sealgate(*call, "--engine", "envoy", cwd=folder).out)["apply_refuses"]
    assert refused["key"] == "site.engine"


def test_json_says_that_apply_would_not_refuse(folder: Path) -> None:
    (folder / "open.conf").write_text(
        "events {}\nhttp { server { listen 80; server_name a.test;\n"
        "location / { proxy_pass http://127.0.0.1:9000; } } }\n"
    )
    call = (
        "init",
        "--from",
        "nginx",
        "--server-config",
        "open.conf",
        "--json",
        "--force",
        "--engine",
        "nginx",
    )
    assert json.loads(sealgate(*call, cwd=folder).out)["apply_refuses"] == []


def test_an_nginx_that_is_installed_is_asked_itself(folder: Path) -> None:
    """What `nginx -T` prints counts, warnings before it are passed over."""
    programs = folder / "bin"
    programs.mkdir()
    dump = "# configuration file /etc/nginx/nginx.conf:\nhttp { server { server_name t.test; } }\n"
    (programs / "nginx").write_text(f"#!/bin/sh\necho 'nginx: [warn] x' >&2\ncat <<'END'\n{dump}END\n")
    (programs / "nginx").chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    result = sealgate("init", "--from", "nginx", "--print", cwd=folder, PATH=path)
    assert tomllib.loads(result.out)["site"]["names"] == ["t.test"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--from", "nginx", "--server-config", "gone.conf"), "server-config-unreadable"),
        (("--from", "nginx", "--server-config", "etc"), "server-config-unreadable"),
        (("--from", "nginx", "--server-config", "etc/sites/api"), "server-config-no-site"),
        (
            ("--from", "nginx", "--server-config", "etc/nginx.conf", "--name", "b.test"),
            "server-config-no-site",
        ),
        (("--from", "lighttpd"), "usage-wrong"),
        (("--server-config", "etc/nginx.conf"), "usage-wrong"),
    ],
)
def test_what_cannot_be_read(folder: Path, arguments: tuple[str, ...], code: str) -> None:
    result = sealgate("init", *arguments, cwd=folder)
    assert result.status == 2
    assert code in result.err
    assert not (folder / "sealgate.toml").exists()


def test_traps_are_named_with_file_and_line(folder: Path) -> None:
    (folder / "sealgate.toml").write_text("")
    (folder / "sealgate.toml").chmod(0o644)
    result = sealgate("check", "--server-config", "etc/nginx.conf", cwd=folder)
    assert result.status == 1
    assert f"{folder}/etc/sites/api:12" in result.out
    assert "nginx-crl-missing" in result.out
    found = json.loads(sealgate("check", "--json", "--server-config", "etc/nginx.conf", cwd=folder).out)
    seen = [(trap["id"], trap["file"], trap["line"]) for trap in found["traps"]]
    file = f"{folder}/etc/sites/api"
    assert seen == [("nginx-crl-missing", file, 12), ("nginx-session-tickets", file, 12)]


def test_no_traps(folder: Path) -> None:
    (folder / "sealgate.toml").write_text("")
    (folder / "sealgate.toml").chmod(0o644)
    (folder / "g.conf.py").write_text("bind = 'unix:x'\n")
    result = sealgate("check", "--server-config", "g.conf.py", cwd=folder)
    assert result.status == 0
    assert "No traps" in result.out
    wrong = sealgate("check", "--engine", "nginx", cwd=folder)
    assert "SEALGATE_SITE__ENGINE=nginx sealgate check" in wrong.err


def test_traps_need_no_policy(folder: Path) -> None:
    result = sealgate("check", "--server-config", "etc/nginx.conf", cwd=folder)
    assert (result.status, result.err) == (1, "")
    assert "nginx-crl-missing" in result.out
    found = json.loads(sealgate("check", "--json", "--server-config", "etc/nginx.conf", cwd=folder).out)
    assert set(found) == {"traps", "unread"}
    named = sealgate("check", "-c", "gone.toml", "--server-config", "etc/nginx.conf", cwd=folder)
    assert "policy-missing" in named.err
    assert "policy-missing" in sealgate("check", cwd=folder).err


def test_hostile_text_does_not_reach_the_terminal(folder: Path) -> None:
    (folder / "sealgate.toml").write_text("")
    (folder / "sealgate.toml").chmod(0o644)
    file = folder / "x\x1b[31m[bold]"
    file.write_text("http { server { underscores_in_headers on; } include \x1b[0m; }")
    result = sealgate("check", "--server-config", file.name, "--engine", "nginx", cwd=folder)
    assert result.status == 1
    assert "\x1b" not in result.out + result.err
    assert "[bold]" in result.out
