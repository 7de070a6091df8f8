"""The examples of hooks, run as Sealgate runs them, against providers that are made up here."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import sys
import threading
import tomllib
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sealgate.acme.dns.hook import Hook
from sealgate.acme.dns.record import Record
from sealgate.errors import AcmeError
from sealgate.policy.acme import Acme
from tests.live.served import loopback

EXAMPLES = Path(__file__).parents[3] / "examples" / "dns-hooks"
NAME = "_acme-challenge.api.example.test"


class Provider:
    """One zone, ``example.test``, with one value that is not ours."""

    def __init__(self) -> None:
        self.values = {"1": "kept"}

    def cloudflare(self, method: str, path: str, query: dict[str, str], body: dict) -> tuple[int, object]:
        if path == "/zones":
            return 200, {"result": [{"id": "z9"}] if query["name"] == "example.test" else []}
        if path == "/zones/z9/dns_records" and method == "GET":
            assert (query["type"], query["name"]) == ("TXT", NAME)
            return 200, {"result": [{"id": n, "content": f'"{v}"'} for n, v in self.values.items()]}
        if path == "/zones/z9/dns_records" and method == "POST":
            assert (body["type"], body["name"]) == ("TXT", NAME)
            self.values[str(max(map(int, self.values)) + 1)] = body["content"].strip('"')
            return 200, {"result": {}}
        if method == "DELETE" and self.values.pop(path.rpartition("/")[2], ""):
            return 200, {"result": {}}
        return 400, {"errors": [{"message": "no such thing"}]}

    def hetzner(self, method: str, path: str, _query: dict[str, str], body: dict) -> tuple[int, object]:
        texts = "/zones/example.test/rrsets/_acme-challenge.api/TXT"
        if path == "/zones/example.test":
            return 200, {"zone": {}}
        if (method, path) == ("GET", texts):
            return 200, {"rrset": {"records": [{"value": f'"{v}"'} for v in self.values.values()]}}
        if path == f"{texts}/actions/add_records":
            for n, record in enumerate(body["records"], 100 + len(self.values)):
                self.values[str(n)] = record["value"].strip('"')
            return 201, {"action": {}}
        if path == f"{texts}/actions/remove_records":
            gone = {record["value"].strip('"') for record in body["records"]}
            self.values = {n: v for n, v in self.values.items() if v not in gone}
            return 201, {"action": {}}
        return 404, {"error": {"code": "not_found"}}


@contextlib.contextmanager
def serving(answer) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers["Authorization"] != "Bearer t0ken":
                status, data = 403, {"error": "token"}
            else:
                url = urllib.parse.urlsplit(self.path)
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or b"{}")
                status, data = answer(self.command, url.path, dict(urllib.parse.parse_qsl(url.query)), body)
            text = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_DELETE = do_GET  # noqa: N815 - http.server looks for these names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((loopback(), 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://{server.server_address[0]!s}:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def record(value: str) -> Record:
    return Record(NAME, value, "api.example.test")


def path(folder: Path) -> str:
    """Programs of the folder first, and this very Python: a launcher before it may look elsewhere."""
    if not (folder / "python3").exists():
        (folder / "python3").symlink_to(sys.executable)
    return f"{folder}:{os.environ['PATH']}"


def hook(name: str, folder: Path, token: str = "t0ken", **environ: str) -> Hook:  # noqa: S107 - made up
    (folder / "token").write_text(f"{token}\n")
    (folder / "token").chmod(0o600)
    found = {"PATH": path(folder), "DNS_HOOK_TOKEN_FILE": str(folder / "token"), **environ}
    return Hook(EXAMPLES / name, folder=folder, environ=found, seconds=60)


@pytest.mark.parametrize("name", ["cloudflare", "hetzner"])
def test_over_http(name, tmp_path):
    provider = Provider()
    with serving(getattr(provider, name)) as url:
        one = hook(name, tmp_path, DNS_HOOK_API=url)
        for value in ("apex", "wild", "wild"):
            one.add(record(value))
        assert sorted(provider.values.values()) == ["apex", "kept", "wild"]
        one.remove(record("apex"))
        one.remove(record("apex"))
        assert sorted(provider.values.values()) == ["kept", "wild"]
        with pytest.raises(AcmeError, match="403"):
            hook(name, tmp_path, "other", DNS_HOOK_API=url).add(record("x"))
        one = hook(name, tmp_path, DNS_HOOK_API=url)
        (tmp_path / "token").chmod(0o640)
        with pytest.raises(AcmeError, match="others may read"):
            one.add(record("x"))


@pytest.mark.parametrize("name", ["cloudflare", "hetzner"])
@pytest.mark.parametrize(("url", "said"), [("http://{}:9", "cannot be asked"), ("nothing", "cannot read")])
def test_a_provider_that_does_not_answer_is_one_sentence(name, url, said, tmp_path):
    one = hook(name, tmp_path, DNS_HOOK_API=url.format(loopback()))
    with pytest.raises(AcmeError, match=said) as caught:
        one.add(record("x"))
    assert "Traceback" not in str(caught.value)
    (tmp_path / "token").unlink()
    with pytest.raises(AcmeError, match="token cannot be read"):
        one.add(record("x"))


AWS = r"""#!/bin/sh
# What the aws program does, as far as it is asked here; its world is the file "set".
[ "$AWS_SHARED_CREDENTIALS_FILE" = "$PWD/token" ] || exit 255
case "$*" in
  *"list-hosted-zones-by-name --dns-name example.test. "*)
    echo '{"HostedZones": [{"Id": "/hostedzone/P1", "Name": "example.test.", "Config": {"PrivateZone": true}},
      {"Id": "/hostedzone/Z9", "Name": "example.test.", "Config": {"PrivateZone": false}}]}' ;;
  *list-hosted-zones-by-name*) echo '{"HostedZones": [{"Id": "/hostedzone/X", "Name": "zzz."}]}' ;;
  *"list-resource-record-sets --hosted-zone-id Z9 "*) cat set ;;
  *"change-resource-record-sets --hosted-zone-id Z9 --change-batch "*) printf %s "$6" > change; echo {} ;;
  *) exit 254 ;;
