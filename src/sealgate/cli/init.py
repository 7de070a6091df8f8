"""``sealgate init``: a commented ``sealgate.toml``, by a few questions or by flags."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealgate._system.files import write_atomic
from sealgate.cli._application import find_applications
from sealgate.cli._output import note, print_json
from sealgate.cli._servers import ENGINES, INSTALLED, SERVERS
from sealgate.errors import PolicyError, UsageError
from sealgate.policy.quoting import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealgate.cli._importing import Imported
    from sealgate.policy.model import Policy

__all__ = ["command"]

Chosen = dict[tuple[str, ...], Any]

# Readable by all: it holds no secret, and editors, reviews and other users' `check` read it. Writable by its
# owner alone: whoever can change it decides what is secure.
_MODE = 0o644
_NAME = Path("sealgate.toml")
_HERE, _EVERYWHERE = ("127.0.0.1:8443", "127.0.0.1:8080"), ("0.0.0.0:443", "0.0.0.0:80")

_FLAGS: tuple[tuple[str, tuple[str, ...], bool, str], ...] = (
    ("--app", ("site", "app"), False, "The application, module:attribute."),
    (
        "--upstream",
        ("site", "upstream"),
        False,
        "Or another backend: http://host:port, https://…, unix:/path.",
    ),
    ("--name", ("site", "names"), True, "A DNS name or IP address of the site; may be repeated."),
    ("--engine", ("site", "engine"), False, f"The server in front: {', '.join(ENGINES)}."),
    ("--https", ("listen", "https"), True, "Address and port for HTTPS; may be repeated."),
    (
        "--http",
        ("listen", "http"),
        True,
        'Address and port for plain HTTP; may be repeated; "off" closes it.',
    ),
    ("--profile", ("tls", "profile"), False, "TLS profile."),
    ("--clients", ("clients", "mode"), False, "Client certificates: off, optional or required."),
)


def _with_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    for flag, path, many, about in reversed(_FLAGS):
        command = click.option(flag, "_".join(path), multiple=many, metavar="TEXT", help=about)(command)
    return command


@click.command()
@click.option(
    "-c", "--config", type=click.Path(path_type=Path), metavar="FILE", default=_NAME,
    envvar="SEALGATE_CONFIG",
    help="File to write.  [default: $SEALGATE_CONFIG, else sealgate.toml]",
)  # fmt: skip
@_with_flags
@click.option(
    "--from",
    "origin",
    type=click.Choice(SERVERS),
    metavar="SERVER",
    help="Propose what an installed server's configuration says: nginx. --name chooses among several sites.",
)
@click.option(
    "--server-config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Its configuration file, with --from.  [default: what `nginx -T` prints]",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--print", "to_stdout", is_flag=True, help="Print it instead of writing it.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def command(
    config: Path,
    origin: str | None,
    server_config: Path | None,
    force: bool,  # noqa: FBT001 - click's way
    to_stdout: bool,  # noqa: FBT001 - as above
    as_json: bool,  # noqa: FBT001 - as above
    **flags: Any,  # noqa: ANN401 - each option has a type of its own
) -> None:
    """Write a commented sealgate.toml.

    Without flags, on a terminal, it asks a few questions. With --from it reads another server's
    configuration, of which nothing is changed, and lists what a policy cannot say.
    """
    from sealgate.policy.load import loads
    from sealgate.policy.template import policy_template

    path = config.absolute()
    if not to_stdout:
        _refuse_existing(path, force=force)
    chosen = _from_flags(flags)
    imported = _imported(origin, server_config, chosen)
    if imported is not None:
        chosen = imported.chosen
    elif not chosen and sys.stdin.isatty() and not (to_stdout or as_json):
        chosen = _asked(path.parent)
    elif not {("site", "app"), ("site", "upstream")} & chosen.keys():
        chosen |= _detected(path.parent)
    text = (
        policy_template(chosen)
        if imported is None
        else policy_template(chosen, remarks=imported.remarks, preface=imported.preface)
    )
    try:
        # No environment: the file must be right wherever it is read.
        policy = loads(text, path=path, environ={}).policy
    except PolicyError as error:
        raise _about_flags(error) from None
    if to_stdout:
        click.echo(text, nl=False)
        return
    write_atomic(path, text.encode(), mode=_MODE)
    if as_json:
        document = {"policy": str(path), "url": policy.public_url, "app": policy.site.app or None}
        if imported is not None:
            document |= imported.as_json() | {"apply_refuses": _refused_there(policy)}
        print_json(document)
        return
    if imported is not None:
        imported.tell()
    if imported is not None and policy.site.upstream and policy.site.engine in INSTALLED:
        if refused := _refused_there(policy):
            said = f"{refused[0]['key']}: {refused[0]['fact']}"
            note(printable(f"sealgate: `sealgate apply` would refuse this policy: {said}"))
        else:
            _next_steps_installed(path, imported.main)
            return
    _next_steps(path, serves=bool(policy.site.app or policy.site.upstream), url=policy.public_url)


def _imported(origin: str | None, file: Path | None, flags: Chosen) -> Imported | None:
    if origin is None:
        if file is not None:
            raise UsageError("usage-wrong", "--server-config without --from", "add --from nginx")
        return None
    from sealgate.cli._importing import read_server

    return read_server(origin, file, flags)


def _refuse_existing(path: Path, *, force: bool) -> None:
    if path.is_dir():
        raise UsageError("usage-wrong", f"{printable(str(path))} is a directory", "name a file")
    if os.path.lexists(path) and not force:
        fact = f"{printable(path.name)} is there already"
        raise UsageError("policy-exists", fact, "edit it, or replace it with --force")


def _about_flags(error: PolicyError) -> PolicyError:
    """The same mistakes, where they were made: there is no file yet."""
    flags = {".".join(path): flag for flag, path, _, _ in _FLAGS}
    problems = tuple(
        replace(p, line=None, origin=flags.get(p.key.partition("[")[0], "")) for p in error.problems
    )
    said = str(problems[0]) if len(problems) == 1 else f"{len(problems)} mistakes"
    return PolicyError(error.code, f"nothing was written: {said}", "call it again", problems)


def _from_flags(flags: dict[str, Any]) -> Chosen:
    chosen: Chosen = {}
    for _, path, many, _ in _FLAGS:
        value = flags["_".join(path)]
        if value is None or value == ():
            continue
        closed = path == ("listen", "http") and value == ("off",)
        chosen[path] = (() if closed else tuple(value)) if many else value
    return chosen


def _detected(folder: Path) -> Chosen:
    found = find_applications(folder)
    if len(found) != 1:
        if found:
            note(f"sealgate: several applications here: {', '.join(found[:5])}; choose one with --app")
        return {}
    note(f"sealgate: found the application {found[0]}")
    return {("site", "app"): found[0]}


def _asked(folder: Path) -> Chosen:
    """A few questions; every answer is judged at once, by the policy itself."""
    found = find_applications(folder)
    click.echo("A few questions; Enter takes what stands in brackets.\n", err=True)
    backend = _ask("What is served: module:app, or the URL of a backend", found[0] if found else "", _backend)
    names = _ask("Names that clients type, with commas", "localhost", _names)
    here = not click.confirm("Shall other machines reach it", default=False, err=True)
    https, http = _HERE if here else _EVERYWHERE
    chosen: Chosen = {**backend, **names, ("listen", "https"): (https,), ("listen", "http"): (http,)}
    if click.confirm("Must clients show a certificate of your own authority", default=False, err=True):
        chosen["clients", "mode"] = "required"
    return chosen


def _ask(question: str, default: str, judge: Callable[[str], Chosen]) -> Chosen:
    def judged(answer: str) -> Chosen:
        chosen = judge(answer)
        try:
            _judge(chosen)
        except PolicyError as error:
            said = error.problems[0]
            raise click.BadParameter(f"{said.fact}; expected {said.expected}") from None
        return chosen

    answer: Chosen = click.prompt(question, default=default, value_proc=judged, err=True)
    return answer


def _judge(chosen: Chosen) -> None:
    from sealgate.policy.load import loads
    from sealgate.policy.template import policy_template

    loads(policy_template(chosen), path=_NAME.absolute(), environ={})


def _backend(answer: str) -> Chosen:
    if not answer:
        return {}
    is_url = answer.startswith(("http://", "https://", "unix:"))
    return {("site", "upstream" if is_url else "app"): answer}


def _names(answer: str) -> Chosen:
    return {("site", "names"): tuple(name.strip() for name in answer.split(",") if name.strip())}


def _next_steps(path: Path, *, serves: bool, url: str) -> None:
    config = _option(path)
    serve = f"sealgate serve{config}" if serves else f"sealgate serve{config} module:app"
    note(f"sealgate: wrote {path}")
    for line, what in ((f"sealgate check{config}", "who enforces what"), (serve, f"run it at {url}")):
        note(printable(f"  {line:<26} {what}"))


def _option(path: Path) -> str:
    """How the next command finds the file: by itself, where it stands under its usual name."""
    if path == _NAME.absolute():
        return ""
    near = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f" -c {shlex.quote(str(near))}"


def _refused_there(policy: Policy) -> list[dict[str, str]]:
    """What a server that runs already cannot enforce of the policy; empty: `apply` would take it."""
    from sealgate.engines.contract import enforced_rows
    from sealgate.engines.installed.contract import included

    try:
        kind = included(policy.site.engine)
        enforced_rows(f"an installed {kind.title}", kind.capabilities(policy))
    except (PolicyError, UsageError) as error:
        found = error.problems if isinstance(error, PolicyError) else ()
        rows = [{"key": one.key, "fact": one.fact, "remedy": one.expected} for one in found]
        return rows or [{"key": "site.engine", "fact": error.fact, "remedy": error.remedy}]
    return []


def _next_steps_installed(path: Path, main: str) -> None:
    """For a server that runs already: it goes on serving, with our site in it."""
    server = f"--server-config {shlex.quote(main)}{_option(path)}"
    note(f"sealgate: wrote {path}")
    for command, what in (("plan", "what would change there"), ("apply", "do it, after asking")):
        note(printable(f"  sealgate {command} {server}    {what}"))
