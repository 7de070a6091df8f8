"""Who called, in Falcon: ``req.context.client``, for WSGI, ASGI and WebSockets.

A Falcon app that is served by Sealgate has this without a line of its own. Where other middleware asks for
it, or the app is wrapped in another one, put it first::

    app = falcon.App(middleware=[sealgate.falcon.Caller(), ...])
"""

from __future__ import annotations

import contextlib
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sealgate.guard.client import Client

__all__ = ["Caller", "introduce"]


class Caller:
    """Middleware: the guard's :class:`~sealgate.guard.client.Client` as ``req.context.client``.

    Without a guard in front (the app's own tests, say) it is None: nothing of a request makes a caller. What
    an app's own middleware put there under that name before stays. A context that is a mapping (Falcon's
    ``context_type``) has it as an item; one that takes no attributes has none.
    """

    def process_request(self, req: Any, resp: Any) -> None:  # noqa: ANN401, ARG002 - Falcon's
        """WSGI."""
        _tell(req.context, req.env.get("sealgate.client"))

    async def process_request_async(self, req: Any, resp: Any) -> None:  # noqa: ANN401, ARG002 - Falcon's
        """ASGI."""
        _tell(req.context, _told(req))

    async def process_request_ws(self, req: Any, ws: Any) -> None:  # noqa: ANN401, ARG002 - Falcon's
        """A WebSocket's handshake."""
        _tell(req.context, _told(req))


def _told(req: Any) -> Client | None:  # noqa: ANN401 - Falcon's
    told: Client | None = req.scope.get("sealgate", {}).get("client")
    return told


def _tell(context: Any, client: Client | None) -> None:  # noqa: ANN401 - whatever the app's `context_type` is
    if isinstance(context, MutableMapping):
        context.setdefault("client", client)
    elif not hasattr(context, "client"):
        with contextlib.suppress(AttributeError, TypeError):
            context.client = client


def introduce(app: object) -> None:
    """Add :class:`Caller` to an app that is Falcon's; others are left as they are."""
    kinds = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(app).__mro__}
    if kinds & {"falcon.app.App", "falcon.asgi.app.App"}:
        app.add_middleware(Caller())  # type: ignore[attr-defined]  # it has it
