"""What an installed nginx would bring into our server blocks from the user's ``http`` block. Pure.

Theory: a directive that is said in ``http`` holds in every server block that does not say it itself; arrays
of them (``add_header``, ``proxy_set_header``, ``set_real_ip_from``) are replaced as a whole, not added to. So
one that our blocks say is no concern of ours, and one that is known to change nothing of what we promise is
none either. All others are: those that deny or count, those that change what is passed on or answered,
programs of modules, and whatever is not known here. The names are those of nginx's alphabetical index of
directives (https://nginx.org/en/docs/dirindex.html) and of modules that distributions package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sealgate.engines.configurations.directive import Directive

__all__ = ["inherited"]

_TABLES_WHY = {
    "nginx": """
        acme_issuer acme_shared_zone charset_map fastcgi_cache_path geo geoip_city geoip_country geoip_org
        geoip_proxy geoip_proxy_recursive keyval keyval_zone limit_conn_zone limit_req_zone log_format map
        map_hash_bucket_size map_hash_max_size match proxy_cache_path scgi_cache_path server
        server_names_hash_bucket_size server_names_hash_max_size split_clients upstream uwsgi_cache_path
        variables_hash_bucket_size variables_hash_max_size
    """,
    "programs that make variables, or are run when nginx starts": """
        js_fetch_trusted_certificate js_import js_path js_preload_object js_set js_shared_dict_zone js_var
        perl_modules perl_require perl_set init_by_lua init_by_lua_block init_by_lua_file init_worker_by_lua
        init_worker_by_lua_block init_worker_by_lua_file lua_package_cpath lua_package_path lua_shared_dict
    """,
    "modules of others": "geoip2 geoip2_proxy geoip2_proxy_recursive vhost_traffic_status_zone",
}
"""They stand in ``http`` alone: something must name what they make, or it counts nowhere."""

_HARMLESS_WHY = {
    "his logs": """
        access_log error_log log_not_found log_subrequest open_log_file_cache rewrite_log
        uninitialized_variable_warn
    """,
    "compression, of which a policy says nothing": """
        gunzip gunzip_buffers gzip gzip_buffers gzip_comp_level gzip_disable gzip_http_version gzip_min_length
        gzip_proxied gzip_static gzip_types gzip_vary brotli brotli_buffers brotli_comp_level
        brotli_min_length brotli_static brotli_types brotli_window zstd zstd_buffers zstd_comp_level
        zstd_min_length zstd_static zstd_types
    """,
    "files: our blocks serve none, and what answers an ACME authority says its own": """
        autoindex autoindex_exact_size autoindex_format autoindex_localtime default_type directio
        directio_alignment disable_symlinks etag if_modified_since index max_ranges open_file_cache
        open_file_cache_errors open_file_cache_min_uses open_file_cache_valid read_ahead root types
        types_hash_bucket_size types_hash_max_size
    """,
    "buffers, sockets, and how connections end": """
        aio aio_write client_body_in_single_buffer client_body_temp_path client_body_timeout
        connection_pool_size keepalive_disable keepalive_min_timeout keepalive_requests keepalive_time
        output_buffers postpone_output request_pool_size reset_timedout_connection send_lowat sendfile
        sendfile_max_chunk subrequest_output_buffer_size tcp_nodelay tcp_nopush
    """,
    "variables that our file does not use; redirects of nginx's own; names asked for while it runs": """
        absolute_redirect ancient_browser ancient_browser_value modern_browser modern_browser_value
        msie_padding msie_refresh port_in_redirect resolver resolver_timeout secure_link secure_link_md5
        server_name_in_redirect
    """,
    "sizes of HTTP/2, some obsolete; HTTP/3, which our listeners do not speak": """
        http2_body_preread_size http2_chunk_size http2_idle_timeout http2_max_concurrent_streams
        http2_max_field_size http2_max_header_size http2_max_requests http2_recv_buffer_size
        http2_recv_timeout http3 http3_hq http3_max_concurrent_streams http3_stream_buffer_size
        quic_active_connection_id_limit quic_bpf quic_gso quic_host_key quic_retry
    """,
    "particulars of what is refused, or off in our blocks": """
        addition_types auth_basic_user_file auth_delay charset_types limit_conn_log_level limit_req_dry_run
        limit_req_log_level limit_req_status mirror_request_body override_charset satisfy source_charset
        ssi_last_modified ssi_min_file_chunk ssi_silent_errors ssi_types ssi_value_length
        sub_filter_last_modified sub_filter_once sub_filter_types userid_domain userid_expires userid_mark
        userid_name userid_p3p userid_path userid_service
    """,
    "whose fields are believed: our blocks believe no peer": "real_ip_header real_ip_recursive",
    "caches and stores, which are off; how the backend's connections are used": """
        proxy_cache_background_update proxy_cache_bypass proxy_cache_convert_head proxy_cache_key
        proxy_cache_lock proxy_cache_lock_age proxy_cache_lock_timeout proxy_cache_max_range_offset
        proxy_cache_methods proxy_cache_min_uses proxy_cache_revalidate proxy_cache_use_stale
        proxy_cache_valid proxy_next_upstream_timeout proxy_no_cache proxy_send_lowat
        proxy_socket_keepalive proxy_ssl_session_reuse proxy_store_access proxy_temp_path
    """,
    "TLS: what matters with client certificates, stapling, DHE or encrypted keys, none of which ours has": """
        ssl_buffer_size ssl_certificate_cache ssl_certificate_compression ssl_client_certificate ssl_crl
        ssl_dhparam ssl_ocsp ssl_ocsp_cache ssl_ocsp_responder ssl_password_file ssl_stapling_file
        ssl_stapling_responder ssl_stapling_verify ssl_trusted_certificate ssl_verify_depth
    """,
}
"""Why, and which: what they say may hold in our blocks too."""

_TABLES, _HARMLESS = (
    frozenset(name for names in groups.values() for name in names.split())
    for groups in (_TABLES_WHY, _HARMLESS_WHY)
)

_ELSEWHERE = ("fastcgi_", "grpc_", "memcached_", "scgi_", "uwsgi_")
"""Our blocks pass requests on by ``proxy_pass`` alone."""

_OFF = frozenset(
    {
        "auth_basic",
        "auth_jwt",
        "auth_request",
        "limit_rate",
        "limit_rate_after",
        "mirror",
        "modsecurity",
        "proxy_pass_trailers",
        "ssi",
        "ssl",
        "userid",
    }
)
"""Their defaults are no concern of ours either."""

_JUDGES = frozenset({"limit_conn"})
"""Our blocks would replace it: a door that the user thinks shut would be open, so that is for him to say."""

_SECURE = ("client_body_", "limit_conn_", "proxy_", "ssl_")
"""They count where requests are passed on, over TLS, alone."""

_MADE = {"js_set": 0, "js_var": 0, "perl_set": 0, "keyval": 1, "map": -1, "geo": -1, "split_clients": -1}
"""Which argument names the variable that a table makes."""

_VARIABLE = re.compile(r"\$\{?(\w+)")


def inherited(root: Directive, own: Directive) -> tuple[Directive, ...]:
    """Directives of the user's ``http`` block that would count in our server blocks; see ``Included``."""
    servers = own.own("server")
    variables = frozenset(
        name.lower()  # nginx does not tell `$HTTP_Upgrade` from `$http_upgrade`
        for one in own.walk()
        for word in (one.name, *one.args)
        for name in _VARIABLE.findall(word)
    )
    lines = (one for http in root.own("http") for one in http.inside if one.file != own.file)
    return tuple(one for one in lines if _counts(one, servers, variables))


