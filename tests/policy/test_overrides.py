"""SEALGATE_<TABLE>__<KEY>."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealgate.errors import PolicyError
from sealgate.policy.fields import shape_of
from sealgate.policy.load import loads
from sealgate.policy.model import Endpoint, Model, Policy
from sealgate.policy.overrides import Override, read_overrides, variable
from sealgate.policy.secrets import SecretRef


def policy(text: str = "", **variables: str) -> Policy:
    environ = {f"SEALGATE_{name}": value for name, value in variables.items()}
    return loads(text, path=Path("/p/sealgate.toml"), environ=environ).policy


def mistake(text: str = "", **variables: str) -> str:
    with pytest.raises(PolicyError) as caught:
        policy(text, **variables)
    (problem,) = caught.value.problems
    return str(problem)


def test_every_kind() -> None:
    found = policy(
        SITE__NAMES="a.example, b.example",
        SITE__APP="x:y",
        SITE__WORKERS="4",
        LISTEN__HTTPS='["127.0.0.1:1", "[::1]:2"]',
        LISTEN__HTTP="",
        LISTEN__PROXY_PROTOCOL="true",
        HTTP__HSTS__MAX_AGE="60",
        TIMEOUTS__IDLE="5m",
        LIMITS__BODY="1GiB",
        CLIENTS__AUTHORITIES='[{"name": "x", "file": "x.pem"}]',
    )
    assert found.site.names == ("a.example", "b.example")
    assert found.site.workers == 4
    assert found.listen.https == (Endpoint("127.0.0.1", 1), Endpoint("::1", 2))
    assert found.listen.http == ()
    assert found.listen.proxy_protocol is True
    assert found.http.hsts.max_age == 60
    assert found.timeouts.idle == 300
    assert found.limits.body == 1024**3
    assert found.clients.authorities[0].file == "x.pem"


def test_the_environment_wins_over_the_file() -> None:
    assert policy("site.workers = 2", SITE__WORKERS="3").site.workers == 3


def test_an_override_mends_a_wrong_key() -> None:
    assert policy("site.workers = 0", SITE__WORKERS="3").site.workers == 3


def test_a_wrong_value_names_its_variable() -> None:
    said = mistake("site.workers = 2", SITE__WORKERS="many")
    assert (
        said == 'site.workers (SEALGATE_SITE__WORKERS): found "many"; expected a whole number from 1 to 256'
    )


def test_a_contradiction_names_its_variable() -> None:
    said = mistake('site.app = "a:b"', SITE__UPSTREAM="http://h")
    assert said.startswith("site.upstream (SEALGATE_SITE__UPSTREAM): app and upstream are both set")


def test_the_sentence_blames_the_environment_where_the_file_is_right() -> None:
    with pytest.raises(PolicyError, match="the environment has a mistake"):
        policy(SITE__WORKERS="0")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SITE__APPP", "SEALGATE_SITE__APP"),
        ("SITE_WORKERS", "SEALGATE_SITE__WORKERS"),
        ("HTTP_HSTS_MAX_AGE", "SEALGATE_HTTP__HSTS__MAX_AGE"),
        ("site__names", "SEALGATE_SITE__NAMES"),
        ("STAET", "SEALGATE_STATE"),
    ],
)
def test_a_misspelt_variable(name: str, meant: str) -> None:
    assert f"did you mean {meant}?" in mistake(**{name: "x"})


def test_a_variable_of_nothing_known() -> None:
    assert "unset it" in mistake(QQQ="x")


@pytest.mark.parametrize(
    "name",
    [
        "STATE",
        "ENVOY",
        "DEBUG",
        "VERSION",
        "SERVICE_HOST",
        "SERVICE_PORT_HTTPS",
        "PORT",
        "PORT_8443_TCP_ADDR",
        "PUBLIC_PORT_8443_TCP",
    ],
)
def test_what_is_no_policy_key_is_left_alone(name: str) -> None:
    assert policy(**{name: "tcp://10.0.0.1"}) == Policy()


def test_the_call_wins_over_the_environment_and_is_named() -> None:
    call = [Override(("site", "app"), "APP", "c:d"), Override(("site", "upstream"), "--upstream", "")]
    environ = {"SEALGATE_SITE__APP": "a:b", "SEALGATE_SITE__UPSTREAM": "http://h"}
    loaded = loads("", path=Path("/p/sealgate.toml"), environ=environ, arguments=call)
    assert (loaded.policy.site.app, loaded.policy.site.upstream) == ("c:d", "")
    assert loaded.sources["site.app"] == "APP"
    wrong = [Override(("site", "app"), "APP", "a b")]
    with pytest.raises(PolicyError, match=r"the call has a mistake: site\.app \(APP\): found"):
        loads("", path=Path("/p/sealgate.toml"), environ={}, arguments=wrong)


@pytest.mark.parametrize("value", ["[1", "[" * 100_000, '["a b"]'])
def test_a_list_that_is_none(value: str) -> None:
    assert "site.names" in mistake(SITE__NAMES=value)


def test_bytes_that_are_no_text() -> None:
    said = mistake(SITE__APP="\udcff\x1b[2J")
    assert said.isprintable()


class _Hook(Model):
    secret: SecretRef = SecretRef(env="X")


class _Root(Model):
    hook: _Hook = _Hook()


def test_secrets_cannot_be_overridden() -> None:
    found, problems = read_overrides(shape_of(_Root), {"SEALGATE_HOOK__SECRET": "hunter2"})
    assert not found
    (problem,) = problems
    assert "a secret cannot be given by an override" in str(problem)
    assert "hunter2" not in str(problem)


def test_names() -> None:
    assert variable(("http", "hsts", "max_age")) == "SEALGATE_HTTP__HSTS__MAX_AGE"


@pytest.mark.parametrize("name", ["STATE", "CONFIG", "ENVOY", "NGINX", "APACHE", "DEBUG", "VERSION"])
def test_settings_of_the_program_are_no_policy(name: str) -> None:
    assert policy(**{name: "x"}) == Policy()
