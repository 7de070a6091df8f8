"""`[monitor]`: which addresses and webhooks are taken, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.engines.promises import monitor
from sealgate.errors import PolicyError
from sealgate.policy.load import loads
from sealgate.policy.model import Endpoint, Policy
from sealgate.policy.values import is_loopback_name

HOOK = '[[monitor.alerts]]\nwebhook = "{}"\nsecret = {{ file = "s" }}\n'


def policy(text: str) -> Policy:
    return loads(text, path=Path("/p/sealgate.toml"), environ={}).policy


def refused(text: str) -> str:
    with pytest.raises(PolicyError) as caught:
        policy(text)
    assert caught.value.code == "policy-invalid"
    return str(caught.value)


def test_the_page_is_there_by_default_and_for_this_machine_alone() -> None:
    made = Policy().monitor
    assert made.page == Endpoint("127.0.0.1", 9443)
    assert made.page.is_loopback
    assert (made.probe, made.alerts) == (None, ())


def test_empty_closes_it() -> None:
    made = policy('monitor.listen = ""').monitor
    assert made.endpoints == ()


@pytest.mark.parametrize(
    ("written", "meant"),
    [("localhost:1", "127.0.0.1:1"), ("[0:0::1]:2", "[::1]:2"), ("[::ffff:127.0.0.1]:3", "127.0.0.1:3")],
)
def test_addresses_are_normalised(written: str, meant: str) -> None:
    assert policy(f'monitor.listen = "{written}"').monitor.listen == meant


@pytest.mark.parametrize("address", ["0.0.0.0:9443", "[::]:9443", "192.0.2.1:9443", "*:9443"])
def test_a_page_that_others_could_reach_is_refused_with_the_way_out(address: str) -> None:
    said = refused(f'monitor.listen = "{address}"')
    assert "monitor.listen (line 1)" in said
    assert "ssh -L 9443:127.0.0.1:9443" in said
    assert policy(f'monitor.probes = "{address}"\nmonitor.listen = ""').monitor.probe is not None


@pytest.mark.parametrize(
    "text",
    [
        'listen.https = ["127.0.0.1:9443"]',
        'listen.http = ["0.0.0.0:9443"]',
        'monitor.probes = "127.0.0.1:9443"',
        'monitor.probes = "127.0.0.1:8443"',
    ],
)
def test_two_listeners_on_one_address_are_refused(text: str) -> None:
    assert "over https, http and monitor" in refused(text)


@pytest.mark.parametrize(
    "address", ["9443", "localhost", "127.0.0.1:0", "127.0.0.1:70000", "host.test:1", "::1:9443", 9443, True]
)
def test_what_is_no_address_is_said_with_the_key(address: object) -> None:
    written = f'"{address}"' if isinstance(address, str) else str(address).lower()
    assert "monitor.listen" in refused(f"monitor.listen = {written}")


@pytest.mark.parametrize(
    "url",
    [
        "https://a.test",
        "https://a.test/hook?team=x",
        "https://192.0.2.1:8443/",
        "https://[2001:db8::1]/x",
        "http://localhost:8080/x",
        "http://127.0.0.1/",
        "http://[::1]:81/",
    ],
)
def test_webhooks(url: str) -> None:
    assert policy(HOOK.format(url)).monitor.alerts[0].webhook == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://a.test/",
        "http://localhost.a.test/",
        "http://127.0.0.1.a.test/",
        "http://192.0.2.1/",
        "ftp://a.test/",
        "https://user:password@a.test/",
        "https://a.test:0/",
        "https://a.test:99999/",
        "https://a.test/ x",
        "https://a.test/\\u000d\\u000aX: y",
        "https://a..test/",
        "//a.test/",
        "https:///x",
    ],
)
def test_other_webhooks_are_refused(url: str) -> None:
    assert "monitor.alerts[0].webhook" in refused(HOOK.format(url))


@given(st.text(max_size=40))
def test_no_webhook_is_a_surprise(text: str) -> None:
    from pydantic import ValidationError

    from sealgate.policy.monitor import Alert

    for url in (f"http://{text}", f"https://{text}"):
        try:
            taken = Alert.model_validate({"webhook": url, "secret": {"file": "s"}}).webhook
        except ValidationError:
            continue
        assert taken.isascii()
        assert taken.isprintable()
        assert " " not in taken
        assert "@" not in taken.split("/")[2]
        host = taken.split("/")[2].rpartition("]")[0].strip("[") or taken.split("/")[2].partition(":")[0]
        assert url.startswith("https:") or is_loopback_name(host.lower().removesuffix("."))


def test_a_secret_itself_is_not_repeated() -> None:
    said = refused('[[monitor.alerts]]\nwebhook = "https://a.test/"\nsecret = "hunter2"\n')
    assert "hunter2" not in said
    assert "secret" in said


def test_what_is_promised_tells_no_path_of_a_webhook() -> None:
    """Some services put a token there."""
    rows = list(monitor(policy(HOOK.format("https://hooks.test/T0KEN"))))
    assert "hooks.test" in rows[-1].promise
    assert all("T0KEN" not in row.promise + row.how for row in rows)
