"""Readers of other people's configurations: what they see, and that nothing hostile stops them."""

from __future__ import annotations

import os
from collections.abc import Callable
from glob import glob
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sealgate.engines.configurations.apache import read_apache
from sealgate.engines.configurations.caddy import read_caddyfile
from sealgate.engines.configurations.calls import calls, variables
from sealgate.engines.configurations.directive import Configuration
from sealgate.engines.configurations.library import LARGEST, Bounded, Disk, Texts, UnreadableError
from sealgate.engines.configurations.nginx import read_nginx, split_dump

READERS = {"nginx": read_nginx, "apache": read_apache, "caddy": read_caddyfile}


def seen(configuration: Configuration) -> list[tuple[str, tuple[str, ...], str]]:
    return [(one.name, one.args, one.place) for one in configuration.root.walk()][1:]


def test_nginx_with_includes_in_their_places() -> None:
    texts = {
        "/e/nginx.conf": "a 1;\nhttp {\n  include 'sites/*.conf';\n  b 2;\n}\n",
        "/e/sites/1.conf": "server {\n listen 80; }\n",
        "/e/sites/2.conf": "c \"x ; y\" 'z{';\n",
        "/e/sites/sub/3.conf": "not reached;\n",
    }
    assert seen(read_nginx("/e/nginx.conf", Texts(texts))) == [
        ("a", ("1",), "/e/nginx.conf:1"),
        ("http", (), "/e/nginx.conf:2"),
        ("server", (), "/e/sites/1.conf:1"),
        ("listen", ("80",), "/e/sites/1.conf:2"),
        ("c", ("x ; y", "z{"), "/e/sites/2.conf:1"),
        ("b", ("2",), "/e/nginx.conf:4"),
    ]


def test_a_file_that_two_servers_include_is_in_both() -> None:
    texts = {"/n": "server { include s; }\nserver { include s; }\n", "/s": "x 1;\n"}
    assert [place for name, _, place in seen(read_nginx("/n", Texts(texts))) if name == "x"] == [
        "/s:1",
        "/s:1",
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a { b 1; ", 'unexpected end of file, expecting "}"'),
        ("a 1; }", 'unexpected "}"'),
        ("a 'b;", "it ends in the middle of a directive"),
        ('a 1;\n"b;\nc 2;\n', 'after this a quote or a ";" is missing'),
        ("a 1", 'after this a quote or a ";" is missing'),
        ("a{" * 3000, "its blocks are nested too deep"),
        ("include nginx.conf;", "includes /nginx.conf, which is being read already"),
        ("include gone.conf;", "/gone.conf cannot be read: No such file or directory"),
    ],
)
def test_what_is_wrong_with_an_nginx_file_is_said(text: str, why: str) -> None:
    unread = read_nginx("/nginx.conf", Texts({"/nginx.conf": text})).unread
    assert [one.why for one in unread] == [why]


def test_what_nginx_prints_is_split_into_its_files() -> None:
    dump = "nginx: ok\n# configuration file /e/n.conf:\na 1;\n\n# configuration file /e/m:\nb;\n# comment\n"
    assert split_dump(dump) == {"/e/n.conf": "a 1;\n\n", "/e/m": "b;\n# comment\n"}
    assert split_dump("nginx: [emerg] no\n") == {}


def test_apache() -> None:
    texts = {
        "/a/apache2.conf": (
            "# no \\\nnor this\nDefine X conf-x\n<IfModule mod_ssl.c>\nSSLSessionCache none\n</IfModule>\n"
            "<virtualhost *:443>\n  sslVerifyClient \\\n    require\n  Include ${X}/*.conf\n</VirtualHost>\n"
            "IncludeOptional gone/*.conf\nIncludeOptional gone.conf\nInclude folder\n"
        ),
        "/a/conf-x/1.conf": 'Header set A "b \\"c\\" d" \'e f\'\n',
        "/a/folder/x": "X 1\n",
    }
    configuration = read_apache("/a/apache2.conf", Texts(texts))
    assert configuration.unread == ()
    assert [each for each in seen(configuration) if each[0] != "define"] == [
        ("sslsessioncache", ("none",), "/a/apache2.conf:5"),
        ("virtualhost", ("*:443",), "/a/apache2.conf:7"),
        ("sslverifyclient", ("require",), "/a/apache2.conf:8"),
        ("header", ("set", "A", 'b "c" d', "e f"), "/a/conf-x/1.conf:1"),
        ("x", ("1",), "/a/folder/x:1"),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<A>\nb\n", "<a> is never closed"),
        ("</A>\n", "</a> closes nothing that is open here"),
        ("<A>\n</B>\n</A>\n", "</b> closes nothing that is open here"),
        ("Include f\n", "/f cannot be read: No such file or directory"),
        ("Include m\n", "includes /m, which is being read already, or too deep"),
    ],
)
def test_what_is_wrong_with_an_apache_file_is_said(text: str, why: str) -> None:
    assert [one.why for one in read_apache("/m", Texts({"/m": text})).unread] == [why]


