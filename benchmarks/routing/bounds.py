"""What a decision costs, and that the index stays bounded whatever comes."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Sequence

from simulate import Request, Run, cost_at
from variants import spread, stretched

from ampacity.serving.routing import Engine, EngineId, PrefillCost, Prefix, Router, Ticket, TicketId

ENGINES = 64


def decision_us(make: Callable[[PrefillCost], Router], trace: Sequence[Request]) -> float:
    """Median CPU time that a request spends in the router, all calls together (offer, released, answered, ended).

    The trace on 64 engines at the same load for each, arrivals spread out.
    """
    draw = random.Random(0)
    faster = sorted(stretched(8 / ENGINES)(spread(trace, draw), draw), key=lambda each: each.timestamp)
    cost = cost_at(0.9e15)
    spent = sorted(Run(make(cost), faster, nodes=ENGINES, cost=cost).go().router_s)
    return spent[len(spent) // 2] * 1e6


def index_mb(*, seed: int, tickets: int) -> float:
    """Memory of a router with the gateway's settings after endless prompts that have nothing in common."""
    draw = random.Random(seed)
    tracemalloc.start()
    router = Prefix()
    router.set_engines([Engine(id=EngineId(str(number))) for number in range(ENGINES)], 0.0)
    for number in range(tickets):
        now = number * 0.01
        blocks = [draw.getrandbits(64) for _ in range(draw.randrange(1, 64))]
        id = TicketId(number)
        router.offer(Ticket(id, arrived=now, tokens=256 * len(blocks), blocks=blocks), now)
        for ticket, _ in router.released(now):
            router.answered(ticket.id, now)
            router.ended(ticket.id, now)
        router.answered(id, now)
        router.ended(id, now)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return used / 1e6
