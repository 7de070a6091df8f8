"""Each trap is seen where it is, and is not where the configuration is right."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.cli._servers import ENGINES, INSTALLED, TRAPPED
from sealgate.engines.configurations.library import Disk, Texts
from sealgate.engines.facts import RenderFacts, Worker
from sealgate.engines.installed.contract import included_ids
from sealgate.engines.registry import engine, engine_ids
from sealgate.engines.traps.registry import guessed, trapped, trapped_ids
from sealgate.errors import UsageError
from sealgate.policy.model import Policy
from sealgate.policy.profiles import load_profile
from tests.engines.traps import test_envoy, test_python_servers


def found(engine: str, text: str, name: str = "/m") -> list[tuple[str, int]]:
    (server,) = (each for each in trapped() if each.id == engine)
    result = server.find(name, Texts({name: text}))
    assert result.unread == ()
    return sorted((trap.id, trap.line) for trap in result.traps)


def nginx(inside: str, around: str = "") -> str:
    """One directive a line, from line 2 on; the server's begin after those around it."""
    return f"http {{\n{around}server {{\n{inside}}}\n}}\n"


FIELD = "proxy_set_header X-Client $ssl_client_s_dn;\n"
PASS = "proxy_pass http://a;\n"
VERIFY = "ssl_verify_client on;\nssl_crl c;\nssl_session_tickets off;\n"

NGINX = [
    (VERIFY, "", []),
    (VERIFY, "ssl_session_cache none;\n", []),
    (VERIFY + "ssl_session_cache off;\n", "ssl_session_cache shared:a:1m;\n", []),
    (VERIFY, "ssl_session_cache shared:a:1m;\n", [("nginx-session-cache", 2)]),
    ("ssl_session_cache shared:a:1m;\n", "", []),
    ("ssl_verify_client on;\nssl_crl c;\n", "", [("nginx-session-tickets", 3)]),
    ("ssl_verify_client on;\nssl_crl c;\nssl_session_tickets on;\n", "", [("nginx-session-tickets", 5)]),
    ("ssl_verify_client on;\nssl_session_tickets off;\n", "", [("nginx-crl-missing", 3)]),
    (VERIFY.replace("on;", "optional;", 1), "", [("nginx-verify-unused", 3)]),
    (VERIFY.replace("on;", "optional_no_ca;", 1), "", [("nginx-verify-unused", 3)]),
    (VERIFY.replace("on;", "optional;", 1) + "if ($ssl_client_verify != SUCCESS) { return 403; }\n", "", []),
    (VERIFY.replace("on;", "optional;", 1), "map $ssl_client_verify $ok { SUCCESS 1; }\n", []),
    (
        VERIFY.replace("on;", "optional;", 1),
        "log_format a $ssl_client_verify;\n",
        [("nginx-verify-unused", 4)],
    ),
    ('add_header Strict-Transport-Security "max-age=1" always;\n', "", []),
    ('add_header strict-transport-security "max-age=1";\n', "", [("nginx-hsts-not-always", 3)]),
    ("add_header A b;\n", 'add_header Strict-Transport-Security "x" always;\n', [("nginx-hsts-lost", 4)]),
    ("add_header A b;\n", "add_header C d;\n", []),
    (
        'add_header Strict-Transport-Security "x" always;\nlocation / {\nadd_header A b;\n}\n',
        "",
        [("nginx-hsts-lost", 5)],
    ),
    (
        'add_header Strict-Transport-Security "x" always;\nlocation / {\nif ($a) {\nadd_header A b;\n}\n}\n',
        "",
        [("nginx-hsts-lost", 6)],
    ),
    (
        "location / {\nadd_header_inherit merge;\nadd_header A b;\n}\n",
        'add_header Strict-Transport-Security "x" always;\n',
        [],
    ),
    ("location / {\nproxy_pass http://a;\n}\n", "", []),
    ("location / {\nproxy_pass http://a/;\n}\n", "", [("nginx-path-rewritten", 4)]),
    ("location / {\nproxy_pass http://unix:/run/a.sock:/b;\n}\n", "", [("nginx-path-rewritten", 4)]),
    ("location / {\nproxy_pass http://unix:/run/a.sock;\n}\n", "", []),
    ("location / {\nproxy_pass http://a$request_uri;\n}\n", "", []),
    ("merge_slashes off;\n", "", []),
    ("merge_slashes off;\nlocation / { deny all; }\n", "", []),
    ("merge_slashes off;\nlocation /admin { deny all; }\n", "", [("nginx-merge-slashes", 3)]),
    ("merge_slashes on;\nlocation /admin { deny all; }\n", "", []),
    ("merge_slashes on;\nunderscores_in_headers off;\n", "", []),
    ("underscores_in_headers on;\n", "", [("nginx-underscores", 3)]),
    ("proxy_set_header Upgrade $http_upgrade;\n", "", [("nginx-upgrade-any", 3)]),
    ("proxy_set_header Upgrade $upgrade;\nproxy_set_header Upgrade websocket;\n", "", []),
    (
        f"{FIELD}location / {{\n{PASS}}}\nlocation /b {{\nproxy_set_header Host $host;\n{PASS}}}\n",
        "",
        [("nginx-client-header-passes", 9)],
    ),
    (
        f"location / {{\n{FIELD}{PASS}}}\n",
        f"server {{\nlocation / {{\n{PASS}}}\n}}\n",
        [("nginx-client-header-passes", 4)],
    ),
    (
        f"location / {{\n{FIELD}{PASS}}}\nlocation /b {{\nproxy_set_header x-client '';\n{PASS}}}\n",
        "",
        [],
    ),
]