def _counts(one: Directive, servers: tuple[Directive, ...], variables: frozenset[str]) -> bool:
    if one.name in _TABLES:
        # A variable of ours, or one that nginx has for a field (`$http_upgrade`), would be his.
        return not variables.isdisjoint(_made(one))
    if one.name in _HARMLESS or one.name.startswith(_ELSEWHERE):
        return False
    if one.name in _OFF and one.args in {("off",), ("0",)}:
        return False
    if one.name.startswith("proxy_ssl_") and not any(server.own("proxy_ssl_verify") for server in servers):
        return False  # our backend is not asked over TLS
    return one.name in _JUDGES or not _said(one.name, servers)


def _said(name: str, servers: tuple[Directive, ...]) -> bool:
    """Do our blocks say it themselves, wherever it counts?"""
    if name.startswith(_SECURE):
        servers = tuple(server for server in servers if server.own("ssl_certificate"))
    return bool(servers) and all(server.own(name) for server in servers)


def _made(table: Directive) -> Iterator[str]:
    """The names of the variables that it makes, in lower case."""
    if table.name == "geoip2":
        yield from (one.name.lstrip("$").lower() for one in table.inside)
    elif table.name in _MADE and table.args:
        at = _MADE[table.name]
        yield table.args[at if at < len(table.args) else -1].lstrip("$").lower()
