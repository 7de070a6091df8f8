"""Finding, importing and recognising the user's application."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sealgate.errors import AppError
from sealgate.runtime.app import interface_of, load


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("mine_"):
            del sys.modules[name]


def refused(name: str, folder: Path) -> AppError:
    with pytest.raises(AppError) as caught:
        load(name, folder)
    return caught.value


def wsgi(environ: Any, start_response: Any) -> Any: ...
async def asgi(scope: Any, receive: Any, send: Any) -> None: ...
def asgi_plain(scope: Any, receive: Any, send: Any) -> Any: ...
def with_option(environ: Any, start_response: Any, extra: Any = None) -> Any: ...


class Wsgi:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...


class Asgi:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


@pytest.mark.parametrize(
    ("app", "interface"),
    [
        (wsgi, "wsgi"),
        (asgi, "asgi"),
        (asgi_plain, "asgi"),
        (with_option, "wsgi"),
        (Wsgi(), "wsgi"),
        (Asgi(), "asgi"),
        (functools.partial(asgi), "asgi"),
        (functools.partial(with_option, extra=1), "wsgi"),
        (Asgi().__call__, "asgi"),
        (print, "wsgi"),
    ],
)
def test_the_interface_is_seen(app: Any, interface: str) -> None:
    assert interface_of(app, "m:a") == interface


def test_falcon_apps_are_seen() -> None:
    import falcon
    import falcon.asgi

    assert interface_of(falcon.App(), "m:a") == "wsgi"
    assert interface_of(falcon.asgi.App(), "m:a") == "asgi"


@pytest.mark.parametrize("attribute", ["app", "Box.app", "make()", "Box.make()"])
def test_it_is_found(folder: Path, attribute: str) -> None:
    (folder / "mine_found.py").write_text(
        "def app(environ, start_response): ...\n"
        "def make(): return app\n"
        "class Box:\n    app = staticmethod(app)\n    make = staticmethod(make)\n"
    )
    app, interface = load(f"mine_found:{attribute}", folder)
    assert app.__name__ == "app"
    assert interface == "wsgi"


def test_the_folder_comes_first_on_the_path(folder: Path) -> None:
    (folder / "mine_package").mkdir()
    (folder / "mine_package" / "__init__.py").touch()
    (folder / "mine_package" / "wsgi.py").write_text("def application(environ, start_response): ...\n")
    assert load("mine_package.wsgi:application", folder)[1] == "wsgi"
    assert sys.path[0] == str(folder)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("mine_absent:app", "app-not-found"),
        ("mine_absent.inner:app", "app-not-found"),
        ("mine_broken:nothing", "app-not-found"),
        ("mine_broken:number", "app-not-callable"),
        ("mine_broken:fails()", "app-not-importable"),
    ],
)
def test_what_is_not_there_is_said(folder: Path, name: str, code: str) -> None:
    (folder / "mine_broken.py").write_text("number = 7\ndef fails(): raise KeyError('setting')\n")
    error = refused(name, folder)
    assert error.code == code
    assert error.exit == 2


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("import mine_absent_dependency\n", "ModuleNotFoundError: No module named 'mine_absent_dependency'"),
        ("raise SystemExit('no settings')\n", "SystemExit: no settings"),
        ("raise KeyboardInterrupt\n", "KeyboardInterrupt: no message"),
        ("def broken(:\n", "SyntaxError"),
        ("raise ValueError('a\\nb' + 'x' * 1000)\n", "ValueError: a b"),
    ],
)
def test_its_own_mistakes_are_shown(folder: Path, source: str, shown: str) -> None:
    name = f"mine_wrong_{abs(hash(source))}"
    (folder / f"{name}.py").write_text(source)
    error = refused(f"{name}:app", folder)
    assert error.code == "app-not-importable"
    assert shown in error.fact
    assert "\n" not in error.fact
    assert len(error.fact) < 500
    assert f"{name}.py" in str(error.details["traceback"])
    assert "runtime/app.py" not in str(error.details["traceback"])


def test_a_traceback_is_cut_to_its_end(folder: Path) -> None:
    (folder / "mine_deep.py").write_text("def deep(n):\n    deep(n + 1) if n < 40 else 1 / 0\ndeep(0)\n")
    shown = str(refused("mine_deep:app", folder).details["traceback"])
    assert shown.count("\n") < 20
    assert "repeated 5 more times" in shown  # eight of forty
    assert shown.endswith("ZeroDivisionError: division by zero")
