"""An OpenAPI document as it is read: YAML or JSON, one meaning only.

YAML is read as JSON has it: no key twice, no timestamps, keys are text (``200:`` is ``"200"``), and what an
alias would blow up beyond all measure is refused.
"""

from __future__ import annotations

from pathlib import Path

from sealgate.policy.openapi import Json
from sealgate.policy.openapi.mistakes import Unusable, pointer

__all__ = ["read"]

_LARGEST = 8 * 1024 * 1024
_MOST_NODES = 400_000
_DEEPEST = 100


def read(path: Path) -> dict[str, Json]:
    """The document.

    Raises:
        OSError: it cannot be read.
        Unusable: it is none.
    """
    with path.open("rb") as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise Unusable("", f"is larger than {_LARGEST} bytes", "split the service")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unusable("", "is not UTF-8", "save it as UTF-8") from None
    import yaml

    safe: Json = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # pure wheels have no libyaml

    class Loader(safe):  # type: ignore[misc]  # one of two
        """As JSON."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:timestamp"]
        for first, pairs in safe.yaml_implicit_resolvers.items()
    }
    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
    try:
        value = yaml.load(text, Loader=Loader)  # noqa: S506 - a safe loader, narrowed
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        what = getattr(error, "problem", None) or "it cannot be read"
        raise Unusable("", f"is neither YAML nor JSON{where}: {what}", "mend it there") from None
    except RecursionError:
        raise Unusable("", "is nested too deeply", "flatten it") from None
    plain = _Plain().of(value, "", 0)
    if not isinstance(plain, dict):
        raise Unusable("", "is no object", "write an OpenAPI document")
    return plain


def _mapping(loader: Json, node: Json) -> dict[Json, Json]:
    import yaml

    loader.flatten_mapping(node)
    found: dict[Json, Json] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str | int | float | bool):
            raise yaml.constructor.ConstructorError(None, None, "a key that is no text", key_node.start_mark)
        if key in found:
            raise yaml.constructor.ConstructorError(None, None, f"{key!r} a second time", key_node.start_mark)
        found[key] = loader.construct_object(value_node, deep=True)
    return found


class _Plain:
    """As JSON has it, and of a size that can be written down."""

    def __init__(self) -> None:
        self._nodes = 0

    def of(self, value: Json, where: str, depth: int) -> Json:
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise Unusable("", f"has more than {_MOST_NODES} nodes", "is an alias used again and again?")
        if depth > _DEEPEST:
            raise Unusable(where, "is nested too deeply, or within itself", "use $ref")
        if isinstance(value, dict):
            return {
                _key(key): self.of(one, where + pointer(_key(key)), depth + 1) for key, one in value.items()
            }
        if isinstance(value, list):
            return [self.of(one, where + pointer(at), depth + 1) for at, one in enumerate(value)]
        if value is None or isinstance(value, str | int | float | bool):
            return value
        raise Unusable(where, f"is a {type(value).__name__}, which JSON does not know", "quote it")


def _key(key: Json) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key)
