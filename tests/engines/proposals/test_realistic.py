"""Configurations as people have them: what a proposal says of each, and what it must not be silent about."""

from __future__ import annotations

from pathlib import Path

from sealgate.engines.configurations.library import Texts
from sealgate.engines.configurations.nginx import read_nginx
from sealgate.engines.proposals.nginx import propose_nginx
from sealgate.engines.proposals.proposal import Proposal
from sealgate.policy.load import loads
from sealgate.policy.template import policy_template

CERTBOT = """\
user www-data;
worker_processes auto;
pid /run/nginx.pid;
include /etc/nginx/modules-enabled/*.conf;
events { worker_connections 768; }
http {
	sendfile on;
	tcp_nopush on;
	types_hash_max_size 2048;
	include /etc/nginx/mime.types;
	default_type application/octet-stream;
	ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3;
	ssl_prefer_server_ciphers on;
	access_log /var/log/nginx/access.log;
	gzip on;
	include sites-enabled/*;
}
"""
CERTBOT_SITE = """\
server {
    server_name shop.example.com www.shop.example.com;

    location / {
        proxy_pass http://127.0.0.1:8000;
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
    }
    location /static/ { alias /srv/shop/static/; expires 30d; }
    location /media/ { alias /srv/shop/media/; }
    client_max_body_size 20M;

    listen [::]:443 ssl ipv6only=on; # managed by Certbot
    listen 443 ssl; # managed by Certbot
    ssl_certificate /etc/letsencrypt/live/shop.example.com/fullchain.pem; # managed by Certbot
    ssl_certificate_key /etc/letsencrypt/live/shop.example.com/privkey.pem; # managed by Certbot
    include /etc/letsencrypt/options-ssl-nginx.conf; # managed by Certbot
    ssl_dhparam /etc/letsencrypt/ssl-dhparams.pem; # managed by Certbot
}
server {
    if ($host = www.shop.example.com) {
        return 301 https://$host$request_uri;
    } # managed by Certbot
    if ($host = shop.example.com) {
        return 301 https://$host$request_uri;
    } # managed by Certbot

    listen 80;
    listen [::]:80;
    server_name shop.example.com www.shop.example.com;
    return 404; # managed by Certbot
}
"""
SEVERAL = """\
events {}
http {
    limit_req_zone $binary_remote_addr zone=perip:10m rate=10r/s;
    limit_conn_zone $binary_remote_addr zone=conns:10m;
    map $http_upgrade $connection_upgrade { default upgrade; '' close; }
    upstream api { server 10.0.1.11:8080; server 10.0.1.12:8080 backup; keepalive 32; }
    upstream ws { server 127.0.0.1:8081; }
    log_format main '$remote_addr "$request"';
    server {
        listen 80 default_server;
        server_name _;
        location /.well-known/acme-challenge/ { root /var/www/acme; }
        location / { return 301 https://$host$request_uri; }
    }
    server {
        listen 443 ssl http2;
        server_name api.example.org;
        ssl_certificate /etc/ssl/api.pem;
        ssl_certificate_key /etc/ssl/private/api.key;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_timeout 1d;
        add_header Strict-Transport-Security "max-age=63072000" always;
        add_header X-Frame-Options DENY;
        limit_req zone=perip burst=20 nodelay;
        limit_conn conns 20;
        client_max_body_size 5m;
        proxy_set_header Host $host;
        location /v1/ { proxy_pass http://api/; proxy_read_timeout 120s; }
        location /ws {
            proxy_pass http://ws;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_read_timeout 1h;
        }
        location /admin/ {
            allow 10.0.0.0/8;
            allow 192.168.1.7;
            deny all;
            auth_basic "Admin"; auth_basic_user_file /etc/nginx/htpasswd;
            proxy_pass http://api/admin/;
        }
        location = /status { stub_status; allow 127.0.0.1; deny all; }
        location / { root /srv/www; try_files $uri /index.html; }
    }
}
"""
PHP = r"""
events {}
http {
    index index.php index.html;
    fastcgi_read_timeout 300;
    server { listen 80 default_server; return 444; }
    server {
        listen 443 ssl; server_name blog.example.net;
        ssl_certificate /etc/ssl/b.pem; ssl_certificate_key /etc/ssl/b.key;
        root /srv/blog;
        location / { try_files $uri $uri/ /index.php?$args; }
        location ~ \.php$ { include fastcgi_params; fastcgi_pass unix:/run/php/php8.2-fpm.sock; }
        location ~ /\.ht { deny all; }
    }
    server {
        listen 443 ssl; server_name wiki.example.net;
        ssl_certificate /etc/ssl/w.pem; ssl_certificate_key /etc/ssl/w.key;
        location / { uwsgi_pass unix:/run/wiki.sock; include uwsgi_params; }
    }
    server {
        listen 443 ssl; server_name old.example.net;
        ssl_certificate /etc/ssl/o.pem; ssl_certificate_key /etc/ssl/o.key;
        return 301 https://blog.example.net$request_uri;
    }
    server {
        listen 80; server_name blog.example.net wiki.example.net old.example.net;
        return 301 https://$host$request_uri;
    }
}
"""


