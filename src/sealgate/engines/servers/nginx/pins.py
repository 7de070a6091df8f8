"""What our file says only so that the user's ``http`` block does not: mostly nginx's own defaults.

Of modules that every usual build has, and only what changes requests and answers. What judges clients
(``deny``, ``auth_basic``, ``limit_req``) is not put out of force here: that such a line is there is said and
refused (``inherited.py``).
"""

from __future__ import annotations

from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.nginx.versions import HTTP2_DIRECTIVE
from sealgate.engines.servers.nginx.words import Build

__all__ = ["both_pins", "plain_pins", "secure_pins"]


def both_pins() -> list[str]:
    """For either server block: answers are what they are, and whoever goes on sending is not awaited long."""
    lingering = ("lingering_close on;", "lingering_time 30s;", "lingering_timeout 5s;")
    return ["charset off;", "chunked_transfer_encoding on;", "expires off;", *lingering]


def secure_pins(facts: RenderFacts) -> list[str]:
    """Where requests are passed on: request and answer as they are, each once, by no way of the user's."""
    tls = facts.policy.site.upstream.startswith("https:")
    return [
        "ssl_reject_handshake off;",
        "limit_conn_dry_run off;",
        "client_body_in_file_only off;",
        "proxy_bind off;",
        "proxy_method $request_method;",
        "proxy_pass_request_body on;",
        "proxy_pass_header X-Sealgate-None;",  # of a list, one that nobody sends
        "proxy_ignore_client_abort off;",
        "proxy_force_ranges off;",
        "proxy_limit_rate 0;",
        *(f"proxy_cookie_{what} off;" for what in ("domain", "path", "flags")),
        # They must fit to our buffers, or nginx takes none of it.
        "proxy_busy_buffers_size 64k;",
        "proxy_temp_file_write_size 64k;",
        "proxy_max_temp_file_size 0;",
        *(["proxy_ssl_ciphers DEFAULT;"] if tls else []),
    ]


def plain_pins(build: Build) -> list[str]:
    """Where only nginx answers."""
    return [
        *([] if build.version < HTTP2_DIRECTIVE else ["http2 off;"]),
        # A list with nothing in it: HSTS, say, has no place in an answer over plain HTTP (RFC 6797, 7.2).
        'add_header Strict-Transport-Security "";',
        # An answer for an ACME authority is looked for anew each time.
        "open_file_cache off;",
    ]
