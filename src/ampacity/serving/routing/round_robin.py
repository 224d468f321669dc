"""Round robin: each engine in turn, as often as its weight says, evenly spread."""

from __future__ import annotations

from collections.abc import Sequence

from .base import EngineId, Ticket
from .immediate import Rule
from .member import Member


class RoundRobin(Rule):
    """Fulfils :class:`ampacity.serving.routing.immediate.Rule`.

    Smooth weighted round robin, as nginx has it: each pick gives every engine its weight as credit, takes the engine
    with the most, and charges it the sum. With weights 2, 1, 1 the turns are a b c a. Who is away earns nothing.
    """

    def __init__(self) -> None:
        self._credit: dict[EngineId, float] = {}

    def pick(self, ticket: Ticket, members: Sequence[Member]) -> Member:
        credit = self._credit
        if len(credit) > 2 * len(members) + 16:  # engines come and go for as long as a gateway runs
            credit = self._credit = {member.engine.id: credit.get(member.engine.id, 0.0) for member in members}
        best, most, total = members[0], float("-inf"), 0.0
        for member in members:
            weight = member.engine.weight
            earned = credit.get(member.engine.id, 0.0) + weight
            credit[member.engine.id] = earned
            total += weight
            if earned > most:
                best, most = member, earned
        credit[best.engine.id] = most - total
        return best
