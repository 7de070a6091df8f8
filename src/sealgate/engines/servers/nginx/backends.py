"""Where requests go: the app's workers over unix sockets, or another backend.

Theory: workers come and go without a reload. Each has a slot, a link of a fixed name (`app/0.sock`) that
leads to its socket; a link is replaced in one step, and from then on new connections go to the new worker.
Those that nginx keeps open to the old one are used for half a second at most (`keepalive_time`), so a worker
to which no connection is left gets no request any more, and one that is told to end has none.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.nginx.hosts import HOST
from sealgate.engines.servers.nginx.spoofing import KNOWN
from sealgate.engines.servers.nginx.words import FOLDER, block, entries, quoted, time
from sealgate.policy import identity

__all__ = ["backend_maps", "forwarding", "pass_to", "slots", "upstream"]

_ON = 0.5
"""Seconds that a connection to a worker is used; see above."""

_KEPT = 64
_CONNECT = 2.0
_BUFFER = "32k"
_UPGRADE = "$sealgate_upgrade"
# Whatever an app says in these is for its clients: nginx would obey them.
_IGNORED = "X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset"
_HIDDEN = ("Strict-Transport-Security", "X-Powered-By")


def slots(facts: RenderFacts) -> int:
    """How many links there are."""
    return facts.policy.site.workers


def upstream(facts: RenderFacts) -> list[str]:
    """The one upstream there is. Never taken for down: of unix sockets that is known at once."""
    if facts.guarded:
        servers = [f"server unix:{FOLDER}/app/{number}.sock max_fails=0;" for number in range(slots(facts))]
        kept = [f"keepalive {_KEPT};", f"keepalive_time {time(_ON)};", f"keepalive_timeout {time(_ON)};"]
        return block("upstream sealgate_app", ["least_conn;", *servers, *kept, "keepalive_requests 100000;"])
    url = facts.policy.site.upstream
    where = url if url.startswith("unix:") else urlsplit(url).netloc
    kept = [f"keepalive {_KEPT};", "keepalive_timeout 4s;"]
    return block("upstream sealgate_app", [f"server {quoted(where)} max_fails=0;", *kept])


def backend_maps(facts: RenderFacts) -> list[str]:
    """Who is there, and does a request ask for WebSocket?"""
    lines = []
    if facts.policy.listen.proxy_protocol:  # a balancer's own checks name no address
        lines += entries(
            "$proxy_protocol_addr", "$sealgate_peer", {'""': "$remote_addr"}, "$proxy_protocol_addr"
        )
        lines += entries(
            "$proxy_protocol_addr", "$sealgate_port", {'""': "$remote_port"}, "$proxy_protocol_port"
        )
    else:
        lines += entries('""', "$sealgate_peer", {}, "$remote_addr")
        lines += entries('""', "$sealgate_port", {}, "$remote_port")
    six = {'"~:"': '"[$sealgate_peer]:$sealgate_port"'}
    lines += entries("$sealgate_peer", "$sealgate_address", six, '"$sealgate_peer:$sealgate_port"')
    if facts.backend != "wsgi":
        # Over HTTP/2 no connection can be upgraded, whatever a field says (RFC 9113, 8.2.2).
        asked = {'"HTTP/1.1 websocket"': "websocket"}
        lines += entries('"$server_protocol $http_upgrade"', _UPGRADE, asked)
    return lines


def forwarding(facts: RenderFacts) -> list[str]:
    """What holds for every request that is passed on: its fields, its body, its answer."""
    timeouts = facts.policy.timeouts
    body = facts.policy.limits.body
    answer = time(min(timeouts.request, timeouts.idle))
    fields = _told_to_guard(facts) if facts.guarded else _told_to_backend(facts)
    return [
        "proxy_http_version 1.1;",
        *(f"proxy_set_header {name} {value};" for name, value in fields.items()),
        "proxy_pass_request_headers on;",
        "proxy_headers_hash_max_size 4096;",
        "proxy_headers_hash_bucket_size 128;",
        "proxy_request_buffering on;",
        f"client_max_body_size {max(1, body)};",  # 0 would mean no limit
        f"client_body_buffer_size {min(max(body, 1024), 128 * 1024)};",
        f"client_body_timeout {answer};",
        "proxy_buffering off;",
        f"proxy_buffer_size {_BUFFER};",
        f"proxy_buffers 4 {_BUFFER};",
        f"proxy_connect_timeout {time(_CONNECT)};",
        f"proxy_read_timeout {answer};",
        f"proxy_send_timeout {answer};",
        "# Only where the app has seen nothing of a request, or may see it twice (RFC 9110, 9.2.2).",
        "proxy_next_upstream error;",
        "proxy_next_upstream_tries 2;",
        "proxy_redirect off;",
        f"proxy_ignore_headers {_IGNORED};",
        *(f"proxy_hide_header {name};" for name in _HIDDEN),
        *_upstream_tls(facts),
    ]


def _told_to_guard(facts: RenderFacts) -> dict[str, str]:
    fields = {
        identity.ADDRESS: "$sealgate_address",
        identity.PATH: "$request_uri",
        identity.PROOF: quoted(facts.proof),
        # Said always: workers of a policy that still asks are not left guessing while a reload ends that.
        identity.VERIFIED: '"NONE"',
        identity.CERTIFICATE: '""',
    }
    if facts.policy.clients.mode != "off":
        fields[identity.VERIFIED] = "$ssl_client_verify"
        fields[identity.CERTIFICATE] = "$ssl_client_escaped_cert"
    return {**_hop(facts), **fields}


def _told_to_backend(facts: RenderFacts) -> dict[str, str]:
    gone = [*KNOWN, identity.ADDRESS, identity.PATH, identity.PROOF, identity.VERIFIED, identity.CERTIFICATE]
    return {
        **_hop(facts),
        **dict.fromkeys(gone, '""'),
        "X-Forwarded-For": "$sealgate_peer",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": HOST,
        "X-Forwarded-Port": str(facts.policy.public_port),
    }


def _hop(facts: RenderFacts) -> dict[str, str]:
    """What belongs to this connection (RFC 9110 §7.6.1), not the client's."""
    upgrade = '""' if facts.backend == "wsgi" else _UPGRADE
    fields = {"Host": HOST, "Connection": '""', "Upgrade": '""', "X-Request-Id": "$request_id"}
    fields |= dict.fromkeys(("Keep-Alive", "TE", "Expect", "Proxy-Connection"), '""')
    return fields if upgrade == '""' else {**fields, "Connection": "$sealgate_connection", "Upgrade": upgrade}


def _upstream_tls(facts: RenderFacts) -> list[str]:
    """TLS to the backend: its certificate must be valid for its name, by the system's authorities."""
    url = facts.policy.site.upstream
    if facts.guarded or not url.startswith("https:"):
        return []
    return [
        "proxy_ssl_verify on;",
        "proxy_ssl_verify_depth 5;",
        f"proxy_ssl_trusted_certificate {quoted(facts.system_trust)};",
        f"proxy_ssl_name {quoted(urlsplit(url).hostname or '')};",
        "proxy_ssl_server_name on;",
        "proxy_ssl_protocols TLSv1.2 TLSv1.3;",
    ]


def pass_to(facts: RenderFacts) -> str:
    """Without a path: nginx then passes the target on as it came."""
    tls = not facts.guarded and facts.policy.site.upstream.startswith("https:")
    return f"proxy_pass {'https' if tls else 'http'}://sealgate_app;"
