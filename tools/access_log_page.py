"""The lines of docs/reference/access-log.md: what each server writes of a request, by its own source."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from sealgate.engines.registry import engine, engine_ids
from sealgate.engines.servers.apache.access_log import access_log as apache
from sealgate.engines.servers.envoy.access_log import access_log as envoy
from sealgate.engines.servers.nginx.access_log import access_log as nginx
from sealgate.runtime.inside import cycle
from sealgate.runtime.inside.gunicorn.record import record

__all__ = ["MEANINGS", "TIMES", "keys", "lines"]

MEANINGS = {
    "time": "when; see below",
    "address": "the client's address, without its port; with `listen.proxy_protocol`, what the balancer says",
    "method": "as the client sent it",
    "host": "its Host",
    "path": "as the client sent it, without the query: a query may hold secrets",
    "protocol": "`HTTP/1.1`, `HTTP/2`, `HTTP/2.0` or `HTTP/3`, as the server calls it",
    "status": "a number; of the answer",
    "why": "Envoy's own word for what decided the answer (`response_code_details`)",
    "flags": "Envoy's own letters for what went wrong (`response_flags`)",
    "milliseconds": "a number; from the first byte of the request to the last of the answer",
    "received": "a number; bytes: of the body with Envoy, Gunicorn and uvicorn, of the whole request else",
    "sent": "a number; bytes: of the whole answer with Apache, of its body else",
    "request_id": "what the app gets as `X-Request-Id`",
    "user_agent": "its User-Agent, 256 characters at most",
    "tls": "`TLSv1.2` or `TLSv1.3`; not for plain HTTP",
    "cipher": "the suite; not for plain HTTP",
    "client": "SHA-256 of the client's certificate, where one was shown",
}
TIMES = {
    "apache": ("2026-09-01T12:00:00.123Z", "UTC, the request's beginning, milliseconds"),
    "envoy": ("2026-09-01T12:00:00.123Z", "UTC, the request's beginning, milliseconds"),
    "gunicorn": ("2026-09-01T12:00:00.123Z", "UTC, the answer's end, milliseconds"),
    "nginx": (
        "2026-09-01T14:00:00+02:00",
        "the machine's time and its offset, the answer's end, seconds",
    ),
    "uvicorn": ("2026-09-01T12:00:00.123Z", "UTC, the request's beginning, milliseconds"),
}


def keys(name: str) -> frozenset[str]:
    """What a line of this engine may hold, from its source."""
    if name == "envoy":
        return frozenset(envoy(tls=True)[0]["typed_config"]["log_format"]["json_format"])
    text = {
        "apache": lambda: apache(tls=True)[-1].replace('\\"', '"'),
        "nginx": lambda: next(line for line in nginx() if line.startswith("log_format sealgate_https")),
        "gunicorn": lambda: inspect.getsource(record).rpartition("return {")[2],
        "uvicorn": lambda: inspect.getsource(cycle.Exchange.line) + inspect.getsource(cycle.peer_text),
    }[name]()
    return frozenset(re.findall(r'"(\w+)": ?', text))


def lines() -> Iterator[str]:
    """The page, without its title."""
    yield "`sealgate serve` writes one JSON object a line on standard output for each request, whatever"
    yield "the server. Values that are not known are left out or empty. No query, no cookie, no Authorization"
    yield "and no other field of a request stands in it, and nothing that a client sends ends a line or an"
    yield "object. What is not such a line begins with `sealgate:`. An installed server, and a Gunicorn of"
    yield "your own, log as you told them."
    engines = [engine(name) for name in engine_ids()]
    yield from ("", f"| key | what it says | {' | '.join(each.title for each in engines)} |")
    yield "|---|---|" + "---|" * len(engines)
    said = {each.id: keys(each.id) for each in engines}
    for key, meaning in MEANINGS.items():
        cells = " | ".join("yes" if key in said[each.id] else "" for each in engines)
        yield f"| `{key}` | {meaning} | {cells} |"
    yield from ("", "## Time", "", "| engine | `time` | that is |", "|---|---|---|")
    for each in engines:
        sample, words = TIMES[each.id]
        yield f"| {each.title} | `{sample}` | {words} |"
    yield ""
    yield "All of them are RFC 3339: `date -d`, `jq`'s `fromdate` (without the fraction) and Python's"
    yield "`datetime.fromisoformat` read them."
