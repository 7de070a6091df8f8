"""Our engines beside the same servers configured by hand to the same policy.

nginx and Apache by hand do what their engines do for an upstream: HTTPS by the same profile, the site's Hosts
only, canonical paths only, no field from outside that speaks for a proxy, a fresh request number, limits and
timers, HSTS on every status, one JSON object for each request. Both sides lead to the same Granian, so what
differs is what our rendering adds. Gunicorn and uvicorn with their own TLS are rows of their own, which judge
nothing; with our engines the guard is around the app.
"""

from __future__ import annotations

import os
import string
from pathlib import Path

from bench.processes import Command
from bench.rows import IDLE_SECONDS, Launch, Place, Row
from bench.rows._backends import LOOP, backend
from bench.rows.sealgate import serve
from sealgate.engines.servers.apache.spoofing import script

__all__ = ["ROWS"]

_PATH = r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2}|/(?!/))*(?:\?.*)?"
_SUITES = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)

_NGINX = """\
daemon off;
$user
worker_processes 2;
worker_rlimit_nofile 40000;
pid $directory/nginx.pid;
error_log stderr error;
events { worker_connections 9500; }
http {
    log_format json escape=json '{"time":"$$time_iso8601","address":"$$remote_addr",'
        '"method":"$$request_method","host":"$$http_host","path":"$$uri","protocol":"$$server_protocol",'
        '"status":$$status,"seconds":$$request_time,"received":$$request_length,"sent":$$body_bytes_sent,"request_id":"$$request_id",'
        '"user_agent":"$$http_user_agent","tls":"$$ssl_protocol","cipher":"$$ssl_cipher"}';
    access_log $access_log json buffer=4k flush=500ms;
    client_body_temp_path $directory/body;
    proxy_temp_path $directory/proxy;
    fastcgi_temp_path $directory/fastcgi;
    uwsgi_temp_path $directory/uwsgi;
    scgi_temp_path $directory/scgi;
    server_tokens off;
    merge_slashes off;
    client_header_timeout 5s;
    client_body_timeout 30s;
    client_max_body_size 1m;
    large_client_header_buffers 4 16k;
    send_timeout ${idle}s;
    keepalive_timeout ${idle}s;
    keepalive_requests 1000000;
    upstream app {
        server unix:$socket;
        keepalive 64;
        keepalive_requests 1000000;
        keepalive_timeout 4s;
    }
    map $$http_host $$known { default 0; "~*^(?:localhost|$pattern)(?::$port)?$$" 1; }
    server {
        listen $address:$port ssl http2 backlog=4096;
        server_name localhost $address;
        ssl_certificate $chain;
        ssl_certificate_key $key;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ciphers $suites;
        ssl_ecdh_curve X25519:prime256v1:secp384r1;
        ssl_session_cache none;
        ssl_prefer_server_ciphers off;
        add_header Strict-Transport-Security "max-age=300" always;
        location / {
            if ($$known = 0) { return 421; }
            if ($$request_uri !~ "^$path$$") { return 400; }
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_read_timeout 30s;
            proxy_set_header Connection "";
            proxy_set_header Host $$http_host;
            proxy_set_header Forwarded "";
            proxy_set_header X-Real-IP "";
            proxy_set_header X-Request-Id $$request_id;
            proxy_set_header X-Forwarded-For $$remote_addr;
            proxy_set_header X-Forwarded-Host $$http_host;
            proxy_set_header X-Forwarded-Port $port;
            proxy_set_header X-Forwarded-Proto https;
        }
    }
}
"""

_MODULES = Path("/usr/lib/apache2/modules")
_NEEDED = ("mpm_event", "authz_core", "log_config", "logio", "setenvif", "rewrite", "headers", "reqtimeout",
           "unique_id", "ssl", "http2", "proxy", "proxy_http", "lua")  # fmt: skip

