"""Keys that issuers publish: found by their metadata, judged, kept; garbage and silence replace nothing."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme

from sealgate.policy.model import Policy
from sealgate.runtime.key_sets import KeySets, metadata_addresses, next_look
from tests._system.publishing import Publisher, publishing
from tests.guard.tokens.issuing import jwk

OPENID, OAUTH = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def publisher(authority: trustme.CA) -> Iterator[Publisher]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with publishing(context=context) as found:
        yield found


class Home:
    """A keeper's part of it: one issuer, real fetchers, a state directory."""

    def __init__(self, folder: Path, authority: trustme.CA, **issuer: Any) -> None:
        authority.cert_pem.write_to_path(str(folder / "roots.pem"))
        self.said: list[str] = []
        self.sets: dict[str, Any] = {}
        one = {"audience": ["a"], "ca_file": "roots.pem", **issuer}
        policy = Policy.model_validate(
            {"tokens": {"issuers": [one]}, "network": {"fetch": ["127.0.0.0/8", "::1"]}}
        )
        loaded = SimpleNamespace(policy=policy, base=folder)
        standing: Any = SimpleNamespace(
            state=SimpleNamespace(key_sets=folder / "sets"),
            publication=SimpleNamespace(key_sets=self._publish),
            site=SimpleNamespace(policy=policy, loaded=loaded),
        )
        self.standing = standing
        self.made = KeySets(standing, lambda: None, self.said.append)
        self.made.adopt(loaded)  # type: ignore[arg-type]  # what of it is asked for
        (self.mark,) = self.made._sets

    def _publish(self, sets: dict[str, Any]) -> None:
        self.sets = sets

    @property
    def names(self) -> list[str]:
        (keys,) = self.sets.values()
        return [one["kid"] for one in keys]

    def look(self) -> bool:
        async def once() -> bool:
            self.standing.changing = asyncio.Lock()
            return await self.made.ask(self.mark)

        return asyncio.run(once())


def serve(publisher: Publisher, path: str, value: Any, status: int = 200, **fields: str) -> None:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    publisher.answers[path] = lambda call: call.answer(status, body, **fields)


def keys(*names: str) -> dict[str, Any]:
    return {"keys": [jwk("ES256", name, name) for name in names]}


def test_where_its_keys_are_is_what_the_issuer_says(
    publisher: Publisher, authority: trustme.CA, tmp_path: Path
) -> None:
    issuer = publisher.url("/realms/one", host="localhost")
    serve(publisher, "/realms/one" + OPENID, b"", 404)
    there = publisher.url("/jwks", host="localhost")
    serve(publisher, OAUTH + "/realms/one", {"issuer": issuer, "jwks_uri": there})
    serve(publisher, "/jwks", keys("a"), ETag='"1"')
    home = Home(tmp_path, authority, issuer=issuer)
    assert home.names == []
    assert home.look()
    assert home.names == ["a"]
    assert home.said == [f"keys of {issuer}: 1 count, from {there}"]
    same = "if-none-match"
    publisher.answers["/jwks"] = lambda call: call.answer(304 if call.fields.get(same) == '"1"' else 500)
    count = len(publisher.calls)
    assert home.look()
    assert len(publisher.calls) == count + 1, "its metadata are believed for a while"
    assert home.names == ["a"]


@pytest.mark.parametrize(
    "metadata",
    (
        {"issuer": "https://other.test", "jwks_uri": "https://localhost/keys"},
        {"jwks_uri": "https://localhost/keys"},
        {"issuer": "", "jwks_uri": "http://localhost/keys"},
        {"issuer": ""},
        [],
        b"{",
        b'{"a":' * 100_000,
    ),
    ids=repr,
)
def test_metadata_that_do_not_count(
    publisher: Publisher, authority: trustme.CA, tmp_path: Path, metadata: Any
) -> None:
    issuer = publisher.url("", host="localhost")
    if isinstance(metadata, dict) and metadata.get("issuer") == "":
        metadata = metadata | {"issuer": issuer}
    for path in (OPENID, OAUTH):
        serve(publisher, path, metadata)
    home = Home(tmp_path, authority, issuer=issuer)
    assert not home.look()
    assert home.names == []
    assert "none of its tokens counts" in home.said[-1]


