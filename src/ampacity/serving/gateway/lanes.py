"""What the dispatcher is told of the models in the routing table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from ampacity.serving.admission import AdmissionPolicy
from ampacity.serving.dispatch import Lane
from ampacity.serving.routing.base import Engine
from ampacity.serving.table import ModelRoute, RoutingTable

READY_BESIDE = 1
"""So many requests for each replica are let in beyond what the replicas take at once: the router chooses among them,
and none of them idles while the next one is fetched."""


def lanes_of(table: RoutingTable, members: Callable[[ModelRoute], Iterable[Engine]], routing: str) -> list[Lane]:
    """``members``: a model's engines with their shares. ``routing``: the policy of models that name none."""
    served = {route.name for route in table.models if route.replicas}
    return [
        Lane(
            model=route.name,
            engines=tuple(members(route)),
            routing=route.routing or routing,
            room=_room(route),
            admission=_policy(route, served),
        )
        for route in table.models
    ]


def _policy(route: ModelRoute, served: set[str]) -> AdmissionPolicy:
    """As the operator has it; another model answers only while it has replicas."""
    brown_out = route.overload.brown_out
    if brown_out is not None and brown_out.model not in served:
        brown_out = replace(brown_out, model="")
    return AdmissionPolicy(max_wait_s=route.overload.max_wait_s, brown_out=brown_out)


def _room(route: ModelRoute) -> int | None:
    """How many may be under way at once: without replicas as many as come, which wait for one."""
    if not route.concurrency or not route.replicas:
        return None
    return (route.concurrency + READY_BESIDE) * len(route.replicas)
