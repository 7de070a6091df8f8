"""What stands beside our site on an installed server: includes that only the server understands, sites of the
user's on our very address, and a command line. Seen on the real servers."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator

import pytest

from sealgate.engines.installed.process import reload
from tests.live.backend import Backend, backend
from tests.live.installed import Installed, call, installed, said, server_of, untouched

LOAD = "LoadModule {0}_module /usr/lib/apache2/modules/mod_{0}.so\n"
HIS = "server_name {name}; ssl_certificate {folder}/his.pem; ssl_certificate_key {folder}/his.key; "


@pytest.fixture(scope="module")
def behind() -> Iterator[Backend]:
    with backend() as one:
        yield one


@pytest.fixture(scope="module", params=["nginx", "apache"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, behind: Backend
) -> Iterator[Installed]:
    with installed(request.param, tmp_path_factory.mktemp("installed"), behind.url) as one:
        words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=his.test"]
        paths = ["-keyout", str(one.folder / "his.key"), "-out", str(one.folder / "his.pem")]
        subprocess.run([*words, *paths, "-days", "2"], check=True, capture_output=True, timeout=60)
        if request.param == "apache":
            loaded = "".join(
                LOAD.format(name) for name in ("headers", "macro", "remoteip", "reqtimeout", "ssl")
            )
            (one.main.parent / "modules-enabled" / "90-more.load").write_text(loaded)
            one.stop()
            one.start()
        yield one


@pytest.fixture
def site(server: Installed) -> Iterator[Installed]:
    with untouched(server):
        yield server


def his(site: Installed, name: str = "his.test", more: str = "", address: str = "") -> str:
    """A site of the user's on our address."""
    address = address or f"{site.host}:{site.https}"
    if site.kind == "nginx":
        block = f"listen {address} ssl; {HIS.format(name=name, folder=site.folder)} {more}"
        return f'server {{ {block} location / {{ return 200 "his"; }} }}\n'
    files = f"SSLCertificateFile {site.folder}/his.pem\nSSLCertificateKeyFile {site.folder}/his.key\n"
    names = f"ServerName his.test\nServerAlias {name}\n"
    return f"<VirtualHost {address}>\n{names}SSLEngine on\n{files}{more}\n</VirtualHost>\n"


def refused(site: Installed, capsys: pytest.CaptureFixture[str], *words: str) -> None:
    """Nothing is touched, and plan says so before."""
    before = site.main.read_bytes()
    assert call(site, "plan") == 1
    capsys.readouterr()
    assert call(site, "apply", "--yes") == 3
    told = " ".join(capsys.readouterr().err.split())
    assert "server-config-inherits" in told
    for word in words:
        assert word in told, told
    assert (site.main.read_bytes(), site.own.exists()) == (before, False)


INCLUDES = {
    "nginx": (
        "include x/[^_]*.conf;",
        "include x/[[:alpha:]]*.conf;",
        "include x/re*\\.conf;",
        "include x/*********.conf;",
        "# a\r server {\ndeny all;\n# a\r }",
    ),
    "apache": (
        "IncludeOptional ${MYCONF}/real.conf",
        "Include ${MYCONF}/*.conf",
        "Define my-conf ${MYCONF}\nIncludeOptional ${my-conf}/real.conf",
        "Define P {folder}\n<IfDefine NOPE>\nDefine P none\n</IfDefine>\nIncludeOptional ${P}/r*.conf",
        'Define D "RequestHeader set X-Client"\n<IfDefine NOPE>\nDefine D SetEnv\n</IfDefine>\n${D} evil',
        "Define D x-client\n<IfDefine NOPE>\nDefine D proxy\n</IfDefine>\nRequestHeader unset ${D}",
        "<Macro M $d>\nIncludeOptional $d/real.conf\n</Macro>\nUse M {folder}",
        "# a \\\\\n<Directory /nowhere>\nRequestHeader set X-Client evil\n# a \\\\\n</Directory>",
        "Include {folder}/[^_]*.conf",
        "Include {folder}/../linked",
    ),
}
"""Each leads the server, and led nobody else, to a line that counts in our site."""


