"""``sealgate crl``: lists of revoked clients."""

from __future__ import annotations

import click

from sealgate.cli._crl_restore import take_over

__all__ = ["command"]


@click.group(short_help="Lists of revoked clients.")
def command() -> None:
    """Lists of revoked clients."""


command.add_command(take_over)
