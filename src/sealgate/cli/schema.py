"""``sealgate schema``: the JSON Schema of the policy, for editors."""

from __future__ import annotations

import click

from sealgate.cli._output import print_json

__all__ = ["command"]


@click.command()
def command() -> None:
    """Print the JSON Schema of sealgate.toml, for editors."""
    from sealgate.policy.schema import policy_schema

    print_json(policy_schema())
