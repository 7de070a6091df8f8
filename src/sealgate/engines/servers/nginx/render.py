"""All of nginx's files from a policy: a pure function. Key material only by path."""

from __future__ import annotations

from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.nginx.access_log import ACCESS_LOG, access_log
from sealgate.engines.servers.nginx.addresses import address_checks, address_map
from sealgate.engines.servers.nginx.backends import backend_maps, forwarding, pass_to, upstream
from sealgate.engines.servers.nginx.challenges import token_locations, token_map
from sealgate.engines.servers.nginx.hosts import HOST, WELL_FORMED_HOST, maps
from sealgate.engines.servers.nginx.published import list_locations, list_map
from sealgate.engines.servers.nginx.replies import CLEAR, HSTS, ODD_PATH, error_pages, problem_locations
from sealgate.engines.servers.nginx.tls import certificate_map, server_tls
from sealgate.engines.servers.nginx.versions import CERTIFICATE_CACHE, HTTP2_DIRECTIVE, STAYS_OPEN
from sealgate.engines.servers.nginx.words import PLACE, Build, block, entries, longer, pattern, time
from sealgate.policy.path import CANONICAL_PATH_RE2, CARRIED_PATH_RE2

__all__ = ["CONFIGURATION", "GENERATION", "build_of", "closing_flag", "generation", "processes", "render"]

CONFIGURATION = "nginx.conf"
GENERATION = "generation.conf"

_STREAMS = 100
_BUFFER = 1024
_ENOUGH_FOR_ONE = 512
_UPGRADING, _CLOSING = 418, 419
_OLD_HTTP = '$server_protocol ~ "^HTTP/(?:0\\\\.9|1\\\\.0)"'


def build_of(facts: RenderFacts) -> Build:
    """What is known of the program without asking it: the rest is as in the oldest that is supported."""
    parts = facts.version.split(".")
    known = len(parts) == 3 and all(part.isdecimal() for part in parts)
    return Build(version=(int(parts[0]), int(parts[1]), int(parts[2]))) if known else Build()


