"""From a file and an environment to a policy, or to every mistake in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.errors import PolicyError
from sealgate.policy.load import Loaded, load, loads
from sealgate.policy.model import Endpoint, Policy
from tests.policy.trees import TREES, VALUES, written

PATH = Path("/etc/sealgate/sealgate.toml")


def judged(text: str, environ: dict[str, str] | None = None) -> Loaded:
    return loads(text, path=PATH, environ=environ or {})


def mistakes(text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        judged(text, environ)
    assert caught.value.code == "policy-invalid"
    assert caught.value.exit == 2
    return [str(problem) for problem in caught.value.problems]


def test_an_empty_file_is_valid_and_strict() -> None:
    loaded = judged("")
    assert loaded.policy == Policy()
    assert set(loaded.sources.values()) == {"default"}
    assert loaded.base == PATH.parent


def test_values_are_normalised() -> None:
    policy = judged(
        """
        [site]
        names = ["EXAMPLE.com.", "bücher.example", "[::1]", "*.Example.com"]
        url = "https://Example.com:443/"
        upstream = "http://LOCALHOST:9000/"
        [listen]
        https = ["*:8443", "[0:0::1]:8443", "[::ffff:127.0.0.1]:10443"]
        [limits]
        body = "2MiB"
        [timeouts]
        idle = "1.5m"
        """
    ).policy
    assert policy.site.names == ("example.com", "xn--bcher-kva.example", "::1", "*.example.com")
    assert policy.site.url == "https://example.com"
    assert policy.site.upstream == "http://localhost:9000"
    assert policy.listen.https == (
        Endpoint("0.0.0.0", 8443),
        Endpoint("::1", 8443),
        Endpoint("127.0.0.1", 10443),
    )
    assert policy.limits.body == 2 * 1024**2
    assert policy.timeouts.idle == 90


TEN = """\
version = 2
[site]
names = ["ok.example", "a b"]
workers = "four"
engin = "envoy"
[listen]
https = "127.0.0.1:8443"
[certificate]
source = "privat"
[tls]
profile = "moderm@6.0"
[limits]
body = 1048576
[timeouts]
request = "5 minutes"
[validation]
mode = "warn"
"""


TEN_SAID = """\
version (line 1): found 2; expected the format that this version of Sealgate reads: 1
site.names[1] (line 3): found "a b" (not a DNS name); \
expected a DNS name or an IP address such as "api.example.com"
site.workers (line 4): found "four"; expected a whole number from 1 to 256
site.engin (line 5): unknown key; expected one of app, engine, names, threads, upstream, url, workers; \
did you mean "engine"?
listen.https (line 7): found "127.0.0.1:8443"; expected a list with at least one element such as \
["127.0.0.1:8443"]; put it in brackets: ["127.0.0.1:8443"]
certificate.source (line 9): found "privat"; expected "private", "acme" or "files"; did you mean "private"?
tls.profile (line 11): there is no profile "moderm@6.0"; expected intermediate@6.0 or modern@6.0; \
did you mean "modern@6.0"?
limits.body (line 13): found 1048576 (no text with a unit); expected a size such as "1MiB"; \
write it with a unit: "1048576B"
timeouts.request (line 15): found "5 minutes" (not a duration); expected a duration such as "30s"
validation.mode (line 17): found "warn"; expected "enforce" or "report"
"""


def test_ten_mistakes_are_ten() -> None:
    said = mistakes(TEN)
    assert "\n".join(said) + "\n" == TEN_SAID
    assert len(said) == 10


def test_the_sentence_names_the_count_or_the_only_mistake() -> None:
    with pytest.raises(PolicyError, match=r"sealgate.toml has 10 mistakes"):
        judged(TEN)
    with pytest.raises(PolicyError, match=r"sealgate.toml has a mistake: site.workers \(line 2\): found 0"):
        judged("[site]\nworkers = 0\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("site = 3", "site (line 1): found 3; expected a table"),
        ("site.workers = 1.5", "site.workers (line 1): found 1.5; expected a whole number from 1 to 256"),
        ("site.workers = true", "site.workers (line 1): found true; expected a whole number from 1 to 256"),
        ("site.workers = 257", "site.workers (line 1): found 257; expected a whole number from 1 to 256"),
        (
            'site.workers = "4"',
            'site.workers (line 1): found "4"; expected a whole number from 1 to 256; leave the quotes out',
        ),
        (
            'listen.http3 = "true"',
            'listen.http3 (line 1): found "true"; expected true or false; leave the quotes out',
        ),
        ("site.names = []", "expected a list with at least one element"),
        ("site.names = [1]", "site.names[0] (line 1): found 1; expected a DNS name or an IP address"),
        (
            "site.app = 5",
            'found 5; expected a module and its attribute such as "orders:app"; put it in quotes',
        ),
        ('limits.headers = "1MiB"', 'found "1MiB"; expected a size from "1KiB" to "96KiB"'),
        ('timeouts.idle = "0s"', 'found "0s"; expected a duration from "10ms" to "366d"'),
        ("timeouts.idle = 30", 'found 30 (no text with a unit); expected a duration such as "30s"; write it'),
        ('limits.body = "64TiB"', 'GiB is the largest unit: a size from "0B" to "1024GiB"'),
        ('limits.body = "1MB"', 'expected a size such as "1MiB"; did you mean "1MiB"?'),
        ('limits.body = "10 k"', 'did you mean "10KiB"?'),
        ('timeouts.idle = "60"', 'expected a duration such as "30s"; write it with a unit: "60s"'),
        ("timeouts.idle = 1979-05-27", "timeouts.idle (line 1): found 1979-05-27"),
        ("timeouts.idle = nan", "timeouts.idle (line 1): found nan"),
        (f'limits.body = "{"9" * 5000}"', "(not a size)"),
        ('listen.https = ["a.example:1"]', "(not an IP address before the port)"),
        ('listen.https = [":80"]', 'for every address write "0.0.0.0:80"'),
        ('listen.https = ["::1:80"]', "an IPv6 address stands in brackets"),
        ('listen.https = ["127.0.0.1:65536"]', "no port from 1 to 65535"),
        ('site.engine = "haproxy"', 'expected "envoy", "nginx", "apache", "gunicorn" or "uvicorn"'),
        ('certificate.source = "acmee"', 'did you mean "acme"?'),
        ('certificate.acme.directory = "http://a.example/"', "plain http, over which anybody could answer"),
        ('certificate.acme.contact = ["a@b.example, c@d.example"]', "not one address of a mailbox"),
        ('certificate.acme.external_account.kid = "k"', "certificate.acme.external_account.hmac"),
        ('clients.authorities = [{crl = "ftp://a.example/x"}]', "not http:// or https:// with a host"),
        ("clients.authorities = [{}, {}]", 'there is an authority "private" already'),
        ("max_age = 5", "max_age (line 1): unknown key"),
        ("http.max_age = 5", "it belongs in [http.hsts]"),
        ("http.hsts.max-age = 5", 'did you mean "max_age"?'),
        ('http.mode = "Redirect"', 'did you mean "redirect"?'),
        ('site.upstream = "http://me:hunter2@h/p"', 'found "http://…@h/p"'),
        (
            'certificate.files.key = """-----BEGIN PRIVATE KEY-----\n"""',
            "found PEM text (control characters)",
        ),
    ],
)
def test_one_mistake(text: str, said: str) -> None:
    found = mistakes(text)
    assert len(found) == 1, found
    assert said in found[0]
    assert "hunter2" not in found[0]


@pytest.mark.parametrize("text", ["limits.body = -1", 'limits.headers = "0"', 'timeouts.idle = "0"'])
def test_no_remedy_that_would_be_wrong_too(text: str) -> None:
    found = mistakes(text)
    assert len(found) == 1, found
    assert "write it" not in found[0]
    assert "quotes" not in found[0]


def test_a_wrong_key_does_not_hide_a_contradiction_elsewhere() -> None:
    found = mistakes('[site]\nworkers = 0\napp = "a:b"\nupstream = "http://h"\n')
    assert [text.partition(" ")[0] for text in found] == ["site.workers", "site.upstream"]


def test_a_contradiction_is_not_told_of_a_key_that_is_wrong_itself() -> None:
    assert len(mistakes('site.names = ["a b"]\nsite.url = "https://c.example"')) == 1


def test_sources_name_line_variable_or_default() -> None:
    loaded = judged(
        '[site]\nnames = [\n"a.example"]\n[[clients.authorities]]\nname = "x"\nfile = "x.pem"\n',
        {"SEALGATE_SITE__WORKERS": "3"},
    )
    sources = loaded.sources
    assert sources["site.names"] == "line 2"
    assert sources["site.workers"] == "SEALGATE_SITE__WORKERS"
    assert sources["site.threads"] == "default"
    assert sources["clients.authorities[0].file"] == "line 6"
    assert loaded.policy.site.workers == 3


def test_a_file_is_read_from_its_place(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('site.app = "a:b"')
    (tmp_path / "p.toml").chmod(0o600)
    loaded = load(tmp_path / "p.toml", environ={}, euid=1000)
    assert (loaded.policy.site.app, loaded.base, loaded.path) == ("a:b", tmp_path, tmp_path / "p.toml")


def test_a_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PolicyError, match="policy-missing"):
        load(None, environ={}, euid=1000)
    loaded = load(None, environ={"SEALGATE_SITE__APP": "a:b"}, euid=1000, missing_ok=True)
    assert (loaded.path, loaded.base, loaded.policy.site.app) == (None, tmp_path, "a:b")


def test_missing_is_ok_but_broken_is_not(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("x")
    (tmp_path / "p.toml").chmod(0o600)
    with pytest.raises(PolicyError, match="policy-syntax"):
        load(tmp_path / "p.toml", environ={}, euid=1000, missing_ok=True)


def what_is_said(text: str, environ: dict[str, str]) -> list[str]:
    """Nothing but a PolicyError comes of any text."""
    try:
        judged(text, environ)
    except PolicyError as error:
        return [str(error), *map(str, error.problems)]
    return []


REAL = st.fixed_dictionaries(
    {},
    optional={
        name: st.one_of(VALUES, st.dictionaries(st.sampled_from(keys), VALUES, max_size=4))
        for name, keys in {
            "site": ["names", "app", "upstream", "url", "workers", "engine"],
            "listen": ["https", "http", "http3"],
            "http": ["mode", "hsts"],
            "clients": ["mode", "authorities", "groups"],
            "certificate": ["source", "files", "acme"],
            "limits": ["body", "rates"],
            "tls": ["profile"],
        }.items()
    },
)


@given(
    st.one_of(TREES, REAL),
    st.dictionaries(st.sampled_from(["SITE__NAMES", "HTTP__HSTS__MAX_AGE"]), st.text()),
)
def test_hostile_policies_are_told_in_printable_words(
    data: dict[str, Any], variables: dict[str, str]
) -> None:
    text, _ = written(data)
    for said in what_is_said(text, {f"SEALGATE_{name}": value for name, value in variables.items()}):
        assert said.isprintable()
        assert "Input should" not in said
        assert "pydantic" not in said
        assert len(said) < 1000


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_a_policy_or_a_policy_error(text: str) -> None:
    assert all(said.isprintable() for said in what_is_said(text, {}))