esac
"""


def test_route53(tmp_path):
    (tmp_path / "aws").write_text(AWS)
    (tmp_path / "aws").chmod(0o755)
    one = hook("route53", tmp_path)

    def change(before: list[str], act, value: str) -> tuple[str, list[str]] | None:
        sets = {"Name": f"{NAME}.", "Type": "TXT", "TTL": 300} | {
            "ResourceRecords": [{"Value": f'"{v}"'} for v in before]
        }
        (tmp_path / "set").write_text(json.dumps({"ResourceRecordSets": [sets] if before else []}))
        (tmp_path / "change").unlink(missing_ok=True)
        act(record(value))
        if not (tmp_path / "change").exists():
            return None
        (made,) = json.loads((tmp_path / "change").read_text())["Changes"]
        assert made["ResourceRecordSet"]["TTL"] == (300 if before else 60)
        values = [one["Value"].strip('"') for one in made["ResourceRecordSet"]["ResourceRecords"]]
        return made["Action"], values

    assert change([], one.add, "apex") == ("UPSERT", ["apex"])
    assert change(["kept"], one.add, "apex") == ("UPSERT", ["kept", "apex"])
    assert change(["apex"], one.add, "apex") is None
    assert change(["kept", "apex"], one.remove, "apex") == ("UPSERT", ["kept"])
    assert change(["apex"], one.remove, "apex") == ("DELETE", ["apex"])
    assert change(["kept"], one.remove, "apex") is None


def test_a_pair_of_certbot_s(tmp_path):
    for name, text in {
        "auth": "echo $CERTBOT_DOMAIN; echo $CERTBOT_VALIDATION > set",
        "cleanup": "rm set",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\nset -e\n{text}\n")
        (tmp_path / name).chmod(0o755)
    environ = {"DNS_HOOK_AUTH": str(tmp_path / "auth"), "DNS_HOOK_CLEANUP": str(tmp_path / "cleanup")}
    one = hook("certbot", tmp_path, **environ)
    one.add(record("x"))
    assert (tmp_path / "set").read_text() == "x\n"
    one.remove(record("x"))
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("program", sorted(EXAMPLES.iterdir()), ids=lambda path: path.name)
def test_they_may_be_run_and_say_how(program, tmp_path):
    assert stat.S_IMODE(program.stat().st_mode) == 0o755
    assert program.name in program.read_text()
    one = Hook(program, folder=Path("/"), environ={"PATH": path(tmp_path)}, seconds=60)
    with pytest.raises(AcmeError, match=r"NAME VALUE|TOKEN_FILE|ChangeResourceRecordSets"):
        one._run("other", record("x"), {}, lambda: None)


def test_the_guide_s_tables_are_the_policy_s():
    guide = (EXAMPLES.parents[1] / "docs" / "guides" / "dns-01.md").read_text()
    found = [tomllib.loads(text) for text in re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)]
    tables = [Acme.model_validate(one["certificate"]["acme"]).dns for one in found]
    assert [bool(table.rfc2136) for table in tables] == [True, False, False]
    assert tables[2].resolver == "192.0.2.53"
    assert tables[1].hook == "/etc/sealgate/dns-hook"
    for name in ("cloudflare", "hetzner", "route53", "certbot"):
        assert f"`{name}`" in guide
