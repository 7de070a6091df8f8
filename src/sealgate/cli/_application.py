"""Finds the application in a directory, by reading and never by importing it.

Importing runs code: a proposal must not open databases or sockets. So the source is parsed, and a name
of a module counts that is bound to what a framework calls its application.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

__all__ = ["find_applications"]

_MOST_FILES = 200
_LARGEST = 512 * 1024
# Callables whose result is a WSGI or ASGI application.
_CONSTRUCTORS = frozenset(
    {
        "falcon.App",
        "falcon.API",
        "falcon.asgi.App",
        "fastapi.FastAPI",
        "flask.Flask",
        "starlette.applications.Starlette",
        "quart.Quart",
        "litestar.Litestar",
        "bottle.Bottle",
        "django.core.wsgi.get_wsgi_application",
        "django.core.asgi.get_asgi_application",
    }
)
_FACTORIES = frozenset({"create_app", "make_app", "get_app"})
_SKIPPED = frozenset(
    {"tests", "test", "docs", "build", "dist", "node_modules", "venv", "env", "site-packages"}
)
# Among several, these are what people call the one that is served.
_LIKELY_NAMES = ("app", "application", "api", "asgi", "wsgi")
_LIKELY_MODULES = ("app", "main", "wsgi", "asgi", "api", "server")


def find_applications(folder: Path) -> tuple[str, ...]:
    """Applications under a directory as ``module:attribute``, the likeliest first.

    Args:
        folder: where ``sealgate serve`` will be started; its Python files, and those of packages in it.
    """
    found = {name for path in _sources(folder) for name in _in_file(path, folder)}
    return tuple(sorted(found, key=_likelihood))


def _sources(folder: Path) -> Iterator[Path]:
    paths = [*sorted(folder.glob("*.py")), *sorted(folder.glob("*/*.py"))]
    count = 0
    for path in paths:
        parent = path.parent.name
        if path.parent != folder and (
            parent.startswith(".") or parent in _SKIPPED or not parent.isidentifier()
        ):
            continue
        if not path.stem.isidentifier() or path.name.startswith("test_"):
            continue
        count += 1
        if count > _MOST_FILES:
            return
        yield path


def _in_file(path: Path, folder: Path) -> Iterator[str]:
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    parts = path.relative_to(folder).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    names = _imports(tree)
    for statement in tree.body:
        for attribute in _bound(statement, names):
            yield f"{module}:{attribute}"


def _imports(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for: ``{"App": "falcon.App", "falcon": "falcon"}``."""
    names: dict[str, str] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                top = alias.name.partition(".")[0]
                names[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            for alias in statement.names:
                names[alias.asname or alias.name] = f"{statement.module}.{alias.name}"
    return names


def _bound(statement: ast.stmt, names: dict[str, str]) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef) and statement.name in _FACTORIES and not statement.args.args:
        yield f"{statement.name}()"
        return
    if isinstance(statement, ast.Assign):
        targets: list[ast.expr] = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        return
    if isinstance(statement.value, ast.Call) and _makes_application(statement.value, names):
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def _makes_application(call: ast.Call, names: dict[str, str]) -> bool:
    """``falcon.App(...)``, ``App(...)``, ``create_app()``, ``Configurator(...).make_wsgi_app()``."""
    function = call.func
    if isinstance(function, ast.Attribute) and function.attr == "make_wsgi_app":
        return True
    dotted = _dotted(function)
    head, _, rest = dotted.partition(".")
    full = names.get(head, head) + (f".{rest}" if rest else "")
    return full in _CONSTRUCTORS or dotted in _FACTORIES


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _likelihood(name: str) -> tuple[int, int, int, str]:
    module, _, attribute = name.partition(":")
    last = module.rpartition(".")[2]
    return (
        attribute.endswith("()"),
        _LIKELY_NAMES.index(attribute) if attribute in _LIKELY_NAMES else len(_LIKELY_NAMES),
        _LIKELY_MODULES.index(last) if last in _LIKELY_MODULES else len(_LIKELY_MODULES),
        name,
    )
