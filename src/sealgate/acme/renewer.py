"""One pass of a site's renewal: look, do what is due, note what came of it.

The same for a keeper, which passes whenever a plan says so, and for a command without one. Decisions are
``renewal.py``'s, the way to a certificate is ``obtain.py``'s; here they meet the state directory.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from sealgate._system.clock import Clock
from sealgate.acme import ari
from sealgate.acme.authority import Authority
from sealgate.acme.client import Client
from sealgate.acme.held import Held, held_from, spread_of
from sealgate.acme.history import Attempt, History, Outcome, history_path, load, noted, save, subject_of
from sealgate.acme.journal import Journal
from sealgate.acme.obtain import abandon, obtain, settle
from sealgate.acme.order import Answer, Obtained, Wanted
from sealgate.acme.renewal import Act, Plan, Reason, due, plan
from sealgate.acme.solvers import Solver
from sealgate.errors import AcmeError, SealgateError
from sealgate.pki.inspect import fingerprint
from sealgate.pki.live import LiveCertificate, LiveDirectory, parse_chain
from sealgate.pki.obtained import held_obtained
from sealgate.pki.state import State
from sealgate.pki.store import REVOKED, Store
from sealgate.policy.model import Policy

__all__ = ["Pass", "Renewer", "due_of", "wanted_by"]


def wanted_by(policy: Policy, index: int = 0) -> Wanted:
    """The certificate that a policy asks for; the second one where there are two."""
    acme = policy.certificate.acme
    return Wanted(
        names=policy.site.names,
        key_type=policy.certificate.key_types[index],
        challenge=acme.challenge,
        profile=acme.profile,
        preferred_chain=acme.preferred_chain,
        index=index,
    )


def due_of(state: State, policy: Policy, *, index: int = 0) -> datetime | None:
    """When the live certificate's renewal is due, by its dates and what its authority last said.

    Nobody is asked, nothing is written. None: no certificate from an authority is live.

    Raises:
        CertificateError: ``live-damaged``.
        StateError: the store cannot be read.
    """
    live = held_obtained(state, policy, index=index)
    if live is None:
        return None
    history = load(history_path(state, policy.site.names[0]))
    held = held_from(live.leaf, history, placeholder=False, revoked=_revoked(state, live))
    return due(held, history.window_of(index), spread=spread_of(live.fingerprint))[0]


def _revoked(state: State, live: LiveCertificate) -> bool:
    """Did we have its authority revoke it?"""
    if not state.store.exists():
        return False
    with Store.open(state.store, read_only=True) as store:
        return live.fingerprint in store.subjects(REVOKED)


_OURS = ("alpn", "connection", "dns", "hook", "port", "tls", "unauthorized")
_PROVING = tuple(f"acme-{what}" for what in _OURS)
"""How codes begin that say that a name could not be proven: no other authority sees it otherwise."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What came of one pass.

    Attributes:
        plan: what was to be done; after a certificate was obtained, what is next.
        live: the certificate that was obtained and is served now; None: none was.
        error: why none could be had, where one was asked for.
    """

    plan: Plan
    live: LiveCertificate | None = None
    error: SealgateError | None = None


@dataclass
class Renewer:
    """A site's certificate, in time.

    Attributes:
        state: its lock is held by whoever runs a pass.
        policy: of the site; its certificate.source is ``acme``.
        authorities: in the order in which they are asked.
        solver: proves the names.
        publish: makes a certificate live and sees it served; raises where it is not.
        clock: the present.
        wait: sleeps at most so many seconds; raises where there is to be no certificate any more.
        say: one line for people.
        index: which of the policy's certificates, where there are two.
        history: what was tried; of the file, unless another is put there.
        kept: the history is on disk as it is here.
    """

    state: State
    policy: Policy
    authorities: tuple[Authority, ...]
    solver: Solver
    publish: Callable[[Obtained], LiveCertificate]
    clock: Clock
    wait: Callable[[float], None]
    say: Callable[[str], None]
    index: int = 0
    history: History = field(init=False)
    kept: bool = field(init=False, default=True)

    def __post_init__(self) -> None:
        self.history = load(history_path(self.state, self._site))
        if self.history.note:
            self.say(self.history.note)

    @property
    def _site(self) -> str:
        return self.policy.site.names[0]

    @property
    def _wanted(self) -> Wanted:
        return wanted_by(self.policy, self.index)

    def look(self, *, force: bool = False) -> Plan:
        """What is to be done now. Nothing is asked and nothing is changed."""
        held, spread = self._held()
        found = plan(
            held,
            self._wanted,
            self.history,
            self.history.window_of(self.index),
            self.authorities,
            now=self.clock(),
            spread=spread,
            force=force,
        )
        if len(self.policy.certificate.key_types) < 2:
            return found
        return replace(found, sentence=f"{self._wanted.key_type}: {found.sentence}")

    def step(self, *, force: bool = False) -> Pass:
        """Look, and do what is due: at most one question and one attempt; by force, one at each authority."""
        if force:
            return self._forced()
        due = self.look()
        if due.act is Act.ASK_WINDOW:
            self._ask_window(self.authorities[due.authority])
            due = self.look()
        if due.act is not Act.OBTAIN:
            return Pass(due)
        try:
            live = self._obtain(due)
        except SealgateError as error:
            return Pass(self.look(), error=error)
        return Pass(self.look(), live=live)

    def _forced(self) -> Pass:
        """Ask the authorities in their order until one gives it; what no other could mend ends it."""
        first: SealgateError | None = None
        for number, authority in enumerate(self.authorities):
            due = self.look(force=True)
            if first is not None:
                self.say(f"{authority.directory} is asked")
                due = replace(due, authority=number, replaces="")
            try:
                live = self._obtain(due)
            except SealgateError as error:
                if len(self.authorities) > 1:
                    self.say(f"{authority.directory} gives none now ({error.code}: {error.fact})")
                first = first or error
                if not isinstance(error, AcmeError) or error.code.startswith(_PROVING):
                    break
            else:
                return Pass(self.look(), live=live)
        assert first is not None  # noqa: S101 - there is an authority
        after = self.look()
        if after.reason is Reason.FRESH:
            self._only_asked(first)
        return Pass(after, error=first)

    def _only_asked(self, error: SealgateError) -> None:
        """Somebody asked for another one while none was due: nothing is tried again until that is due."""
        live = self._live()
        assert live is not None  # noqa: S101 - else one would be due
        kept = [
            part for part in error.remedy.split("; ") if "by itself" not in part and "next try" not in part
        ]
        good = (
            f"the certificate in use is good until {live.not_after:%Y-%m-%d %H:%M} UTC,"
            " and nothing more is tried before its renewal is due"
        )
        error.remedy = "; ".join([*kept, good])

    def rehearse(self) -> Plan:
        """Everything but the asking: show an answer for each name, see it from outside, take it back.

        Raises:
            AcmeError: an authority would not see it either.
        """
        kind = self._wanted.challenge
        names = dict.fromkeys(name.removeprefix("*.") for name in self._wanted.names)
        answers = []
        for name in names:
            token = secrets.token_urlsafe(24)
            answers.append(Answer(name, kind, token, f"{token}.rehearsal"))
        try:
            self.solver.present(answers)
        except BaseException:
            with contextlib.suppress(SealgateError):  # the first failure is the one that explains
                self.solver.withdraw(answers)
            raise
        self.solver.withdraw(answers)
        return self.look()

    # The certificate there is

    def _live(self) -> LiveCertificate | None:
        live = LiveDirectory(self.state.live_server(self._site)).current()
        return live.wanted(self.policy.certificate.key_types, self.index) if live is not None else None

    def _held(self) -> tuple[Held | None, float]:
        live = self._live()
        if live is None:
            return None, 0.0
        obtained = held_obtained(self.state, self.policy, index=self.index) is not None
        revoked = _revoked(self.state, live)
        held = held_from(live.leaf, self.history, placeholder=not obtained, revoked=revoked)
        return held, spread_of(live.fingerprint)

    def _ask_window(self, authority: Authority) -> None:
        held, _ = self._held()
        if held is None or not held.ari:
            return
        now, before = self.clock(), self.history.window_of(self.index)
        try:
            with Client.open(authority, clock=self.clock) as client:
                url = client.directory.renewal_info
                window = (
                    ari.ask(_fetching(client), url, held.ari, now=now, before=before)
                    if url
                    else ari.absent(held.ari, now=now)
                )
        except AcmeError as error:
            window = ari.ask(_failing(error), "", held.ari, now=now, before=before)
        self._keep(self.history.with_window(self.index, window))

    # Another one

    def _obtain(self, due: Plan) -> LiveCertificate:
        authority = self.authorities[due.authority]
        wanted = replace(self._wanted, profile=authority.profile)
        begun = Attempt(
            at=self.clock(),
            authority=authority.directory,
            subject=subject_of(wanted),
            outcome=Outcome.BEGUN,
            profile=authority.profile,
        )
        # Before anything is asked: who is killed from here on finds an attempt that failed.
        self._keep(noted(self.history, begun))
        try:
            got = obtain(
                authority,
                wanted,
                state=self.state,
                solver=self.solver,
                clock=self.clock,
                wait=self.wait,
                say=self.say,
                replaces=due.replaces,
            )
            live = self.publish(got)
        except SealgateError as error:
            self._keep(noted(self.history, self._failed(begun, error)))
            raise
        done = replace(begun, at=self.clock(), outcome=Outcome.OBTAINED, certificate=_leaf(got.chain_pem))
        self._keep(noted(self.history, done))
        self._abandon_others(authority)
        try:
            settle(self.state, wanted)
        except SealgateError as error:  # it is served: that is what counts
            self.say(f"what was noted of the order cannot be removed yet: {error}")
        return live

    def _abandon_others(self, served: Authority) -> None:
        """What was under way with those who could not be had; who still cannot lets it expire by itself."""
        for authority in self.authorities:
            wanted = replace(self._wanted, profile=authority.profile)
            if authority.id == served.id or self._journal(authority).read() is None:
                continue
            try:
                abandon(
                    authority,
                    wanted,
                    state=self.state,
                    solver=self.solver,
                    clock=self.clock,
                    say=self.say,
                )
            except SealgateError as error:
                self.say(f"an order at {authority.directory} is left to expire by itself: {error.fact}")

    def _journal(self, authority: Authority) -> Journal:
        return Journal.of(self.state, self._site, authority.id, self.index)

    def _failed(self, begun: Attempt, error: SealgateError) -> Attempt:
        told = error.details.get("retry_at")
        return replace(
            begun,
            at=self.clock(),
            outcome=Outcome.FAILED,
            code=error.code,
            sentence=error.fact,
            retry_at=datetime.fromisoformat(told) if isinstance(told, str) else None,
            action=error.details.get("problem") == "userActionRequired",
        )

    def _keep(self, history: History) -> None:
        """On disk where it can be; in memory in any case, or a full disk would make us ask for ever."""
        self.history = history
        try:
            save(history_path(self.state, self._site), history)
            self.kept = True
        except SealgateError as error:
            self.kept = False
            self.say(f"what was tried cannot be noted: {error}")


def _leaf(chain_pem: bytes) -> str:
    """Of what was obtained, the fingerprint."""
    return fingerprint(parse_chain(chain_pem, "what was obtained")[0])


def _failing(error: AcmeError) -> ari.Get:
    def get(_url: str) -> tuple[int, dict[str, str], bytes]:
        raise error

    return get


def _fetching(client: Client) -> ari.Get:
    def get(url: str) -> tuple[int, dict[str, str], bytes]:
        reply = client.get(url, accept="application/json")
        return reply.status, dict(reply.headers), reply.body

    return get
