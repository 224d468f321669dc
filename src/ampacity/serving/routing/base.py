"""The Protocol of a routing policy, and what it is told: engines, tickets and reports.

A router binds tickets to engines, at once or later. It is pure and clocked from outside: every call brings ``now``,
seconds of any steady clock that never goes back. The same objects run in the gateway and under a simulated clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NewType, Protocol

EngineId = NewType("EngineId", str)
TicketId = NewType("TicketId", int)

NO_ENGINES: frozenset[EngineId] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One engine. ``weight``: its share beside the others'; ``concurrency``: most requests at once, 0 = no limit."""

    id: EngineId
    weight: float = 1.0
    concurrency: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an engine says of itself; ``None`` = it does not say. ``cache_usage``: the share of its KV cache in use."""

    running: int | None = None
    waiting: int | None = None
    cache_usage: float | None = None


class Ticket:
    """One request as a router sees it; made once a request, so a plain class with slots.

    ``tokens`` is the prompt's estimated length. ``blocks[i]`` is a 64-bit hash of the prompt up to and with its i-th
    block. ``session`` 0 = none. ``priority``: higher goes first. ``deadline`` in seconds of the router's clock.
    ``excluded``: engines that are not to be tried (again). ``streams``: its first byte comes when its prefill is done;
    else it comes with all of its answer, and says nothing of the prefill.
    """

    __slots__ = ("arrived", "blocks", "deadline", "excluded", "id", "priority", "session", "streams", "tokens")

    def __init__(
        self,
        id: TicketId,
        *,
        arrived: float,
        tokens: int = 0,
        blocks: Sequence[int] = (),
        session: int = 0,
        priority: int = 0,
        deadline: float | None = None,
        excluded: frozenset[EngineId] = NO_ENGINES,
        streams: bool = True,
    ) -> None:
        self.id, self.arrived, self.tokens, self.blocks = id, arrived, tokens, blocks
        self.session, self.priority, self.deadline, self.excluded = session, priority, deadline, excluded
        self.streams = streams

    def __repr__(self) -> str:
        return f"Ticket({self.id}, arrived={self.arrived}, tokens={self.tokens}, blocks={len(self.blocks)})"


class Router(Protocol):
    """Decides which engine serves which ticket, and when.

    After each call other than ``offer``, and when ``next_wake`` has come, ``released`` says which held tickets are
    bound now. A ticket that was bound is on its engine until ``ended``.
    """

    __slots__ = ()

    def set_engines(self, engines: Iterable[Engine], now: float) -> None:
        """From now on these are all. Tickets that are on one that is gone stay there until they end."""
        ...

    def offer(self, ticket: Ticket, now: float) -> EngineId | None:
        """Bind the ticket now, or hold it: ``None``; then it comes by ``released`` or goes by ``withdrawn``."""
        ...

    def released(self, now: float) -> list[tuple[Ticket, EngineId]]:
        """The held tickets that are bound now, in the order in which they are to be sent."""
        ...

    def adopt(self, ticket: Ticket, engine: EngineId, now: float) -> None:
        """The ticket is on this engine already: another router had bound it. The engine may be away."""
        ...

    def answered(self, id: TicketId, now: float) -> None:
        """The first byte of its answer has come: its prefill is done."""
        ...

    def ended(self, id: TicketId, now: float, *, cached_tokens: int | None = None, failed: bool = False) -> None:
        """Its answer is complete, or it failed. ``cached_tokens``: how much of the prompt the engine had cached."""
        ...

    def withdrawn(self, id: TicketId, now: float) -> None:
        """A held ticket's client has left, or its time is up. One that is bound ends by ``ended``."""
        ...

    def report(self, engine: EngineId, report: Report, now: float) -> None:
        """What an engine said of itself."""
        ...

    def next_wake(self, now: float) -> float | None:
        """When ``released`` may have news without any other call; ``None`` = never."""
        ...
