"""Options that every command has, and what they lead to.

A command is written as::

    @click.command()
    @common_options
    def command(config: Path | None, state: Path | None, as_json: bool) -> None:
        context = load_context(config, state, as_json)
        context.policy, context.state_path
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sealgate.cli._output import note

if TYPE_CHECKING:
    from sealgate.pki.state import State
    from sealgate.policy.load import Loaded
    from sealgate.policy.model import Policy

__all__ = ["ROOT_STATE", "Context", "common_options", "load_context"]

ROOT_STATE = Path("/var/lib/sealgate")

_Command = TypeVar("_Command", bound=Callable[..., Any])


def common_options(command: _Command) -> _Command:
    """Give a command ``-c/--config``, ``--state`` and ``--json`` (as ``config``, ``state``, ``as_json``)."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout."),
        click.option(
            "--state",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="State directory.  [default: $SEALGATE_STATE; /var/lib/sealgate for root;"
            " else .sealgate beside FILE]",
        ),
        click.option(
            "-c",
            "--config",
            type=click.Path(path_type=Path),
            metavar="FILE",
            envvar="SEALGATE_CONFIG",
            help="Policy file.  [default: $SEALGATE_CONFIG, else sealgate.toml]",
        ),
    ):
        command = option(command)
    return command


class Context:
    """A call's policy and state directory; nothing is read before it is asked for.

    Attributes:
        json: was JSON asked for.
    """

    def __init__(self, config: Path | None, state: Path | None, *, json: bool, missing_ok: bool) -> None:
        self._config = config
        self._state = state
        # A file that was named must be there, whatever the command could do without one.
        self._missing_ok = missing_ok and config is None
        self.json = json

    @cached_property
    def loaded(self) -> Loaded:
        """The policy with its sources.

        Raises:
            PolicyError: see ``sealgate.policy.load.load``.
        """
        from sealgate.policy.load import load

        return load(self._config, environ=os.environ, euid=os.geteuid(), missing_ok=self._missing_ok)

    @property
    def policy(self) -> Policy:
        """The policy itself."""
        return self.loaded.policy

    @property
    def base(self) -> Path:
        """Directory of the policy file; relative paths in the policy start here."""
        return self._config.absolute().parent if self._config else Path.cwd()

    @property
    def state_path(self) -> Path:
        """The state directory, absolute; it need not exist yet."""
        if self._state is not None:
            return self._state.absolute()
        if named := os.environ.get("SEALGATE_STATE"):
            return Path(named).absolute()
        return ROOT_STATE if os.geteuid() == 0 else self.base / ".sealgate"

    def open_state(self, *, create: bool = True) -> State:
        """The state directory, opened. Where nobody named one and it is new, one line says where it is.

        Keys will lie there; who does not know where can neither back them up nor take them away.

        Args:
            create: make it where it is missing.

        Raises:
            StateError, StateInsecure: see ``sealgate.pki.state.State.open``.
        """
        from sealgate.pki.state import State

        path = self.state_path
        new = self._state is None and not os.environ.get("SEALGATE_STATE") and not path.exists()
        state = State.open(path, create=create)
        if new:
            note(f"sealgate: state and keys are in {path}, made now; --state or SEALGATE_STATE names another")
        return state


def load_context(
    config: Path | None,
    state: Path | None,
    as_json: bool = False,  # noqa: FBT001, FBT002 - as click hands it over
    *,
    missing_ok: bool = False,
) -> Context:
    """The context of a call with :func:`common_options`.

    Args:
        config: the value of ``--config``, or None.
        state: the value of ``--state``, or None.
        as_json: was ``--json`` given.
        missing_ok: without ``--config``, an absent ``sealgate.toml`` is the empty, strict policy.
    """
    return Context(config, state, json=as_json, missing_ok=missing_ok)
