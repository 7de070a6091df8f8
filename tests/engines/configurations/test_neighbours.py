"""The user's own sites where ours would stand: named with file and line, and why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sealgate.engines.configurations.library import LARGEST
from sealgate.engines.configurations.neighbours import Told, beside, hidden, neighbours, said, unread
from sealgate.policy.model import Endpoint

OURS = (Endpoint("0.0.0.0", 443), Endpoint("127.0.0.1", 80), Endpoint("::", 443))
NAMES = ("a.test", "b.test")


def found(tmp_path: Path, server: str, text: str) -> list[tuple[str, tuple[str, ...]]]:
    main = tmp_path / "main.conf"
    main.write_text(text)
    seen = neighbours(server, main, tmp_path / "own.conf", OURS, NAMES)
    assert all(one.place == f"{main}:1" and str(one).startswith(one.place) for one in seen)
    return [(one.address, one.same) for one in seen]


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("listen 443 ssl; server_name a.test c.test;", [("443", ("a.test",))]),
        ("listen 10.0.0.1:443 ssl; server_name .test;", [("10.0.0.1:443", NAMES)]),
        ("listen [::]:443 ssl; server_name *.b.test;", [("[::]:443", ())]),
        ("listen [::1]:443 ssl; server_name B.test;", [("[::1]:443", ("b.test",))]),
        ("server_name a.test;", [("80", ("a.test",))]),
        ("listen 127.0.0.1; server_name x;", [("127.0.0.1", ())]),
        ("listen [::]:80; listen 127.0.0.2:80; listen 8443; listen unix:/a;", []),
    ],
)
def test_nginx(tmp_path: Path, inside: str, expected: list[object]) -> None:
    assert found(tmp_path, "nginx", f"http {{ server {{ {inside} }} }}") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<VirtualHost *:443>\nServerName https://a.test:443\n</VirtualHost>", [("*:443", ("a.test",))]),
        ("<VirtualHost _default_:80>\nServerAlias *.x\n</VirtualHost>", [("_default_:80", ())]),
        (
            "<VirtualHost 127.0.0.2:80 [::1]:443>\nServerName a.test\n</VirtualHost>",
            [("[::1]:443", ("a.test",))],
        ),
        ("<VirtualHost *>\nServerName a.test\n</VirtualHost>", [("*", ("a.test",))]),
        ("<VirtualHost 127.0.0.1>\nServerAlias a.tes?\n</VirtualHost>", [("127.0.0.1", ("a.test",))]),
        ("<VirtualHost 127.0.0.1:*>\nServerName x\n</VirtualHost>", [("127.0.0.1:*", ())]),
        ("<VirtualHost ${HIS}:443>\nServerName x\n</VirtualHost>", [("${HIS}:443", ())]),
        ("<VirtualHost *:${HIS}>\nServerName x\n</VirtualHost>", [("*:${HIS}", ())]),
        ("<VirtualHost ${HIS}:8443>\nServerName x\n</VirtualHost>", []),
    ],
)
def test_apache(tmp_path: Path, text: str, expected: list[object]) -> None:
    assert found(tmp_path, "apache", text) == expected


def test_what_the_server_says_and_was_not_read_is_hidden(tmp_path: Path) -> None:
    """A site that a macro makes; a name, or an address, that a variable is."""
    main, own = tmp_path / "main.conf", tmp_path / "own.conf"
    main.write_text("<VirtualHost 127.0.0.1:80>\nServerName x\n</VirtualHost>")
    known = beside("apache", main, own, OURS, NAMES)
    told = [
        Told(f"{main}:1", "127.0.0.1:80", ("x",)),
        Told(f"{own}:1", "127.0.0.1:80", ("a.test",)),
        Told("macro:1", "127.0.0.2:80", ("a.test",)),
    ]
    assert hidden("apache", told, known, own, OURS, NAMES) == ()
    told += [
        Told("macro:2", "*:443", ("x",)),
        Told("macro:3", "127.0.0.1:*", ("x", "A.test")),
        Told(f"{main}:1", "127.0.0.1:80", ("x", "b.*")),
    ]
    found = hidden("apache", told, known, own, OURS, NAMES)
    assert [(one.place, one.same) for one in found] == [
        ("macro:2", ()),
        ("macro:3", ("a.test",)),
        (f"{main}:1", ("b.test",)),
    ]


def test_our_own_file_is_nobodys_neighbour(tmp_path: Path) -> None:
    own = tmp_path / "own.conf"
    own.write_text("server { listen 443; server_name a.test; }")
    main = tmp_path / "main.conf"
    main.write_text(f"http {{ include {own}; }}")
    assert neighbours("nginx", main, own, OURS, NAMES) == ()
    assert neighbours("gunicorn", main, own, OURS, NAMES) == ()


def test_addresses_that_the_files_may_name(tmp_path: Path) -> None:
    main, own = tmp_path / "httpd.conf", tmp_path / "own.conf"
    main.write_text(f"<IfModule ssl_module>\nListen 443\n</IfModule>\nListen 127.0.0.2:80\nInclude {own}\n")
    own.write_text("Listen 127.0.0.1:80\n")
    assert said("apache", main, own, OURS) == {OURS[0], OURS[2]}, "under a condition too; ours do not count"
    assert unread("apache", main, own) == ()
    (tmp_path / "large.conf").touch()
    os.truncate(tmp_path / "large.conf", LARGEST + 1)
    main.write_text(f"IncludeOptional {tmp_path}/lar*.conf\nIncludeOptional {tmp_path}/none.conf\n")
    assert said("apache", main, own, OURS) == set(OURS), "what could not be read may name any"
    (one,) = unread("apache", main, own)
    assert "larger than" in one.why
    assert (said("gunicorn", main, own, OURS), unread("gunicorn", main, own)) == (frozenset(), ())
