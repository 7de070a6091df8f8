"""Who may do what: the rule that decides on a method and a path, and whether a caller is whom it wants. Pure.

The rules come from ``[access]`` by way of the compiled policy; here nothing is parsed that people wrote.

What a refusal says: 401 and ``WWW-Authenticate`` where a token would help and none was shown (RFC 9110
§15.5.2, RFC 6750 §3), 403 where who calls is known and is not enough, or where only a client certificate
would help (there is no scheme to ask for one by).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sealgate.guard.decision import Deny
from sealgate.policy.network import Admitted, admitted
from sealgate.policy.problems import problem
from sealgate.policy.routes import ANY, Fitting, Pattern, PatternError, readings

if TYPE_CHECKING:
    from sealgate.guard.client import Client
    from sealgate.policy.model import Policy

__all__ = ["DEFAULT", "Access", "Judgement", "Need", "Rule", "access_of", "read", "written"]

_MOST_REMEMBERED = 4096
_LONGEST_REMEMBERED = 512


class Need(NamedTuple):
    """What a caller must have; all of it. Nothing at all: who calls must be known.

    Attributes:
        groups: in one of them.
        authorities: with a certificate of one of them.
        scopes: with a token that has all of them.
        token: with a token.
        networks: from one of them.
        admitted: the same, to be asked.
    """

    groups: tuple[str, ...] = ()
    authorities: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    token: bool = False
    networks: tuple[str, ...] = ()
    admitted: Admitted | None = None

    @property
    def certified(self) -> bool:
        """Can it hold with a client certificate only?"""
        return bool(self.groups or self.authorities)

    @property
    def tokened(self) -> bool:
        """Can it hold with a token only?"""
        return bool(self.scopes or self.token)


class Rule(NamedTuple):
    """One of ``access.rules``, or the default.

    Attributes:
        name: ``access.rules[0]`` or ``access.default``: how the log and people call it.
        path: its pattern; empty: the default's.
        methods: for which it is.
        deny: nobody may.
        needs: any of them is enough; none: anybody may.
    """

    name: str
    path: str = ""
    methods: tuple[str, ...] = (ANY,)
    deny: bool = False
    needs: tuple[Need, ...] = ()


DEFAULT: Mapping[str, Rule] = {
    "none": Rule("access.default"),
    "authenticated": Rule("access.default", needs=(Need(),)),
    "deny": Rule("access.default", deny=True),
}
"""What holds where no rule fits."""

Answer = Literal["yes", "denied", "address", "anonymous", "certificate", "token", "scope", "more"]
_GOOD: tuple[Answer, ...] = ("scope", "token", "anonymous", "certificate", "more", "address")
"""Of several reasons for a no, the one that a caller hears: what he can mend best first."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a rule says of a caller: ``yes``, or what he lacks; ``scopes``: that a token must have."""

    rule: Rule
    answer: Answer
    scopes: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        """May he?"""
        return self.answer == "yes"


def judge(rule: Rule, client: Client) -> Judgement:
    """Is this caller whom the rule wants?"""
    if rule.deny:
        return Judgement(rule, "denied")
    if not rule.needs:
        return Judgement(rule, "yes")
    lacking: dict[Answer, Need] = {}
    for need in rule.needs:
        answer = _lacks(need, client)
        if answer == "yes":
            return Judgement(rule, "yes")
        lacking.setdefault(answer, need)
    said = next(one for one in _GOOD if one in lacking)
    return Judgement(rule, said, lacking[said].scopes if said in ("scope", "token") else ())


def _lacks(need: Need, client: Client) -> Answer:
    certificate, token = client.certificate, client.token
    if need.admitted is not None and not need.admitted.admits(client.address):
        return "address"
    if need.authorities and (certificate is None or certificate.authority not in need.authorities):
        return "certificate" if certificate is None else "more"
    if need.groups and not any(group in need.groups for group in client.groups):
        return "certificate" if certificate is None else "more"
    if need.tokened and token is None:
        return "token"
    if need.scopes and token is not None and not token.scopes.issuperset(need.scopes):
        return "scope"
    if certificate is None and token is None and need.networks == ():
        return "anonymous"
    return "yes"


