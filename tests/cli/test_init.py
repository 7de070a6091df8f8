"""`sealgate init`: a policy file that is right before it is there."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sealgate.cli._application import find_applications
from tests.cli.calls import environment, sealgate


def policy(folder: Path) -> dict[str, object]:
    return tomllib.loads((folder / "sealgate.toml").read_text())


def test_by_flags(tmp_path: Path) -> None:
    result = sealgate(
        "init", "--app", "orders:app", "--name", "a.test", "--name", "*.a.test",
        "--https", "0.0.0.0:443", "--http", "off", "--clients", "required", "--profile", "modern@6.0",
        cwd=tmp_path,
    )  # fmt: skip
    assert (result.status, result.out) == (0, "")
    assert "sealgate serve" in result.err
    found = policy(tmp_path)
    assert found["site"] == {"app": "orders:app", "names": ["a.test", "*.a.test"]}
    assert found["listen"] == {"https": ["0.0.0.0:443"], "http": []}
    assert found["clients"] == {"mode": "required"}
    assert found["tls"] == {"profile": "modern@6.0"}
    assert sealgate("check", cwd=tmp_path).status == 0


def test_others_may_read_it_and_not_write_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert sealgate("init", cwd=tmp_path).status == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "sealgate.toml").stat().st_mode) == 0o644


def test_it_never_overwrites_unless_told(tmp_path: Path) -> None:
    (tmp_path / "sealgate.toml").write_text("# mine")
    result = sealgate("init", cwd=tmp_path)
    assert result.status == 2
    assert "policy-exists" in result.err
    assert (tmp_path / "sealgate.toml").read_text() == "# mine"
    assert sealgate("init", "--force", cwd=tmp_path).status == 0
    assert "version = 1" in (tmp_path / "sealgate.toml").read_text()


def test_a_dangling_link_is_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "sealgate.toml").symlink_to("elsewhere")
    assert "policy-exists" in sealgate("init", cwd=tmp_path).err


def test_what_is_wrong_is_not_written(tmp_path: Path) -> None:
    result = sealgate("init", "--app", "a b", "--upstream", "http://h/p", "--engine", "haproxy", cwd=tmp_path)
    assert result.status == 2
    assert not list(tmp_path.iterdir())
    for flag in ("--app", "--upstream", "--engine"):
        assert f"({flag})" in result.err


def test_both_backends(tmp_path: Path) -> None:
    result = sealgate("init", "--app", "a:b", "--upstream", "http://h", cwd=tmp_path)
    assert "(--upstream): app and upstream are both set" in result.err


def test_the_application_is_found_by_reading_only(tmp_path: Path) -> None:
    (tmp_path / "orders.py").write_text(
        "import falcon\nopen('ran', 'w')\nraise SystemExit\napp = falcon.App()\n"
    )
    result = sealgate("init", cwd=tmp_path)
    assert "found the application orders:app" in result.err
    assert policy(tmp_path)["site"] == {"app": "orders:app"}
    assert not (tmp_path / "ran").exists()


def test_several_applications_are_named_and_none_is_guessed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text("import flask\napp = flask.Flask('x')\n")
    result = sealgate("init", cwd=tmp_path)
    assert "one:app, two:app" in result.err
    assert policy(tmp_path)["site"] == {}


def test_print_writes_nothing(tmp_path: Path) -> None:
    result = sealgate("init", "--print", "--app", "a:b", cwd=tmp_path)
    assert tomllib.loads(result.out)["site"] == {"app": "a:b"}
    assert not list(tmp_path.iterdir())


def test_json(tmp_path: Path) -> None:
    result = sealgate("init", "--json", "-c", "p.toml", cwd=tmp_path)
    assert json.loads(result.out)["policy"] == str(tmp_path / "p.toml")


def test_the_next_steps_name_a_file_that_would_not_be_found(tmp_path: Path) -> None:
    said = sealgate("init", "-c", "my policy.toml", "--app", "orders:app", cwd=tmp_path).err
    assert "  sealgate check -c 'my policy.toml'" in said
    assert "  sealgate serve -c 'my policy.toml'" in said
    assert " -c " not in sealgate("init", "--app", "orders:app", cwd=tmp_path).err


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    result = sealgate("init", "-c", "absent/p.toml", cwd=tmp_path)
    assert result.status in {2, 3}
    assert result.err.count("\n") == 1
    assert "internal-error" not in result.err


def test_questions_on_a_terminal(tmp_path: Path) -> None:
    """A wrong answer is told at once, and asked for again."""
    (tmp_path / "orders.py").write_text("from falcon.asgi import App\napi = App()\n")
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "sealgate", "init"],
        cwd=tmp_path, stdin=terminal, stdout=terminal, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    os.write(master, b"\na b\na.test, b.test\ny\nn\n")
    _, said = process.communicate(timeout=60)
    os.close(master)
    os.close(terminal)
    assert process.returncode == 0, said
    assert "[orders:api]" in said
    assert "not a DNS name" in said
    assert policy(tmp_path)["site"] == {"app": "orders:api", "names": ["a.test", "b.test"]}
    assert policy(tmp_path)["listen"] == {"https": ["0.0.0.0:443"], "http": ["0.0.0.0:80"]}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import falcon\napp = falcon.App()", ["m:app"]),
        ("import falcon as f\napp: f.App = f.App()", ["m:app"]),
        ("import falcon.asgi\napp = falcon.asgi.App()", ["m:app"]),
        ("from falcon import App\nx = y = App()", ["m:x", "m:y"]),
        ("from fastapi import FastAPI as F\napp = F()", ["m:app"]),
        (
            "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()",
            ["m:application"],
        ),
        ("config = 1\napp = config.make_wsgi_app()", ["m:app"]),
        ("def create_app():\n    return 1", ["m:create_app()"]),
        ("def create_app(config):\n    return 1", []),
        ("def create_app():\n    return 1\napp = create_app()", ["m:app", "m:create_app()"]),
        ("import falcon\ndef f():\n    app = falcon.App()", []),
        ("app = App()", []),
        ("import falcon\napp.x = falcon.App()", []),
        ("app = (", []),
        ("\x00", []),
        ("x = " + "(" * 5000, []),
    ],
)
def test_what_counts_as_an_application(tmp_path: Path, source: str, found: list[str]) -> None:
    (tmp_path / "m.py").write_text(source)
    assert list(find_applications(tmp_path)) == found


def test_where_applications_are_looked_for(tmp_path: Path) -> None:
    source = "import falcon\napp = falcon.App()\n"
    for place in (
        "main.py",
        "shop/wsgi.py",
        "shop/__init__.py",
        "tests/a.py",
        ".venv/b.py",
        "test_x.py",
        "a-b/c.py",
    ):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(source)
    assert find_applications(tmp_path) == ("main:app", "shop.wsgi:app", "shop:app")
