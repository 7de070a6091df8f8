"""Obtains a certificate: does what ``flow.py`` says, notes each step before it is done, leaves nothing about.

Killed anywhere, the next run finds the journal: it hides the answers that were shown, and goes on with the
order where that is still good; else it gives up what is pending and begins anew. The journal stays until the
caller has put the certificate to use and says so (:func:`settle`): killed before, the same one is had again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from cryptography import x509
from josepy import json_util

from sealgate._system.clock import Clock
from sealgate._system.files import Step as Hook
from sealgate._system.files import no_step
from sealgate.acme import account, chain, flow, leftovers
from sealgate.acme.authority import Authority
from sealgate.acme.client import Client, Seen, Signer
from sealgate.acme.journal import Entry, Journal, journals
from sealgate.acme.order import Answer, Authorization, Obtained, Offer, Order, Wanted, identifiers
from sealgate.acme.problems import quoted
from sealgate.acme.solvers import Solver
from sealgate.errors import AcmeError, Fault, SealgateError
from sealgate.pki.imports import Pair
from sealgate.pki.issue import alternative_names
from sealgate.pki.keys import PrivateKey, generate, signature_hash, to_pem
from sealgate.pki.state import State

__all__ = ["abandon", "obtain", "settle"]

_STUMBLES = 5
"""Looks in a row that may fail for the authority's own trouble."""
_REPLACED = frozenset({"alreadyReplaced", "invalidReplacementCertID", "malformed", "unauthorized"})
_CLOCK = timedelta(minutes=10)
"""By so much our clock may differ from the authority's before it is said."""


def obtain(  # noqa: PLR0913 - the seam of docs/design/acme.md
    authority: Authority,
    wanted: Wanted,
    *,
    state: State,
    solver: Solver,
    clock: Clock,
    wait: Callable[[float], None],
    say: Callable[[str], None],
    replaces: str = "",
    step: Hook = no_step,
) -> Obtained:
    """A certificate for these names; nothing is published.

    Args:
        authority: is asked.
        wanted: the certificate.
        state: its lock is held by the caller.
        solver: of the kind that `wanted.challenge` names.
        clock: the present.
        wait: sleeps at most so many seconds; raises where there is to be no certificate any more.
        say: told what people should know: terms, an account lost, a clock that is off.
        replaces: id of the certificate that this one takes the place of (RFC 9773 §4.1).
        step: see :data:`~sealgate._system.files.Step`.

    Returns:
        chain and key, checked. Call :func:`settle` once they are in use.

    Raises:
        AcmeError: there is none now; ``details["retry_at"]`` where the authority says when to ask again.
        PolicyError: the external account's secret cannot be read.
        StateError: the state cannot be written.
    """
    leftovers.hide(wanted, state, solver, say)
    with Client.open(authority, clock=clock) as client:
        _look_at_clock(client, say)
        try:
            return _Run(authority, wanted, client, state, solver, wait, say, replaces, step).to_the_end()
        except AcmeError as error:
            if error.details.get("problem") != "accountDoesNotExist":
                raise
        # Once: an authority that loses that one too is left alone until the next pass.
        say(f"{client.host} does not know our account any more; it is begun again with a new one")
        again = _Run(authority, wanted, client, state, solver, wait, say, replaces, step)
        return again.to_the_end(fresh=True)


def abandon(
    authority: Authority,
    wanted: Wanted,
    *,
    state: State,
    solver: Solver,
    clock: Clock,
    say: Callable[[str], None],
) -> None:
    """Give up what is under way with an authority that is not asked again soon: answers, order, key.

    Raises:
        AcmeError: the authority cannot be asked; what is noted stays, for another time.
    """
    journal = Journal.of(state, wanted.names[0], authority.id, wanted.index)
    leftovers.hide(wanted, state, solver, say)
    found = journal.read()
    if found is not None:
        with Client.open(authority, clock=clock) as client:
            signer = account.known(client, authority, state)
            if signer is not None:
                order = leftovers.order_of(client, signer, found[0], wanted)
                if order is not None and order.status == "pending":
                    leftovers.give_up(client, signer, order.authorizations, say)
    journal.close()


