"""What a worker works by: the orders, and what is made of them in its process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sealgate.engines.counts import PLACES, Row
from sealgate.engines.servers.gunicorn.orders import Orders
from sealgate.engines.tls_context import LiveContext
from sealgate.guard.compiled import Compiled
from sealgate.guard.sources import source
from sealgate.guard.wsgi import Guard
from sealgate.pki.revocations import Revoked
from sealgate.runtime.denials import counted_log
from sealgate.runtime.inside.answers import Hsts
from sealgate.runtime.inside.budget import Budget
from sealgate.runtime.inside.gunicorn.reading import LONGEST_LINE
from sealgate.runtime.inside.journal import Journal
from sealgate.runtime.means import means_of

__all__ = ["GUARDED", "PLACES", "Plan", "settings"]

GUARDED = frozenset({"network.allow"})
"""What Gunicorn leaves to the guard and other engines do not; its capabilities say so."""

_MOST_FIELDS = 100


@dataclass(slots=True)
class Plan:
    """Orders, and what is made of them once in each process.

    Attributes:
        orders: what was told.
        journal: where the access log goes; None: Gunicorn's own settings say where.
        budget: descriptor of the connections counted together; -1: this process counts alone.
        counts: descriptor of the memory in which is counted what is answered; -1: nobody reads that.
        revocations: descriptor of the revoked clients; -1: nobody is.
        issued: descriptor of the keys by which tokens count; -1: none.
        rates: descriptor of the budgets of callers; -1: nobody counts.
        folder: where large request bodies go.
        place: this process's in both; 0: by its age.
        compiled: the guard's policy, where nobody publishes one.
    """

    orders: Orders
    journal: bool = True
    budget: int = -1
    counts: int = -1
    revocations: int = -1
    issued: int = -1
    rates: int = -1
    folder: str | None = None
    place: int = 0
    compiled: Compiled | None = None
    _context: LiveContext | None = field(default=None, repr=False)

    def context(self, *_: object) -> LiveContext:
        """The context of this process: Gunicorn's hook ``ssl_context``.

        Raises:
            EngineRefused: there is no certificate that could be served.
        """
        if self._context is None:
            self._context = LiveContext(self.orders.tls, say=_say)
        return self._context

    @property
    def hsts(self) -> Hsts:
        """What each answer says about HTTPS."""
        return Hsts(self.orders.hsts, self.orders.hsts_local)

    def counted(self, place: int) -> Budget:
        """Where a process of this place counts its connections."""
        return Budget(self.orders.connections, fd=self.budget, place=place)

    def row(self, place: int) -> Row:
        """Where a process of this place counts what it answers."""
        return Row(self.counts, place if self.counts >= 0 else 0)

    def log(self) -> Journal | None:
        """The access log of this process."""
        return Journal() if self.journal else None

    def guarded(self, app: Callable[..., Any], counts: Row) -> Guard:
        """The app behind the guard, by the policy published now.

        Raises:
            StateError: it cannot be read.
        """
        compiled = self.compiled or Compiled.from_json(Path(self.orders.guard).read_bytes())
        revoked = Revoked(self.revocations) if self.revocations >= 0 else ()
        told = source("inside", clients=self.orders.tls.clients != "off", compiled=compiled, given=revoked)
        return Guard(
            app,
            compiled,
            told,
            counted_log(counts.denied),
            revoked=revoked,
            means=means_of(self.issued, self.rates, counts),
            told=counts,
            spool_directory=self.folder,
        )


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def settings(plan: Plan) -> dict[str, object]:
    """Gunicorn's own settings that follow from the policy; nothing else may change them."""
    orders = plan.orders
    return {
        "workers": orders.workers,
        "threads": orders.threads,
        "worker_connections": orders.connections,
        "graceful_timeout": max(1, round(orders.drain_seconds)),
        "keepalive": max(1, round(orders.idle_seconds)),
        "ssl_context": lambda _config, _default: plan.context(),
        "certfile": orders.tls.chain,
        "keyfile": orders.tls.key,
        "do_handshake_on_connect": False,
        "http_protocols": "h1",
        "http_parser": "python",
        "limit_request_line": LONGEST_LINE,
        "limit_request_fields": _MOST_FIELDS,
        "limit_request_field_size": orders.headers,
        "header_map": "refuse",
        "forwarder_headers": "",
        "forwarded_allow_ips": "",
        "secure_scheme_headers": {},
        "proxy_protocol": "off",
        "permit_obsolete_folding": False,
        "strip_header_spaces": False,
        "permit_unconventional_http_method": False,
        "permit_unconventional_http_version": False,
        "casefold_http_method": False,
        "sendfile": False,
        "control_socket_disable": True,
    }