class Access:
    """The rules of one policy.

    Args:
        rules: in their order.
        default: where none fits.
        challenge: what ``WWW-Authenticate`` says first; empty: no token is ever accepted here.
    """

    __slots__ = ("_challenge", "_default", "_fitting", "_known", "_rules")

    def __init__(
        self, rules: Iterable[Rule] = (), default: Rule = DEFAULT["none"], challenge: str = ""
    ) -> None:
        self._rules, self._default, self._challenge = tuple(rules), default, challenge
        self._fitting = Fitting(
            (Pattern.of(rule.path), _with_head(rule.methods), rule) for rule in self._rules
        )
        self._known: dict[tuple[str, str], tuple[Rule, ...]] = {}

    def deciding(self, method: str, path: str) -> tuple[Rule, ...]:
        """The rules that decide, all of which must allow: one, but where a path can be read in two ways.

        Args:
            method: as received.
            path: canonical, decoded once.
        """
        known = self._known.get((method, path))
        if known is None:
            found = (self._fitting.of(method, reading) or self._default for reading in readings(path))
            known = tuple(dict.fromkeys(found))
            if len(path) + len(method) <= _LONGEST_REMEMBERED:
                if len(self._known) >= _MOST_REMEMBERED:
                    self._known = {}
                self._known[method, path] = known
        return known

    def __call__(self, client: Client, method: str, path: str) -> Deny | None:
        """May this caller do that? None: he may."""
        for rule in self.deciding(method, path):
            if rule.needs or rule.deny:
                said = judge(rule, client)
                if not said.allowed:
                    return self.refusal(said)
        return None

    def refusal(self, said: Judgement) -> Deny:
        """What somebody who may not is told."""
        rule, answer = said.rule.name, said.answer
        if answer in ("token", "anonymous") and self._challenge:
            return Deny(problem("authentication-required"), rule, self._authenticate(scopes=said.scopes))
        if answer == "scope":
            headers = self._authenticate("insufficient_scope", said.scopes)
            return Deny(problem("scope-insufficient"), rule, headers)
        if answer in ("certificate", "anonymous"):
            return Deny(problem("client-certificate-required"), rule)
        return Deny(problem("access-denied"), rule)

    def _authenticate(self, error: str = "", scopes: tuple[str, ...] = ()) -> tuple[tuple[str, str], ...]:
        """RFC 6750 §3: no code of an error where nothing was shown."""
        said = [self._challenge]
        if error:
            said.append(f'error="{error}"')
        if scopes:
            said.append(f'scope="{" ".join(scopes)}"')  # characters of RFC 6749 §3.3: none needs escaping
        return (("www-authenticate", ", ".join(said)),)


def _with_head(methods: tuple[str, ...]) -> tuple[str, ...]:
    """HEAD is GET without the body (RFC 9110 §9.3.2): frameworks answer it by the same responder."""
    return (*methods, "HEAD") if "GET" in methods and "HEAD" not in methods else methods


def access_of(policy: Policy) -> tuple[str, tuple[Rule, ...]]:
    """The default and the rules of a policy."""
    rules = []
    for index, one in enumerate(policy.access.rules):
        needs = tuple(
            _need(
                groups=each.group,
                authorities=each.authority,
                scopes=each.scope,
                token=each.token,
                networks=each.address,
            )
            for each in one.require or ()
        )
        rules.append(Rule(f"access.rules[{index}]", one.path, one.methods, one.deny, needs))
    return policy.access_default, tuple(rules)


def _need(**said: Any) -> Need:  # noqa: ANN401 - the fields of Need
    networks = said["networks"]
    return Need(**said, admitted=admitted(networks, ()) if networks else None)


def written(rules: Iterable[Rule]) -> list[dict[str, object]]:
    """For the compiled policy."""
    return [
        {
            "name": rule.name,
            "path": rule.path,
            "methods": rule.methods,
            "deny": rule.deny,
            "needs": [
                {key: value for key, value in need._asdict().items() if key != "admitted"}
                for need in rule.needs
            ],
        }
        for rule in rules
    ]


def read(value: object) -> tuple[Rule, ...]:
    """What :func:`written` wrote.

    Raises:
        ValueError: anything else: half a rule must never be an open door.
    """
    if not isinstance(value, list):
        raise ValueError("no list of rules")
    return tuple(_rule(one) for one in value)


def _rule(one: Any) -> Rule:  # noqa: ANN401 - of JSON
    if not isinstance(one, dict) or one.keys() != {"name", "path", "methods", "deny", "needs"}:
        raise ValueError("keys of a rule are missing or unknown")
    if not isinstance(one["name"], str) or not isinstance(one["deny"], bool):
        raise ValueError("a rule's name or deny has a wrong value")
    if not isinstance(one["needs"], list) or not _are_texts(one["methods"]) or not one["methods"]:
        raise ValueError("a rule's methods or needs have a wrong value")
    try:
        Pattern.of(one["path"])
    except (PatternError, TypeError, AttributeError) as error:
        raise ValueError("a rule's path is no pattern") from error
    needs = tuple(_read_need(each) for each in one["needs"])
    return Rule(one["name"], one["path"], tuple(one["methods"]), one["deny"], needs)


def _read_need(one: Any) -> Need:  # noqa: ANN401 - of JSON
    lists = ("groups", "authorities", "scopes", "networks")
    if not isinstance(one, dict) or one.keys() != {*lists, "token"} or not isinstance(one["token"], bool):
        raise ValueError("keys of what a rule needs are missing or unknown")
    if not all(_are_texts(one[key]) for key in lists):
        raise ValueError("what a rule needs has a wrong value")
    return _need(token=one["token"], **{key: tuple(one[key]) for key in lists})


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and item for item in value)
