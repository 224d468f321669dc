"""Session: the requests of one session go to one engine, for as long as it is there and not overloaded."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import xxhash

from .base import EngineId, Ticket
from .immediate import Rule
from .least_loaded import LeastLoaded
from .member import Member

MOST_OVER_MEAN = 1.25
"""Bounded loads (Mirrokni et al., SODA 2018): an engine with more than this times the mean load takes no more."""

_BITS = 0xFFFF_FFFF_FFFF_FFFF


class Session(Rule):
    """Fulfils :class:`ampacity.serving.routing.immediate.Rule`.

    Weighted rendezvous hashing: every (session, engine) draws a number, the highest wins; when an engine comes or goes,
    only its own sessions move. Tickets without a session go to the least loaded.
    """

    def __init__(self) -> None:
        self._without = LeastLoaded()
        self._seeds: dict[EngineId, int] = {}

    def pick(self, ticket: Ticket, members: Sequence[Member]) -> Member:
        if ticket.session == 0:
            return self._without.pick(ticket, members)
        weights = sum(member.engine.weight for member in members)
        limit = MOST_OVER_MEAN * (sum(member.in_flight for member in members) + 1) / weights + 1.0
        light = [member for member in members if member.load < limit]  # never empty: the least is below the mean
        return max(light, key=lambda member: self._draw(ticket.session, member))

    def _draw(self, session: int, member: Member) -> float:
        seed = self._seeds.get(member.engine.id)
        if seed is None:
            if len(self._seeds) > 4096:  # engines come and go for as long as a gateway runs
                self._seeds.clear()
            seed = self._seeds[member.engine.id] = xxhash.xxh3_64_intdigest(member.engine.id.encode())
        number = xxhash.xxh3_64_intdigest((session & _BITS).to_bytes(8, "little"), seed)
        return -member.engine.weight / log(((number >> 12) + 0.5) * 2.0**-52)  # 52 bits: it is never 0 and never 1
