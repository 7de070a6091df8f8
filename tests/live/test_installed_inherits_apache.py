"""An installed Apache as Debian configures it, and one that says more outside of its virtual hosts: that does
not count in our site, or is refused with its line; on the real server, whose own site goes on as it was."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engines.servers.apache.test_inherited import DOES_NOT
from tests.live.backend import Backend, backend
from tests.live.installed import APACHE_MODULES, Installed, call, installed, kinds, said, untouched

DEBIAN = Path("/etc/apache2")
MODULES = """
authz_user auth_basic authn_core authn_file access_compat autoindex deflate filter mime negotiation reqtimeout
ssl headers rewrite proxy proxy_http http2 remoteip info expires cache cache_disk cgid userdir brotli include
socache_shmcb substitute
"""
"""What Debian enables beside `APACHE_MODULES`, what is enabled for sites, and what some lines below need."""
CONFS = ("charset", "security", "serve-cgi-bin", "localized-error-pages")
PATHS = (
    *(
        "/",
        "/icons/",
        "/icons/x",
        "/.htaccess",
        "/server-status",
        "/server-info",
        "/javascript/x",
        "/cgi-bin/x",
    ),
    *("/~root/x", "/x.var", "/x.shtml", "/x.en", "/x.html.de", "/x.gz", "/x.cgi", "/.git/x"),
)
TOKEN = "tokenWeAbcdefghijklmnopqrstuvwxyz0123456789"
CHALLENGE = f"/.well-known/acme-challenge/{TOKEN}"
ACCEPTED = """\
<Location />
Options +Includes
SetOutputFilter DEFLATE
AddOutputFilterByType SUBSTITUTE application/json
ExpiresActive on
ExpiresDefault A1000
AddDefaultCharset utf-7
SetHandler server-info
ErrorDocument 421 "his words"
</Location>
<Location /server-status>
SetHandler server-status
AuthType Basic
Require ip 192.0.2.1
Deny from all
</Location>
<FilesMatch .*>
Require all denied
</FilesMatch>
<DirectoryMatch .*>
Require all denied
</DirectoryMatch>
<Proxy *>
Order deny,allow
Allow from all
</Proxy>
"""
"""Sections, beside the lines of the unit test."""
REFUSED = """\
<Location />
Require all denied
</Location>
RequestHeader set X-Client evil
ProxyPass / http://do-not-tell.test/
Redirect / https://do-not-tell.test/
<If true>
Require all denied
</If>
LuaHookFixups /do-not-tell.lua f
"""


def _lines() -> list[str]:
    """Some need modules that are not here; two fields may be added to answers, and are."""
    added = ("LoadModule", "Header append Vary", "Header set X-Content-Type-Options")
    return [line for line in DOES_NOT.splitlines() if not line.startswith(added)]


@pytest.fixture(scope="module")
def behind() -> Iterator[Backend]:
    with backend() as one:
        yield one


@pytest.fixture(scope="module")
def server(behind: Backend) -> Iterator[Installed]:
    """Where its own user may pass through, as in /var/lib."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        with installed("apache", Path(name), behind.url) as one:
            _as_debian(one)
            yield one


@pytest.fixture
def site(server: Installed) -> Iterator[Installed]:
    with untouched(server):
        yield server


def _as_debian(one: Installed) -> None:
    """Read at the next reload."""
    folder = one.main.parent
    for number, name in enumerate(MODULES.split(), len(APACHE_MODULES)):
        line = f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
        (folder / "modules-enabled" / f"{number:02d}-{name}.load").write_text(line)
    files = [DEBIAN / "mods-available" / f"{name}.conf" for name in (*APACHE_MODULES, *MODULES.split())]
    files += [DEBIAN / "conf-available" / f"{name}.conf" for name in CONFS]
    text = [path.read_text() for path in files if path.exists() and not path.name.startswith("mpm_")]
    text += [
        "Alias /javascript /usr/share/javascript/",
        '<FilesMatch "^\\.ht">\nRequire all denied\n</FilesMatch>\n',
    ]
    (folder / "conf.d" / "debian.conf").write_text("\n".join(text))


def _again(site: Installed) -> None:
    """The server with what its files say now; what they say may be wrong for the user's own site."""
    site.stop()
    site.process = subprocess.Popen(
        site.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=site.folder
    )
    site.wait_for(lambda: _open(site.host, site.https), 30)


