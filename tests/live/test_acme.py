"""Certificates from ACME while serving: Pebble asks, the engine answers, handshakes see."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from sealgate.engines.observe import handshake
from sealgate.engines.registry import engine_ids
from sealgate.errors import ControlError
from sealgate.policy.model import Endpoint
from tests.acme.pebble import Server, pebble
from tests.live.served import APPS, READY, Served, free_port, serve, start_process

NAME, OTHER = "api.example.com", "www.example.com"
GOT = "certificate from https://"
COMES = 240.0
"""Seconds, a limit: what fails on a busy machine is tried again after one minute, and then after two."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pebble(tmp_path_factory.mktemp("pebble")) as server:
        yield server


@contextmanager
def acme(folder: Path, authority: Server, *, engine: str = "envoy", **tables: Any) -> Iterator[Served]:
    account = {"directory": authority.directory, "ca_file": str(authority.ca_file)}
    certificate = {"source": "acme", "acme": account | tables.pop("acme", {})}
    certificate |= tables.pop("certificate", {})
    with serve(
        folder,
        app="ops:asgi" if engine == "uvicorn" else "ops:app",
        site={"engine": engine, "names": [NAME], **tables.pop("site", {})},
        certificate=certificate,
        at=(authority.host, authority.https, authority.http),
        **tables,
    ) as served:
        yield served


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Where `site` has its certificate from: it looks at one address only."""
    with pebble(tmp_path_factory.mktemp("own")) as server:
        yield server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, own: Server) -> Iterator[Served]:
    """One that has its certificate."""
    with acme(tmp_path_factory.mktemp("site"), own) as served:
        served.wait_for(lambda: GOT in served.err, COMES)
        yield served


def shown(served: Served) -> x509.Certificate:
    """What a handshake shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with served.connect(context) as tls:
        der = tls.getpeercert(binary_form=True)
    assert der
    return x509.load_der_x509_certificate(der)


def issuer(served: Served) -> str:
    return shown(served).issuer.rfc4514_string()


def fingerprint(served: Served) -> str:
    return handshake(Endpoint(served.host, served.https), NAME).fingerprint


def nothing_lies_about(served: Served) -> bool:
    return not [path for path in (served.state / "live/challenges").rglob("*") if path.is_file()]


def sealgate(served: Served, *arguments: str) -> subprocess.CompletedProcess[str]:
    where = ("-c", str(served.policy), "--state", str(served.state))
    command = [sys.executable, "-m", "sealgate", *arguments, *where]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


_BRIEFLY = {
    "envoy",
    "nginx",
    "gunicorn",
}  # one that follows files, one told by a signal, one that is inside


@pytest.mark.parametrize(
    "engine",
    [name if name in _BRIEFLY else pytest.param(name, marks=pytest.mark.long) for name in engine_ids()],
)
def test_serves_at_once_and_swaps_when_the_real_one_is_there(
    tmp_path: Path, authority: Server, engine: str
) -> None:
    with acme(tmp_path, authority, engine=engine) as served:
        served.wait_for(lambda: GOT in served.err, COMES)
        assert "Pebble" in issuer(served)
        served.wait_for(lambda: nothing_lies_about(served))
        before = fingerprint(served)
        answer = served.order(order="renew", force=True)
        assert answer["renewed"]
        assert fingerprint(served) == answer["fingerprint"] != before


