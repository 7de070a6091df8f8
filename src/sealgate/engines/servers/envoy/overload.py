"""What Envoy does when its memory runs short, before the kernel ends it.

Bodies for WSGI workers are held until they are complete, so many large ones at once must have a bound beside
``limits.body``: the memory as a whole.
"""

from __future__ import annotations

from sealgate.engines.servers.envoy.facts import Json, typed

__all__ = ["overload_manager"]

_HEAP = "envoy.resource_monitors.fixed_heap"
_TRACKED = 20  # streams that hold 1 MiB (two to the power of 20) and more are told apart by size


def overload_manager(memory: int) -> Json:
    """An OverloadManager for a heap of `memory` bytes at most."""
    message = "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig"
    scaled = {"scaling_threshold": 0.8, "saturation_threshold": 0.95}
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [{"name": _HEAP, "typed_config": typed(message, max_heap_size_bytes=memory)}],
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": _TRACKED},
        "actions": [
            _action("shrink_heap", {"threshold": {"value": 0.8}}),
            # The largest go first.
            _action("reset_high_memory_stream", {"scaled": scaled}),
            _action("stop_accepting_requests", {"threshold": {"value": 0.95}}),
        ],
        "loadshed_points": [_point("tcp_listener_accept", 0.98)],
    }


def _action(name: str, trigger: Json) -> Json:
    return {"name": f"envoy.overload_actions.{name}", "triggers": [{"name": _HEAP, **trigger}]}


def _point(name: str, threshold: float) -> Json:
    trigger = {"name": _HEAP, "threshold": {"value": threshold}}
    return {"name": f"envoy.load_shed_points.{name}", "triggers": [trigger]}
