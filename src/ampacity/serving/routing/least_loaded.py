"""Least loaded: the engine with the fewest requests in flight for its weight; of equals the one that served fewest."""

from __future__ import annotations

from collections.abc import Sequence

from .base import Ticket
from .immediate import Rule
from .member import Member


class LeastLoaded(Rule):
    """Fulfils :class:`ampacity.serving.routing.immediate.Rule`."""

    def pick(self, ticket: Ticket, members: Sequence[Member]) -> Member:
        best = members[0]
        least = best.load
        for member in members:
            load = member.load
            if load < least or (load == least and member.served < best.served):
                best, least = member, load
        return best