def test_two_kinds_of_keys_are_both_obtained_and_replaced_each_by_itself(
    tmp_path: Path, authority: Server
) -> None:
    with acme(tmp_path, authority, certificate={"second_key_type": "rsa-3072"}) as served:
        served.wait_for(lambda: served.err.count(GOT) == 2, COMES)

        def seen() -> dict[str, str]:
            endpoint = Endpoint(served.host, served.https)
            both = {kind: handshake(endpoint, NAME, kind=kind) for kind in ("ecdsa", "rsa")}
            for one in both.values():
                assert "Pebble" in x509.load_der_x509_certificate(one.leaf).issuer.rfc4514_string()
            return {kind: one.fingerprint for kind, one in both.items()}

        before = seen()
        shown = json.loads(sealgate(served, "cert", "show", "--json").stdout)
        assert shown["fingerprint_sha256"] == before["ecdsa"]
        assert shown["second"]["fingerprint_sha256"] == before["rsa"]
        assert shown["second"]["renewed_from"]
        done = sealgate(served, "cert", "revoke", before["rsa"][:12], "--yes")
        assert done.returncode == 0, done.stderr
        after = seen()
        assert after["ecdsa"] == before["ecdsa"]
        assert after["rsa"] != before["rsa"]
        answer = served.order(order="renew", force=True)
        assert seen() == {"ecdsa": answer["fingerprint"], "rsa": answer["second"]["fingerprint"]}
        listed = json.loads(sealgate(served, "cert", "list", "--json").stdout)
        assert {row["fingerprint_sha256"] for row in listed if row["live"]} == set(seen().values())
        status = json.loads(sealgate(served, "status", "--json").stdout)
        (listener,) = (one for one in status["snapshot"]["listeners"] if one["scheme"] == "https")
        assert {one["kind"]: one["fingerprint"] for one in listener["kinds"]} == seen()
        served.wait_for(lambda: nothing_lies_about(served))


def test_by_tls_alpn_01_with_plain_http_closed(tmp_path: Path, authority: Server) -> None:
    with acme(tmp_path, authority, acme={"challenge": "tls-alpn-01"}, listen={"http": []}) as served:
        served.wait_for(lambda: GOT in served.err, COMES)
        assert "Pebble" in issuer(served)
        served.wait_for(lambda: nothing_lies_about(served))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with served.connect(context, alpn="acme-tls/1") as tls:
            assert tls.selected_alpn_protocol() != "acme-tls/1"
        one_revoked_at_once_is_replaced_by_itself(served, authority)


def one_revoked_at_once_is_replaced_by_itself(served: Served, authority: Server) -> None:
    revoked, count = shown(served).serial_number, served.err.count(GOT)
    done = sealgate(served, "cert", "revoke", "--at-once", "--yes")
    assert done.returncode == 0, done.stderr
    assert json.loads(authority.get(f"/cert-status-by-serial/{revoked:x}"))["Status"] == "Revoked"
    served.wait_for(lambda: served.err.count(GOT) > count, COMES)
    assert shown(served).serial_number != revoked


def test_what_is_not_due_is_not_asked_for(site: Served) -> None:
    before = fingerprint(site)
    done = sealgate(site, "cert", "renew", "--if-due", "--json")
    assert json.loads(done.stdout) | {"plan": "", "plans": [], "next": ""} == {
        "fingerprint": before,
        "not_after": shown(site).not_valid_after_utc.isoformat(),
        "renewed": False,
        "plan": "",
        "plans": [],
        "next": "",
    }
    assert fingerprint(site) == before


