"""The options of ``sealgate check --explain``; what they do is in ``_explain.py``, which loads more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["options"]


def options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Who would call, and for what."""
    for option in reversed(
        (
            click.option(
                "--explain",
                nargs=2,
                metavar="METHOD PATH",
                help="Which rule of [access] decides on this request, and why. 1: it is refused.",
            ),
            click.option("--group", "groups", multiple=True, metavar="G", help="A group of the caller's."),
            click.option("--authority", metavar="A", help="The authority of the caller's certificate."),
            click.option("--scope", "scopes", multiple=True, metavar="S", help="The caller's token has it."),
            click.option("--token", is_flag=True, help="The caller has a token, perhaps without scopes."),
            click.option("--address", metavar="IP", help="Where the caller is."),
        )
    ):
        function = option(function)
    return function
