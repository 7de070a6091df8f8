"""Our file for an installed Apache: modules that are not there yet, listeners, two virtual hosts. Pure.

What the user says outside of all virtual hosts counts in ours too. What Debian's own files say there is
cancelled here (``_CANCELLED``, ``_UNMARKED``); what cannot be is refused (``inherited.py``). His child
processes may not read our folder, so what Apache answers itself stands in the configuration.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from sealgate.engines.challenges import PATH
from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.apache.answers import CHALLENGE_ANSWERS
from sealgate.engines.servers.apache.backends import backend_lines
from sealgate.engines.servers.apache.challenges import challenge_files
from sealgate.engines.servers.apache.facts import block, quoted
from sealgate.engines.servers.apache.limits import limit_lines
from sealgate.engines.servers.apache.rules import https_rules, plain_rules
from sealgate.engines.servers.apache.tls import tls_lines
from sealgate.policy.model import Endpoint
from sealgate.policy.problems import CONTENT_TYPE, PROBLEMS

__all__ = ["render"]

_FOLDERS = ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/local/apache2/modules")
_NEEDED = (
    *("authz_core", "setenvif", "rewrite", "headers", "env", "reqtimeout", "unique_id", "ssl", "http2"),
    *("alias", "proxy", "proxy_http"),
)
_ANSWERS = {
    400: "bad-request",
    404: "bad-request",
    405: "bad-request",
    408: "request-timeout",
    411: "bad-request",
    413: "body-too-large",
    414: "headers-too-large",
    417: "bad-request",
    421: "unknown-host",
    426: "http-version-unsupported",
    431: "headers-too-large",
    500: "internal-error",
    501: "bad-request",
    502: "app-unavailable",
    503: "app-unavailable",
    504: "app-timeout",
    505: "http-version-unsupported",
}
_STRANGE = 403  # the text can name no other status than it has; nothing else of ours is refused so then
# An answer of its own has no type and no length of its own yet; those of the backend have one of the two.
_OWN = '"expr=%{REQUEST_STATUS} -ge 400 && -z %{resp:Content-Type} && -z %{resp:Content-Length}"'
_TYPED = f"Header always set Content-Type {CONTENT_TYPE} {_OWN}"

# A server-wide RemoteIPHeader would let a field name the client: by itself it believes everyone. A list of
# one's own takes the place of the inherited one, and no connection comes from the broadcast address.
_OWN_ADDRESS = block("IfModule", "remoteip_module", ["RemoteIPTrustedProxy 255.255.255.255"])

# Variables by which Apache's modules are told to treat a request in another way. The user's configuration may
# set them (Debian's does, for browsers of twenty years ago); ours comes after it.
_UNMARKED = (
    *("nokeepalive", "downgrade-1.0", "force-response-1.0", "redirect-carefully", "force-gzip"),
    *("gzip-only-text/html", "suppress-error-charset", "no-proxy", "no-cache", "force-no-vary"),
)
# What compresses a body changes what the backend said of it: its length, its ETag, and whether an attacker
# who sees lengths can guess what is in it (BREACH).
_UNCHANGED = ("no-gzip", "no-brotli")
_LANGUAGES = (
    "am amh ar ara be bg bn br bs ca cs cy cz da de dk dz el en eo es et eu fa fi fr ga gl glg gu he "
    "hi hr hu hy id is it ja ka kk km kn ko ku lo lt ltz lv mg mk ml mr ms msa nb ne nl nn no nob pa "
    "pl po pt pt-br ro ru sa se si sk sl sq sr sv ta te th tl tr uk ur vi wo xh zh-cn zh-tw"
)
_ENCODINGS = "z gz tgz bz2 br zst xz"
# Sections of the host's come after all of the user's for paths, and after the host's own directives.
_CANCELLED = (
    "SetHandler none",
    "AddDefaultCharset off",
    "Options None",
    *block("IfModule", "expires_module", ["ExpiresActive off"]),
    *block("IfModule", "filter_module", ["FilterChain !"]),
    # By the end of a path, whatever the backend says of its answer.
    *block("IfModule", "mime_module", [f"RemoveLanguage {_LANGUAGES}", f"RemoveEncoding {_ENCODINGS}"]),
)
# Pages of Apache's about itself: a restriction of the user's there is about the page, and the path is the
# backend's here. Elsewhere it stays in force, and `apply` refuses it.
_PAGES = '"^/(?:server-status|server-info|ldap-status|balancer-manager)(?:/|$)"'
_ADMITTED = (
    "AuthMerging Off",
    "Require all granted",
    *block("IfModule", "authn_core_module", ["AuthType None"]),
    *block("IfModule", "access_compat_module", ["Order Deny,Allow", "Allow from all", "Satisfy All"]),
)
# Of certificates: nobody is asked for one, and a check without a list would end the server.
_NOT_ASKED = ("SSLUseStapling off", "SSLCARevocationCheck none", "SSLOCSPEnable off")
# Statuses of which Apache itself makes none here: its own few words, not a page of the user's.
_BY_APACHE = (
    401,
    402,
    406,
    407,
    409,
    410,
    412,
    415,
    416,
    422,
    423,
    424,
    428,
    429,
    451,
    506,
    507,
    508,
    510,
    511,
)


def render(facts: RenderFacts, shared: tuple[Endpoint, ...]) -> bytes:
    """The whole file.

    Args:
        facts: the site.
        shared: addresses that the user's own configuration listens on; a second time would end the server.
    """
    listen = facts.policy.listen
    modules = [*_NEEDED, *(("remoteip",) if listen.proxy_protocol else ())]
    lines = [
        "# Written by Sealgate. Change sealgate.toml instead, then: sealgate apply",
        *(line for name in modules for line in _module(name)),
        *(f"Listen {endpoint} https" for endpoint in listen.https if endpoint not in shared),
        *(f"Listen {endpoint} http" for endpoint in listen.http if endpoint not in shared),
        "",
        *_https(facts),
    ]
    if listen.http:
        lines += ["", *_plain(facts)]
    return ("\n".join(lines) + "\n").encode("ascii")


def _module(name: str) -> list[str]:
    """Loaded from where distributions have it, unless it is there already."""
    found = [
        line
        for folder in _FOLDERS
        for line in block("IfFile", quoted(f"{folder}/mod_{name}.so"), [_load(folder, name)])
    ]
    return block("IfModule", f"!{name}_module", found)


def _load(folder: str, name: str) -> str:
    return f"LoadModule {name}_module {quoted(f'{folder}/mod_{name}.so')}"


def _addresses(endpoints: Iterable[Endpoint]) -> str:
    return " ".join(str(endpoint) for endpoint in endpoints)


def _names(facts: RenderFacts) -> list[str]:
    names = [f"[{name}]" if ":" in name else name for name in facts.policy.site.names]
    first = facts.policy.first_name
    first = f"[{first}]" if ":" in first else first
    return [
        f"ServerName {quoted(first)}",
        *(f"ServerAlias {quoted(name)}" for name in names if name != first),
    ]


def _common(facts: RenderFacts) -> list[str]:
    """Nothing rewrites a path, nothing but the backend answers, and no log is opened."""
    proxied = ["RemoteIPProxyProtocol on"] if facts.policy.listen.proxy_protocol else []
    return [
        *_names(facts),
        "UseCanonicalName off",
        "HttpProtocolOptions Strict LenientMethods Require1.0",
        "HostnameLookups off",
        "RewriteOptions IgnoreInherit",
        "ProxyRequests off",
        "AllowEncodedSlashes NoDecode",
        "MergeSlashes off",
        "TraceEnable off",
        "ServerSignature off",
        *proxied,
        *_OWN_ADDRESS,
        *limit_lines(facts),
        "H2Upgrade off",
        "H2Direct off",
        *_variables(),
    ]


def _https(facts: RenderFacts) -> list[str]:
    lines = [
        *_common(facts),
        "Protocols h2 http/1.1",
        *tls_lines(facts),
        *_NOT_ASKED,
        f"LimitRequestBody {facts.policy.limits.body}",
        *_answers(tls=True, strangers=facts.policy.judges_addresses(tls=True)),
        _TYPED,
        *https_rules(facts, strange=_STRANGE),
        *backend_lines(facts),
    ]
    return block("VirtualHost", _addresses(facts.policy.listen.https), lines)


def _plain(facts: RenderFacts) -> list[str]:
    lines = [
        *_common(facts),
        "Protocols http/1.1",
        "SSLEngine off",
        "LimitRequestBody 1",
        *_answers(tls=False, strangers=facts.policy.judges_addresses(tls=False)),
        _TYPED,
        *plain_rules(facts, strange=_STRANGE),
        *(f"Header {table} unset Strict-Transport-Security" for table in ("onsuccess", "always")),
        *challenge_files(facts.challenge_folder, _challenge_answers()),
        *block("Location", quoted(PATH), _ADMITTED),  # after the user's <FilesMatch> too
    ]
    return block("VirtualHost", _addresses(facts.policy.listen.http), lines)


def _variables() -> list[str]:
    words = [*(f"!{name}" for name in _UNMARKED), *_UNCHANGED]
    return [f'SetEnvIf Request_Method "^" {" ".join(words)}']


def _answers(*, tls: bool, strangers: bool) -> list[str]:
    """Inside the configuration, one text for each status."""
    forbidden = "upgrade-refused" if tls else "plain-http-refused"
    table = {**_ANSWERS, _STRANGE: "address-refused" if strangers else forbidden}
    documents = [f"ErrorDocument {status} {quoted(_text(slug, status))}" for status, slug in table.items()]
    documents += [f"ErrorDocument {status} default" for status in _BY_APACHE]
    # What fails before sections for paths are looked at has the host's, all else theirs: so it is said twice.
    cancelled = block("Location", quoted("/"), [*_CANCELLED, *documents])
    return [*documents, *cancelled, *block("LocationMatch", _PAGES, _ADMITTED)]


def _challenge_answers() -> dict[int, str]:
    return {status: quoted(_text(slug, status)) for status, slug in CHALLENGE_ANSWERS.items()}


def _text(slug: str, status: int) -> str:
    return json.dumps({**PROBLEMS[slug].as_dict(), "status": status})
