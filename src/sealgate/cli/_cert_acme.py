"""``sealgate cert revoke`` and ``sealgate cert deactivate``: what only certificates from ACME have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from sealgate.cli._options import Context, common_options, load_context
from sealgate.cli._output import note, print_json
from sealgate.errors import ControlError, Exit, UsageError

__all__ = ["deactivate", "revoke"]

_REASONS = ("unspecified", "key-compromise", "affiliation-changed", "superseded", "cessation-of-operation")


def _answer(context: Context, order: Mapping[str, Any]) -> dict[str, Any]:
    """Let the running keeper do it, which holds the account's key, or do it here."""
    from sealgate.pki.state import State
    from sealgate.runtime.control import ask
    from sealgate.runtime.unattended import end_unattended

    try:
        return ask(context.state_path, order)
    except ControlError as error:
        if error.code != "keeper-not-running":
            raise
    return end_unattended(State.open(context.state_path, create=False), context.loaded, order, say=note)


def _meant(context: Context, which: str) -> tuple[str, bool]:
    """The certificate's fingerprint, and whether it is live; before anybody is asked whether he means it.

    Raises:
        UsageError: ``usage-wrong``: none is from ACME; ``certificate-unknown``.
        StateError: there is no state.
    """
    from sealgate.acme.ending import find
    from sealgate.pki.live import LiveDirectory
    from sealgate.pki.state import State

    _check_source(context)
    state, site = State.open(context.state_path, create=False), context.policy.site.names[0]
    found = find(state, site, which).fingerprint
    return found, found in LiveDirectory(state.live_server(site)).fingerprints()


def _check_source(context: Context) -> None:
    """Raises UsageError where the policy has no certificates from ACME."""
    if context.policy.certificate.source != "acme":
        raise _not_acme(context.policy.certificate.source)


def _not_acme(source: str) -> UsageError:
    if source == "private":
        return UsageError(
            "usage-wrong",
            "the server certificate is private: no ACME authority gave it, so none can revoke it",
            "sealgate cert renew serves another one at once, and the old one ends by itself",
        )
    return UsageError(
        "usage-wrong",
        "the server certificate is from certificate.files: no ACME authority of this policy gave it",
        "have it revoked where it was bought, and bring the next with: sealgate cert import",
    )


def _confirmed(question: str, *, yes: bool, as_json: bool) -> bool:
    from sealgate.cli._installed import confirmed

    return yes or confirmed(question, as_json=as_json)


@click.command(short_help="Have the ACME authority revoke a certificate.")
@click.argument("which", default="", metavar="[CERTIFICATE]")
@common_options
@click.option("--reason", type=click.Choice(_REASONS), default="unspecified", show_default=True)
@click.option(
    "--by",
    type=click.Choice(["account", "key"]),
    default="account",
    show_default=True,
    help="Whose signature: the account's, or the certificate's own key's.",
)
@click.option("--at-once", is_flag=True, help="Although nothing takes the place of the live one yet.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def revoke(
    *,
    which: str,
    config: Path | None,
    state: Path | None,
    as_json: bool,
    reason: str,
    by: str,
    at_once: bool,
    yes: bool,
) -> int:
    """Have the ACME authority revoke a certificate: by the beginning of its fingerprint or serial.

    Without one it is the live certificate; another one is got and served before that is revoked.
    """
    context = load_context(config, state, as_json)
    fingerprint, live = _meant(context, which)
    if not _confirmed(_question(fingerprint, live=live, at_once=at_once), yes=yes, as_json=as_json):
        note("nothing was revoked")
        return Exit.NO
    order = {"order": "cert-revoke", "which": fingerprint, "reason": reason, "by": by, "replace": not at_once}
    answer = _answer(context, order)
    if as_json:
        print_json(answer)
    else:
        note(f"certificate {answer['fingerprint'][:16]} is revoked by {answer['authority']}")
        note(_instead(answer["fingerprint"], answer["live"]))
        for one in answer.get("beside", ()):
            other = one[:16]
            note(f"certificate {other}, of the other key, stays live; it too: sealgate cert revoke {other}")
    return Exit.DONE


def _question(fingerprint: str, *, live: bool, at_once: bool) -> str:
    """Which one, and what happens before or after."""
    first = "it stays live until there is another" if at_once else "another is got and served first"
    return f"Revoke certificate {fingerprint[:16]}{f', which is live ({first})' if live else ''}, for good?"


def _instead(revoked: str, live: str) -> str:
    """What is served now."""
    if not live:
        return "no certificate is live: sealgate cert renew"
    if live == revoked:
        return "it is still the live one: sealgate serve gets another now; else: sealgate cert renew --if-due"
    return f"certificate {live[:16]} is live"


@click.command(short_help="Give up the account at the ACME authority.")
@common_options
@click.option("--yes", is_flag=True, help="Do not ask.")
def deactivate(*, config: Path | None, state: Path | None, as_json: bool, yes: bool) -> int:
    """Give up the accounts at the policy's ACME authorities, and remove their keys.

    Certificates stay good until they end; the next renewal makes a new account.
    """
    context = load_context(config, state, as_json)
    _check_source(context)
    if not _confirmed("Give up the account, for good?", yes=yes, as_json=as_json):
        note("nothing was changed")
        return Exit.NO
    answer = _answer(context, {"order": "acme-deactivate"})
    if as_json:
        print_json(answer)
    else:
        gone = ", ".join(answer["authorities"])
        note(f"given up at {gone}" if gone else "there was no account to give up")
    return Exit.DONE
