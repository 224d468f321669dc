"""The routers to compare with: Algorithm 1 of Mooncake (FAST 2025), least work, and random."""

from __future__ import annotations

import random
from collections.abc import Iterable

from ampacity.serving.routing import Engine, EngineId, PrefillCost, Report, Ticket, TicketId
from ampacity.serving.routing.caches import Caches


class AtOnce:
    """Binds on arrival. Fulfils :class:`ampacity.serving.routing.Router`."""

    def set_engines(self, engines: Iterable[Engine], now: float) -> None:
        self._engines = [engine.id for engine in engines]
        self._free_at = [0.0] * len(self._engines)

    def offer(self, ticket: Ticket, now: float) -> EngineId | None:
        raise NotImplementedError

    def released(self, now: float) -> list[tuple[Ticket, EngineId]]:
        return []

    def adopt(self, ticket: Ticket, engine: EngineId, now: float) -> None:
        """There is no other router."""

    def answered(self, id: TicketId, now: float) -> None:
        """The estimate is exact here: nothing is to be learned."""

    def ended(self, id: TicketId, now: float, *, cached_tokens: int | None = None, failed: bool = False) -> None:
        """Likewise."""

    def withdrawn(self, id: TicketId, now: float) -> None:
        """Nothing is held."""

    def report(self, engine: EngineId, report: Report, now: float) -> None:
        """Nothing is reported here."""

    def next_wake(self, now: float) -> float | None:
        return None


class Random(AtOnce):
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def offer(self, ticket: Ticket, now: float) -> EngineId | None:
        return self._random.choice(self._engines)


class Algorithm1(AtOnce):
    """The engine with the least time until it is free + prefill there.

    ``by_cache`` off: the least time until it is free, of equals a random one.
    """

    def __init__(
        self, cost: PrefillCost, *, block_tokens: int, node_blocks: int, by_cache: bool = True, seed: int = 0
    ) -> None:
        self._cost, self._block_tokens, self._by_cache = cost, block_tokens, by_cache
        self._random = random.Random(seed)
        self._caches = Caches(engine_blocks=node_blocks, most_blocks=1 << 40, memory_s=300.0)

    def set_engines(self, engines: Iterable[Engine], now: float) -> None:
        super().set_engines(engines, now)
        self._caches.resize(len(self._engines))

    def offer(self, ticket: Ticket, now: float) -> EngineId | None:
        costs = [self._prefill_s(ticket, slot) for slot in range(len(self._engines))]
        free = [max(now, at) for at in self._free_at]
        if self._by_cache:
            ends = [at + cost for at, cost in zip(free, costs, strict=True)]
            slot = ends.index(min(ends))
        else:
            slot = self._random.choice([slot for slot, at in enumerate(free) if at == min(free)])
        self._free_at[slot] = free[slot] + costs[slot]
        self._caches.enter(slot, ticket.blocks, now)
        return self._engines[slot]

    def _prefill_s(self, ticket: Ticket, slot: int) -> float:
        depth = self._caches.depth(slot, ticket.blocks)
        return self._cost.of(ticket.tokens, min(depth * self._block_tokens, ticket.tokens - 1))
