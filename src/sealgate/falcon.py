"""Who called, in Falcon: ``req.context.client``, for WSGI, ASGI and WebSockets.

A Falcon app that is served by Sealgate has this without a line of its own. Where other middleware asks for
it, or the app is wrapped in another one, put it first::

    app = falcon.App(middleware=[sealgate.falcon.Caller(), ...])
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import re
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from sealgate.guard.client import Client

__all__ = ["Caller", "introduce", "requires"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_SCOPE = re.compile(r"[!#-\[\]-~]{1,128}", re.ASCII)  # RFC 6749 §3.3


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


_Decorated = TypeVar("_Decorated")


def requires(
    *,
    group: str | tuple[str, ...] | list[str] = (),
    authority: str | tuple[str, ...] | list[str] = (),
    scope: str | tuple[str, ...] | list[str] = (),
    token: bool = False,
) -> Callable[[_Decorated], _Decorated]:
    """For a responder, or all of a resource: whom it is for, beside the rules of the policy::

        class Orders:
            @sealgate.falcon.requires(scope="orders:write")
            def on_post(self, req, resp): ...

    Who is not gets 401 or 403, as by a rule of ``[access]``. Where no guard stands in front (the app's own
    tests, another server), nobody has anything.

    Args:
        group: in one of these groups of clients.
        authority: with a client certificate of one of these authorities.
        scope: with a token that has all of these scopes.
        token: with a token.

    Nothing at all: whoever is known, by a certificate or a token.

    Raises:
        TypeError: at import, where something is no text, or the decorated is no responder.
        ValueError: likewise, where it is no name that a policy can have.
    """
    from sealgate.guard.access import Access, Need, Rule, judge
    from sealgate.guard.client import Client
    from sealgate.guard.problems import answer

    falcon: Any = importlib.import_module("falcon")  # the app's own: no dependency of ours
    if not isinstance(token, bool):
        raise TypeError(f"token is True or False, not {token!r}")
    need = Need(
        groups=_texts("group", group, _NAME),
        authorities=_texts("authority", authority, _NAME),
        scopes=_texts("scope", scope, _SCOPE),
        token=token,
    )
    rule = Rule("sealgate.falcon.requires", needs=(need,))
    access, stranger = Access(challenge="Bearer"), Client("")

    def check(req: Any, _resp: Any, _resource: Any, _params: Any) -> None:  # noqa: ANN401 - Falcon's
        said = judge(rule, _caller(req) or stranger)
        if not said.allowed:
            refused = access.refusal(said)
            made = answer(refused.problem, method=req.method, headers=refused.headers)
            raise falcon.HTTPStatus(made.status, headers=dict(made.headers), text=made.body.decode())

    async def check_async(req: Any, resp: Any, resource: Any, params: Any) -> None:  # noqa: ANN401 - Falcon's
        check(req, resp, resource, params)

    def decorate(decorated: _Decorated) -> _Decorated:
        hook = falcon.before(check_async if _is_asynchronous(decorated) else check)
        made: _Decorated = hook(decorated)
        return made

    return decorate


def _texts(name: str, value: object, kind: re.Pattern[str]) -> tuple[str, ...]:
    several = (value,) if isinstance(value, str) else value
    if not isinstance(several, tuple | list) or not all(isinstance(one, str) for one in several):
        raise TypeError(f"{name} is a text or several, not {value!r}")
    for one in several:
        if not kind.fullmatch(one):
            raise ValueError(f"{name} {one!r} is no name that a policy can have")
    return tuple(several)


def _is_asynchronous(decorated: object) -> bool:
    """Of a responder, or of a resource's."""
    if inspect.isfunction(decorated):
        if not decorated.__name__.startswith("on_"):
            raise TypeError(f"sealgate.falcon.requires stands before a responder, not {decorated.__name__}")
        return inspect.iscoroutinefunction(decorated)
    if not inspect.isclass(decorated):
        raise TypeError("sealgate.falcon.requires stands before a responder or a resource class")
    found = dict(inspect.getmembers(decorated, inspect.isfunction))
    responders = {name: one for name, one in found.items() if name.startswith("on_")}
    if not responders:
        raise TypeError(f"{decorated.__name__} has no responder for sealgate.falcon.requires")
    if any(name.startswith("on_request") for name in responders):
        # Falcon leaves these out (falcon.hooks.decorate_on_request): they would be open.
        raise TypeError(f"put sealgate.falcon.requires before {decorated.__name__}'s on_request itself")
    return any(map(inspect.iscoroutinefunction, responders.values()))


def _caller(req: Any) -> Client | None:  # noqa: ANN401 - Falcon's
    if hasattr(req, "scope"):
        return _told(req)
    told: Client | None = req.env.get("sealgate.client")
    return told