def test_a_rehearsal_proves_the_names_and_asks_nobody(site: Served, own: Server) -> None:
    before, asked = fingerprint(site), own.log.read_text().count("POST /")
    done = sealgate(site, "cert", "renew", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "every name could be proven" in done.stderr
    assert own.log.read_text().count("POST /") == asked
    assert fingerprint(site) == before
    assert nothing_lies_about(site)


def test_a_live_one_is_replaced_before_it_is_revoked(site: Served, own: Server) -> None:
    before = shown(site)
    done = sealgate(site, "cert", "revoke", "--yes", "--reason", "key-compromise")
    assert done.returncode == 0, done.stderr
    assert shown(site).serial_number != before.serial_number
    assert "Pebble" in issuer(site)
    told = json.loads(own.get(f"/cert-status-by-serial/{before.serial_number:x}"))
    assert (told["Status"], told["Reason"]) == ("Revoked", 1)
    assert f"certificate {fingerprint(site)[:16]} is live" in done.stderr
    rows = json.loads(sealgate(site, "cert", "list", "--json").stdout)
    assert [row["live"] for row in rows if row["revoked"]] == [False]
    assert any(line.startswith("revoked") for line in sealgate(site, "cert", "list").stdout.splitlines())
    due = json.loads(sealgate(site, "cert", "show", "--json").stdout)["renewed_from"]
    day = f"{datetime.fromisoformat(due):%Y-%m-%d %H:%M} UTC"
    assert day in sealgate(site, "cert", "renew", "--if-due").stderr
    assert day in sealgate(site, "cert", "show").stdout
    named = sealgate(site, "cert", "revoke", "nonsense", "--yes")
    assert named.returncode == 2
    assert "certificate-unknown" in named.stderr


def test_an_account_is_given_up_and_made_anew_when_one_is_needed(site: Served) -> None:
    keys = site.state / "authorities/acme"
    assert list(keys.rglob("key.pem"))
    done = sealgate(site, "cert", "deactivate", "--yes", "--json")
    assert len(json.loads(done.stdout)["authorities"]) == 1
    assert not list(keys.rglob("key.pem"))
    assert json.loads(sealgate(site, "cert", "deactivate", "--yes", "--json").stdout) == {"authorities": []}
    assert site.order(order="renew", force=True)["renewed"]
    (key,) = keys.rglob("key.pem")
    assert key.stat().st_mode & 0o777 == 0o600


def test_a_name_more_is_a_certificate_more(site: Served) -> None:
    count = site.err.count(GOT)
    site.rewrite(site={"names": [NAME, OTHER]})
    site.reload()
    site.wait_for(lambda: site.err.count(GOT) > count, COMES)
    names = shown(site).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {NAME, OTHER}


def test_a_keeper_that_starts_again_keeps_what_it_has(tmp_path: Path, authority: Server) -> None:
    with acme(tmp_path, authority) as served:
        served.wait_for(lambda: GOT in served.err, COMES)
        before = fingerprint(served)
        served.stop()
        again = start_process(
            tmp_path,
            *("serve", "-c", str(served.policy), "--state", str(served.state)),
            env={"PYTHONPATH": str(APPS)},
        )
        try:
            served.wait_for(lambda: READY.search(served.out))
            assert fingerprint(served) == before
        finally:
            again.send_signal(signal.SIGTERM)
            again.wait(60)
        assert GOT not in served.err


def test_nobody_answers_and_the_next_authority_is_asked(tmp_path: Path, authority: Server) -> None:
    gone = f"https://{authority.host}:{free_port(authority.host)}/dir"
    second = {"directory": authority.directory, "ca_file": str(authority.ca_file)}
    with acme(tmp_path, authority, acme={"directory": gone, "fallback": [second]}) as served:
        served.wait_for(lambda: GOT in served.err, COMES)
        assert "acme-unreachable" in served.err
        assert "Pebble" in issuer(served)


def test_who_cannot_have_one_serves_all_the_same_and_says_so(tmp_path: Path, authority: Server) -> None:
    gone = f"https://{authority.host}:{free_port(authority.host)}/dir"
    with acme(tmp_path, authority, acme={"directory": gone}) as served:
        served.wait_for(lambda: "warning: no certificate from ACME: acme-unreachable" in served.err)
        assert "Sealgate" in issuer(served)
        with pytest.raises(ControlError) as caught:
            served.order(order="renew", force=True)
        assert caught.value.code == "acme-unreachable"
        assert served.stop() == 0


def test_without_a_keeper_a_small_responder_answers(tmp_path: Path, authority: Server) -> None:
    with acme(tmp_path, authority) as served:
        served.wait_for(lambda: GOT in served.err, COMES)
    done = sealgate(served, "cert", "renew", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["renewed"]
    assert answer["served"] is None
    listed = json.loads(sealgate(served, "cert", "list", "--json").stdout)
    assert [row["kind"] for row in listed if row["live"]] == ["acme"]
    asked = sealgate(served, "cert", "revoke")
    assert (asked.returncode, "confirmation-missing" in asked.stderr) == (2, True)
    ended = json.loads(sealgate(served, "cert", "revoke", "--by", "key", "--yes", "--json").stdout)
    assert ended["fingerprint"] == answer["fingerprint"] != ended["live"], "another one is live before that"
    ended = json.loads(sealgate(served, "cert", "revoke", "--at-once", "--yes", "--json").stdout)
    assert ended["fingerprint"] == ended["live"]
    again = json.loads(sealgate(served, "cert", "renew", "--if-due", "--json").stdout)
    assert again["renewed"], "a revoked one is due"
    assert again["fingerprint"] != ended["live"]