UNKNOWN = "and what a variable in it says is not known here"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Include ${FROM_OUTSIDE}/*.conf", []),
        ("Define my-dir /x\nInclude ${my-dir}/*.conf", ["evil"]),
        ("Define a.b:c /x\nInclude ${a.b:c}/*.conf", ["evil"]),
        ("Define P /x\n<IfDefine NO>\nDefine P /none\n</IfDefine>\nInclude ${P}/*.conf", []),
        ("<IfDefine NO>\nDefine P /x\n</IfDefine>\nInclude ${P}/*.conf", []),
        ("Define P /x\nDefine P /none\nInclude ${P}/*.conf", []),
        ("Define P /x\nDefine P /x\nInclude ${P}/*.conf", ["evil"]),
        ("Define P /x\nUnDefine P\nInclude ${P}/*.conf", []),
        ("ServerRoot /y\n<IfDefine NO>\nServerRoot /x\n</IfDefine>\nInclude *.conf", []),
        ("ServerRoot /x\n<IfDefine NO>\nServerRoot /x\n</IfDefine>\nInclude *.conf", ["evil"]),
    ],
)
def test_where_an_apache_include_leads_is_known_or_said_to_be_unknown(text: str, expected: list[str]) -> None:
    found = read_apache("/m", Texts({"/m": text, "/x/1.conf": "evil"}))
    assert [one.name for one in found.root.walk() if one.name == "evil"] == expected
    assert [one.why.endswith(UNKNOWN) for one in found.unread] == [True] * (not expected)


@pytest.mark.parametrize("what", ["${D} evil", "evil ${D}"])
@pytest.mark.parametrize("define", ["UnDefine D", "Define D 2", "<IfDefine NO>\nDefine D 2\n</IfDefine>"])
def test_what_an_apache_variable_says_is_known_or_stays_as_it_is_written(define: str, what: str) -> None:
    found = read_apache("/m", Texts({"/m": f"Define D 1\n{define}\n{what}"}))
    last = tuple(found.root.walk())[-1]
    assert "${" in " ".join((last.name, *last.args))


@pytest.mark.parametrize("end", ["\\", "\\\\", "\\\\\\"])
def test_a_last_backslash_goes_on_in_apache_comments_too(end: str) -> None:
    """Whatever stands before it: httpd 2.4, ap_cfg_getline."""
    text = f"# a {end}\n<Directory /nowhere>\nevil\n# b {end}\n</Directory>\n"
    assert [one[0] for one in seen(read_apache("/m", Texts({"/m": text})))] == ["evil"]


def test_a_carriage_return_ends_no_line_of_nginx() -> None:
    """crossplane takes it for an end, so that what follows looks as if it stood in a comment, or did not."""
    (unread,) = read_nginx("/m", Texts({"/m": "# a\r server {\ndeny all;\n# a\r }"})).unread[:1]
    assert "carriage return" in unread.why


def test_caddyfile() -> None:
    text = '{\n admin off\n}\n(s) {\n a "x y" `z`\n}\nb.test {\n import s\n c { # d\n  e\n }\n}\n'
    assert seen(read_caddyfile("/c", Texts({"/c": text}))) == [
        ("", (), "/c:1"),
        ("admin", ("off",), "/c:2"),
        ("(s)", (), "/c:4"),
        ("a", ("x y", "z"), "/c:5"),
        ("b.test", (), "/c:7"),
        ("import", ("s",), "/c:8"),
        ("c", (), "/c:9"),
        ("e", (), "/c:10"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("exec /v/bin/granian --a b\n", ("--a", "b")),
        ("ExecStart=/v/bin/granian \\\n  --a=b\n", ("--a=b",)),
        ('CMD ["granian", "--a", "b"]\n', ("--a", "b")),
        ("python -m granian --a 'b c'\n", ("--a", "b c")),
        ("granian --a 'open\n", ("--a", "open")),
    ],
)
def test_calls(text: str, words: tuple[str, ...]) -> None:
    (call,) = calls(text, "granian")
    assert (call.words, call.line) == (words, 1)


def test_no_calls() -> None:
    assert list(calls("# granian --a\nmygranian x\n", "granian")) == []


def test_variables() -> None:
    text = 'A_X=1\nexport A_Y="2"\n  A_Z: "3"\nEnvironment="A_W=4"\n# A_V=5\nB_X=6\n'
    found = variables(text, "A_")
    assert {name: value for name, (value, _) in found.items()} == {
        "A_X": "1",
        "A_Y": "2",
        "A_Z": "3",
        "A_W": "4",
    }


def test_neither_devices_nor_pipes_nor_huge_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "huge").write_bytes(b"a" * (LARGEST + 1))
    (tmp_path / "fine").write_bytes(b"a 1;\r\n\xff;\n")
    for name in ("pipe", "huge", "none", "", "x\0y"):
        with pytest.raises(UnreadableError):
            Disk().read(str(tmp_path / name))
    with pytest.raises(UnreadableError):
        Disk().read("/dev/zero")
    assert Disk().read(str(tmp_path / "fine")) == "a 1;\n\ufffd;\n"
    assert Disk().find(str(tmp_path / "f*")) == (str(tmp_path / "fine"),)
    assert Disk().find("/" + "*" * 9) == ()
    assert Disk().folder(str(tmp_path / "fine")) is None
    assert set(Disk().folder(str(tmp_path)) or ()) >= {str(tmp_path / "fine")}


@pytest.mark.parametrize(
    "pattern",
    ["*", "a*", ".*", "[ab]/*.conf", "*/x.conf", "*/../a/?.conf", "a/x.conf/*", "none/*", "*/none", "*."],
)
def test_patterns_mean_what_they_mean_to_the_system(tmp_path: Path, pattern: str) -> None:
    for name in ("a/x.conf", "a/.hidden.conf", "b/x.conf", "b/y", ".c/x.conf", "a[1]/x.conf", "gone."):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "b/gone.conf").symlink_to("nowhere")
    whole = f"{tmp_path}/{pattern}"
    assert Disk().find(whole) == tuple(sorted(glob(whole)))  # noqa: PTH207 - what is compared with


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (read_nginx, "include {0};" * 3),
        (read_apache, "Include {0}\n" * 3),
        (read_caddyfile, "import {0}\n" * 3),
    ],
)
def test_what_is_looked_through_for_patterns_is_bounded(
    tmp_path: Path, read: Callable[[str, Disk], Configuration], text: str
) -> None:
    """`/*/*/*/*` is a walk over all disks, and there may be as many lines as a file has room for."""
    pattern = f"{tmp_path}/folder/*/none"
    for number in range(10):
        (tmp_path / f"folder/{number}").mkdir(parents=True)
    main = tmp_path / "main"
    main.write_text(text.format(pattern))
    assert read(str(main), Disk(left=30)).unread == ()
    (unread,) = read(str(main), Disk(left=29)).unread
    assert "looked through" in unread.why
    assert pattern in unread.why


def test_all_files_together_are_bounded() -> None:
    library = Bounded(Texts({"/m": "include /m?;", "/m1": "a;" * 40, "/m2": "b;"}), left=95)
    configuration = read_nginx("/m", library)
    assert [one.why for one in configuration.unread] == []
    library = Bounded(library.inner, left=60)
    (unread,) = read_nginx("/m", library).unread
    assert unread.why == "/m1 cannot be read: all files together are larger than 4 MiB"


PIECES = st.sampled_from(
    ["{", "}", ";", '"', "'", "`", "\\", "\n", " ", "#", "<A>", "</A>", "<", ">", "${", "a", "include m",
     "Include m\n", "import m", "import ./*", "content_by_lua_block", "if (", ")",
     "\0", "\u2028", "\ud7ff", "é", "*" * 20]
)  # fmt: skip


@pytest.mark.parametrize("name", READERS)
@given(text=st.lists(PIECES, max_size=60).map("".join))
@example(text="{" * 5000)
@example(text="<a>\n" * 5000)
@example(text="a;" * 200)
def test_nothing_hostile_stops_a_reader(name: str, text: str) -> None:
    configuration = READERS[name]("/m", Texts({"/m": text}))
    for one in configuration.root.walk():
        assert one.line >= 0
