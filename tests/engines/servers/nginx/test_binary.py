"""Which nginx is run, what it says of itself, and what is passed on of its complaints."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealgate._system import commands
from sealgate.engines.servers.nginx import binary
from sealgate.engines.servers.nginx.instance import _connections
from sealgate.engines.servers.nginx.process import _clean
from sealgate.errors import EngineMissing, EngineUntrusted

FULL = "--with-http_ssl_module --with-http_v2_module"


def fake(folder: Path, said: str) -> dict[str, str]:
    path = folder / "nginx"
    path.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{said}\nEND\n")
    path.chmod(0o755)
    return {"SEALGATE_NGINX": str(path)}


def test_the_installed_one_is_found_and_supported() -> None:
    found = binary.program({}, False)
    assert found.path.is_absolute()
    assert found.version


def test_another_one_is_named(tmp_path: Path) -> None:
    environ = fake(tmp_path, f"nginx version: openresty/1.25.3.1\nconfigure arguments: {FULL}")
    found = binary.program(environ, False)
    assert (found.path, found.version) == (tmp_path / "nginx", "1.25.3")


def test_a_name_of_no_program(tmp_path: Path) -> None:
    with pytest.raises(EngineMissing, match="SEALGATE_NGINX names"):
        binary.find({"SEALGATE_NGINX": str(tmp_path)})


def test_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "find", lambda _: None)
    with pytest.raises(EngineMissing, match="nginx is not installed"):
        binary.find({})


@pytest.mark.parametrize(
    ("said", "fact"),
    [
        ("who are you", "does not say"),
        (f"nginx version: nginx/1.21.6\n{FULL}", r"is nginx 1\.21\.6; 1\.22 to 1\.31"),
        (f"nginx version: nginx/1.32.0\n{FULL}", r"is nginx 1\.32\.0; 1\.22 to 1\.31"),
        (f"nginx version: nginx/2.26.0\n{FULL}", r"is nginx 2\.26\.0"),
        ("nginx version: nginx/1.26.0\n--with-http_ssl_module", "without http_v2_module"),
    ],
)
def test_what_is_not_supported(tmp_path: Path, said: str, fact: str) -> None:
    with pytest.raises(EngineUntrusted, match=fact) as caught:
        binary.program(fake(tmp_path, said), False)
    assert caught.value.code == "engine-untested"


@pytest.mark.parametrize("version", ["1.22.0", "1.26.3", "1.31.9"])
def test_what_lies_between_the_tested_ones_is_taken(tmp_path: Path, version: str) -> None:
    assert binary.program(fake(tmp_path, f"nginx version: nginx/{version}\n{FULL}"), False).version == version


def test_another_version_at_ones_own_risk(tmp_path: Path) -> None:
    said = f"nginx version: nginx/1.99.0\n{FULL}"
    assert binary.program(fake(tmp_path, said), True).version == "1.99.0"


def test_one_that_cannot_be_asked(tmp_path: Path) -> None:
    (tmp_path / "nginx").write_bytes(b"\x7fELF")
    (tmp_path / "nginx").chmod(0o755)
    with pytest.raises(EngineUntrusted, match="could not be asked"):
        binary.program({"SEALGATE_NGINX": str(tmp_path / "nginx")}, False)


@pytest.mark.parametrize(
    ("openssl", "wanted"),
    [
        ("built with OpenSSL 3.0.22 25 Aug 2026 (running with OpenSSL 3.5.1 1 Jul 2025)", (3, 5, 1)),
        ("built with OpenSSL 3.5.0 8 Apr 2025", (3, 5, 0)),
        ("built with BoringSSL", (3, 0, 0)),
    ],
)
def test_how_it_was_built(tmp_path: Path, openssl: str, wanted: tuple[int, int, int]) -> None:
    said = f"nginx version: nginx/1.27.4\n{openssl}\nconfigure arguments: --without-http_scgi_module {FULL}"
    found = binary.built(Path(fake(tmp_path, said)["SEALGATE_NGINX"]))
    assert found.version == (1, 27, 4)
    assert found.openssl == wanted
    assert found.without == {"http_scgi_module"}


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            b'2026/11/22 09:00:00 [error] 1#1: *7 it failed, client: ::1, request: "GET /?key=1"\n',
            "it failed",
        ),
        (b"nginx: [emerg] no such thing in nginx.conf:1\n", "no such thing in nginx.conf:1"),
        (b"2026/11/22 09:00:00 [alert] 1#1: odd \x1b[31m\xff\n", "odd ?[31m�"),
        (b"\n", ""),
    ],
)
def test_complaints_without_their_head_and_without_requests(line: bytes, text: str) -> None:
    assert _clean(line) == text


def test_nobody_is_connected_to_a_socket_that_is_not_there() -> None:
    assert _connections("run/app-00000000.sock") == 0