_APACHE = """\
DefaultRuntimeDir $directory
PidFile $directory/httpd.pid
$modules
$user
Mutex pthread default
ServerName localhost
UseCanonicalName off
ServerTokens Prod
HttpProtocolOptions Strict
ErrorLog /proc/self/fd/2
LogLevel error
SSLSessionCache none
ServerLimit 32
ThreadLimit 256
StartServers 2
ThreadsPerChild 256
MaxRequestWorkers 512
MinSpareThreads 256
MaxSpareThreads 512
AsyncRequestWorkerFactor 36
ListenBackLog 4096
KeepAlive on
KeepAliveTimeout $idle
MaxKeepAliveRequests 0
LimitRequestFieldSize 16384
LogFormat '{"time":"%{%FT%T}tZ","address":"%a","method":"%m","host":"%{Host}i","path":"%U","protocol":"%H",\
"status":%>s,"milliseconds":%{ms}T,"received":%I,"sent":%O,"request_id":"%{UNIQUE_ID}e",\
"user_agent":"%{User-Agent}i","tls":"%{SSL_PROTOCOL}x","cipher":"%{SSL_CIPHER}x"}' json
CustomLog $access_log json
LuaScope thread
LuaCodeCache forever
LuaHookFixups $lua take_out
Listen $address:$port
<VirtualHost $address:$port>
    Protocols h2 http/1.1
    AllowEncodedSlashes NoDecode
    MergeSlashes off
    TraceEnable off
    SSLEngine on
    SSLProtocol -all +TLSv1.2 +TLSv1.3
    SSLCipherSuite $suites
    SSLOpenSSLConfCmd Groups X25519:prime256v1:secp384r1
    SSLHonorCipherOrder off
    SSLCertificateFile $chain
    SSLCertificateKeyFile $key
    RequestReadTimeout handshake=5 header=10 body=30
    LimitRequestBody 1048576
    Header always set Strict-Transport-Security "max-age=300"
    RequestHeader set X-Request-Id expr=%{env:UNIQUE_ID}
    RequestHeader set X-Forwarded-For expr=%{REMOTE_ADDR}
    RequestHeader set X-Forwarded-Host expr=%{HTTP_HOST}
    RequestHeader set X-Forwarded-Port $port
    RequestHeader set X-Forwarded-Proto https
    RewriteEngine on
    RewriteCond "%{HTTP_HOST}" "!^(?:localhost|$pattern)(?::$port)?$$" [NC]
    RewriteRule "^" "-" [R=421,L]
    RewriteCond "%{THE_REQUEST}" "!^[A-Z]+ $path HTTP/"
    RewriteRule "^" "-" [R=400,L]
    ProxyPreserveHost on
    ProxyAddHeaders off
    ProxyPass "/" "unix:$socket|http://app/" nocanon retry=0 connectiontimeout=2 timeout=30 $reuse
</VirtualHost>
"""


def _filled(template: str, place: Place, **more: str) -> str:
    facts = {
        "directory": place.directory,
        "access_log": place.access_log,
        "socket": place.socket,
        "address": place.address,
        "pattern": place.address.replace(".", r"\."),
        "port": place.port,
        "chain": place.credentials.chain,
        "key": place.credentials.key,
        "idle": IDLE_SECONDS,
        "path": _PATH,
        "suites": _SUITES,
    }
    return string.Template(template).substitute(facts | more)


def _nginx(place: Place) -> Launch:
    # Workers of an nginx started as root would change to a user that cannot reach the directory.
    file = place.write("nginx.conf", _filled(_NGINX, place, user="user root;" if os.geteuid() == 0 else ""))
    argv = ("nginx", "-p", str(place.directory), "-e", "stderr", "-c", str(file))
    return Launch((backend("granian", place), Command(argv)), lambda: place.credentials.root)


def _apache(place: Place) -> Launch:
    files = {name: _MODULES / f"mod_{name}.so" for name in _NEEDED}
    modules = "\n".join(f"LoadModule {name}_module {file}" for name, file in files.items() if file.exists())
    user = ""
    if os.geteuid() == 0:  # Apache serves nobody as root
        user = "User nobody\nGroup nogroup"
        place.directory.chmod(0o711)
    # As the engine does: the worker's socket is asked anew for each request.
    # Whole families of fields are taken out, which no directive of Apache's can: by the same few lines.
    lua = place.write("fields.lua", script().decode())
    text = _filled(_APACHE, place, modules=modules, user=user, reuse="disablereuse=on", lua=str(lua))
    file = place.write("httpd.conf", text)
    argv = ("apache2", "-d", str(place.directory), "-f", str(file), "-D", "FOREGROUND")
    return Launch((backend("granian", place), Command(argv)), lambda: place.credentials.root)


_WSGI, _ASGI = 'engine = "{}"\napp = "apps:hello_wsgi"', 'engine = "{}"\napp = "apps:hello_asgi"'
_BEHIND = 'engine = "{}"\nupstream = "unix:{{socket}}"'
_GRANIAN = ("python:sealgate", "python:granian")

ROWS = (
    Row("nginx-hand", "nginx by hand, same policy → Granian", _nginx,
        needs=("nginx", "python:granian"), order=50),
    Row("engine-nginx-upstream", "Sealgate, engine nginx → Granian",
        serve(_BEHIND.format("nginx"), upstream=True), needs=("nginx", *_GRANIAN), order=51),
    Row("engine-nginx", "Sealgate, engine nginx (WSGI)", serve(_WSGI.format("nginx")),
        needs=("nginx", *_GRANIAN), order=52),
    Row("apache-hand", "Apache by hand, same policy → Granian", _apache,
        needs=("apache2", "python:granian"), order=53),
    Row("engine-apache-upstream", "Sealgate, engine apache → Granian",
        serve(_BEHIND.format("apache"), upstream=True), needs=("apache2", *_GRANIAN), order=54),
    Row("engine-apache", "Sealgate, engine apache (WSGI)", serve(_WSGI.format("apache")),
        needs=("apache2", *_GRANIAN), order=55),
    Row("engine-gunicorn", "Sealgate, engine gunicorn", serve(_WSGI.format("gunicorn")),
        needs=("python:sealgate", "python:gunicorn"), order=56),
    Row("engine-uvicorn", "Sealgate, engine uvicorn", serve(_ASGI.format("uvicorn")),
        needs=("python:sealgate", "python:uvicorn", "python:httptools"), order=57, note=f"httptools, {LOOP}"),
)  # fmt: skip
