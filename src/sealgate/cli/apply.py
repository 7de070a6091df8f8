"""``sealgate apply``: put the site into an installed server, and see it served."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealgate.cli._installed import apply_to, confirmed, open_server, server_options
from sealgate.cli._options import Context, load_context
from sealgate.cli._output import note, print_json
from sealgate.cli.plan import apply_command, describe, show
from sealgate.errors import ControlError, EngineRefused, Exit
from sealgate.policy.quoting import printable

if TYPE_CHECKING:
    from sealgate.engines.installed.trial import Trial
    from sealgate.policy.model import Policy

__all__ = ["command"]


def obtained(context: Context) -> bool:
    """Get a certificate from ACME where one is due and nobody else does: is there another one?

    Raises:
        SealgateError: none could be had; the server goes on with what it has.
    """
    if context.policy.certificate.source != "acme":
        return False
    from sealgate.runtime.control import ask
    from sealgate.runtime.unattended import renew

    try:
        ask(context.state_path, {"order": "ping"})
    except ControlError as error:
        if error.code != "keeper-not-running":
            raise
    else:
        return False  # the keeper's affair
    state = context.open_state()
    return bool(renew(state, context.loaded, force=False, say=note)["renewed"])


def _refused(tried: Trial) -> None:
    """Raises EngineRefused where the server's own check does not take it."""
    if tried.accepted is False:
        raise EngineRefused("engine-refused", tried.said, tried.remedy)


def follow_ups(policy: Policy, root: Path, again: str) -> list[str]:
    """What is left for people once the site is served: somebody renews, and clients trust the root."""
    said = [f"it is renewed by a daily timer that calls: {again} --yes"]
    if policy.certificate.source == "private":
        said.append(f"its clients must trust {root}; this machine does after: sealgate trust")
    return said


@click.command("apply", short_help="Put the site into an installed server, and see it served.")
@server_options
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(
    *,
    config: Path | None,
    state: Path | None,
    as_json: bool,
    engine: str | None,
    server_config: Path | None,
    engine_untested: bool,
    yes: bool,
) -> int:
    """Put the site into an installed nginx, Apache or Gunicorn: our file, one include line, a reload, a look.

    What differs from the policy afterwards is undone, byte for byte. Again at any time: it renews the
    certificate where that is due and changes nothing else that is as it should be.
    """
    from sealgate.engines.installed.change import gather
    from sealgate.engines.installed.inherits import refuse

    context = load_context(config, state, as_json)
    with open_server(
        context, name=engine, config=server_config, untested=engine_untested, changing=True
    ) as server:
        disk = gather(server.place)
        document = describe(server, disk, server.wanted())
        if document["changes"] and not yes:
            refuse(server.inherited())
            _refused(tried := server.tried(disk))  # nobody is asked for what cannot be
            if not as_json:
                show(document | {"check": asdict(tried)})
            if not confirmed("Do this?", as_json=as_json):
                note("nothing was changed")
                return Exit.NO
        changed, number = apply_to(server)
        # Only now does the server answer the authority's questions.
        if obtained(context):
            changed, number = apply_to(server)
            document["certificate"] = describe(server, gather(server.place), server.wanted())["certificate"]
    if as_json:
        print_json({"changed": changed, "version": number, "certificate": document["certificate"]})
    else:
        what = "is served" if changed else "is served already; nothing was changed"
        note(f"{context.policy.public_url} {what}")
        options = {"--engine": engine, "--server-config": server_config, "-c": config, "--state": state}
        again = apply_command(options, untested=engine_untested)
        for said in follow_ups(context.policy, server.state.root_pem, again) if changed else ():
            note(printable(f"  {said}"))
    return Exit.DONE
