"""``sealgate client block`` and ``unblock``: single certificates of other people's authorities."""

from __future__ import annotations

from pathlib import Path

import click

from sealgate.cli._client_asking import answer_of
from sealgate.cli._options import common_options, load_context
from sealgate.cli._output import note, print_json, safe
from sealgate.errors import UsageError

__all__ = ["block", "unblock"]

_LARGEST = 64 * 1024


@click.command(short_help="Keep out a certificate of another authority.")
@click.argument("which", metavar="FINGERPRINT|FILE")
@common_options
@click.option("--note", "why", default="", metavar="TEXT", help="Why; shown by `client list --blocked`.")
def block(*, which: str, config: Path | None, state: Path | None, as_json: bool, why: str) -> None:
    """Keep out one certificate of an authority that is not yours, here and now, whatever its lists say.

    By its SHA-256 fingerprint (in the access log, or `openssl x509 -noout -fingerprint -sha256`), or by its
    PEM file. The next request is refused, on open connections too; an answer or a WebSocket that is under way
    is ended. One of your own is ended by `client revoke`.
    """
    context = load_context(config, state, as_json, missing_ok=True)
    answer = answer_of(context, {"order": "client-block", "which": _fingerprint(which), "note": why})
    if context.json:
        print_json(answer)
        return
    for one in answer["blocked"]:
        note(f"blocked: {one['fingerprint_sha256']}")
    if answer.get("doors"):
        note("its next request is refused, on connections that are open too; one under way is ended")
    else:
        note("no keeper runs here: it counts from the next start of: sealgate serve")


@click.command(short_help="Let a blocked certificate in again.")
@click.argument("which", metavar="FINGERPRINT|FILE")
@common_options
def unblock(*, which: str, config: Path | None, state: Path | None, as_json: bool) -> None:
    """Take a block back; the certificate's own authority and its lists still count."""
    context = load_context(config, state, as_json, missing_ok=True)
    answer = answer_of(context, {"order": "client-unblock", "which": _fingerprint(which)})
    if context.json:
        print_json(answer)
        return
    for one in answer["unblocked"]:
        note(
            f"no longer blocked: {one['fingerprint_sha256']}"
            + (f" ({safe(one['note'])})" if one["note"] else "")
        )


def _fingerprint(which: str) -> str:
    """As given; of a file, its first certificate's.

    Raises:
        UsageError: ``client-fingerprint``.
    """
    from cryptography import x509

    from sealgate.pki.inspect import fingerprint

    path = Path(which)
    if not path.is_file():
        if "/" in which or path.suffix:
            raise UsageError("client-fingerprint", f"there is no file {which}", "name one that is there")
        return which
    try:
        with path.open("rb") as file:
            return fingerprint(x509.load_pem_x509_certificate(file.read(_LARGEST)))
    except (OSError, ValueError) as error:
        raise UsageError(
            "client-fingerprint",
            f"there is no PEM certificate in {path} that can be read",
            "give its SHA-256 fingerprint, or a PEM file that begins with it",
        ) from error