def processes(facts: RenderFacts) -> int:
    """Worker processes: few where few connections are allowed, because each has a share of its own."""
    return max(1, min(facts.concurrency, facts.policy.limits.connections // _ENOUGH_FOR_ONE))


def render(facts: RenderFacts, build: Build | None = None) -> dict[str, bytes]:
    """File name (in `engines/nginx/`) to content."""
    build = build or build_of(facts)
    text = "\n".join([*_main(facts, build), *_events(facts), *_http(facts, build)]) + "\n"
    return {CONFIGURATION: text.encode(), GENERATION: generation(0)}


def closing_flag(number: int) -> str:
    """The file whose presence makes processes of that generation close each connection after its answer."""
    return f"{PLACE}/closing-{number}"


def generation(number: int) -> bytes:
    """What tells the processes of one load of the configuration from those of another."""
    lines = entries('""', "$sealgate_closing", {}, closing_flag(number))
    return ("\n".join(["# Not part of the policy: counts the loads.", *lines]) + "\n").encode("ascii")


def _main(facts: RenderFacts, build: Build) -> list[str]:
    # Files are taken for unchanged by inode and second: a list replaced twice in one may have both again.
    anew = ["ssl_object_cache_inheritable off;"] if build.version >= CERTIFICATE_CACHE else []
    return [
        "# Written by Sealgate for its own nginx; changes are lost.",
        f"worker_processes {processes(facts)};",
        f"worker_shutdown_timeout {time(facts.policy.timeouts.drain)};",
        "worker_rlimit_core 0;",
        "pcre_jit on;",
        f"pid {PLACE}/nginx.pid;",
        "error_log stderr error;",
        *anew,
    ]


def _events(facts: RenderFacts) -> list[str]:
    """Beside clients and workers, listening sockets and the way to the master need a slot each."""
    listen = facts.policy.listen
    share = facts.policy.limits.connections // processes(facts)
    return block("events", [f"worker_connections {share + len(listen.https) + len(listen.http) + 4};"])


def _http(facts: RenderFacts, build: Build) -> list[str]:
    lines = [
        *_common(facts, build),
        "",
        f"include {GENERATION};",
        *certificate_map(),
        *maps(facts),
        *(token_map() if facts.policy.listen.http else []),
        *list_map(facts),
        *backend_maps(facts),
        *address_map(facts),
        *(
            []
            if facts.backend == "wsgi"
            else entries("$sealgate_upgrade", "$sealgate_connection", {"websocket": "upgrade"})
        ),
        "# Not more than limits.headers: the request line counts with it.",
        *entries(
            "$request_length",
            "$sealgate_long",
            {pattern(longer(facts.policy.limits.headers), operator="~"): "1"},
        ),
        *access_log(facts.policy.credential_fields),
        *upstream(facts),
        "",
        *block("server", _https(facts, build)),
    ]
    if facts.policy.listen.http:
        lines += ["", *block("server", _plain(facts))]
    return block("http", lines)


def _common(facts: RenderFacts, build: Build) -> list[str]:
    timeouts, headers = facts.policy.timeouts, facts.policy.limits.headers
    first = time(min(timeouts.handshake, timeouts.headers))
    idle = time(timeouts.idle)
    temporary = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    lines = [
        "default_type application/octet-stream;",
        "server_tokens off;",
        "msie_padding off;",
        "merge_slashes off;",
        "underscores_in_headers off;",
        "ignore_invalid_headers on;",
        "recursive_error_pages on;",
        "variables_hash_max_size 4096;",
        "map_hash_max_size 8192;",
        "map_hash_bucket_size 512;",
        *(
            f"{part}_temp_path {PLACE}/{part};"
            for part in temporary
            if f"http_{part}_module" not in build.without
        ),
        f"client_header_timeout {first};",
        f"client_header_buffer_size {_BUFFER};",
        f"large_client_header_buffers 1 {headers};",
        f"keepalive_timeout {idle};",
        "keepalive_time 1h;",
        "keepalive_requests 1000000;",
        f"send_timeout {idle};",
        "lingering_time 5s;",
        "lingering_timeout 1s;",
        f"http2_max_concurrent_streams {_STREAMS};",
    ]
    if build.version >= STAYS_OPEN:
        lines.append(f"keepalive_min_timeout {time(min(5.0, timeouts.idle))};")
    return lines


def _listen(facts: RenderFacts, *, tls: bool, build: Build) -> list[str]:
    listen = facts.policy.listen
    words = ["default_server", "backlog=4096"]
    if tls:
        words.append("ssl" if build.version >= HTTP2_DIRECTIVE else "ssl http2")
    if listen.proxy_protocol:
        words.append("proxy_protocol")
    lines = [f"listen {endpoint} {' '.join(words)};" for endpoint in (listen.https if tls else listen.http)]
    return [*lines, "http2 on;"] if tls and build.version >= HTTP2_DIRECTIVE else lines


def _https(facts: RenderFacts, build: Build) -> list[str]:
    return [
        *_listen(facts, tls=True, build=build),
        *server_tls(facts, build),
        ACCESS_LOG.format("https"),
        HSTS,
        *error_pages(tls=True, strangers=facts.policy.judges_addresses(tls=True)),
        "# No file is looked for here: this is a request for one of the pages below, from outside.",
        "error_page 404 = @passed;",
        f"error_page {_UPGRADING} = @upgraded;" if facts.backend != "wsgi" else "",
        f"error_page {_CLOSING} = @closing;",
        *forwarding(facts),
        *block("location /", [*_checks(facts), *_ways(facts), pass_to(facts)]),
        *block("location @passed", [*_checks(facts), pass_to(facts)]),
        *block(
            "location @closing",
            ["# The client is told to come again.", "keepalive_timeout 0;", pass_to(facts)],
        ),
        *_upgraded(facts),
        *problem_locations(tls=True, strangers=facts.policy.judges_addresses(tls=True)),
    ]


def _refused(condition: str, status: int) -> str:
    return f"if ({condition}) {{ return {status}; }}"


def _checks(facts: RenderFacts) -> list[str]:
    """What never goes further, whoever stands behind."""
    lines = [
        *address_checks(facts),
        _refused(_OLD_HTTP, 426),
        _refused("$sealgate_long", 431),
    ]
    if facts.guarded:
        return [
            *lines,
            _refused(f"{HOST} !~ {pattern(WELL_FORMED_HOST)}", 421),
            _refused(f"$request_uri !~ {pattern(CARRIED_PATH_RE2)}", 400),
        ]
    lines += [
        _refused('$sealgate_site = ""', 421),
        _refused(f"$request_uri !~ {pattern(CANONICAL_PATH_RE2)}", ODD_PATH),
    ]
    if not facts.policy.limits.body:
        lines += [_refused('$content_length ~ "[1-9]"', 413), _refused("$http_transfer_encoding", 413)]
    return lines


def _ways(facts: RenderFacts) -> list[str]:
    lines = [_refused("-f $sealgate_closing", _CLOSING)]
    return [_refused("$sealgate_upgrade", _UPGRADING), *lines] if facts.backend != "wsgi" else lines


def _upgraded(facts: RenderFacts) -> list[str]:
    """WebSocket: what ends it is silence, not its length."""
    if facts.backend == "wsgi":
        return []
    idle = time(facts.policy.timeouts.idle)
    return block(
        "location @upgraded", [f"proxy_read_timeout {idle};", f"proxy_send_timeout {idle};", pass_to(facts)]
    )


def _plain(facts: RenderFacts) -> list[str]:
    clear = bool(facts.policy.credential_fields)
    return [
        *_listen(facts, tls=False, build=Build()),
        ACCESS_LOG.format("http"),
        *error_pages(tls=False, strangers=facts.policy.judges_addresses(tls=False), clear=clear),
        "error_page 404 = @answered;",
        "client_max_body_size 0;",  # what is answered at once need not fit
        *block("location /", _plain_answer(facts)),
        *token_locations(facts.challenge_folder),
        *list_locations(facts),
        *block("location @answered", _plain_answer(facts)),
        *problem_locations(tls=False, strangers=facts.policy.judges_addresses(tls=False), clear=clear),
    ]


def _plain_answer(facts: RenderFacts) -> list[str]:
    policy = facts.policy
    lines = [
        *(address_checks(facts) if facts.policy.judges_addresses(tls=False) else []),
        _refused(_OLD_HTTP, 426),
        *(_refused(f"$http_{name.replace('-', '_')}", CLEAR) for name in policy.credential_fields),
        _refused('$sealgate_plain = ""', 421),
    ]
    if policy.http.mode == "refuse":
        return [*lines, "return 403;"]
    port = "" if policy.public_port == 443 else f":{policy.public_port}"
    return [*lines, f'return 308 "https://$sealgate_plain{port}$request_uri";']