def settle(state: State, wanted: Wanted, *, step: Hook = no_step) -> None:
    """The certificate of the last :func:`obtain` is in use, or never will be: its journal is removed.

    Raises:
        StateError: the state cannot be written.
    """
    for journal in journals(state, wanted.names[0]):
        if journal.index == wanted.index:
            journal.close(step=step)


def _look_at_clock(client: Client, say: Callable[[str], None]) -> None:
    behind = client.behind
    if behind is not None and abs(behind) > _CLOCK:
        which = "behind" if behind > timedelta() else "ahead of"
        say(f"acme-clock: this machine's clock is {abs(behind)} {which} that of {client.host}; set it")


def _request(key: PrivateKey, names: Sequence[str]) -> x509.CertificateSigningRequest:
    """PKCS#10 without a common name: the alternative names count, and have no limit of 64 characters."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.add_extension(alternative_names(list(dict.fromkeys(names))), critical=False).sign(
        key, signature_hash(key)
    )


@dataclass(slots=True)
class _Run:
    """One run of :func:`obtain`; its arguments, and how far it has come."""

    authority: Authority
    wanted: Wanted
    client: Client
    state: State
    solver: Solver
    wait: Callable[[float], None]
    say: Callable[[str], None]
    replaces: str
    step: Hook
    journal: Journal = field(init=False)
    entry: Entry = field(init=False)
    known: flow.Known = field(init=False)
    signer: Signer = field(init=False)
    key: PrivateKey | None = None
    stumbles: int = 0

    def __post_init__(self) -> None:
        self.journal = Journal.of(self.state, self.wanted.names[0], self.authority.id, self.wanted.index)
        self.known = flow.Known(self.client.host, identifiers(self.wanted.names), self.wanted.challenge)
        self.entry = Entry(
            {
                "directory": self.authority.directory,
                "names": list(self.wanted.names),
                "key_type": self.wanted.key_type,
                "challenge": self.wanted.challenge,
                "profile": self.wanted.profile,
                "replaces": self.replaces,
            },
            self.client.clock().isoformat(),
        )

    def to_the_end(self, *, fresh: bool = False) -> Obtained:
        """All steps, until there is a certificate or none to be had; `fresh`: the noted account is gone."""
        self._check_profile()
        self._sign_up(fresh=fresh)
        self._resume()
        try:
            while True:
                obtained = self._do(flow.next_step(self.known))
                if obtained is not None:
                    return obtained
        finally:
            self._hide()

    def _check_profile(self) -> None:
        offered = self.client.directory.profiles
        if self.wanted.profile and self.wanted.profile not in offered:
            names = ", ".join(quoted(name, 40) for name in list(offered)[:10])
            others, take = ("but " + names, "take one of these for") if names else ("nor any other", "leave")
            error = AcmeError(
                "acme-profile-unknown",
                f"{self.client.host} has no profile {quoted(self.wanted.profile, 40)}, {others}",
                f"{take} certificate.acme.profile{', or leave it' if names else ''} empty",
                authority=self.client.host,
            )
            error.fault = Fault.CONFIGURATION
            raise error

    def _sign_up(self, *, fresh: bool = False) -> None:
        self.signer = account.ensure(
            self.client, self.authority, self.state, say=self.say, fresh=fresh, step=self.step
        )

    def _resume(self) -> None:
        """Go on with the order of the journal where it is what we want and still good."""
        found = self.journal.read()
        if found is None:
            self.journal.close()
            self.entry = replace(self.entry, answers=self.journal.answers())
            return
        entry, key = found
        order = leftovers.order_of(self.client, self.signer, entry, self.wanted)
        if order is not None and not entry.order and order.url in self._others():
            order = None  # of the site's other certificate
        if order is None or entry.wish != self.entry.wish or not self._still_good(order, entry):
            if order is not None and order.status == "pending":
                self._give_up(order.authorizations)
            self.journal.close()
            # What could not be hidden yet is tried again at the end of this run.
            self.entry = replace(self.entry, answers=entry.answers)
            return
        self.entry, self.key = replace(entry, order=order.url), key
        self.journal.note(self.entry, step=self.step)
        self.known = flow.saw_order(self.known, order)
        self.say(f"gone on with the order of an earlier run at {self.client.host} ({order.status})")

    def _others(self) -> frozenset[str]:
        """Orders that other journals of the site are about."""
        every = journals(self.state, self.wanted.names[0])
        beside = (one.read() for one in every if one.path != self.journal.path)
        return frozenset(found[0].order for found in beside if found is not None)

    def _still_good(self, order: Order, entry: Entry) -> bool:
        site = self.wanted.names[0]
        return leftovers.still_good(self.client, self.signer, order, entry, self.state, site)

    def _give_up(self, authorizations: Sequence[str]) -> None:
        leftovers.give_up(self.client, self.signer, authorizations, self.say)

    def _do(self, step: flow.Step) -> Obtained | None:
        match step:
            case flow.Ask():
                self._ask()
            case flow.Look():
                self._look(step)
            case flow.Present():
                self._present(step.offers)
            case flow.Respond():
                self._respond(step.offers)
            case flow.Withdraw():
                self._hide()
            case flow.Finalise():
                self._finalise()
            case flow.Download():
                return self._download(step.url)
            case flow.Failed():
                self._fail(step)
        return None

    def _ask(self) -> None:
        if self.key is None:
            self.key = generate(self.wanted.key_type)
            self.journal.begin(self.entry, self.key, step=self.step)
        self.step("order")
        seen = self._new_order()
        self.step("order-note")
        self.entry = replace(self.entry, order=seen.what.url)
        self.journal.note(self.entry, step=self.step)
        self.known = flow.saw_order(self.known, seen.what)

    def _new_order(self) -> Seen[Order]:
        replaces, fresh = self.replaces if self.client.directory.renewal_info else "", False
        while True:
            try:
                return self.client.new_order(
                    self.signer, self.known.wanted, profile=self.wanted.profile, replaces=replaces
                )
            except AcmeError as error:
                problem = error.details.get("problem")
                if problem == "accountDoesNotExist" and not fresh:
                    self.say(f"{self.client.host} does not know our account any more; it is made anew")
                    fresh = True
                    self._sign_up(fresh=True)
                elif replaces and problem in _REPLACED:
                    self.say(f"asked for without naming the certificate that is replaced: {error.fact}")
                    replaces = ""
                elif problem == "unauthorized":
                    files = account.AccountFiles(self.state, self.authority)
                    raise account.refused(self.client.host, files, error) from error
                else:
                    raise

    def _look(self, look: flow.Look) -> None:
        if look.after > 0:
            self.wait(look.after)
        known = self.known = flow.has_waited(self.known, look.after)
        with self._patience():
            for url in look.authorizations:
                one = self.client.authorization(self.signer, url)
                known = flow.saw_authorization(known, url, one.what, self._pause(one))
            if look.order:
                order = self.client.order(self.signer, self.entry.order)
                known = flow.saw_order(known, order.what, self._pause(order))
            self.known = known

    def _pause(self, seen: Seen[Order] | Seen[Authorization]) -> float | None:
        return None if seen.again is None else max((seen.again - self.client.clock()).total_seconds(), 0.0)

    @contextmanager
    def _patience(self) -> Iterator[None]:
        """An authority that stumbles while it is looked at is looked at again, a few times."""
        try:
            yield
            self.stumbles = 0
        except AcmeError as error:
            self.stumbles += 1
            if error.code not in leftovers.TRANSIENT or self.stumbles > _STUMBLES:
                raise
            self.known = replace(self.known, pause=2.0**self.stumbles)

    def _present(self, offers: Sequence[tuple[Authorization, Offer]]) -> None:
        answers = tuple(self._answer(one, offer) for one, offer in offers)
        self.entry = replace(self.entry, answers=(*self.entry.answers, *answers))
        self.journal.note(self.entry, step=self.step)
        self.step("present")
        with self.client.not_counted():
            self.solver.present(answers)
        shown = self.known.presented | {offer.url for _, offer in offers}
        self.known = replace(self.known, presented=shown)

    def _answer(self, one: Authorization, offer: Offer) -> Answer:
        thumbprint = json_util.encode_b64jose(self.signer.public.thumbprint())
        return Answer(one.identifier.value, self.wanted.challenge, offer.token, f"{offer.token}.{thumbprint}")

    def _respond(self, offers: Sequence[tuple[Authorization, Offer]]) -> None:
        for one, offer in offers:
            self.step("respond")
            try:
                self.client.respond(self.signer, offer.url, name=one.identifier.value)
            except AcmeError as error:
                # It was looked at already, or is over: the next look says which.
                if error.details.get("problem") != "malformed":
                    raise
            self.known = replace(self.known, responded=self.known.responded | {offer.url})

    def _hide(self) -> None:
        """Show the answers no more; what cannot be hidden stays in the journal, for the next run."""
        if not self.entry.answers:
            return
        self.step("withdraw")
        try:
            with self.client.not_counted():
                self.solver.withdraw(self.entry.answers)
        except SealgateError as error:
            self.say(f"an answer cannot be removed yet: {error}")
        else:
            self.entry = replace(self.entry, answers=())
            self.step("withdraw-note")
            self.journal.note(self.entry, step=self.step)
        self.known = replace(self.known, presented=frozenset())

    def _finalise(self) -> None:
        order, key = self.known.order, self.key
        assert order is not None and key is not None  # noqa: S101, PT018 - the flow asks for it after these
        self.step("finalise")
        try:
            seen = self.client.finalize(self.signer, order, _request(key, self.wanted.names))
        except AcmeError as error:
            if error.details.get("problem") != "orderNotReady":
                raise
            self._look(flow.Look((), order=True, after=2.0, reason="not ready after all"))
            return
        self.known = replace(flow.saw_order(self.known, seen.what, self._pause(seen)), finalised=True)

    def _download(self, url: str) -> Obtained:
        key, order = self.key, self.known.order
        assert key is not None and order is not None  # noqa: S101, PT018 - as above
        self.step("download")
        pem, others = self.client.certificate(self.signer, url)
        key_pem, now = to_pem(key), self.client.clock()
        pairs = [chain.checked(pem, key_pem, self.wanted.names, now=now, host=self.client.host)]
        preferred = self.wanted.preferred_chain
        if preferred and not chain.is_preferred(pairs[0].chain, preferred):
            pairs += self._alternates(others, key_pem, now)
        pair, remark = chain.preferred(pairs, preferred) if preferred else (pairs[0], "")
        if remark:
            self.say(remark)
        self.step("done")
        return Obtained(pair.chain_pem, key_pem, self.authority.directory, order.url)

    def _alternates(self, urls: Sequence[str], key_pem: bytes, now: datetime) -> Iterator[Pair]:
        """Other chains; one that cannot be had, or does not fit, is no reason to have none at all."""
        for url in urls:
            try:
                pem, _ = self.client.certificate(self.signer, url)
                yield chain.checked(pem, key_pem, self.wanted.names, now=now, host=self.client.host)
            except AcmeError as error:
                self.say(f"another chain is passed over: {error.fact}")
                if error.code == "acme-timeout":
                    return

    def _fail(self, failed: flow.Failed) -> None:
        self._hide()
        if failed.over:
            if self.known.order is not None:
                self._give_up(
                    [url for url, one in self.known.authorizations.items() if one.status == "pending"]
                )
            self.journal.close(step=self.step)
        if failed.pause is not None:
            again = self.client.clock() + timedelta(seconds=failed.pause)
            failed.error.details["retry_at"] = again.isoformat()
        raise failed.error
