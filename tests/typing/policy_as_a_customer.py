"""The policy as a customer's code would use it; mypy judges this file, nothing runs it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import assert_type

from sealgate.engines.contract import Capability, Engine, enforced
from sealgate.engines.registry import engine
from sealgate.errors import PolicyError, Problem
from sealgate.policy.advice import Advice, advise
from sealgate.policy.load import Loaded, load, loads
from sealgate.policy.model import Endpoint, Policy
from sealgate.policy.profiles import Profile, load_profile
from sealgate.policy.secrets import Secret, SecretRef


def read_a_policy(path: Path) -> Policy:
    loaded = load(path, environ=os.environ, euid=os.geteuid())
    assert_type(loaded, Loaded)
    assert_type(loaded.path, Path | None)
    assert_type(loaded.sources, Mapping[str, str])
    assert_type(loaded.policy.listen.https, tuple[Endpoint, ...])
    assert_type(loaded.policy.timeouts.idle, float)
    assert_type(loaded.policy.limits.body, int)
    return loaded.policy


def judge_a_text(text: str) -> tuple[Problem, ...]:
    try:
        loads(text, path=Path("sealgate.toml"), environ={})
    except PolicyError as error:
        return error.problems
    return ()


def ask_around(policy: Policy) -> None:
    assert_type(load_profile(policy.tls.profile), Profile)
    assert_type(engine("envoy"), Engine)
    assert_type(enforced(engine("envoy"), policy), tuple[Capability, ...])
    assert_type(advise(policy), tuple[Advice, ...])


def fetch_a_secret(reference: SecretRef) -> bytes:
    secret = reference.read(base=Path(), environ={}, euid=0)
    assert_type(secret, Secret)
    return secret.reveal()
