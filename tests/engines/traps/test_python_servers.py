"""Traps of servers that are configured in Python: Hypercorn and uvicorn."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealgate.engines.configurations.library import Disk, Texts
from sealgate.engines.traps.hypercorn import TRAPS as HYPERCORN_TRAPS
from sealgate.engines.traps.trap import Server
from sealgate.engines.traps.uvicorn import TRAPS as UVICORN_TRAPS


def found(server: Server, name: str, text: str) -> list[tuple[str, int]]:
    result = server.find(name, Texts({name: text}))
    assert result.unread == ()
    return sorted((trap.id, trap.line) for trap in result.traps)


TLS = 'certfile = "a"\nkeyfile = "a"\n'
READ_ONCE = ("hypercorn-certificate-never-reloaded", 1)
NO_LIST = ("hypercorn-crl-missing", 3)

HYPERCORN_TOML = [
    ('bind = "a:80"\n', []),
    (TLS, [READ_ONCE]),
    ('bind = "a:443"\n\ncertfile = "a"\n', [("hypercorn-tls-half", 3)]),
    ('keyfile = "a"\ncertfile = ""\nquic_bind = "a:443"\n', [("hypercorn-tls-half", 1)]),
    (TLS + "[x]\nca_certs = 1\n", [READ_ONCE]),
    (TLS + 'ca_certs = "a"\n', [("hypercorn-ca-unused", 3), READ_ONCE]),
    (TLS + "verify_mode = 0\nquic_bind = 'a:443'\n", [READ_ONCE]),
    (TLS + "verify_mode = 2\nverify_flags = 12\n", [READ_ONCE]),
    (TLS + "verify_mode = 2\nverify_flags = 32768\n", [READ_ONCE, NO_LIST]),
    (TLS + "verify_mode = 1\nverify_flags = 4\n", [READ_ONCE, ("hypercorn-verify-unused", 3)]),
    (
        TLS + 'verify_mode = 2\nverify_flags = 4\n  "quic_bind" = ["a:443", "b:443"]\n',
        [READ_ONCE, ("hypercorn-quic-client-certificates", 5)],
    ),
    (TLS + 'insecure_bind = "a:80"\n', [READ_ONCE, ("hypercorn-insecure-bind", 3)]),
    (TLS + "insecure_bind = []\nquic_bind = []\nverify_mode = 2\nverify_flags = 4\n", [READ_ONCE]),
]


@pytest.mark.parametrize(("text", "expected"), HYPERCORN_TOML)
def test_hypercorn_in_toml(text: str, expected: list[tuple[str, int]]) -> None:
    assert found(HYPERCORN_TRAPS, "/h.toml", text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TLS, [READ_ONCE]),
        (
            f"import ssl\n{TLS}verify_mode = ssl.CERT_REQUIRED\nquic_bind = ['a:443']\n",
            [
                ("hypercorn-certificate-never-reloaded", 2),
                ("hypercorn-crl-missing", 4),
                ("hypercorn-quic-client-certificates", 5),
            ],
        ),
        (f"{TLS}verify_mode = 2\nverify_flags = ssl.VERIFY_CRL_CHECK_CHAIN\n", [READ_ONCE]),
        (f"{TLS}verify_mode = 2\nverify_flags = A | B\n", [READ_ONCE]),
        (f"{TLS}verify_mode = 2\nverify_flags = ssl.VERIFY_X509_STRICT\n", [READ_ONCE, NO_LIST]),
        (
            "c = Config()\nc.certfile = 'a'\nc.keyfile = 'b'\nc.insecure_bind = 'a:80'\n",
            [("hypercorn-certificate-never-reloaded", 2), ("hypercorn-insecure-bind", 4)],
        ),
        ("c = Config.from_mapping(\n bind='a',\n certfile='b')\n", [("hypercorn-tls-half", 3)]),
        (
            f"class C(Config):\n def create_ssl_context(self): pass\n{TLS}quic_bind = 'a'\n",
            [("hypercorn-quic-client-certificates", 5)],
        ),
    ],
)
def test_hypercorn_in_python(text: str, expected: list[tuple[str, int]]) -> None:
    assert found(HYPERCORN_TRAPS, "/h.py", text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hypercorn -b a:80 a:b\n", []),
        ("\nhypercorn --certfile a a:b\n", [("hypercorn-tls-half", 2)]),
        (
            "hypercorn --certfile=a --keyfile=b --verify-mode CERT_REQUIRED --quic-bind a:443 a:b\n",
            [READ_ONCE, ("hypercorn-crl-missing", 1), ("hypercorn-quic-client-certificates", 1)],
        ),
    ],
)
def test_hypercorn_calls(text: str, expected: list[tuple[str, int]]) -> None:
    assert found(HYPERCORN_TRAPS, "/x.service", text) == expected


ONCE = ("uvicorn-certificate-never-reloaded", 1)

UVICORN = [
    ("import uvicorn\nuvicorn.run(app)\n", []),
    ("uvicorn.run(app, ssl_certfile='a')\n", [ONCE]),
    ("uvicorn.run(app, ssl_certfile='a', ssl_context_factory=f, ssl_cert_reqs=2)\n", []),
    ("uvicorn.run(app, ssl_ca_certs='a')\n", [("uvicorn-ca-unused", 1)]),
    ("uvicorn.run(app,\n ssl_cert_reqs=ssl.CERT_REQUIRED)\n", [("uvicorn-crl-missing", 2)]),
    (
        "uvicorn.Config(app, ssl_cert_reqs=1)\n",
        [("uvicorn-crl-missing", 1), ("uvicorn-verify-unused", 1)],
    ),
    ("uvicorn.run(app, ssl_cert_reqs=ssl.CERT_NONE)\n", []),
    ("uvicorn.run(app, forwarded_allow_ips=['*'])\n", [("uvicorn-forwarded-any", 1)]),
    ("async def f():\n config.ssl.load_cert_chain('a')\n", [("uvicorn-context-in-place", 2)]),
    ("def f():\n c = make()\n c.load_cert_chain('a')\n", []),
]


@pytest.mark.parametrize(("text", "expected"), UVICORN)
def test_uvicorn_in_python(text: str, expected: list[tuple[str, int]]) -> None:
    assert found(UVICORN_TRAPS, "/run.py", text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("uvicorn a:b\n", []),
        ("uvicorn --ssl-certfile a --ssl-keyfile b a:b\n", [ONCE]),
        ("\nuvicorn --ssl-cert-reqs=2 a:b\n", [("uvicorn-crl-missing", 2)]),
        ("UVICORN_SSL_CERT_REQS=2\n", [("uvicorn-crl-missing", 1)]),
        ("UVICORN_SSL_CERT_REQS=2\nuvicorn --ssl-cert-reqs 0 a:b\n", []),
        ("Environment=FORWARDED_ALLOW_IPS=*\nExecStart=/v/uvicorn a:b\n", [("uvicorn-forwarded-any", 1)]),
    ],
)
def test_uvicorn_calls(text: str, expected: list[tuple[str, int]]) -> None:
    assert found(UVICORN_TRAPS, "/x.service", text) == expected


@pytest.mark.parametrize(
    ("server", "name"), [(HYPERCORN_TRAPS, "h.toml"), (HYPERCORN_TRAPS, "h.py"), (UVICORN_TRAPS, "u.py")]
)
def test_what_cannot_be_parsed_is_said_and_nothing_is_run(server: Server, name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text("open('ran', 'w')\nraise SystemExit\n" if name.endswith(".py") else "a = 1\na = 2\n")
    assert server.find(str(file), Disk()).traps == ()
    file.write_text("a = \n(\n")
    (unread,) = server.find(str(file), Disk()).unread
    assert unread.file == str(file)
    assert unread.why in {"it is not TOML", "it is not Python"}
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_name_that_the_parser_would_take_apart_for_long_is_not_read() -> None:
    (unread,) = HYPERCORN_TRAPS.find("/h.toml", Texts({"/h.toml": "a." * 2**19 + "b = 1\n"})).unread
    assert unread.why == "it is larger than 64 KiB"


SEEN = {f"hypercorn-{name}" for name in (
    "certificate-never-reloaded", "tls-half", "ca-unused", "crl-missing", "verify-unused",
    "quic-client-certificates", "insecure-bind",
)} | {trap for case in UVICORN for trap, _ in case[-1]}  # fmt: skip
"""Those that a test here has seen."""
