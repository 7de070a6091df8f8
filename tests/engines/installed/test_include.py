"""The include line: in and out again leaves every byte as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.engines.installed.contract import included, included_ids
from sealgate.errors import EngineError, UsageError

IN_FRONT = tuple(name for name in included_ids() if included(name).backend == "upstream")
OWN = "/var/lib/seal gate/x;y/sealgate.conf"
NGINX = (
    b"events {}\nhttp {\n  gzip on;\n}\n",
    b"events {}\nhttp {  # his words\n}\n",
    b"events {} http { gzip on; }",
    b"events {} http {}",
    b'# http {\nenv "A=http {";\nhttp\n{\n}\n',
    b"events { worker_connections 1; }\r\nhttp {\r\n}\r\n",
    b"load_module m.so; events {} stream { server { listen 1; } } http { map $a ${b} { ~^x{2}$ 1; } }\n",
    b"http {",
)
OTHERS = (b"", b"A 1", b"A 1\n", b"A 1\r\nB 2\r\n", b"\n\n")


@pytest.mark.parametrize("main", NGINX)
def test_nginx_in_and_out(main: bytes) -> None:
    kind = included("nginx")
    within = kind.include(main, OWN)
    assert kind.count(within, OWN) == 1
    assert kind.count(main, OWN) == 0
    assert kind.exclude(within, OWN) == main
    assert kind.exclude(main, OWN) == main
    assert within.index(b"sealgate.conf") > within.index(b"http")


@pytest.mark.parametrize("which", IN_FRONT)
@given(before=st.binary(max_size=60), after=st.binary(max_size=60))
def test_in_and_out_of_anything(which: str, before: bytes, after: bytes) -> None:
    kind = included(which)
    main = before + b"\nhttp {" + after
    try:
        within = kind.include(main, OWN)
    except EngineError:
        return  # a quote that is not closed, say
    assert within != main
    assert kind.exclude(within, OWN) == main


@pytest.mark.parametrize("which", IN_FRONT)
def test_what_was_edited_around_it_stays(which: str) -> None:
    kind = included(which)
    within = kind.include(b"events {}\nhttp {\n}\n", OWN)
    assert kind.exclude(b"# new\n" + within + b"# last\n", OWN) == b"# new\nevents {}\nhttp {\n}\n# last\n"
    assert kind.count(b"# " + within.replace(b"\n", b"\n# "), OWN) == 0, "commented out"


@pytest.mark.parametrize(
    "main", [b"", b"events {}", b"stream { http { } }", b"http", b'http "', b"server {}"]
)
def test_no_http_block_no_line(main: bytes) -> None:
    with pytest.raises(EngineError, match="server-config-unfit"):
        included("nginx").include(main, OWN)


@pytest.mark.parametrize("which", IN_FRONT)
@pytest.mark.parametrize(
    "change", [(b"    include", b"\tinclude"), (b"# ", b"## "), (b"  #", b" "), (b"\n", b"\r\n")]
)
def test_what_is_left_of_our_line_goes_too(which: str, change: tuple[bytes, bytes]) -> None:
    """A line without its file would keep the server from starting."""
    kind = included(which)
    within = kind.include(b"events {}\nhttp {\n}\n", OWN)
    assert kind.count(kind.exclude(within.replace(*change), OWN), OWN) == 0


def test_only_some_servers_include() -> None:
    with pytest.raises(UsageError, match="engine-not-included"):
        included("envoy")


@pytest.mark.parametrize(
    ("output", "path"),
    [
        ("configure arguments: --prefix=/usr/share/nginx --pid-path=/run/nginx.pid", "/run/nginx.pid"),
        ("--prefix=/opt/n --pid-path=logs/nginx.pid\nuser x;\npid  run/a.pid;\n", "/opt/n/run/a.pid"),
        ('--pid-path=/run/nginx.pid\n  pid "/srv/x.pid";', "/srv/x.pid"),
        ("", ""),
    ],
)
def test_where_nginx_keeps_its_pid(output: str, path: str) -> None:
    assert included("nginx").pid_file(output) == path
