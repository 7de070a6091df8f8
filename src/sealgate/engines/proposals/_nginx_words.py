"""Directives of nginx that a policy has no key for: which nobody will miss, and why the others are left."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ELSE", "PLUMBING", "PROGRAM", "SET_ANYWAY", "WHY"]

# What any server decides for itself, and what other keys of a policy already say.
PLUMBING = frozenset(
    {
        "access_log", "aio", "client_body_buffer_size", "client_body_temp_path",
        "client_header_buffer_size", "connection_pool_size", "default_type", "directio", "error_log",
        "gzip", "gzip_buffers", "gzip_comp_level", "gzip_disable", "gzip_http_version", "gzip_min_length",
        "gzip_proxied", "gzip_types", "gzip_vary", "http2", "http2_max_concurrent_streams", "http3",
        "ignore_invalid_headers", "keepalive_requests", "large_client_header_buffers", "lingering_close",
        "lingering_timeout", "listen", "log_format", "log_not_found", "log_subrequest",
        "map_hash_bucket_size", "map_hash_max_size", "open_file_cache", "open_file_cache_valid",
        "output_buffers", "postpone_output", "proxy_buffer_size", "proxy_buffering", "proxy_buffers",
        "proxy_busy_buffers_size", "proxy_connect_timeout", "proxy_headers_hash_bucket_size",
        "proxy_headers_hash_max_size", "proxy_http_version", "proxy_pass", "proxy_request_buffering",
        "proxy_send_timeout", "proxy_temp_path", "request_pool_size", "reset_timedout_connection",
        "resolver", "resolver_timeout", "send_timeout", "sendfile", "server", "server_name",
        "server_names_hash_bucket_size", "server_names_hash_max_size", "server_tokens", "ssl",
        "ssl_buffer_size", "ssl_conf_command", "ssl_dhparam", "ssl_ecdh_curve", "ssl_prefer_server_ciphers",
        "ssl_protocols", "ssl_session_cache", "ssl_session_ticket_key", "ssl_session_tickets",
        "ssl_session_timeout", "ssl_stapling", "ssl_stapling_verify", "ssl_trusted_certificate",
        "tcp_nodelay", "tcp_nopush", "types", "types_hash_bucket_size", "types_hash_max_size", "upstream",
        "variables_hash_bucket_size", "variables_hash_max_size", "brotli", "brotli_comp_level",
        "brotli_types",
    }
)  # fmt: skip
# Fields that every engine sets itself, whatever a client sends.
SET_ANYWAY = frozenset(
    {"host", "x-real-ip", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port",
     "connection", "upgrade", "x-request-id"}
)  # fmt: skip
_IN_APP = "a policy does not do this: do it in the app"
_PASSWORDS = "passwords are not checked: use client certificates ([clients]), or do it in the app"
_ADDRESSES = "address rules are for the whole site: network.allow and network.deny, which wins in any order"
PROGRAM = "a program inside nginx: do it in the app"
WHY: Mapping[str, str] = {
    "add_header": "let the app send it",
    "alias": "files are not served: everything goes to the app",
    "allow": _ADDRESSES,
    "auth_basic": _PASSWORDS,
    "auth_basic_user_file": _PASSWORDS,
    "auth_request": "another server judges each request; here the guard does, by the policy",
    "deny": _ADDRESSES,
    "error_page": "errors of the server are RFC 9457 problem documents",
    "fastcgi_pass": "only HTTP backends can stand behind a policy",
    "geo": _IN_APP,
    "grpc_pass": "gRPC needs HTTP/2 to the backend: not in this version",
    "if": "rules in a server's configuration are the app's to decide",
    "index": "files are not served: everything goes to the app",
    "internal": "files are not served: everything goes to the app",
    "limit_conn": "one limit for all connections: limits.connections",
    "limit_conn_zone": "one limit for all connections: limits.connections",
    "limit_rate": _IN_APP,
    "limit_req": "rates are not in this version of the policy",
    "limit_req_zone": "rates are not in this version of the policy",
    "location": "a policy sends every path to one app or upstream",
    "map": _IN_APP,
    "merge_slashes": "a path with an empty segment is refused with 400",
    "mirror": _IN_APP,
    "proxy_cache": _IN_APP,
    "proxy_cookie_path": _IN_APP,
    "proxy_redirect": "answers are passed on as the app gives them",
    "proxy_set_header": "the app does not get this field from the server",
    "return": "answers are the app's to give",
    "rewrite": "no engine rewrites a path: the app gets it as the client sent it",
    "root": "files are not served: everything goes to the app",
    "scgi_pass": "only HTTP backends can stand behind a policy; an app in Python can be named in site.app",
    "set": _IN_APP,
    "satisfy": _IN_APP,
    "split_clients": _IN_APP,
    "ssl_early_data": "early data can be replayed: it is not offered",
    "ssl_ocsp": "OCSP for client certificates is not in this version of the policy",
    "ssl_reject_handshake": "any Host that is not the site's is answered with 421",
    "ssl_verify_depth": "every valid chain counts, whatever its length",
    "sub_filter": _IN_APP,
    "try_files": "files are not served: everything goes to the app",
    "underscores_in_headers": "a field with an underscore in its name never gets to the app: it is taken out,"
    " or the request is 400 (an app may read _ as -, and take it for another field)",
    "uwsgi_pass": "only HTTP backends can stand behind a policy; an app in Python can be named in site.app",
}
ELSE = "has no counterpart in a policy"
