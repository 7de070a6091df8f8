"""Writes docs/reference/ from the source: the policy's keys, commands, errors, TLS profiles, engines.

Usage: ``python tools/reference.py [--check]``. With ``--check`` nothing is written; exit status 1 if a page
is not what the source says. A test does the same.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from sealgate.cli.main import cli
from sealgate.engines.traps.registry import trapped
from sealgate.policy.fields import Shape, leaves, shape_of, written
from sealgate.policy.model import Policy
from sealgate.policy.overrides import variable
from sealgate.policy.profiles import load_profile, profile_ids
from sealgate.policy.secrets import SecretRef

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # called as a script: then it is this file's own folder instead
    sys.path.insert(0, str(ROOT))
FOLDER = ROOT / "docs" / "reference"
ERRORS = ROOT / "docs" / "errors"
NOTE = "<!-- Written by `make docs` from the source; a change here is lost. -->\n"


_OVERRIDES = frozenset(path for path, _ in leaves(shape_of(Policy)))


def pages() -> dict[str, str]:
    """Every page by its file name."""
    return {
        "policy.md": _page("The policy file", _policy()),
        "commands.md": _page("The commands", _commands()),
        "errors.md": _page("The errors", _errors()),
        "profiles.md": _page("TLS profiles", _profiles()),
        "engines.md": _page("The engines", _engines()),
        "access-log.md": _page("The access log", _access_log()),
        "traps.md": _page("Traps in other servers' configurations", _traps()),
    }


def _traps() -> Iterator[str]:
    yield "Settings that do not do what they seem to. `sealgate check --server-config FILE` names each"
    yield "with the file and line where it was seen; exit status 1 if there is any. Nothing is changed, and"
    yield "nothing in the file is run. `--engine` says whose FILE it is, where that cannot be seen."
    for server in trapped():
        yield from ("", f"## {server.title}", "", f"`--engine {server.id}`; FILE is {server.reads}.", "")
        for known in server.known:
            yield from (
                f"### {known.id}",
                "",
                f"**{known.title}**: {known.why}.",
                "",
                f"Instead: {known.remedy}",
                "",
            )


def _engines() -> Iterator[str]:
    from tools.engines_page import lines

    return lines()


def _access_log() -> Iterator[str]:
    from tools.access_log_page import lines

    return lines()


def _page(title: str, lines: Iterator[str]) -> str:
    text = "\n".join([f"# {title}", "", NOTE, *lines]).rstrip() + "\n"
    return re.sub(r"\n{3,}", "\n\n", text)


def _cell(text: str) -> str:
    """Text in a Markdown table: bars would end the cell, line ends the row."""
    return " ".join(text.split()).replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _policy() -> Iterator[str]:
    yield "`sealgate.toml` is TOML. An empty file is valid and strict; unknown keys are refused, and all"
    yield "mistakes are told at once. Every key can be set by the variable in the last column; lists there"
    yield "are separated by commas. `sealgate schema` prints the same for editors, `sealgate init` writes a"
    yield "commented file."
    yield from _table_page(shape_of(Policy), (), in_list=False)


def _table_page(shape: Shape, path: tuple[str, ...], *, in_list: bool) -> Iterator[str]:
    model = shape.model
    if model is None:
        return
    yield from _heading(path, inspect.getdoc(model) or "", in_list=in_list)
    yield "| key | default | expected | what it does | variable |"
    yield "|---|---|---|---|---|"
    tables: list[tuple[Shape, tuple[str, ...], bool]] = []
    for name, info in model.model_fields.items():
        key, where = shape.key(name), (*path, name)
        if key is None:
            continue
        secret = key.model is SecretRef
        if (inner := key.inner).model is not None and not secret:
            tables.append((inner, (*where, "NAME") if key.value else where, inner is not key))
        if key.model is None or secret:
            override = variable(where) if where in _OVERRIDES and path and not secret else ""
            default = "" if info.is_required() else written(key, info.default)
            expected = '`{ file = "..." }` or `{ env = "..." }`' if secret else _cell(key.expected())
            cells = (_code(name), _code(default), expected)
            yield f"| {' | '.join(cells)} | {_cell(info.description or '')} | {_code(override)} |"
    for table, where, is_list in tables:
        yield from _table_page(table, where, in_list=is_list)


def _heading(path: tuple[str, ...], about: str, *, in_list: bool) -> Iterator[str]:
    name = ".".join(path)
    title = f"`[[{name}]]`" if in_list else f"`[{name}]`"
    yield from ("", f"## {title}" if path else "## At the top", "", about if path else "", "")


def _commands() -> Iterator[str]:
    yield "Exit status: 0 done; 1 the answer is no; 2 the call or the policy is wrong; 3 something failed."
    yield "Errors are one sentence with a [code](errors.md). The order is the one people need them in."
    context = click.Context(cli, info_name="sealgate")
    yield from _group(cli, context)


def _group(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        yield from _command(command, inner)
        if isinstance(command, click.Group):
            yield from _group(command, inner)


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    yield ""
    yield f"## `{context.command_path}`"
    yield ""
    yield f"```\n{context.command_path} {usage}\n```"
    yield ""
    yield inspect.cleandoc(command.help or "").replace("\b\n", "")
    options = [p.get_help_record(context) for p in command.params]
    records = [record for record in options if record]
    if records:
        yield ""
        yield "| option | what it does |"
        yield "|---|---|"
        yield from (f"| `{_cell(names)}` | {_cell(about)} |" for names, about in records)


def _errors() -> Iterator[str]:
    yield "Every error is one sentence: a stable code, the fact, what to do. `--json` gives them apart."
    yield ""
    yield "| code | what happened |"
    yield "|---|---|"
    for page in sorted(ERRORS.glob("*.md")):
        if page.stem == "index":
            continue
        yield f"| [`{page.stem}`](../errors/{page.name}) | {_cell(_first_sentence(page.read_text()))} |"


def _first_sentence(text: str) -> str:
    match = re.search(r"\*\*What happened\.?\*\*\.?\s*(.+?\.)(?=\s|$)", text, re.DOTALL)
    return match[1] if match else ""


def _profiles() -> Iterator[str]:
    yield "A profile is dated data: what its name means never changes. Set it with `tls.profile`."
    for name in profile_ids():
        profile = load_profile(name)
        yield ""
        yield f"## `{name}`"
        yield ""
        yield f"{profile.source}, {profile.date:%Y-%m-%d}."
        yield ""
        yield "| | |"
        yield "|---|---|"
        rows = (
            ("protocols", profile.protocols),
            ("TLS 1.2 suites", profile.tls12_suites),
            ("TLS 1.3 suites", profile.tls13_suites),
            ("groups", profile.groups),
            ("signatures", profile.signature_algorithms),
            ("certificate keys", profile.certificate_types),
        )
        for title, values in rows:
            yield f"| {title} | {', '.join(values) or 'none'} |"


def stale() -> list[str]:
    """Pages that are not what the source says, those that should not be there too."""
    wanted = pages()
    there = {path.name: path.read_text() for path in FOLDER.glob("*.md")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def main() -> int:
    """Write the pages, or say which are stale."""
    if sys.argv[1:] == ["--check"]:
        for name in stale():
            print(f"docs/reference/{name} is not current; run `make docs`")
        return bool(stale())
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = pages()
    for path in FOLDER.glob("*.md"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
