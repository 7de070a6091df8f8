"""TLS contexts of Python that are changed while sessions begun under them go on."""

from __future__ import annotations

import ast
from collections.abc import Iterator

__all__ = ["changed_in_place"]

_LOADING = frozenset({"load_verify_locations", "load_cert_chain"})


def changed_in_place(tree: ast.AST) -> Iterator[int]:
    """Lines where a function loads into a context which it did not make, in a file that leaves tickets on."""
    words = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    if {"num_tickets", "OP_NO_TICKET"} <= words:
        return
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _in_function(function)


def _in_function(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[int]:
    own = {argument.arg for argument in function.args.args}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            own |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _LOADING:
            context = node.func.value
            foreign = isinstance(context, ast.Name) and context.id not in own
            # `config.ssl` is the context that uvicorn serves with.
            if foreign or (isinstance(context, ast.Attribute) and context.attr == "ssl"):
                yield node.lineno
