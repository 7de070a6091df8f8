"""The user's application: found, imported, recognised as WSGI or ASGI; its mistakes shown, ours left out."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from sealgate.errors import AppError
from sealgate.falcon import introduce

__all__ = ["Interface", "interface_of", "load"]

Interface = Literal["wsgi", "asgi"]
_OURS = str(Path(__file__).parent)
_FRAMES = 8
_DEMAND = "name it as module:attribute, from the directory that the module is in"


def load(name: str, folder: Path) -> tuple[Any, Interface]:
    """Import `module:attribute` (or the factory `module:function()`) with `folder` first on the path.

    Raises:
        AppError: `app-not-importable`, `app-not-found`, `app-not-callable`.
    """
    module_name, _, attribute = name.partition(":")
    sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            fact = f"there is no module {module_name!r} in {folder} or on the Python path"
            raise AppError("app-not-found", fact, _DEMAND) from None
        raise _broken(name, error) from error
    except BaseException as error:
        raise _broken(name, error) from error
    app = _attribute(module, name, attribute)
    interface = interface_of(app, name)
    introduce(app)
    return app, interface


def _attribute(module: ModuleType, name: str, attribute: str) -> Any:  # noqa: ANN401 - whatever the user named
    target: Any = module
    for part in attribute.removesuffix("()").split("."):
        if not hasattr(target, part):
            fact = f"{name.partition(':')[0]} has no {attribute.removesuffix('()')!r}"
            raise AppError("app-not-found", fact, _DEMAND)
        target = getattr(target, part)
    if attribute.endswith("()"):
        try:
            target = target()
        except BaseException as error:
            raise _broken(name, error) from error
    return target


def interface_of(app: object, name: str) -> Interface:
    """WSGI takes (environ, start_response), ASGI awaits (scope, receive, send)."""
    if inspect.isclass(app):
        raise AppError("app-not-callable", f"{name} is a class, not an application", "name an instance of it")
    if not callable(app):
        raise AppError("app-not-callable", f"{name} is {type(app).__name__}, which cannot be called", _DEMAND)
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(getattr(app, "__call__", None)):  # noqa: B004 - which kind of callable
        return "asgi"
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return "wsgi"
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.kind in kinds and p.default is inspect.Parameter.empty]
    return "asgi" if len(required) == 3 else "wsgi"


def _broken(name: str, error: BaseException) -> AppError:
    fact = f"{name} cannot be imported: {type(error).__name__}: {_one_line(error)}"
    remedy = "mend what its traceback shows"
    return AppError("app-not-importable", fact, remedy, traceback=shortened(error))


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:300] or "no message"


def shortened(error: BaseException) -> str:
    """The traceback of the user's own frames, the innermost eight."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_OURS, "<frozen importlib"))
        and "importlib" + os.sep not in frame.filename
    ]
    lines = traceback.format_list(frames[-_FRAMES:])
    lines += traceback.format_exception_only(error)
    return "".join(lines).rstrip()
