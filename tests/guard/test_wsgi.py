"""The guard in front of WSGI apps; wsgiref's validator stands on both sides of it."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

import falcon
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.guard import wsgi
from sealgate.guard.client import Client
from sealgate.guard.sources import EnvoySource
from sealgate.guard.wsgi import Guard
from sealgate.policy.network import admitted
from tests.guard.exchange import PROOF, REQUEST_ID, SITE, Log, call_wsgi, compiled, environ
from tests.guard.test_certificate import certificate, make, ways
from tests.guard.test_headers import SPOOFABLE, spellings

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
START = ("200 OK", [("Content-Type", "text/plain")])


class Seen:
    """An app that keeps what reached it and answers with the body."""

    def __init__(self) -> None:
        self.environs: list[dict[str, Any]] = []

    @property
    def environ(self) -> dict[str, Any]:
        assert len(self.environs) == 1
        return self.environs[0]

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        self.environs.append(dict(environ))
        start_response(*START)
        return [environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))]


def guarded(app: App, log: Log | None = None, **keywords: Any) -> Guard:
    return Guard(app, SITE, EnvoySource(PROOF), log or Log(), **keywords)


def validated(app: App) -> App:
    checked: App = validator(guarded(validator(app)))
    return checked


def test_what_the_app_sees() -> None:
    seen = Seen()
    reply = call_wsgi(guarded(seen), environ("/caf%C3%A9/x;y?q=%20&r"))
    assert reply.status == 200
    env = seen.environ
    assert env["PATH_INFO"].encode("latin-1").decode() == "/café/x;y"
    assert env["QUERY_STRING"] == "q=%20&r"
    assert (env["REMOTE_ADDR"], env["REMOTE_PORT"]) == ("192.0.2.7", "50007")
    assert (env["wsgi.url_scheme"], env["HTTPS"]) == ("https", "on")
    assert (env["SERVER_NAME"], env["SERVER_PORT"]) == ("api.example.com", "8443")
    assert env["SERVER_PROTOCOL"] == "HTTP/2"
    assert env["HTTP_HOST"] == "api.example.com:8443"
    assert env["HTTP_X_REQUEST_ID"] == REQUEST_ID
    assert env["sealgate.client"] == Client("192.0.2.7")
    assert not [name for name in env if "SEALGATE" in name]


@pytest.mark.parametrize(
    ("request_", "status", "slug", "rule"),
    (
        ({"target": "/a/../admin"}, 400, "path-not-canonical", "dot-segment"),
        ({"target": "/caf\xc3\xa9"}, 400, "path-not-canonical", "no-leading-slash"),
        ({"host": "evil.example"}, 421, "unknown-host", "host"),
        ({"host": None}, 421, "unknown-host", "host"),
        ({"CONTENT_LENGTH": "1048577", "method": "POST"}, 413, "body-too-large", "body-limit"),
        ({"address": None}, 500, "internal-error", "engine-facts-missing"),
        ({"address": "nonsense"}, 500, "internal-error", "engine-facts-missing"),
        ({"PATH_INFO": "/admin"}, 500, "internal-error", "path-mismatch"),
    ),
)
def test_denials(request_: dict[str, Any], status: int, slug: str, rule: str) -> None:
    seen, log = Seen(), Log()
    reply = call_wsgi(guarded(seen, log), environ(**request_))
    assert seen.environs == []
    assert reply.status == status
    assert reply.problem()["type"] == f"urn:problem-type:sealgate:{slug}"
    assert reply.header("cache-control") == "no-store"
    assert reply.header("content-length") == str(len(reply.body))
    assert log.rules == [rule]
    assert log.events[0]["request_id"] == REQUEST_ID


def test_a_denial_without_the_engines_path_fails_closed() -> None:
    request = environ()
    del request["HTTP_SEALGATE_PATH"]
    assert call_wsgi(guarded(Seen()), request).status == 500


def test_the_app_sees_the_clients_certificate_or_is_not_called() -> None:
    seen, log = Seen(), Log()
    guard = Guard(seen, SITE, EnvoySource(PROOF, clients=True), log)
    text = str(ways(make("alice"))["nginx"])
    assert call_wsgi(guard, environ(HTTP_SEALGATE_CERTIFICATE=text)).status == 200
    assert seen.environ["sealgate.client"] == Client("192.0.2.7", certificate(text))
    assert not [name for name in seen.environ if "SEALGATE" in name]
    reply = call_wsgi(guard, environ(HTTP_SEALGATE_CERTIFICATE="odd"))
    assert (reply.status, reply.problem()["type"]) == (
        403,
        "urn:problem-type:sealgate:client-certificate-refused",
    )
    assert (log.rules, log.events[0]["address"]) == (["certificate-encoding"], "192.0.2.7")
    assert len(seen.environs) == 1


def test_all_fields_together_where_the_engine_leaves_that_to_the_guard() -> None:
    seen, log = Seen(), Log()
    engines: dict[str, Any] = {"HTTP_SEALGATE_CERTIFICATE": "x" * 5000}  # the engine's own does not count
    plain = environ(**engines)
    size = sum(len(k) - 5 + len(v) for k, v in plain.items() if k.startswith("HTTP_") and "SEALGATE" not in k)
    guard = Guard(
        seen, dataclasses.replace(SITE, headers_limit=size + 100), EnvoySource(PROOF, clients=False), log
    )
    fits: dict[str, Any] = {f"HTTP_X_{n}": "a" * 7 for n in range(10)}
    assert call_wsgi(guard, environ(**engines, **fits)).status == 200
    reply = call_wsgi(guard, environ(**engines, **fits, HTTP_Y="a"))
    assert (reply.status, reply.problem()["type"]) == (431, "urn:problem-type:sealgate:headers-too-large")
    assert log.rules == ["headers-limit"]
    assert len(seen.environs) == 1


def test_head_is_denied_without_a_body() -> None:
    reply = call_wsgi(validator(guarded(validator(Seen()))), environ("/..", method="HEAD"))
    assert (reply.status, reply.body) == (400, b"")
    assert reply.header("content-type") == "application/problem+json"


def test_no_secret_is_logged() -> None:
    log = Log()
    request = environ("/..?token=s3cret", HTTP_AUTHORIZATION="Bearer s3cret", HTTP_COOKIE="s3cret")
    call_wsgi(guarded(Seen(), log), request)
    assert log.rules == ["dot-segment"]
    assert "s3cret" not in str(log.events)


@pytest.mark.parametrize("name", SPOOFABLE)
def test_claims_of_proxies_are_removed(name: str) -> None:
    seen = Seen()
    guard = guarded(seen)
    for spelling in spellings(name):
        variable = "HTTP_" + spelling.upper().replace("-", "_")
        request = environ()
        request.setdefault(variable, "evil")
        call_wsgi(guard, request)
    assert len(seen.environs) == len(spellings(name))
    assert "evil" not in [value for env in seen.environs for value in env.values()]


@pytest.mark.parametrize("variable", ("REMOTE_USER", "AUTH_TYPE", "SSL_CLIENT_VERIFY"))
def test_variables_about_the_caller_are_removed(variable: str) -> None:
    seen = Seen()
    call_wsgi(guarded(seen), environ() | {variable: "evil"})
    assert variable not in seen.environ


@given(
    st.dictionaries(
        st.sampled_from(SPOOFABLE).flatmap(lambda name: st.sampled_from(spellings(name)))
        | st.text("AZ_-x09", max_size=9),
        st.text(st.characters(max_codepoint=0xFF), max_size=30),
        max_size=8,
    )
)
def test_hostile_fields_neither_crash_nor_reach_the_app(fields: dict[str, str]) -> None:
    seen = Seen()
    sent = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in fields.items()}
    reply = call_wsgi(guarded(seen), environ() | sent)
    if reply.status != 200:  # it named the engine's own fields
        assert {"HTTP_SEALGATE_PROOF", "HTTP_SEALGATE_ADDRESS", "HTTP_SEALGATE_PATH"} & sent.keys()
        assert seen.environs == []
        return
    prefixes = (
        "HTTP_X_FORWARDED",
        "HTTP_FORWARDED",
        "HTTP_SEALGATE",
        "HTTP_SSL_",
        "HTTP_X_SSL",
        "HTTP_CLIENT_CERT",
    )
    assert not [name for name in seen.environ if name.startswith(prefixes)]
    kept = {name: value for name, value in sent.items() if name.startswith("HTTP_A")}
    assert kept.items() <= seen.environ.items()


def test_memory_of_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wsgi, "_MOST_REMEMBERED", 50)
    seen = Seen()
    guard = guarded(seen)
    for number in range(300):
        call_wsgi(guard, environ() | {f"HTTP_X_{number}": "kept", "HTTP_X_REAL_IP": "evil"})
        assert len(guard._harmless) <= 100
    assert all(env[f"HTTP_X_{number}"] == "kept" for number, env in enumerate(seen.environs))
    assert not any("HTTP_X_REAL_IP" in env for env in seen.environs)


def test_another_policy_counts_from_the_next_request_on() -> None:
    guard = guarded(Seen())
    guard.use(compiled(site={"names": ["other.example"]}))
    assert call_wsgi(guard, environ()).status == 421
    assert call_wsgi(guard, environ(host="other.example")).status == 200


# Responses of every kind that PEP 3333 knows.


def test_a_list_is_handed_on_as_it_is() -> None:
    answer = [b"a", b"b"]

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response(*START)
        return answer

    assert guarded(app)(environ(), lambda *_: None) is answer
    assert guarded(app)(environ(method="POST", body=b"x", length=False), lambda *_: None) is answer


@pytest.mark.parametrize("chunked", (False, True))
def test_generators_stream_and_are_closed(chunked: bool) -> None:
    events: list[str] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response(*START)
        try:
            for number in range(3):
                events.append(f"made {number}")
                yield b"%d" % number
        finally:
            events.append("closed")

    request = environ(method="POST", body=b"x" * 10, length=False) if chunked else environ()
    response = guarded(app)(request, lambda *_: None)
    for number, piece in enumerate(response):
        assert piece == b"%d" % number
        events.append(f"got {number}")
        if number == 1:
            break
    response.close()  # type: ignore[attr-defined]  # a generator, or what closes one
    assert events == ["made 0", "got 0", "made 1", "got 1", "closed"]


@pytest.mark.parametrize(
    "request_", ({}, {"method": "POST", "body": b"abc"}, {"method": "POST", "body": b"abc", "length": False})
)
def test_the_validator_has_nothing_to_say(request_: dict[str, Any]) -> None:
    class Response:
        def __iter__(self) -> Iterator[bytes]:
            yield b"a"
            yield b"b"

        def close(self) -> None:
            closed.append(1)

    def iterable(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response(*START)
        return Response()

    def writing(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        write = start_response(*START)
        write(b"a")
        return [b"b"]

    def late(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        environ["wsgi.input"].read(1)
        start_response(*START)
        yield b"ab"

    closed: list[int] = []
    for app in (iterable, writing, late):
        assert call_wsgi(validated(app), environ(**request_)).body == b"ab"
    assert closed == [1]


def test_exceptions_of_the_app_go_to_the_server() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        raise LookupError("the app's own")

    for length in (True, False):
        with pytest.raises(LookupError, match="the app's own"):
            call_wsgi(guarded(app), environ(method="POST", body=b"x", length=length))


# Bodies.


class Upload:
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.data = req.bounded_stream.read()

    on_delete = on_patch = on_put = on_post


def falcon_app() -> falcon.App:
    app = falcon.App()
    app.add_route("/orders", Upload())
    return app


@pytest.mark.parametrize("method", ("POST", "PUT", "PATCH", "DELETE"))
@pytest.mark.parametrize("size", (0, 1, 100_000, 1_048_576))
def test_falcon_reads_a_body_of_unknown_length(method: str, size: int) -> None:
    body = b"x" * size
    request = environ(method=method, body=body, length=False)
    assert call_wsgi(guarded(falcon_app()), request).body == body
    assert request["CONTENT_LENGTH"] == str(size)
    assert request["wsgi.input_terminated"] is True


def test_without_the_guard_falcon_reads_nothing() -> None:
    assert call_wsgi(falcon_app(), environ(method="POST", body=b"x", length=False)).body == b""


def test_a_body_of_unknown_length_is_bounded() -> None:
    seen, log = Seen(), Log()
    reply = call_wsgi(guarded(seen, log), environ(method="POST", body=b"x" * 1_048_577, length=False))
    assert (reply.status, reply.problem()["title"]) == (413, "The request body is too large")
    assert seen.environs == []
    assert log.rules == ["body-limit"]


def test_a_body_that_cannot_be_kept_is_our_fault_and_is_said() -> None:
    site = compiled(site={"names": ["api.example.com"]}, limits={"body": "4MiB"})
    log = Log()
    guard = Guard(Seen(), site, EnvoySource(PROOF), log, spool_directory="/nonexistent")
    assert call_wsgi(guard, environ(method="POST", body=b"x" * 2_000_000, length=False)).status == 500
    assert log.rules == ["spool-directory"]


def test_a_body_of_known_length_is_not_touched() -> None:
    seen = Seen()
    request = environ(method="POST", body=b"abc")
    stream = request["wsgi.input"]
    assert call_wsgi(guarded(seen), request).body == b"abc"
    assert seen.environ["wsgi.input"] is stream


@pytest.mark.parametrize("method", ("GET", "HEAD", "OPTIONS"))
def test_methods_without_a_body_are_not_waited_for(method: str) -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            pytest.fail("somebody waits for a body")

    reached: list[str] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        reached.append(environ.get("CONTENT_LENGTH", "none"))
        start_response(*START)
        return []

    call_wsgi(guarded(app), environ(method=method) | {"wsgi.input": Endless()})
    assert reached == ["none"]


def test_where_the_server_does_not_end_the_body_there_is_none() -> None:
    seen = Seen()
    request = environ(method="POST", body=b"abc", length=False) | {"wsgi.input_terminated": False}
    assert call_wsgi(guarded(seen), request).body == b""


def test_the_kept_body_is_closed_when_the_response_is() -> None:
    inputs: list[Any] = []

    def lazy(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        inputs.append(environ["wsgi.input"])
        start_response(*START)
        yield environ["wsgi.input"].read()

    def eager(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        inputs.append(environ["wsgi.input"])
        start_response(*START)
        return [environ["wsgi.input"].read()]

    for app in (lazy, eager):
        assert call_wsgi(guarded(app), environ(method="POST", body=b"abc", length=False)).body == b"abc"
    assert [stream.closed for stream in inputs] == [True, True]


@pytest.mark.parametrize("target", ["/orders", "//", "/orders?a=b"])
def test_where_a_request_comes_from_is_judged_first(target: str) -> None:
    ruled = dataclasses.replace(SITE, admitted=admitted((), ("192.0.2.0/24",)))
    seen, log = Seen(), Log()
    guard = Guard(seen, ruled, EnvoySource(PROOF), log)
    for host in ("api.example.com:8443", "evil.example"):
        reply = call_wsgi(guard, environ(target, host=host))
        assert (reply.status, reply.problem()["type"]) == (403, "urn:problem-type:sealgate:address-refused")
    assert (seen.environs, log.rules) == ([], ["address", "address"])
    assert call_wsgi(guard, environ(address="192.0.3.7:50007")).status == 200
    guard.use(SITE)
    assert call_wsgi(guard, environ()).status == 200