def test_what_does_not_count_replaces_nothing(
    publisher: Publisher, authority: trustme.CA, tmp_path: Path
) -> None:
    there = publisher.url("/jwks", host="localhost")
    settings = {"issuer": "https://login.example.com", "jwks_uri": there}
    serve(publisher, "/jwks", keys("a", "b"))
    home = Home(tmp_path, authority, **settings)
    assert home.look()
    symmetric = {"keys": [{"kty": "oct", "k": "AAAA", "kid": "a"}]}
    large = b" " * (1 << 20) + json.dumps(keys("c")).encode()
    garbage: tuple[Any, ...] = (b"", b"{", [], {"keys": []}, {"keys": {}}, symmetric, b"<html>", large)
    for wrong in garbage:
        serve(publisher, "/jwks", wrong)
        assert not home.look()
        assert home.names == ["a", "b"]
        assert home.said[-1].endswith("those before still count")
    serve(publisher, "/jwks", b"", 503)
    assert not home.look()
    again = Home(tmp_path, authority, **settings)
    assert again.names == ["a", "b"], "kept over a restart, while the issuer is down"
    serve(publisher, "/jwks", keys("b"))
    assert again.look()
    assert again.names == ["b"], "what is taken out counts no more"
    assert Home(tmp_path, authority, **settings).names == ["b"]
    elsewhere = Home(tmp_path, authority, **{**settings, "jwks_uri": there + "2"})
    assert elsewhere.names == [], "of another address nothing was had yet"


def test_what_was_kept_and_is_not_whole_is_nothing(
    publisher: Publisher, authority: trustme.CA, tmp_path: Path
) -> None:
    settings = {"issuer": "https://login.example.com", "jwks_uri": publisher.url("/jwks", host="localhost")}
    serve(publisher, "/jwks", keys("a"))
    assert Home(tmp_path, authority, **settings).look()
    (path,) = (tmp_path / "sets").glob("*.json")
    assert path.stat().st_mode & 0o777 == 0o600
    whole = path.read_bytes()
    assert Home(tmp_path, authority, **settings).names == ["a"]
    other = whole.replace(b"login.example.com", b"login.example.org")
    for damaged in (whole[:-1], b"", b"[]", b"{}", other, whole.replace(b'"keys"', b'"kees"', 1)):
        path.write_bytes(damaged)
        assert Home(tmp_path, authority, **settings).names == []


def test_a_server_is_believed_by_the_roots_that_were_named(
    publisher: Publisher, authority: trustme.CA, tmp_path: Path
) -> None:
    there = publisher.url("/jwks", host="localhost")
    serve(publisher, "/jwks", keys("a"))
    home = Home(tmp_path, trustme.CA(), issuer="https://login.example.com", jwks_uri=there)
    assert not home.look()
    assert "certificate of localhost does not do" in home.said[-1]
    home = Home(tmp_path, authority, issuer="https://login.example.com", jwks_uri=there, ca_file="")
    assert not home.look()
    (tmp_path / "roots.pem").write_text("nothing")
    home.made._sets = {
        mark: one.__class__(one.issuer.model_copy(update={"ca_file": "roots.pem"}), tmp_path)
        for mark, one in home.made._sets.items()
    }
    assert not home.look()
    assert "key-set-roots" in home.said[-1]


def test_nobody_is_sent_into_our_own_network(
    publisher: Publisher, authority: trustme.CA, tmp_path: Path
) -> None:
    there = publisher.url("/jwks", host="localhost")
    home = Home(tmp_path, authority, issuer="https://login.example.com", jwks_uri=there)
    home.standing.site.policy = Policy()
    assert not home.look()
    assert "list it in network.fetch" in home.said[-1]
    assert publisher.calls == []


def test_when_it_is_looked_again() -> None:
    def wait(**facts: Any) -> float:
        usual = {"asked": 0.0, "failures": 0, "known": True, "wanted": False, "again": 0.0, "spread": 0.0}
        return next_look(**{**usual, **facts})

    assert next_look(asked=None, failures=0, known=False, wanted=False, again=0.0, spread=0.0) == 0.0
    assert wait() == 300.0
    assert wait(spread=0.999) > 224.0
    assert wait(wanted=True) == 60.0, "tokens with keys that nobody knows: once a minute at most"
    assert [wait(failures=count) for count in (1, 2, 3, 4, 100)] == [60.0, 120.0, 240.0, 300.0, 300.0]
    assert wait(failures=1, wanted=True) == 60.0
    assert [wait(failures=count, known=False) for count in (1, 2, 3, 4, 5, 900)] == [5, 10, 20, 40, 60, 60]
    assert wait(again=200.0, failures=1) == 200.0
    assert wait(again=1e9, failures=1) == 300.0, "nobody's word ends a removed key's removal"
    assert wait(again=1e9, failures=1, known=False) == 60.0


def test_where_metadata_are() -> None:
    assert metadata_addresses("https://a.test") == (
        "https://a.test/.well-known/openid-configuration",
        "https://a.test/.well-known/oauth-authorization-server",
    )
    assert metadata_addresses("https://a.test/b/") == (
        "https://a.test/b/.well-known/openid-configuration",
        "https://a.test/.well-known/oauth-authorization-server/b",
    )
