"""What Envoy counts, in the words of `engines/contract.py`. Pure.

Labels are Envoy's own closed lists (BoringSSL's names of versions and groups), never a client's text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from sealgate.engines.counts import Counters, bound_names

__all__ = ["LATENCY", "PATTERN", "counted", "timed"]

# From the first byte of a request to the last of its answer, over TLS: plain HTTP is only led elsewhere.
LATENCY = r"http\.http[s3]\.downstream_rq_time"
_TIMED = re.compile(
    r'envoy_http_downstream_rq_time_(bucket|sum)\{[^}\n]*?(?:le="([^"\n]*)")?\} ([0-9.e+]{1,32})'
)

# The site's own listeners, by `listeners.py`'s names: `http.admin.` counts what Sealgate asks Envoy itself.
PATTERN = r"^(http\.(http|https|http3)\.downstream_rq_[1-5]xx|listener\..*\.ssl\..*)$"
_REASONS = {
    "connection_error": "protocol",
    "fail_verify_cert_hash": "certificate",
    "fail_verify_error": "certificate",
    "fail_verify_no_cert": "no certificate",
    "fail_verify_san": "certificate",
}


def timed(text: str) -> Counters:
    """The latencies of all listeners together, from Envoy's Prometheus page (milliseconds, cumulative).

    Nothing where its bounds are not ours: another Envoy than the one that was configured.
    """
    upto: Counter[str] = Counter()
    milliseconds = 0.0
    for kind, bound, number in _TIMED.findall(text):
        if kind == "sum":
            milliseconds += float(number)
        else:
            name = bound if bound == "+Inf" else f"{float(bound) / 1000:g}"
            upto[name] += int(float(number))
    names = bound_names()
    if set(upto) != set(names):
        return ()
    before, found = 0, []
    for name in names:
        found.append(("server_seconds", name, max(0, upto[name] - before)))
        before = upto[name]
    return (*found, ("server_seconds", "nanoseconds", round(milliseconds * 1e6)))


def counted(stats: Mapping[str, int]) -> Counters:
    """Name, label and number of what happened on all listeners together; what never did is left out."""
    found: Counter[tuple[str, str]] = Counter()
    for name, value in stats.items():
        if key := _key(name):
            found[key] += value
    return tuple((*key, value) for key, value in sorted(found.items()) if value)


def _key(name: str) -> tuple[str, str] | None:
    if name.startswith("http."):
        return "requests", name.rpartition("_")[2]
    _, mark, what = name.partition(".ssl.")
    if not mark:
        return None
    kind, _, label = what.partition(".")
    if kind == "versions":
        return "handshakes", label
    if kind == "curves":
        return "key_exchanges", label
    return ("handshake_errors", _REASONS[what]) if what in _REASONS else None
