"""What an earlier run left, killed or failed: answers that are shown, orders that wait, keys of nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from cryptography import x509

from sealgate.acme.client import Client, Signer
from sealgate.acme.journal import Entry, Journal, forget, journals
from sealgate.acme.order import Order, Wanted, identifiers
from sealgate.acme.problems import quoted
from sealgate.acme.solvers import Solver
from sealgate.errors import AcmeError, SealgateError
from sealgate.pki.inspect import fingerprint
from sealgate.pki.live import LiveDirectory
from sealgate.pki.state import State

__all__ = ["TRANSIENT", "give_up", "hide", "order_of", "still_good"]

TRANSIENT = frozenset({"acme-unreachable", "acme-authority-failed", "acme-nonces-refused"})
"""Codes of what passes by itself."""
_GOOD = frozenset({"pending", "ready", "processing", "valid"})
_LISTED = 10
_LEFT = 100
"""Authorizations that are given up, at most; others expire by themselves."""
_ASKED_FOR = timedelta(hours=1)
"""So long is an order waited for that cannot be looked at: an address that leads nowhere is not for ever."""
_AGE = timedelta(days=1)
"""So old may an order be whose certificate nobody has said is in use; later a new one is better."""


def hide(wanted: Wanted, state: State, solver: Solver, say: Callable[[str], None]) -> None:
    """Answers that an earlier run left shown, with whichever authority, are shown no more.

    What is under way for another name than the site's first is gone: nobody goes on with it.
    """
    for journal in journals(state, wanted.names[0]):
        if journal.answers() and _hidden(journal, wanted, solver, say):
            if (found := journal.read()) is not None:
                journal.note(replace(found[0], answers=()))
            else:
                journal.close(hidden=True)
    for journal in forget(state, wanted.names[0]):
        if _hidden(journal, wanted, solver, say):
            journal.close(hidden=True)


def _hidden(journal: Journal, wanted: Wanted, solver: Solver, say: Callable[[str], None]) -> bool:
    """Are a journal's answers shown no more, as far as that can be seen to?"""
    shown = journal.answers()
    for other in sorted({answer.kind for answer in shown} - {wanted.challenge}):
        names = ", ".join(quoted(answer.name, 100) for answer in shown if answer.kind == other)
        say(f"an answer to {other} for {names} may still be shown; the policy no longer says where")
    try:
        solver.withdraw([answer for answer in shown if answer.kind == wanted.challenge])
    except SealgateError as error:
        say(f"an answer of an earlier run cannot be removed yet: {error}")
        return False
    return True


def order_of(client: Client, signer: Signer, entry: Entry, wanted: Wanted) -> Order | None:
    """The journal's order; where its address was not noted any more, the newest one for our names.

    Raises:
        AcmeError: the authority is in trouble: nothing is known of the order, and it is not an old one.
    """
    try:
        if entry.order:
            return client.order(signer, entry.order).what
        listed = client.show_account(signer).orders
        for url in client.orders(signer, listed)[-_LISTED:][::-1] if listed else ():
            order = client.order(signer, url).what
            if order.status in ("pending", "ready") and set(order.identifiers) == set(
                identifiers(wanted.names)
            ):
                return order
    except AcmeError as error:
        age = client.clock() - datetime.fromisoformat(entry.began)
        passing = error.code in TRANSIENT or error.code == "acme-rate-limited"
        if error.code == "acme-timeout" or (passing and timedelta() <= age < _ASKED_FOR):
            raise
    return None


def still_good(client: Client, signer: Signer, order: Order, entry: Entry, state: State, site: str) -> bool:
    """May this order be gone on with? Not where its certificate is live already, or is an old one."""
    if order.status not in _GOOD:
        return False
    if order.status != "valid":
        return True
    began = datetime.fromisoformat(entry.began)
    if not timedelta() <= client.clock() - began <= _AGE or not order.certificate:
        return False
    pem, _ = client.certificate(signer, order.certificate)
    try:
        issued = {fingerprint(one) for one in x509.load_pem_x509_certificates(pem)}
    except ValueError:
        return False
    return issued.isdisjoint(LiveDirectory(state.live_server(site)).fingerprints())


def give_up(
    client: Client, signer: Signer, authorizations: Sequence[str], say: Callable[[str], None]
) -> None:
    """Authorizations that nobody will prove any more: an authority counts those that are pending."""
    for url in authorizations[:_LEFT]:
        try:
            if client.authorization(signer, url).what.status == "pending":
                client.deactivate(signer, url)
        except AcmeError as error:
            say(f"an authorization is left to expire by itself: {error.fact}")
            if error.code == "acme-timeout":
                return
    if left := len(authorizations[_LEFT:]):
        say(f"{left} authorizations are left to expire by themselves")
