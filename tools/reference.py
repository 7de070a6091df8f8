"""Writes docs/reference/ from the source: the policy's keys, commands, errors, TLS profiles.

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
from sealgate.policy.fields import Shape, shape_of, written
from sealgate.policy.later import LATER_KEYS, LATER_VALUES
from sealgate.policy.model import Policy
from sealgate.policy.overrides import variable
from sealgate.policy.profiles import load_profile, profile_ids

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference"
ERRORS = ROOT / "docs" / "errors"
NOTE = "<!-- Written by `make docs` from the source; a change here is lost. -->\n"


def pages() -> dict[str, str]:
    """Every page by its file name."""
    return {
        "policy.md": _page("The policy file", _policy()),
        "commands.md": _page("The commands", _commands()),
        "errors.md": _page("The errors", _errors()),
        "profiles.md": _page("TLS profiles", _profiles()),
    }


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
    yield ""
    yield "## Not yet"
    yield ""
    yield "The design names these too. In this version they are refused, because nothing would enforce them."
    yield ""
    keys = [f"`{key}`" for key in sorted(LATER_KEYS)]
    keys += [f'`{key} = "{value}"`' for key in sorted(LATER_VALUES) for value in sorted(LATER_VALUES[key])]
    yield ",\n".join(keys) + "."


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
        if (inner := key.element or key).model is not None:
            tables.append((inner, where, key.element is not None))
        if key.model is None:
            override = "" if in_list or not path else variable(where)
            cells = (_code(name), _code(written(key, info.default)), _cell(key.expected()))
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