@pytest.mark.parametrize(("inside", "around", "expected"), NGINX)
def test_nginx(inside: str, around: str, expected: list[tuple[str, int]]) -> None:
    assert found("nginx", nginx(inside, around)) == expected


RIGHT = "SSLVerifyClient require\nSSLCARevocationCheck chain\nSSLSessionTickets off\n"

INHERITED = """\
SSLCARevocationCheck leaf
SSLSessionTickets off
<VirtualHost *:443>
SSLVerifyClient require
</VirtualHost>
"""

APACHE = [
    (RIGHT, []),
    (RIGHT + "SSLSessionCache none\n", []),
    (RIGHT + "SSLSessionCache shmcb:/x(1)\n", [("apache-session-resumption", 4)]),
    ("SSLSessionCache shmcb:/x(1)\n", []),
    (RIGHT.replace("chain", "none"), [("apache-revocation-unchecked", 2)]),
    ("SSLVerifyClient require\nSSLSessionTickets off\n", [("apache-revocation-unchecked", 1)]),
    (RIGHT.replace("off", "on"), [("apache-session-resumption", 3)]),
    (RIGHT.replace("require", "none"), []),
    (RIGHT.replace("require", "optional"), [("apache-verify-unused", 1)]),
    (RIGHT.replace("require", "optional") + "Require ssl-verify-client\n", []),
    (RIGHT.replace("require", "optional") + "SSLOptions +StdEnvVars\n", []),
    (
        RIGHT.replace("require", "optional_no_ca") + 'RequestHeader set A "%{SSL_CLIENT_VERIFY}s"\n',
        [("apache-verify-no-ca", 1)],
    ),
    (f"<VirtualHost *:443>\n{RIGHT}</VirtualHost>\n", []),
    (
        f"{INHERITED}<VirtualHost *:4>\nSSLCARevocationCheck none\nSSLVerifyClient require\n</VirtualHost>\n",
        [("apache-revocation-unchecked", 7)],
    ),
    (
        "SSLSessionTickets off\n<Location /a>\nsslverifyclient require\n</Location>\n",
        [("apache-revocation-unchecked", 3)],
    ),
    ('Header always set Strict-Transport-Security "x"\n', []),
    ('Header set Strict-Transport-Security "x"\n', [("apache-hsts-not-always", 1)]),
    ("Header onsuccess unset Strict-Transport-Security\n", []),
    ("Header unset Strict-Transport-Security\nHeader\nHeader x\n", []),
    ('Header onsuccess set Strict-Transport-Security "x"\n', [("apache-hsts-not-always", 1)]),
    ('RequestHeader set X "%{SSL_CLIENT_S_DN}s"\n', []),
    ("ProxyPass / http://a/ upgrade=websocket\nProxyPass / http://a/\n", []),
    ("<Location />\nProxyPass http://a/ upgrade=ANY\n</Location>\n", [("apache-upgrade-any", 2)]),
    ('RequestHeader setifempty X "%{SSL_CLIENT_S_DN}s"\n', [("apache-client-header-passes", 1)]),
    ('RequestHeader set X "%{SSL_CLIENT_S_DN}s" env=Y\n', [("apache-client-header-passes", 1)]),
]


