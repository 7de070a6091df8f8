"""A memory that only makes it faster: the same answers as without, within bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sealgate.guard import judge as module
from sealgate.guard.client import Client
from sealgate.guard.compiled import compile_policy
from sealgate.guard.decision import ADDRESS_REFUSED, Deny, Facts, decide
from sealgate.guard.judge import Judge
from sealgate.policy.model import Policy

COMPILED = compile_policy(Policy(), 1)
CLIENT = Client("192.0.2.1")
RULED = {"network.allow"}
HOSTS = st.sampled_from(["localhost", "localhost:8443", "LOCALHOST", "evil.example", ""])
TARGETS = st.sampled_from(["/", "/a", "/a?b", "/%C3%A9", "/a//b", "/../a", "*", "/" + "a" * 600])
METHODS = st.sampled_from(["GET", "POST", "OPTIONS"])
LENGTHS = st.sampled_from(["", "0", "10", "99999999", "x"])


@given(st.lists(st.tuples(METHODS, HOSTS, TARGETS, LENGTHS), min_size=1, max_size=20))
def test_the_answers_are_those_of_decide(requests: list[tuple[str, str, str, str]]) -> None:
    judge = Judge(COMPILED)
    for method, host, target, length in requests:
        passed = judge(CLIENT, method, host, target, length)
        decision = decide(COMPILED, Facts(CLIENT, method, host, target, length))
        if isinstance(decision, Deny):
            assert passed == decision
        else:
            assert not isinstance(passed, Deny)
            assert (passed.path, passed.query) == (decision.path, decision.query)
            assert passed.native.encode("latin-1").decode() == decision.path


def test_what_clients_choose_cannot_fill_the_memory() -> None:
    judge = Judge(COMPILED)
    for number in range(3 * module._MOST_REMEMBERED):
        judge(CLIENT, "GET", "localhost", f"/{number}", "")
    assert len(judge._known) <= module._MOST_REMEMBERED
    judge(CLIENT, "GET", "localhost", "/" + "a" * 10_000, "")
    assert not any(len(target) > module._LONGEST_REMEMBERED for _, target in judge._known)


def test_whence_is_judged_by_the_policy_in_force() -> None:
    strict = compile_policy(Policy.model_validate({"network": {"deny": ["192.0.2.0/24"]}}), 1, guards=RULED)
    for judge, answer in ((Judge(COMPILED), None), (Judge(strict), ADDRESS_REFUSED)):
        assert [judge.whence("192.0.2.1") for _ in range(3)] == [answer] * 3
        assert judge.whence("192.0.3.1") is None
    assert Judge(strict).whence("") == ADDRESS_REFUSED, "whoever it is"


def test_addresses_cannot_fill_the_memory_either() -> None:
    judge = Judge(compile_policy(Policy.model_validate({"network": {"deny": ["::1"]}}), 1, guards=RULED))
    for number in range(3 * module._MOST_REMEMBERED):
        assert judge.whence(f"2001:db8::{number:x}") is None
    assert 0 < len(judge._whence) <= module._MOST_REMEMBERED
