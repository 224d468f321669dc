"""Where each request asks to be let in and which engine it is to go to: the dispatcher, within this process or beside
it."""

from __future__ import annotations

from time import monotonic, time
from typing import Protocol

from ampacity.serving.admission import Ending
from ampacity.serving.dispatch import Answer, Dispatcher, Lane, Request, RequestId
from ampacity.serving.metering.spent import Spent
from ampacity.serving.routing.base import EngineId, Report
from ampacity.serving.table import RoutingTable


class Waiting(Protocol):
    """A request that has asked and got no answer at once."""

    __slots__ = ()

    def decided(self, answer: Answer) -> None: ...


class Counted:
    """What an engine said that an answer took; ``None`` = it did not say. ``money``: what that costs. Made once a
    request, so a plain class with slots; it does not change."""

    __slots__ = ("cached_tokens", "input_tokens", "money", "output_tokens")

    def __init__(
        self,
        *,
        input_tokens: int | None = None,
        cached_tokens: int | None = None,
        output_tokens: int | None = None,
        money: float = 0.0,
    ) -> None:
        self.input_tokens, self.cached_tokens, self.output_tokens = input_tokens, cached_tokens, output_tokens
        self.money = money

    def at(self, money: float) -> Counted:
        """The same, and what it costs."""
        return Counted(
            input_tokens=self.input_tokens,
            cached_tokens=self.cached_tokens,
            output_tokens=self.output_tokens,
            money=money,
        )

    def _facts(self) -> tuple[int | None, int | None, int | None, float]:
        return self.input_tokens, self.cached_tokens, self.output_tokens, self.money

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counted) and self._facts() == other._facts()

    def __hash__(self) -> int:
        return hash(self._facts())

    def __repr__(self) -> str:
        return f"Counted({self.input_tokens}, {self.cached_tokens}, {self.output_tokens}, {self.money})"


NOT_COUNTED = Counted()


class Desk(Protocol):
    """As :class:`ampacity.serving.dispatch.Dispatcher`, but that who waits is told by ``decided``."""

    __slots__ = ()

    def follow(self, table: RoutingTable, lanes: list[Lane]) -> None: ...

    def ask(self, request: Request, waiting: Waiting, now: float) -> Answer | None: ...

    def again(self, id: RequestId, waiting: Waiting, now: float, excluded: frozenset[EngineId]) -> Answer | None: ...

    def answered(self, id: RequestId, now: float) -> None: ...

    def ended(self, id: RequestId, now: float, ending: Ending, counted: Counted = NOT_COUNTED) -> None: ...

    def withdrawn(self, id: RequestId, now: float) -> None: ...

    def tick(self, now: float) -> None:
        """Called a few times a second."""
        ...


class OwnDesk(Desk):
    """The dispatcher is this process's own."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher()
        self._waiting: dict[RequestId, Waiting] = {}
        self._pumping = False
        self._set_clock(monotonic())

    def follow(self, table: RoutingTable, lanes: list[Lane]) -> None:
        now = monotonic()
        self.dispatcher.set_lanes(lanes, now)
        self.dispatcher.admission.set_limits(table.keys, table.limits, now)
        self._pump(now)

    def ask(self, request: Request, waiting: Waiting, now: float) -> Answer | None:
        return self._noted(request.id, waiting, self.dispatcher.ask(request, now), now)

    def again(self, id: RequestId, waiting: Waiting, now: float, excluded: frozenset[EngineId]) -> Answer | None:
        return self._noted(id, waiting, self.dispatcher.again(id, now, excluded=excluded), now)

    def adopt(self, request: Request, engine: EngineId, now: float, *, answered: bool) -> None:
        """It is on this engine already: a dispatcher that is gone had sent it there."""
        self.dispatcher.adopt(request, engine, now, answered=answered)

    def _noted(self, id: RequestId, waiting: Waiting, answer: Answer | None, now: float) -> Answer | None:
        if answer is None:
            self._waiting[id] = waiting
            self._pump(now)
        return answer

    def answered(self, id: RequestId, now: float) -> None:
        self.dispatcher.answered(id, now)
        if self._waiting:
            self._pump(now)

    def ended(self, id: RequestId, now: float, ending: Ending, counted: Counted = NOT_COUNTED) -> None:
        self.dispatcher.ended(
            id,
            now,
            ending,
            input_tokens=counted.input_tokens,
            cached_tokens=counted.cached_tokens,
            output_tokens=counted.output_tokens,
            money=counted.money,
        )
        if self._waiting:
            self._pump(now)

    def withdrawn(self, id: RequestId, now: float) -> None:
        self._waiting.pop(id, None)
        self.dispatcher.withdrawn(id, now)
        if self._waiting:
            self._pump(now)

    def tick(self, now: float) -> None:
        self._set_clock(now)
        if self._waiting:
            due = self.dispatcher.next_wake(now)
            if due is not None and due <= now:
                self._pump(now)

    def _pump(self, now: float) -> None:
        """Tell who was decided about. What is told may end at once, and let in others: one pump does for all."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while found := self.dispatcher.answers(now):
                for id, answer in found:
                    waiting = self._waiting.pop(id, None)
                    if waiting is not None:
                        waiting.decided(answer)
        finally:
            self._pumping = False

    def report(self, model: str, engine: EngineId, report: Report, now: float) -> None:
        """What an engine said of itself."""
        self.dispatcher.report(model, engine, report, now)
        if self._waiting:
            self._pump(now)

    def set_spent(self, spent: Spent) -> None:
        """What the books say was spent."""
        self.dispatcher.admission.set_spent(spent.keys, spent.projects, monotonic())

    def _set_clock(self, now: float) -> None:
        self.dispatcher.admission.wall_offset = time() - now
