"""How a server is asked what it reads: by which words, and what its answer says."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealgate.engines.configurations.neighbours import Told
from sealgate.engines.installed.contract import included

VHOSTS = """\
Included configuration files:
  (*) /e/apache2.conf
    (10) /e/with space.conf
VirtualHost configuration:
[::1]:9443             e (/e/h.conf:14)
127.0.0.1:*            is a NameVirtualHost
         default server a (/e/h.conf:7)
         port * namevhost a (/e/h.conf:7)
                 alias c
                 wild alias *.b
         port 80 namevhost f (macro 'v' (defined on line 1 of "/e/m") used on line 2 of "/e/n":1)
*:*                    d (/e/h.conf:11)
Syntax OK
"""


def test_apache_says_its_files_and_sites() -> None:
    sources = included("apache").sources
    assert sources is not None
    assert sources.names(VHOSTS) == ("/e/apache2.conf", "/e/with space.conf")
    assert sources.sites(VHOSTS) == (
        Told("/e/h.conf:14", "[::1]:9443", ("e",)),
        Told("/e/h.conf:7", "127.0.0.1:*", ("a", "c", "*.b")),
        Told('macro \'v\' (defined on line 1 of "/e/m") used on line 2 of "/e/n":1', "127.0.0.1:*", ("f",)),
        Told("/e/h.conf:11", "*:*", ("d",)),
    )


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["-f", "/e/f", "-DONE", "-D", "TWO"], ["ONE", "TWO"]),
        (["-f", "-D", "-XD", "ONE", "-e", "-DNO", "-k", "start"], ["ONE"]),
        (["-D"], [""]),
    ],
)
def test_apache_is_asked_with_the_words_of_the_one_that_runs(words: list[str], asked: list[str]) -> None:
    sources = included("apache").sources
    assert sources is not None
    command = sources.command(Path("/p"), Path("/e/f"), ("apache2", *words))
    at = command.index("DUMP_VHOSTS") + 1
    assert [word for word in command[at : command.index("-f", at)] if word != "-D"] == asked


@pytest.mark.parametrize(
    ("kind", "words", "said"),
    [
        ("apache", ["-f", "/e/-c", "-DFOREGROUND"], ""),
        ("apache", ["-C", "x", "-XcHeader", "-d/x"], "-C -c -d"),
        ("apache", ["-D", "-c"], ""),
        ("nginx", ["-c", "/e/n", "-g", "daemon off;"], ""),
        ("nginx", ["-c", "/e/n", "-g", "env A; include /x;"], "-g with include or load_module"),
        ("nginx", ["-qgload_module x.so;"], "-g with include or load_module"),
        ("nginx", ["-c", "/e/include"], ""),
    ],
)
def test_what_of_a_command_line_changes_what_files_say(kind: str, words: list[str], said: str) -> None:
    assert included(kind).alters((kind, *words)) == said