@pytest.mark.parametrize(("text", "expected"), APACHE)
def test_apache(text: str, expected: list[tuple[str, int]]) -> None:
    assert found("apache", text) == expected


GUNICORN = [
    ("bind = 'unix:x'\n", []),
    ("certfile = None\nkeyfile = ''\n", []),
    ("certfile = 'a'\nkeyfile = 'b'\n", [("gunicorn-own-tls", 1)]),
    ("certfile = 'a'\ndef ssl_context(c, f): return f()\n", []),
    ("forwarded_allow_ips = '127.0.0.1'\n", []),
    ("forwarded_allow_ips = '10.0.0.1, *'\n", [("gunicorn-forwarded-any", 1)]),
    ("import os\nforwarded_allow_ips = os.getenv('X', '*')\n", [("gunicorn-forwarded-any", 2)]),
    ("if True:\n  proxy_allow_ips: str = '*'\n", [("gunicorn-proxy-any", 2)]),
    ("import ssl\nssl_version = ssl.PROTOCOL_TLSv1_2\n", [("gunicorn-ssl-version", 2)]),
    ("cert_reqs = 0\n", []),
    ("import ssl\ncert_reqs = ssl.CERT_NONE\n", []),
    ("cert_reqs = 2\n", [("gunicorn-crl-missing", 1)]),
    ("cert_reqs = 1\n", [("gunicorn-crl-missing", 1), ("gunicorn-verify-unused", 1)]),
    ("ca_certs = 'a'\n", [("gunicorn-ca-unused", 1)]),
    ("ca_certs = 'a'\ndef ssl_context(c, f): return f()\n", []),
    ("bind = ['a:80', 'a:443']\n", []),
    ("bind = ['a:443', '[::]:443']\ncertfile = 'a'\ndef ssl_context(c, f): return f()\n", []),
    (
        "bind = ['a:80', 'a:443']\ncertfile = 'a'\ndef ssl_context(c, f): return f()\n",
        [("gunicorn-every-bind-tls", 1)],
    ),
    ("def f():\n  c.load_verify_locations('x')\n", [("gunicorn-context-in-place", 2)]),
    ("def f():\n  c = make()\n  c.load_verify_locations('x')\n", []),
    ("def f(c):\n  c.load_cert_chain('x')\n", []),
    ("c.options |= ssl.OP_NO_TICKET\nc.num_tickets = 0\ndef f():\n  c.load_cert_chain('x')\n", []),
]


@pytest.mark.parametrize(("text", "expected"), GUNICORN)
def test_gunicorn_configuration(text: str, expected: list[tuple[str, int]]) -> None:
    assert found("gunicorn", text, "/g.conf.py") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ExecStart=/v/gunicorn a:b\n", []),
        ("\ngunicorn --certfile=a --keyfile=b a:b\n", [("gunicorn-own-tls", 2)]),
        ("gunicorn --forwarded-allow-ips='*' a:b\n", [("gunicorn-forwarded-any", 1)]),
        ('gunicorn --forwarded-allow-ips "*" a:b\n', [("gunicorn-forwarded-any", 1)]),
        ("gunicorn --cert-reqs 2 a:b\n", [("gunicorn-crl-missing", 1)]),
        ("gunicorn --ca-certs x a:b\n", [("gunicorn-ca-unused", 1)]),
        (
            "Environment=FORWARDED_ALLOW_IPS=*\nExecStart=/v/gunicorn a:b\n",
            [("gunicorn-forwarded-any", 1)],
        ),
        (
            "Environment=FORWARDED_ALLOW_IPS=*\nExecStart=/v/gunicorn --forwarded-allow-ips=::1 a:b\n",
            [],
        ),
    ],
)
def test_gunicorn_calls(text: str, expected: list[tuple[str, int]]) -> None:
    assert found("gunicorn", text, "/unit.service") == expected


