"""All of Apache's files from a policy: a pure function. Key material only by path."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.apache.access_log import access_log
from sealgate.engines.servers.apache.answers import answer_files, challenge_documents, error_documents
from sealgate.engines.servers.apache.backends import WORKERS_MAP, backend_lines, workers_map
from sealgate.engines.servers.apache.challenges import challenge_files
from sealgate.engines.servers.apache.facts import CONFIG, FOLDER, RUNTIME, block, quoted
from sealgate.engines.servers.apache.limits import limit_lines, worker_lines
from sealgate.engines.servers.apache.published import list_files
from sealgate.engines.servers.apache.rules import https_rules, plain_rules
from sealgate.engines.servers.apache.spoofing import MODULE_FOLDER, SCRIPT, lua_lines, script
from sealgate.engines.servers.apache.tls import tls_lines
from sealgate.policy.model import Endpoint
from sealgate.policy.published import publishes

__all__ = ["MODULES", "NEEDED", "module_lines", "render"]

MODULES = "modules.conf"
"""Which modules are loaded from where: written at the start, because it depends on the machine."""

NEEDED = (
    *("mpm_event", "unixd", "authz_core", "log_config", "logio", "setenvif", "alias", "rewrite", "headers"),
    *("env", "asis", "reqtimeout", "unique_id", "buffer", "remoteip", "ssl", "http2", "proxy", "proxy_http"),
)
"""Apache's modules, in the order of loading. Others name theirs beside what needs them."""


def render(facts: RenderFacts) -> dict[str, bytes]:
    """File name (in `engines/apache/`) to content."""
    lines = [*_server(facts), "", *_https(facts)]
    if facts.policy.listen.http:
        lines += ["", *_plain(facts)]
    config = ("\n".join(lines) + "\n").encode("ascii")
    fields = {} if facts.guarded else {SCRIPT: script()}
    return {
        CONFIG: config,
        WORKERS_MAP: workers_map(facts),
        **fields,
        **answer_files(
            strangers=facts.policy.judges_addresses(tls=True),
            listed=publishes(facts.policy),
            clear=bool(facts.policy.credential_fields),
        ),
    }


def _server(facts: RenderFacts) -> list[str]:
    listen = facts.policy.listen
    return [
        "# Written by Sealgate from its policy; changes here are lost.",
        f"DefaultRuntimeDir {quoted(RUNTIME)}",
        f"PidFile {quoted(f'{RUNTIME}/httpd.pid')}",
        f"Include {quoted(f'{FOLDER}/{MODULES}')}",
        "Mutex pthread default",
        f"ServerName {quoted(_server_name(facts))}",
        "UseCanonicalName off",
        "ServerTokens Prod",
        "ServerSignature off",
        "FileETag None",
        "HttpProtocolOptions Strict LenientMethods Require1.0",
        # Or the kernel waits for the first byte, and no timer of ours runs.
        "AcceptFilter http none",
        "AcceptFilter https none",
        "HostnameLookups off",
        "LogLevel warn ssl:error proxy:error http2:error core:error",
        "ErrorLog /proc/self/fd/2",
        'ErrorLogFormat "[%-l] [%-m] %M"',
        "SSLSessionCache none",
        "SSLRandomSeed startup builtin",
        *([] if facts.guarded else lua_lines()),
        *worker_lines(facts),
        *limit_lines(facts),
        *(f"Listen {endpoint} https" for endpoint in listen.https),
        *(f"Listen {endpoint} http" for endpoint in listen.http),
    ]


def _server_name(facts: RenderFacts) -> str:
    """Apache takes no IPv6 address here. Nothing depends on it: `UseCanonicalName off`."""
    name = facts.policy.first_name
    return "localhost" if ":" in name else name


def _addresses(endpoints: Iterable[Endpoint]) -> str:
    return " ".join(str(endpoint) for endpoint in endpoints)


def _https(facts: RenderFacts) -> list[str]:
    # Apache's 0 means "no limit": the guard refuses the one byte, or the rule for upstreams does.
    body = max(1, facts.policy.limits.body)
    lines = [
        *_uniform(facts),
        "Protocols h2 http/1.1",
        "H2Upgrade off",
        "H2Direct off",
        *tls_lines(facts),
        f"LimitRequestBody {body}",
        *error_documents(tls=True, strangers=facts.policy.judges_addresses(tls=True)),
        *https_rules(facts),
        *backend_lines(facts),
        *access_log(tls=True),
    ]
    return block("VirtualHost", _addresses(facts.policy.listen.https), lines)


def _plain(facts: RenderFacts) -> list[str]:
    lines = [
        *_uniform(facts),
        "Protocols http/1.1",
        "SSLEngine off",
        "LimitRequestBody 1",
        *error_documents(
            tls=False,
            strangers=facts.policy.judges_addresses(tls=False),
            clear=bool(facts.policy.credential_fields),
        ),
        *plain_rules(facts),
        *challenge_files(facts.challenge_folder, challenge_documents()),
        *list_files(facts),
        *access_log(tls=False, credentials=facts.policy.credential_fields),
    ]
    return block("VirtualHost", _addresses(facts.policy.listen.http), lines)


def _uniform(facts: RenderFacts) -> list[str]:
    """What both virtual hosts say, because they do not inherit it: nothing rewrites a path."""
    proxied = ["RemoteIPProxyProtocol on"] if facts.policy.listen.proxy_protocol else []
    return [
        f"ServerName {quoted(_server_name(facts))}",
        "AllowEncodedSlashes NoDecode",
        "MergeSlashes off",
        "TraceEnable off",
        *proxied,
    ]


def module_lines(folder: Path, inside: frozenset[str]) -> bytes:
    """The file `MODULES`: all that is needed and not a part of the program already."""
    lines = [
        f"Define {MODULE_FOLDER} {quoted(str(folder))}",
        *(
            f"LoadModule {name}_module {quoted(str(folder / f'mod_{name}.so'))}"
            for name in NEEDED
            if name not in inside
        ),
    ]
    return ("\n".join(lines) + "\n").encode()
