"""`sealgate serve`: run it all in the foreground."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import click

from sealgate.cli._options import Context, common_options, load_context
from sealgate.cli._servers import ENGINES
from sealgate.errors import AppError
from sealgate.policy.load import Loaded, load
from sealgate.policy.overrides import Override

__all__ = ["command"]


@click.command("serve", short_help="Put an app, or another backend, behind HTTPS.")
@click.argument("app", required=False)
@click.option(
    "--upstream", default=None, help="Another backend: http://host:port, https://host:port, unix:/path."
)
@click.option(
    "--engine",
    default=None,
    metavar="NAME",
    help=f"The server that does TLS and HTTP: {', '.join(ENGINES)}.  [default: site.engine]",
)
@click.option("--engine-untested", is_flag=True, help="Accept an engine of a version that was not tested.")
@common_options
def command(
    app: str | None,
    upstream: str | None,
    engine: str | None,
    engine_untested: bool,  # noqa: FBT001 - as click hands it over
    config: Path | None,
    state: Path | None,
    as_json: bool,  # noqa: FBT001 - as click hands it over
) -> None:
    """Serve APP ("module:attribute", WSGI or ASGI) or another backend behind HTTPS.

    SIGTERM finishes what is under way and stops; SIGHUP reloads the policy and the app.
    """
    context = load_context(config, state, as_json, missing_ok=True)
    overrides = _overrides(app, upstream, engine)

    def reload() -> Loaded:
        return load(
            config,
            environ=os.environ,
            euid=os.geteuid(),
            missing_ok=config is None,
            arguments=overrides,
        )

    loaded = reload()
    if not (loaded.policy.site.app or loaded.policy.site.upstream):
        raise AppError(
            "app-missing", "there is nothing to serve", "name it: sealgate serve module:app, or site.app"
        )
    _serve(context, loaded, reload, folder=Path.cwd() if app else loaded.base, untested=engine_untested)


def _overrides(app: str | None, upstream: str | None, engine: str | None) -> tuple[Override, ...]:
    """The call's own words, laid over file and environment; a mistake in them names the argument."""
    found: list[Override] = []
    if app is not None or upstream is not None:
        # Naming one backend takes back the other; naming both is the contradiction that it is.
        found.append(Override(("site", "app"), "APP", app or ""))
        found.append(Override(("site", "upstream"), "--upstream", upstream or ""))
    if engine is not None:
        found.append(Override(("site", "engine"), "--engine", engine))
    return tuple(found)


def _serve(
    context: Context, loaded: Loaded, reload: Callable[[], Loaded], *, folder: Path, untested: bool
) -> None:
    from sealgate.runtime.keeper import Keeper, Options

    state = context.open_state()
    keeper = Keeper(state, loaded, Options(reload, folder, untested))
    try:
        asyncio.run(keeper.run())
    except AppError as error:
        traceback = error.details.get("traceback")
        if traceback:
            click.echo(traceback, err=True)
        raise
