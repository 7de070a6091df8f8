"""The entry point: finds commands by their modules, and turns every end into an exit status.

Exit status: 0 done; 1 the answer is "no"; 2 the call or the policy is wrong; 3 something failed on the way;
130 interrupted. An error is one sentence on stderr. A traceback is shown only with ``SEALGATE_DEBUG=1``.

Each module ``cli/<name>.py`` exports ``command``; it is imported only when that command is called.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

import sealgate
from sealgate.errors import Exit, SealgateError, UsageError

__all__ = ["cli", "main", "run"]

_INTERRUPTED = 130  # 128 + SIGINT, as shells count
_PIPE_CLOSED = 141  # 128 + SIGPIPE
# In the order people need them; whatever else is found follows by name.
_ORDER = (
    *("init", "check", "serve", "plan", "apply", "observe", "rollback"),
    *("trust", "cert", "client", "status"),
)


class _Commands(click.Group):
    """A group whose commands are the modules beside this one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        names = [name.replace("_", "-") for name in _modules()]
        return sorted(names, key=lambda n: (_ORDER.index(n) if n in _ORDER else len(_ORDER), n))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        name = cmd_name.replace("-", "_")
        if name not in _modules():
            return None
        command = importlib.import_module(f"sealgate.cli.{name}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"sealgate.cli.{name}.command is not a command")
        command.name = cmd_name
        return command


def _modules() -> list[str]:
    found = pkgutil.iter_modules([os.path.dirname(__file__)])  # noqa: PTH120 - pathlib is not needed for this
    return [m.name for m in found if not m.name.startswith("_") and m.name != "main"]


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(sealgate.__version__, message="sealgate %(version)s")
def cli() -> None:
    """Put an API behind HTTPS and keep it there.

    One policy file, sealgate.toml, says what secure means. Begin with `sealgate init`.
    """


def main() -> NoReturn:
    """Run the ``sealgate`` program."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal that cannot show a letter gets its escape, not a traceback.
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one call.

    Returns:
        The exit status; nothing is raised.
    """
    try:
        status = _invoke(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # `sealgate cert list | head`: the reader had enough. Python must not complain again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _PIPE_CLOSED
    except KeyboardInterrupt:
        return _INTERRUPTED
    return status


def _invoke(arguments: Sequence[str]) -> int:
    try:
        if "_SEALGATE_COMPLETE" in os.environ:
            cli.main(prog_name="sealgate")  # click's own answer to a shell that completes a line
        # Not cli.main: it turns a closed pipe into status 1, which here means "no".
        with cli.make_context("sealgate", list(arguments)) as context:
            result = cli.invoke(context)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        return _INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        # Nothing was asked: what can be asked is the answer, not a complaint.
        click.echo(error.format_message(), err=True)
        return Exit.WRONG
    except click.ClickException as error:
        return _report(_usage(error), arguments)
    except SealgateError as error:
        return _report(error, arguments)
    except (KeyboardInterrupt, BrokenPipeError):
        raise
    except Exception as error:  # noqa: BLE001 - the last place where a traceback can become a sentence
        return _report(_internal(error), arguments)
    return result if isinstance(result, int) else Exit.DONE


def _usage(error: click.ClickException) -> UsageError:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "sealgate"
    fact = error.format_message().strip().rstrip(".")
    return UsageError("usage-wrong", f"{fact[:1].lower()}{fact[1:]}", f"see `{path} --help`")


def _internal(error: Exception) -> SealgateError:
    if os.environ.get("SEALGATE_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    kind = type(error).__name__
    return SealgateError(
        "internal-error",
        f"Sealgate {sealgate.__version__} did something wrong itself ({kind})",
        "run it again with SEALGATE_DEBUG=1 and report what it prints, after taking out what is private",
    )


def _report(error: SealgateError, arguments: Sequence[str]) -> int:
    from sealgate.cli._output import error_document, print_error, print_json

    if "--json" in arguments:
        print_json(error_document(error))
    print_error(error)
    return error.exit