def test_a_configuration_in_python_is_never_run(tmp_path: Path) -> None:
    file = tmp_path / "gunicorn.conf.py"
    file.write_text("open('ran', 'w')\nraise SystemExit\ncertfile = 'a'\n")
    result = guessed(str(file), Disk(), None).find(str(file), Disk())
    assert [trap.id for trap in result.traps] == ["gunicorn-own-tls"]
    assert [path.name for path in tmp_path.iterdir()] == ["gunicorn.conf.py"]


def caddy(*inside: str) -> str:
    """From line 4 on."""
    return "a.test {\n tls {\n  client_auth {\n" + "".join(f"{line}\n" for line in inside) + "  }\n }\n}\n"


POOL = "trust_pool file x"
CADDY = [
    (caddy(POOL, "verifier x"), []),
    (caddy("trusted_leaf_cert_file x", "mode require"), []),
    (caddy(POOL), [("caddy-crl-missing", 3)]),
    (caddy("trusted_ca_cert_file x", "mode require_and_verify"), [("caddy-crl-missing", 3)]),
    (caddy("mode require"), [("caddy-client-auth-unverified", 3)]),
    (caddy(POOL, "mode require"), [("caddy-mode-unverified", 5)]),
    (caddy("mode request", POOL), [("caddy-mode-unverified", 4)]),
    (caddy(POOL, "mode verify_if_given", "verifier x"), [("caddy-verify-unused", 5)]),
    (caddy(POOL, "mode verify_if_given", "verifier x") + "# {tls_client_subject}\n", []),
    ('{"apps": {"x": [\n{"client_authentication": {"ca": {"provider": "file"}, "verifiers": [{}]}}]}}', []),
    (
        '{"apps": {"x": [\n{"client_authentication": {"ca": {"provider": "file"}}}]}}',
        [("caddy-crl-missing", 2)],
    ),
    (
        '{"apps": {"x": [\n{"client_authentication": {"mode": "require"}}]}}',
        [("caddy-client-auth-unverified", 2)],
    ),
    ('{"apps": {"x": "\\"client_authentication\\": {}"}}', []),
]


@pytest.mark.parametrize(("text", "expected"), CADDY)
def test_caddy(text: str, expected: list[tuple[str, int]]) -> None:
    assert found("caddy", text) == expected


GRANIAN = [
    ("granian --ssl-client-verify --ssl-ca a --ssl-crl b x:y\n", []),
    ("granian --ssl-certificate a x:y\n", []),
    ("granian --ssl-client-verify x:y\n", [("granian-client-verify-ignored", 1)]),
    ("granian --ssl-client-verify --ssl-ca a x:y\n", [("granian-crl-missing", 1)]),
    ("GRANIAN_SSL_CLIENT_VERIFY=true\n", [("granian-client-verify-ignored", 1)]),
    ("GRANIAN_SSL_CLIENT_VERIFY=false\n", []),
    ("GRANIAN_SSL_CLIENT_VERIFY=1\nGRANIAN_SSL_CA=a\nGRANIAN_SSL_CRL=b\n", []),
    ("GRANIAN_SSL_CA=a\nGRANIAN_SSL_CRL=b\ngranian --ssl-client-verify x:y\n", []),
    ("export GRANIAN_SSL_CLIENT_VERIFY=1\ngranian --ssl-ca a --ssl-crl b x:y\n", []),
]


@pytest.mark.parametrize(("text", "expected"), GRANIAN)
def test_granian(text: str, expected: list[tuple[str, int]]) -> None:
    assert found("granian", text) == expected


def test_every_known_trap_is_seen_somewhere_above() -> None:
    cases = [*(case[-1] for case in NGINX), *(case[-1] for case in (*APACHE, *GUNICORN, *CADDY, *GRANIAN))]
    seen = {trap for expected in cases for trap, _ in expected} | test_envoy.SEEN | test_python_servers.SEEN
    assert {known.id for server in trapped() for known in server.known} == seen


def test_the_command_line_knows_the_same_servers() -> None:
    assert trapped_ids() == TRAPPED
    assert engine_ids() == ENGINES
    assert included_ids() == INSTALLED


