"""Orders about clients: asked of the running keeper, or carried out here under the state's lock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sealgate.cli._options import Context
from sealgate.cli._output import note
from sealgate.errors import ControlError

__all__ = ["answer_of", "keeper_runs"]


def keeper_runs(context: Context) -> bool:
    """Does a keeper answer?"""
    from sealgate.runtime.control import ask

    try:
        ask(context.state_path, {"order": "ping"})
    except ControlError:
        return False
    return True


def answer_of(context: Context, order: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to an order; see ``pki/clients/orders.py``. Without a keeper it has no ``doors``.

    Raises:
        SealgateError: what went wrong; nothing was changed, or the message says what stands.
    """
    from sealgate._system.clock import system_clock
    from sealgate.pki.clients.listing import write_list
    from sealgate.pki.clients.orders import carry_out, changes_list
    from sealgate.pki.clients.publishing import publish_list
    from sealgate.runtime.control import ask

    try:
        return ask(context.state_path, order)
    except ControlError as error:
        if error.code != "keeper-not-running":
            raise
    state = context.open_state()
    with state.lock():
        answer = carry_out(order, state=state, policy=context.policy, clock=system_clock, say=note)
        if changes_list(order):
            write_list(state, context.policy, system_clock, anew=True, say=note)
            publish_list(state)
    return answer