def test_what_only_the_server_understands_is_refused(
    site: Installed, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = site.main.parent / "x"
    folder.mkdir()
    payload = "deny all;\n" if site.kind == "nginx" else "RequestHeader set X-Client evil\n"
    (folder / "real.conf").write_text(payload)
    (linked := site.main.parent / "linked").mkdir()
    (linked / "sub").symlink_to(folder)
    environment = site.main.parent / "envvars"
    before = environment.read_text() if environment.exists() else ""
    environment.write_text(f"{before}\nexport MYCONF={folder}\n")
    for text in INCLUDES[site.kind]:
        with said(site, text.replace("{folder}", str(folder)) + "\n"):
            refused(site, capsys)
    environment.write_text(before)
    with said(site, ""):
        assert call(site, "apply", "--yes") == 0
    # Later, it is found by a look.
    with said(site, f"include {folder}/[^_]*.conf" + (";\n" if site.kind == "nginx" else "\n")):
        assert call(site, "observe") == 1


def asked(site: Installed, sni: str, *, weak: bool = False) -> bytes:
    """The answer to fields of a family that we set, before Host, with such a name in the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if weak:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AES128-SHA:@SECLEVEL=0")
    with (
        socket.create_connection((site.host, site.https), 20) as raw,
        context.wrap_socket(raw, server_hostname=sni) as tls,
    ):
        fields = "X_Forwarded_For: 6.6.6.6\r\nSealgate_Verified: SUCCESS\r\n"
        tls.sendall(f"GET /u HTTP/1.1\r\n{fields}Host: localhost\r\nConnection: close\r\n\r\n".encode())
        parts = []
        while part := tls.recv(65536):
            parts.append(part)
        return b"".join(parts)


def test_another_sites_handshake_leads_to_no_answer_of_ours(
    site: Installed, behind: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    """nginx reads header fields, and speaks TLS, by the rules of the site that the handshake names."""
    site.rewrite(site={"names": ["localhost"]})
    more = "underscores_in_headers on; ignore_invalid_headers off; ssl_ciphers AES128-SHA:@SECLEVEL=0;"
    more = timers(site) if site.kind == "apache" else more
    with said(site, his(site, more=more)):
        assert call(site, "apply", "--yes") == 0
        before = len(behind.seen)
        for weak in (False, True) if site.kind == "nginx" else (False,):
            answer = asked(site, "his.test", weak=weak)
            assert answer.startswith(b"HTTP/1.1 421"), answer[:200]
        assert len(behind.seen) == before
        assert asked(site, "localhost").startswith(b"HTTP/1.1 200" if site.kind == "nginx" else b"HTTP/1.1 ")
        assert not [name for one in behind.seen[before:] for name, _ in one["fields"] if "6.6" in name]
        assert call(site, "observe") == 0
    assert call(site, "rollback", "--all", "--yes") == 0
    site.rewrite(site={"names": ["localhost", site.host]})
    if site.kind == "apache":  # no handshake names an address: the first host answers
        with said(site, his(site, more=more)):
            refused(site, capsys, f"those for {site.host}, a name of ours", "take", "out of site.names")


def test_one_of_our_names_is_not_another_sites(site: Installed, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the first name was looked for once it is served."""
    site.rewrite(site={"names": ["localhost", site.host, "second.test"]})
    try:
        kinds = ("second.test", "*.test", "~^sec") if site.kind == "nginx" else ("second.test", "sec?nd.*")
        for name in kinds:
            with said(site, his(site, name)):
                refused(site, capsys, "serves", "second.test", "one has to go")
    finally:
        site.rewrite(site={"names": ["localhost", site.host]})


def timers(site: Installed) -> str:
    """What a host of the user's on our address must say."""
    assert call(site, "apply", "--yes") == 0
    text = site.own.read_text()
    assert call(site, "rollback", "--all", "--yes") == 0
    return next(line for line in text.splitlines() if "RequestReadTimeout" in line)


def test_apache_itself_says_which_sites_there_are(
    site: Installed, capsys: pytest.CaptureFixture[str]
) -> None:
    """Macros and variables made one that nobody saw, on our address, with our second name."""
    if site.kind == "nginx":
        return
    site.rewrite(site={"names": ["localhost", site.host, "second.test"]})
    environment = site.main.parent / "envvars"
    before = environment.read_text()
    environment.write_text(f"{before}\nexport HIS_HOST={site.host}\nexport HIS_NAME=second.test\n")
    more = timers(site)
    try:
        macro = f"<Macro V $n>\n{his(site, '$n', more)}</Macro>\nUse V second.test\n"
        with said(site, macro):
            refused(site, capsys, "has a site on", "not understood here", "without macros and variables")
        with said(site, his(site, address=f"${{HIS_HOST}}:{site.https}")):
            refused(site, capsys, "on ${HIS_HOST}", "RequestReadTimeout")
        with said(site, his(site, "${HIS_NAME}", more)):
            refused(site, capsys, "has a name that was not understood here")
        with said(site, his(site, "second.test", more, address=site.host)):  # every port is meant
            refused(site, capsys, "serves", "second.test", "one has to go")
    finally:
        environment.write_text(before)
        site.rewrite(site={"names": ["localhost", site.host]})


def looks(site: Installed) -> list[str]:
    """What differs from outside."""
    drift = site.json("observe")["drift"]
    return [one["fact"] for one in drift if one["kind"].startswith("seen-")]


@pytest.mark.usefixtures("unasked")
def test_each_name_is_looked_at_on_each_listener(site: Installed, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the first was: another site's answers under the second were nobody's affair."""
    site.rewrite(site={"names": ["localhost", "second.test"]})
    more = timers(site) if site.kind == "apache" else ""
    redirect = "ServerName second.test\nRedirect 404 /\n"
    plain = {
        "nginx": f"server {{ listen {site.host}:{site.http}; server_name second.test; return 204; }}\n",
        "apache": f"<VirtualHost {site.host}:{site.http}>\n{redirect}</VirtualHost>\n",
    }[site.kind]
    try:
        for text, listener in ((his(site, "second.test", more), site.https), (plain, site.http)):
            assert call(site, "apply", "--yes") == 0
            assert call(site, "observe") == 0
            seen = f"{site.host}:{listener} as second.test: "
            with said(site, text):
                with server_of(site) as server:
                    reload(server.place, server.master)
                site.wait_for(lambda: looks(site))
                assert all(fact.startswith(seen) for fact in looks(site))
                assert call(site, "rollback", "--all", "--yes") == 0
                capsys.readouterr()
                assert call(site, "apply", "--yes") == 3
                assert f"apply-not-observed: {seen}" in " ".join(capsys.readouterr().err.split())
            assert call(site, "apply", "--yes") == 0
            assert call(site, "rollback", "--all", "--yes") == 0
    finally:
        site.rewrite(site={"names": ["localhost", site.host]})


def test_plan_foresees_what_apache_was_not_told_of(
    site: Installed, capsys: pytest.CaptureFixture[str]
) -> None:
    """His files name our address, and it was not reloaded since: `apply` has it read them first."""
    if site.kind == "nginx":
        return
    both = f"Listen {site.host}:{site.https}\nListen {site.http}\n"
    with said(site, f"<IfDefine NOPE>\n{both}</IfDefine>\n"):  # a condition, as in Debian's own ports.conf
        assert site.json("plan")["shared"] == []
        assert call(site, "apply", "--yes") == 0
        assert call(site, "rollback", "--all", "--yes") == 0
    with said(site, both):
        plan = site.json("plan")
        assert (plan["check"]["accepted"], len(plan["shared"])) == (True, 2)
        assert call(site, "apply", "--yes") == 0
        assert site.json("observe")["drift"] == []
        assert call(site, "rollback", "--all", "--yes") == 0
    with said(site, f"{both}Perhaps\n"):
        assert call(site, "plan") == 1


def test_one_address_of_all_is_not_another_sites(site: Installed, capsys: pytest.CaptureFixture[str]) -> None:
    listen = {"https": [f"0.0.0.0:{site.https}"], "http": [f"{site.host}:{site.http}"]}
    site.rewrite(listen=listen)
    try:
        with said(site, his(site, address=f"127.0.0.77:{site.https}")):
            refused(site, capsys, "listens on 127.0.0.77", "whatever comes there is its")
    finally:
        site.rewrite(listen={"https": [f"{site.host}:{site.https}"]})


def test_apache_takes_timers_and_addresses_from_the_first_site(
    site: Installed, capsys: pytest.CaptureFixture[str]
) -> None:
    if site.kind == "nginx":
        return
    with said(site, his(site)):
        refused(site, capsys, "RequestReadTimeout", "write into that host: RequestReadTimeout handshake=")
    with said(site, his(site, more=f"{timers(site)}\nRequestReadTimeout header=0")):
        refused(site, capsys, "RequestReadTimeout")
    with said(site, his(site, more="RemoteIPProxyProtocol On\nRemoteIPProxyProtocolExceptions 127.0.0.1/32")):
        refused(site, capsys, "RemoteIPProxyProtocol")


def test_a_command_line_that_changes_what_files_say_is_refused(
    site: Installed, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.stop()
    extra = site.main.parent / "evil.conf"
    extra.write_text("env EVIL;\n")
    more = (
        ["-g", f"daemon off; include {extra};"]
        if site.kind == "nginx"
        else ["-c", "RequestHeader set X evil"]
    )
    plain = [word for word in site.command if word not in {"-g", "daemon off;"}]
    try:
        monkeypatch.setattr(type(site), "command", [*plain, *more])
        site.start()
        refused(site, capsys, "was started with")
    finally:
        site.stop()
        monkeypatch.undo()
        site.start()
    assert call(site, "apply", "--yes") == 0


def test_what_a_word_of_the_command_line_lets_in_is_asked_for(
    site: Installed, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server says which files it reads; but for those under <IfDefine>, when it was not told the word."""
    if site.kind == "nginx":
        return
    folder = site.main.parent / "defined"
    folder.mkdir()
    (folder / "real.conf").write_text("RequestHeader set X-Client evil\n")
    site.stop()
    try:
        monkeypatch.setattr(type(site), "command", [*site.command, "-DMORE"])
        site.start()
        with said(site, f"<IfDefine MORE>\nInclude {folder}/[^_]*.conf\n</IfDefine>\n"):
            refused(site, capsys, "real.conf: the server reads it by an include that was not understood here")
    finally:
        site.stop()
        monkeypatch.undo()
        site.start()