def _open(host: str, port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection((host, port), 5).close()
        return True
    return False


def _seen(site: Installed, behind: Backend) -> dict[str, Any]:
    """What our site answers and passes on, to an old browser that would take compressed answers."""
    seen: dict[str, Any] = {}
    asks = {"User_Agent": "Mozilla/2 MSIE 4.0b2; Java/1.0", "Accept_Encoding": "gzip, br"}
    for path in PATHS:
        before = len(behind.seen)
        status, fields, body = site.get(path, **asks)
        fields = {name: value for name, value in fields.items() if name not in {"date", "server"}}
        passed = [(one["path"], sorted(one["fields"])) for one in behind.seen[before:]]
        seen[path] = (status, fields, body, passed)
    for path, host in (
        ("/x", site.host),
        ("/x", "elsewhere.test"),
        (CHALLENGE, site.host),
        ("/icons/x", site.host),
    ):
        status, fields, body = site.get_plain(path, 0, **asks, host=host)
        kept = {name: fields.get(name) for name in ("location", "content-type", "strict-transport-security")}
        seen[f"http://{host}{path}"] = (status, kept, body, fields.get("connection"))
    seen["elsewhere"] = site.get(host="elsewhere.test")[::2]
    seen["not canonical"] = site.get("//x")[::2]
    # Apache says the request's id to the backend; it is another one each time.
    return {key: _without_id(value) for key, value in seen.items()}


def _without_id(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_without_id, value))
    if isinstance(value, list):
        return [
            _without_id(one) for one in value if not (isinstance(one, tuple) and one[0] == "x-request-id")
        ]
    return b"" if isinstance(value, bytes) and b"x-request-id" in value else value


def _challenge(site: Installed) -> None:
    """As `apply` would have it while an authority asks; the server's user must get there."""
    folder = site.state / "live" / "challenges"
    for each in (folder, folder.parent, site.state):
        each.mkdir(exist_ok=True)
        each.chmod(0o711)
    (folder / TOKEN).write_text("answer")
    (folder / TOKEN).chmod(0o644)


def test_debians_own_configuration_changes_nothing_in_our_site(site: Installed, behind: Backend) -> None:
    assert site.json("plan")["inherited"] == []
    assert call(site, "apply", "--yes") == 0
    assert call(site, "observe") == 0
    _challenge(site)
    seen = _seen(site, behind)
    for path in PATHS:
        status, fields, _, passed = seen[path]
        assert status == 200
        assert set(fields) == {"content-type", "content-length", "strict-transport-security"}, path
        assert [one for one, _ in passed] == [path], "as any other path, and once"
    assert site.answers(), "the user's own site"


def test_what_our_hosts_cancel_or_say_themselves_does_not_count(site: Installed, behind: Backend) -> None:
    assert call(site, "apply", "--yes") == 0
    _challenge(site)
    before = _seen(site, behind)
    with said(site, "\n".join([*_lines(), ACCEPTED])):
        assert call(site, "observe") == 0
        _again(site)
        after = _seen(site, behind)
    assert after == before
    assert before[f"http://{site.host}{CHALLENGE}"][2] == b"answer"
    _again(site)
    site.wait_for(site.answers)


def test_what_would_count_is_refused_with_its_line(
    site: Installed, capsys: pytest.CaptureFixture[str]
) -> None:
    before = site.main.read_bytes()
    wanted = {2: "require", 4: "requestheader", 5: "proxypass", 6: "redirect", 7: "if", 10: "luahookfixups"}
    with said(site, REFUSED) as extra:
        assert call(site, "apply", "--yes") == 3
        refusal = capsys.readouterr().err
        assert "server-config-inherits" in refusal
        for line, name in wanted.items():
            assert f"{extra}:{line}: {name} would count" in refusal
        assert "do-not-tell" not in refusal
        assert site.main.read_bytes() == before
        assert not site.own.exists()
    assert site.answers()
    assert call(site, "apply", "--yes") == 0
    with said(site, "<Location />\nRequire all denied\n</Location>\n"):
        assert kinds(site) == {"server-inherits"}
        _again(site)
        assert site.get()[0] == 403, "a door that he shuts is shut"
    _again(site)
    site.wait_for(site.answers)
    assert call(site, "observe") == 0


@pytest.mark.long
@pytest.mark.parametrize("line", _lines())
def test_each_line_by_itself(server: Installed, behind: Backend, line: str) -> None:
    """Together they could hide one another."""
    if not server.own.exists():
        assert call(server, "apply", "--yes") == 0
        _challenge(server)
    _again(server)
    before = _seen(server, behind)
    with said(server, f"{line}\n"):
        assert call(server, "observe") == 0
        _again(server)
        assert _seen(server, behind) == before
