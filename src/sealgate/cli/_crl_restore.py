"""``sealgate crl take-over``: what a state directory from a backup lacks, from a newer list of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from sealgate.cli._client_asking import answer_of
from sealgate.cli._client_revoke import tell_doors
from sealgate.cli._options import common_options, load_context
from sealgate.cli._output import note, print_json
from sealgate.errors import CertificateError, UsageError

__all__ = ["take_over"]

_LARGEST = 128 * 1024 * 1024
_PART = 5000  # an order is a line of 1 MiB at most
_FEW = 5


@click.command("take-over", short_help="Revoke whom a list of your own names: after a backup was restored.")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE|-")
@common_options
def take_over(*, file: Path, config: Path | None, state: Path | None, as_json: bool) -> None:
    """Revoke everybody on FILE, a list (PEM or DER) that this state directory's clients authority signed.

    For a state directory that came from a backup: give the newest copy of the list that anybody has,
    published or kept by a server. Certificates that the store does not know are revoked too. Nobody is let in
    by it: an older list only adds, and a hold that was released here since stays released.
    """
    from sealgate.pki.clients.restoring import listed, own_list_of
    from sealgate.pki.crl import number_of
    from sealgate.pki.inspect import issuer_key_hash
    from sealgate.pki.state import State
    from sealgate.pki.vault import load_certificates

    context = load_context(config, state, as_json, missing_ok=True)
    certificates = load_certificates(State.open(context.state_path, create=False))
    if not certificates:
        raise CertificateError(
            "crl-not-ours",
            f"there is no private authority in {context.state_path} whose list it could be",
            "name the right state directory with --state",
        )
    issuer, name = certificates["clients"], "standard input" if str(file) == "-" else str(file)
    crl = own_list_of(_bytes_of(file, name), issuer, name)
    number, entries = number_of(crl), listed(crl)
    answer: dict[str, Any] = {}
    taken: list[str] = []
    order = {"order": "client-take-over", "issuer_key": issuer_key_hash(issuer), "number": number}
    for part, more in _parts(entries):
        told = [[serial, at.isoformat(), reason] for serial, at, reason in part]
        answer = answer_of(context, order | {"entries": told, "more": more})
        taken += (one["serial"] for one in answer["taken"])
    told_all = {"number": number, "listed": len(entries), "taken": taken, "doors": answer.get("doors")}
    if as_json:
        print_json(told_all)
        return
    few = f": {', '.join(taken[:_FEW])}{', ...' if len(taken) > _FEW else ''}" if taken else ""
    note(
        f"list {number} of {crl.last_update_utc:%Y-%m-%d %H:%M} UTC names {len(entries)},"
        f" of whom {len(taken)} were not revoked here and are now{few}"
    )
    tell_doors(answer, revoked=True)


def _parts(entries: list[Any]) -> Iterator[tuple[list[Any], bool]]:
    """In portions, and whether there are more; at least one, which may be empty."""
    for at in range(0, len(entries) or 1, _PART):
        yield entries[at : at + _PART], at + _PART < len(entries)


def _bytes_of(path: Path, name: str) -> bytes:
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(_LARGEST + 1)
        else:
            with path.open("rb") as file:
                data = file.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(
            "crl-unreadable", f"{name} cannot be read ({error.strerror})", "name a file that can"
        ) from error
    if len(data) > _LARGEST:
        raise UsageError(
            "crl-unreadable", f"{name} is larger than {_LARGEST >> 20} MiB", "give a list of your own clients"
        )
    return data
