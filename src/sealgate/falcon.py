"""Who called, in Falcon: ``req.context.client``, for WSGI, ASGI and WebSockets.

A Falcon app that is served by Sealgate has this without a line of its own. Where other middleware asks for
it, or the app is wrapped in another one, put it first::

    app = falcon.App(middleware=[sealgate.falcon.Caller(), ...])
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import re
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from sealgate.guard.client import Client
    from sealgate.guard.decision import Deny
    from sealgate.guard.rates import Counting, Rate, Taken

__all__ = ["Caller", "introduce", "requires"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_PACE = re.compile(r"([1-9][0-9]{0,6})/(s|min|h)", re.ASCII)
_MOST = 1_000_000
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
    rate: str = "",
    burst: int = 0,
) -> Callable[[_Decorated], _Decorated]:
    """For a responder, or all of a resource: whom it is for, beside the rules of the policy::

        class Orders:
            @sealgate.falcon.requires(scope="orders:write")
            def on_post(self, req, resp): ...

    Who is not gets 401 or 403, as by a rule of ``[access]``; who calls too often 429, as by ``[limits]``.
    Where no guard stands in front (the app's own tests, another server), nobody has anything, and nobody can
    say how often somebody called: 503.

    Args:
        group: in one of these groups of clients.
        authority: with a client certificate of one of these authorities.
        scope: with a token that has all of these scopes.
        token: with a token.
        rate: how often each caller may, such as ``"10/min"``: a number, and s, min or h. Counted by the
            caller's certificate, else his token, else his address; for each responder, or decorated class,
            by itself. Refusals of the other conditions cost nothing.
        burst: how often at once; 0: as the rate's number.

    Nothing at all: whoever is known, by a certificate or a token. A rate alone: whoever it is.

    Raises:
        TypeError: at import, where something is no text, or the decorated is no responder.
        ValueError: likewise, where it is no name that a policy can have.
    """
    if not isinstance(token, bool):
        raise TypeError(f"token is True or False, not {token!r}")
    asked = _Asked(
        groups=_texts("group", group, _NAME),
        authorities=_texts("authority", authority, _NAME),
        scopes=_texts("scope", scope, _SCOPE),
        token=token,
        rate=_rate(rate, burst),
    )
    falcon: Any = importlib.import_module("falcon")  # the app's own: no dependency of ours

    def decorate(decorated: _Decorated) -> _Decorated:
        asynchronous, name = _is_asynchronous(decorated), _name_of(decorated)

        def sync_hook(req: Any, resp: Any, _resource: Any, _params: Any) -> None:  # noqa: ANN401 - Falcon's
            asked.obey(req, resp, asked.count(req, asked.check(req), name))

        async def async_hook(req: Any, resp: Any, _resource: Any, _params: Any) -> None:  # noqa: ANN401 - same
            client = asked.check(req)
            if asked.waits(req):  # another machine's word
                asked.obey(req, resp, await asyncio.to_thread(asked.count, req, client, name))
            else:
                asked.obey(req, resp, asked.count(req, client, name))

        made: _Decorated = falcon.before(async_hook if asynchronous else sync_hook)(decorated)
        return made

    return decorate


class _Asked:
    """What a responder asks of who calls it.

    Args:
        rate: how often; None: as they like.
        further: of ``guard.access.Need``.
    """

    def __init__(self, *, rate: Rate | None, **further: Any) -> None:  # noqa: ANN401 - of several kinds
        from sealgate.guard.access import Access, Need, Rule, judge
        from sealgate.guard.client import Client
        from sealgate.guard.problems import answer
        from sealgate.guard.rates import UNCOUNTED

        need = Need(**further)
        # A rate alone asks nobody who he is.
        self._rule = (
            Rule("sealgate.falcon.requires", needs=(need,)) if rate is None or need != Need() else None
        )
        self._rate, self._uncounted = rate, UNCOUNTED
        self._access, self._stranger = Access(challenge="Bearer"), Client("")
        self._judge, self._answer = judge, answer

    def check(self, req: Any) -> Client:  # noqa: ANN401 - Falcon's
        """Who calls, who may."""
        client = _caller(req) or self._stranger
        if self._rule is not None and not (said := self._judge(self._rule, client)).allowed:
            self._refuse(req, self._access.refusal(said))
        return client

    def waits(self, req: Any) -> bool:  # noqa: ANN401 - Falcon's
        """Does it take another machine's word to count?"""
        counting = _counting(req) if self._rate is not None else None
        return counting is not None and counting.blocking

    def count(self, req: Any, client: Client, name: str) -> Taken | None:  # noqa: ANN401 - Falcon's
        """One more; None: nobody counts."""
        if self._rate is None:
            return None
        counting = _counting(req)
        return counting(client, name, self._rate) if counting is not None else self._uncounted

    def obey(self, req: Any, resp: Any, taken: Taken | None) -> None:  # noqa: ANN401 - Falcon's
        """Refuse who calls too often; tell others what is left."""
        if taken is None:
            return
        if taken.deny is not None:
            self._refuse(req, taken.deny)
        if hasattr(resp, "append_header"):  # a WebSocket's handshake has none
            for name, value in taken.headers:
                resp.append_header(name, value)

    def _refuse(self, req: Any, deny: Deny) -> None:  # noqa: ANN401 - Falcon's
        falcon: Any = importlib.import_module("falcon")
        made = self._answer(deny.problem, method=req.method, headers=deny.headers)
        raise falcon.HTTPStatus(made.status, headers=dict(made.headers), text=made.body.decode())


def _texts(name: str, value: object, kind: re.Pattern[str]) -> tuple[str, ...]:
    several = (value,) if isinstance(value, str) else value
    if not isinstance(several, tuple | list) or not all(isinstance(one, str) for one in several):
        raise TypeError(f"{name} is a text or several, not {value!r}")
    for one in several:
        if not kind.fullmatch(one):
            raise ValueError(f"{name} {one!r} is no name that a policy can have")
    return tuple(several)


def _rate(text: object, burst: object) -> Rate | None:
    """As ``limits.rates`` has it."""
    from sealgate.guard.rates import Rate
    from sealgate.policy.rates import PERIODS

    if not isinstance(text, str):
        raise TypeError(f"rate is a text such as '10/min', not {text!r}")
    if not isinstance(burst, int) or isinstance(burst, bool):
        raise TypeError(f"burst is a number, not {burst!r}")
    if not text:
        if burst:
            raise ValueError("burst is there without a rate")
        return None
    found = _PACE.fullmatch(text)
    if not found or not 0 <= burst <= _MOST or int(found[1]) > _MOST:
        raise ValueError(
            f"rate {text!r}, burst {burst!r}: say such as '10/min': up to a million, and s, min or h"
        )
    count = int(found[1])
    return Rate("client", count, PERIODS[found[2]], burst or count)


def _name_of(decorated: object) -> str:
    """What a caller reads of his budget, and the log."""
    name = str(getattr(decorated, "__qualname__", "")).rpartition("<locals>.")[2]
    return re.sub(r"[^A-Za-z0-9_.]", "_", name)[:64]


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


def _counting(req: Any) -> Counting | None:  # noqa: ANN401 - Falcon's
    found = (
        req.scope.get("sealgate", {}) if hasattr(req, "scope") else {"rates": req.env.get("sealgate.rates")}
    )
    counting: Counting | None = found.get("rates")
    return counting


def _caller(req: Any) -> Client | None:  # noqa: ANN401 - Falcon's
    if hasattr(req, "scope"):
        return _told(req)
    told: Client | None = req.env.get("sealgate.client")
    return told
