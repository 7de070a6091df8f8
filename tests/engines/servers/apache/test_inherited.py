"""What the user's Apache says outside of all virtual hosts: what would count in ours is named, no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sealgate.engines.configurations.apache import read_apache
from sealgate.engines.configurations.directive import Directive
from sealgate.engines.configurations.library import Disk, Texts
from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.apache.harmless import EVERYWHERE, OUTSIDE, REPLACED, REPLACED_BY_ONE
from sealgate.engines.servers.apache.included_site import render
from sealgate.engines.servers.apache.inherited import inherited
from sealgate.policy.model import Policy
from sealgate.policy.profiles import load_profile

MAIN = "/etc/apache2/apache2.conf"
DEBIAN = Path("/etc/apache2")
# What Debian enables by itself, and what people enable for a site such as ours.
MODULES = """
access_compat alias auth_basic authn_core authn_file authz_core authz_host authz_user autoindex deflate dir
env filter mime mpm_event negotiation reqtimeout setenvif status ssl headers rewrite proxy proxy_http
proxy_http2 http2 remoteip info expires cache cache_disk include cgid userdir brotli dav dav_fs actions
mime_magic ldap proxy_balancer proxy_ftp socache_shmcb unique_id macro
"""


def ours(**tables: Any) -> Directive:
    """Our file, for a policy."""
    policy = Policy.model_validate({"site": {"upstream": "http://127.0.0.1:9000"}, **tables})
    facts = RenderFacts(
        policy=policy,
        profile=load_profile(policy.tls.profile),
        backend="upstream",
        chain="/state/chain.pem",
        key="/state/key.pem",
        certificate_folder="/state",
        system_trust="/state/chain.pem",
        version="2.4.62",
    )
    return read(render(facts, ()).decode(), "/state/sealgate.conf")


def read(text: str, name: str = MAIN) -> Directive:
    configuration = read_apache(name, Texts({name: text}))
    assert configuration.unread == ()
    return configuration.root


OWN = ours()
OWN_TLS_BEHIND = ours(site={"upstream": "https://localhost:9443"})


def named(text: str, own: Directive = OWN) -> list[str]:
    """Line and name of what would count."""
    return [f"{one.line} {one.name}" for one in inherited(read(text), own)]


def _first(text: str) -> str:
    return text.split(maxsplit=1)[0]


COUNTS = """\
RequestHeader set X-Client evil
RequestHeader unset Authorization
RequestHeader edit Host a b early
Header set Content-Security-Policy x
Header always unset X-Frame-Options
Header always set Strict-Transport-Security max-age=1 early
Header set X-Content-Type-Options other
ProxyPass / http://evil.test/
ProxyPass /x !
ProxyPassMatch ^ http://evil.test/
ProxyPassReverse / http://evil.test/
ProxyRemote * http://evil.test/
ProxyBlock *
NoProxy *
ProxyExpressEnable on
Redirect / https://evil.test/
Redirect permanent /.well-known https://evil.test/
Redirect /.well-known/acme-challenge/x https://evil.test/
Redirect gone
Redirect 301 //.well-known https://evil.test/
Redirect //.well-known///acme-challenge https://evil.test/
Redirect 301 $from /x
Redirect 301 /$p https://evil.test/
Redirect 301 relative /x
RedirectMatch ^/.* https://evil.test/
RedirectMatch 404 /\\.well-known
RedirectMatch ^/a?.well-known https://evil.test/
RedirectMatch ^/ab|.* https://evil.test/
SetEnv nokeepalive 1
SetEnv proxy-nokeepalive 1
SetEnv SEALGATE_ADMITTED 1
PassEnv no-proxy
SetEnvIf Request_URI . ssl-unclean-shutdown
SetEnvIf Request_URI . proxy-sendchunked=1
BrowserMatch . SEALGATE_ADMITTED=1
SetEnvIfExpr true UNIQUE_ID=x
SetEnvIf Request_URI . $name
ErrorDocument 308 mine
ErrorDocument 200 mine
SetOutputFilter SUBSTITUTE
SetOutputFilter DEFLATE;SUBSTITUTE
AddOutputFilter SUBSTITUTE html
SetInputFilter DEFLATE
AddInputFilter DEFLATE gz
ExtFilterDefine x cmd=/bin/sh
Substitute s/a/b/
AddLanguage xx .api
AddEncoding x-gzip .api
DefaultLanguage de
CacheEnable disk /
RemoteIPProxyProtocol On
LuaHookFixups /x.lua f
SSLCertificateFile /other.pem
SSLCertificateKeyFile /other.key
SSLSessionTicketKeyFile /tickets
SSLRequireSSL
SSLOptions +FakeBasicAuth
SSLOpenSSLConfCmd Options -ServerPreference
RegexDefaultOptions +ICASE
MergeTrailers on
StrictHostCheck on
H2ProxyRequests on
H2PushResource /x
FallbackResource /x
Action application/json /x
Script GET /x
Session On
CookieTracking on
DumpIOInput On
MDomain localhost
MDomainSet localhost
SecRuleEngine On
SecRule ARGS x deny
DOSPageCount 2
QS_ClientEventLimitCount 3
LoadModule evasive20_module mod_evasive.so
LoadModule security2_module mod_security2.so
LoadModule qos_module mod_qos.so
LoadModule pagespeed_module mod_pagespeed.so
Unheard of
Use Nothing
"""


@pytest.mark.parametrize("line", COUNTS.splitlines())
def test_what_counts_is_named(line: str) -> None:
    assert named(f"\n{line}\n") == [f"2 {_first(line).lower()}"]


DOES_NOT = """\
RequestHeader unset Proxy early
RequestHeader set X-Forwarded-Proto http
RequestHeader set X-Forwarded-For 6.6.6.6 early
RequestHeader append Sealgate-Proof x
Header always set Strict-Transport-Security max-age=1
Header append Vary User-Agent env=!dont-vary
Header set X-Content-Type-Options: "nosniff"
Header unset Server
Redirect /old https://elsewhere.test/
Redirect 404 /secret
RedirectMatch 404 /\\.git
RedirectMatch permanent "^/old/(.*)" https://elsewhere.test/$1
Alias /.well-known/acme-challenge/ /var/www/
ScriptAlias /cgi-bin/ /usr/lib/cgi-bin/
BrowserMatch "MSIE 4" nokeepalive downgrade-1.0 force-response-1.0
SetEnvIfNoCase Request_URI \\.gif$ no-gzip dont-vary
SetEnvIf X-Forwarded-Proto https HTTPS=on
SetEnv MY_APP 1
ErrorDocument 404 /errors/404.html
ErrorDocument 451 mine
SetOutputFilter DEFLATE
AddOutputFilter INCLUDES;DEFLATE .shtml
AddOutputFilterByType SUBSTITUTE text/html
AddDefaultCharset UTF-8
ExpiresByType text/html A1
AddLanguage pt-BR .pt-br
AddEncoding x-gzip .gz .tgz
SetHandler server-status
AddHandler type-map var
RewriteRule .* - [F]
RewriteOptions InheritDown
ProxyRequests On
ProxyPreserveHost Off
ProxyErrorOverride On
Timeout 1
SSLVerifyClient require
SSLCARevocationCheck chain
SSLUseStapling on
SSLOpenSSLConfCmd Curves P-521
SSLProxyCheckPeerName off
RemoteIPHeader X-Forwarded-For
LimitRequestBody 1
Protocols h2c
MergeTrailers off
LogLevel trace8
LoadModule php_module libphp.so
"""


@pytest.mark.parametrize("line", DOES_NOT.splitlines())
def test_what_does_not_is_not(line: str) -> None:
    assert named(line) == []


@pytest.mark.parametrize(
    "inside",
    [
        "Require all denied",
        "Require valid-user",
        "Deny from all",
        "Order allow,deny",
        "Satisfy any",
        "AuthType Basic",
        "AllowMethods POST",
        "LimitRequestBody 1",
        "SSLRequire false",
        "SSLVerifyClient none",
        "RewriteRule .* - [F]",
        "Redirect /x /y",
        "ProxyPass http://evil.test/",
        "Header always set Strict-Transport-Security max-age=0",
        "RequestHeader set X-Forwarded-For 6.6.6.6",
        "SetEnvIf Request_URI . nokeepalive",
        "AddType text/x .y",  # undoes what our section takes out: see `harmless.py`
        "AddLanguage fr .de",
        "AddOutputFilter DEFLATE .x",
        "Dav On",
        "Unheard of",
    ],
)
@pytest.mark.parametrize(
    "section", ["Location /", "LocationMatch .*", "Proxy *", "Proxy http://127.0.0.1:9000/"]
)
def test_sections_for_paths_and_backends(section: str, inside: str) -> None:
    text = f"<IfModule nobody.c>\n<{section}>\n{inside}\n</{_first(section)}>\n</IfModule>\n"
    assert named(text) == [f"3 {_first(inside).lower()}"]


def test_other_sections() -> None:
    assert named("<If true>\nRequire all denied\n</If>") == ["1 if"]
    assert named("<Location />\n<Limit GET>\nRequire all denied\n</Limit>\n</Location>") == ["2 limit"]
    for name in ("Files x", "FilesMatch .", "Directory />", "DirectoryMatch .", "VirtualHost *:80"):
        assert named(f"<{name}>\nRequire all denied\n</{_first(name)}>") == []
    assert named("<Proxy balancer://x>\nBalancerMember http://x\n</Proxy>") == []
    assert named('<Proxy "unix:/run/php.sock|fcgi://x">\nProxySet timeout=1\n</Proxy>') == []
    assert named("<Proxy *>\nOrder deny,allow\nAllow from all\nRequire all granted\n</Proxy>") == []


def test_pages_about_itself_and_those_who_may_see_them() -> None:
    page = "<Location /{}>\nSetHandler {}\nRequire local\n</Location>"
    assert named(page.format("server-status", "server-status")) == []
    assert named(page.format("balancer-manager/", "balancer-manager")) == []
    for path in ("", "server-st*", "status", "server-statusx"):
        assert named(page.format(path, "server-status")) == ["3 require"], "a path that our hosts do not free"
    bare = read("<VirtualHost *:1>\n</VirtualHost>", "/state/sealgate.conf")
    assert named(page.format("server-status", "server-status"), bare) == ["2 sethandler", "3 require"]
    assert named(page.format("server-status", "my-handler")) == ["3 require"]


def test_macros_are_looked_into() -> None:
    macro = "<Macro M $x>\nTimeout 1\n{}\n</Macro>\n"
    assert named(macro.format("ProxyPass / $x") + "Use M a") == ["3 proxypass"]
    assert named(macro.format("RequestHeader unset $x") + "Use m Authorization") == ["3 requestheader"]
    assert named(macro.format("Alias /x $x") + "Use M a") == []
    assert named(macro.format("ProxyPass / $x")) == [], "nobody uses it"
    assert named("<Macro M DEFLATE>\nSetOutputFilter DEFLATE\n</Macro>\nUse M SUBSTITUTE") == ["4 use"]
    assert named("<Macro M>\nUse M\n</Macro>\nUse M") == ["2 use"], "for ever"


def test_a_backend_with_tls() -> None:
    assert named("SSLProxyCheckPeerName off\nSSLProxyVerify none", OWN_TLS_BEHIND) == []
    assert named("SSLProxyCACertificatePath /x", OWN_TLS_BEHIND) == ["1 sslproxycacertificatepath"]


def test_debians_own_configuration(tmp_path: Path) -> None:
    """As it is on this machine, with the modules that are commonly enabled."""
    lines = [(DEBIAN / "apache2.conf").read_text()]
    for name in MODULES.split():
        for kind in ("load", "conf"):
            path = DEBIAN / "mods-available" / f"{name}.{kind}"
            lines += [f"Include {path}"] if path.exists() else []
    lines += [f"Include {path}" for path in sorted((DEBIAN / "conf-available").glob("*.conf"))]
    lines += [f"Include {path}" for path in sorted((DEBIAN / "sites-available").glob("*.conf"))]
    main = tmp_path / "apache2.conf"
    main.write_text("\n".join(["ServerRoot /etc/apache2", *lines, ""]))
    (tmp_path / "ports.conf").write_text("Listen 80\n")
    configuration = read_apache(str(main), Disk())
    assert len(list(configuration.root.walk())) > 300
    for own in (OWN, OWN_TLS_BEHIND, ours(tls={"profile": "modern@6.0"}, listen={"http": []})):
        assert inherited(configuration.root, own) == ()


def test_what_our_file_no_longer_says_counts_again() -> None:
    """The tables lean on lines of ours: without them nothing is taken as replaced or cancelled."""
    bare = read("<VirtualHost *:1>\nSSLEngine on\n</VirtualHost>", "/state/sealgate.conf")
    for own in (bare, read("", "/state/sealgate.conf")):
        leaning = [line for line in DOES_NOT.splitlines() if _first(line).lower() in _leaning()]
        assert len(leaning) > 15
        assert [line for line in leaning if named(line, own) == []] == []


def _leaning() -> frozenset[str]:
    words = {"setoutputfilter", "addoutputfilterbytype", "adddefaultcharset", "expiresbytype", "addlanguage"}
    return REPLACED.union(words, *REPLACED_BY_ONE.values()) | {
        "addencoding",
        "sethandler",
        "errordocument",
        "browsermatch",
    }


def test_a_name_is_in_one_table() -> None:
    tables = [*EVERYWHERE.values(), *OUTSIDE.values(), REPLACED, *REPLACED_BY_ONE.values()]
    assert sum(map(len, tables)) == len(frozenset().union(*tables))