@pytest.mark.parametrize(
    ("name", "text", "engine"),
    [
        ("/x", "http {\n}\n", "nginx"),
        ("/x", "<VirtualHost *:443>\n", "apache"),
        ("/Caddyfile", "a.test {\n}\n", "caddy"),
        ("/c.json", '{"apps": 1}', "caddy"),
        ("/c.json", '{\n "static_resources": 1}', "envoy"),
        ("/e.yaml", "admin:\ndynamic_resources: {}\n", "envoy"),
        ("/g.py", "", "gunicorn"),
        ("/g.py", "worker_class = 'uvicorn.workers.UvicornWorker'\n", "gunicorn"),
        ("/run.py", "import uvicorn\nuvicorn.run(app)\n", "uvicorn"),
        ("/x.service", "ExecStart=/v/bin/uvicorn a:b\n", "uvicorn"),
        ("/h.py", "quic_bind = 'a:443'\n", "hypercorn"),
        ("/h.toml", "insecure_bind = 'a:80'\n", "hypercorn"),
        ("/Procfile", "web: hypercorn a:b\n", "hypercorn"),
        ("/x.service", "ExecStart=/v/bin/granian a:b\n", "granian"),
        ("/Procfile", "web: gunicorn a:b\n", "gunicorn"),
    ],
)
def test_which_server_a_file_belongs_to(name: str, text: str, engine: str) -> None:
    assert guessed(name, Texts({name: text}), None).id == engine
    assert guessed(name, Texts({name: text}), "nginx").id == "nginx"


@pytest.mark.parametrize("text", ["", "gunicorn a:b\ngranian a:b\n"])
def test_it_is_not_guessed_where_that_is_not_clear(text: str) -> None:
    with pytest.raises(UsageError, match="server-config-unreadable"):
        guessed("/x", Texts({"/x": text}), None)
    with pytest.raises(UsageError, match="server-config-unreadable"):
        guessed("/x", Texts({"/x": text}), None, "envoy")


def test_the_policys_server_decides_where_a_few_lines_do_not_say() -> None:
    assert guessed("/x", Texts({"/x": "proxy_pass http://a;\n"}), None, "nginx").id == "nginx"
    assert guessed("/x", Texts({"/x": "gunicorn a:b\ngranian a:b\n"}), None, "gunicorn").id == "gunicorn"


def test_a_file_of_empty_lines_is_no_work() -> None:
    """An expression that looks over line ends at each line would take minutes, for a whole file hours."""
    text = "\n" * 2**16
    for server in trapped():
        assert not any(server.suits(name, text) for name in ("/m.toml", "/m.yaml"))
        assert server.find("/m.yaml", Texts({"/m.yaml": text})).traps == ()


@pytest.mark.parametrize("engine", trapped_ids())
@given(text=st.text(max_size=300))
def test_nothing_hostile_stops_a_search(engine: str, text: str) -> None:
    (server,) = (each for each in trapped() if each.id == engine)
    for name in ("/m", "/m.py", "/m.json", "/m.yaml", "/m.toml"):
        server.find(name, Texts({name: text}))
        server.suits(name, text)
    assert server.find("/gone", Texts({})).unread


@pytest.mark.parametrize("which", ["nginx", "apache"])
@pytest.mark.parametrize("mode", ["off", "optional", "required"])
@pytest.mark.parametrize("upstream", ["", "https://b.test"])
def test_what_we_render_ourselves_has_none(which: str, mode: str, upstream: str) -> None:
    """But for revocation lists, of which this version has none, and what `check` says of every engine.

    An upstream is not told who called: "optional" lets everybody in, and the policy's advice says so.
    """
    policy = Policy.model_validate({"clients": {"mode": mode}, "site": {"upstream": upstream}})
    facts = RenderFacts(
        policy=policy,
        profile=load_profile(policy.tls.profile),
        backend="upstream" if upstream else "wsgi",
        chain="c",
        key="k",
        certificate_folder="f",
        trust="" if mode == "off" else "t",
        system_trust="/s",
        proof="p",
        workers=() if upstream else (Worker("run/app.sock"),),
    )
    texts = {f"/{name}": content.decode() for name, content in engine(which).render(facts).items()}
    (main,) = (name for name in texts if name in {"/nginx.conf", "/httpd.conf"})
    (server,) = (each for each in trapped() if each.id == which)
    found = {(trap.id, trap.line) for trap in server.find(main, Texts(texts)).traps}
    said = {"nginx-crl-missing", "apache-revocation-unchecked"}
    said |= {f"{which}-verify-unused"} if upstream and mode == "optional" else set()
    assert {name for name, _ in found} <= said