def propose(text: str, wanted: str = "", **more: str) -> Proposal:
    texts = {"/etc/nginx/nginx.conf": text}
    texts |= {f"/etc/nginx/sites-enabled/{name}": each for name, each in more.items()}
    found = propose_nginx(read_nginx("/etc/nginx/nginx.conf", Texts(texts)), wanted=wanted)
    assert found is not None
    loads(policy_template(found.chosen), path=Path("/sealgate.toml"), environ={})
    return found


def chosen(found: Proposal) -> dict[str, object]:
    return {".".join(key): value for key, value in found.chosen.items()}


def line(text: str, part: str) -> int:
    """Where a part stands: 1-based."""
    (number,) = [at for at, each in enumerate(text.splitlines(), 1) if part in each]
    return number


def test_a_site_that_certbot_wrote_into() -> None:
    found = propose(CERTBOT, shop=CERTBOT_SITE)
    keys = chosen(found)
    assert keys["site.names"] == ("shop.example.com", "www.shop.example.com")
    assert keys["site.upstream"] == "http://127.0.0.1:8000"
    assert (keys["listen.http"], keys["http.mode"]) == (("0.0.0.0:80", "[::]:80"), "redirect")
    assert keys["certificate.files.key"] == "/etc/letsencrypt/live/shop.example.com/privkey.pem"
    assert keys["limits.body"] == "20MiB"
    changed = dict(found.changed)
    place = f"/etc/nginx/sites-enabled/shop:{line(CERTBOT_SITE, 'fullchain')}"
    assert changed[place].startswith("certbot renews this certificate by answering on port 80")
    left = {what: why for _, what, why in found.left}
    assert {"location /static/", "location /media/"} < left.keys()
    assert not found.opened


def test_several_backends_rates_and_addresses() -> None:
    found = propose(SEVERAL)
    keys = chosen(found)
    assert keys["site.upstream"] == "http://10.0.1.11:8080"
    assert keys["timeouts.request"] == "120s"
    opened = "\n".join(why for _, why in found.opened)
    assert "location /admin/ lets in by address only" in opened
    assert "location /admin/ asks for a password" in opened
    assert "location = /status lets in by address only" in opened
    changed = "\n".join(why for _, why in found.changed)
    assert "(/v1/x as /v1/x, not as /x)" in changed
    left = {what: why for _, what, why in found.left}
    assert left["limit_req zone=perip"] == "rates are not in this version of the policy"
    assert "an ACME client of yours" in left["location /.well-known/acme-challenge/"]
    assert {"location /ws", "location /admin/", "location /", "server 10.0.1.12:8080"} < left.keys()


def test_a_backend_of_which_only_some_paths_are_reached() -> None:
    """Its own /admin or /metrics was nobody's business outside."""
    inside = "listen 443 ssl; server_name a.test; location %s { proxy_pass http://127.0.0.1:9000%s; }"
    for location, path, reached in (
        ("/v1/", "", "only /v1/ is"),
        ("/", "/app/", "only /app/ is"),
        ("/v1/", "/app/", "only /app/ is"),
        ("= /hook", "", "only /hook is"),
        ("~ ^/(a|b)", "", "only what matches ^/(a|b) is"),
    ):
        found = propose(f"http {{ server {{ {inside % (location, path)} }} }}")
        assert any(reached in why for _, why in found.opened), location
    for location, path in (("/", ""), ("/", "/"), ("/v1/", "/"), ("@app", "")):
        assert not propose(f"http {{ server {{ {inside % (location, path)} }} }}").opened, location


def test_sites_that_nothing_http_stands_behind() -> None:
    found = propose(PHP)
    keys = chosen(found)
    assert keys["site.names"] == ("blog.example.net",)
    assert "site.upstream" not in keys
    left = {what: why for _, what, why in found.left}
    why = "only HTTP backends can stand behind a policy"
    assert left["fastcgi_pass unix:/run/php/php8.2-fpm.sock"] == why
    assert {why for _, what, why in found.left if what == "server"} == {
        "another site (wiki.example.net): a policy is about one; `--name` chooses which",
        "another site (old.example.net): a policy is about one; `--name` chooses which",
    }
    assert [why for _, why in found.opened] == [
        "location ~ /\\.ht refuses everybody (deny); under this policy everybody gets through"
    ]
    wiki = {what: why for _, what, why in propose(PHP, "wiki.example.net").left}
    assert "site.app" in wiki["uwsgi_pass unix:/run/wiki.sock"]
    assert any("nothing stands behind it" in why for _, _, why in propose(PHP, "old.example.net").left)
