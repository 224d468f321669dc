"""A request whose engine failed: another one answers it, or goes on where a stream broke. Made when the first one does,
so that a request that nothing befalls carries none of it."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from ampacity.serving.dispatch import Answer as Decision
from ampacity.serving.dispatch import Send
from ampacity.serving.routing.base import NO_ENGINES, EngineId

from .answer import Answer, break_off, end_stream
from .answers import Refusal, refusal_of
from .continuing import CannotContinue, Progress
from .patience import LOOK_AGAIN_S, WAIT_FOR_ENGINE_S, WAIT_FOR_REST_S
from .takeover import Takeover

if TYPE_CHECKING:
    from .flight import Flight

MOST_LOSSES = 3
"""So many engines may be lost by a request, none of which gave a token: then the request may be what ends them."""


class Rescue:
    """Fulfils ``Waiting`` of the desk. ``tried``: engines that are not asked (again). ``progress``: what the client has
    seen of a stream that is gone on with; ``None`` = it begins from the start."""

    __slots__ = ("_deadline", "_flight", "_losses", "progress", "tried")

    def __init__(self, flight: Flight) -> None:
        self._flight = flight
        self.tried: frozenset[EngineId] = NO_ENGINES
        self.progress: Progress | None = None
        self._deadline = 0.0
        self._losses = 0

    def engine_failed(self, engine: EngineId, why: str, raw: list[bytes] | None, *, lost: bool) -> None:
        """Another one shall answer, from the beginning or, where something was passed on already, from there."""
        flight, now = self._flight, monotonic()
        self._losses += lost
        answer, flight.answer = flight.answer, None
        if answer is not None and answer.begun and not self._take_over(answer, raw, why, now):
            return
        if self._losses >= MOST_LOSSES:
            self._give_in(why)
            return
        self.tried |= {engine}
        if not flight.has_other(engine) and flight.falls_back():
            return
        self._look(now)

    def _take_over(self, answer: Answer, raw: list[bytes] | None, why: str, now: float) -> bool:
        """Whether the rest of the answer is to be asked for. If not, it was ended here."""
        flight = self._flight
        if answer.stream is None:
            flight.client.cut()
            return False
        try:
            taken = Takeover(answer.stream, raw, request=flight.request, route=flight.route, body=flight.body)
        except CannotContinue as error:
            break_off(flight.client, flight.request, f"{why}; {error}", streamed=True)
            return False
        if taken.rest is not None:
            end_stream(flight.client, flight.request, taken.rest)
            return False
        if taken.progress.advanced():
            self._losses = 0
        self.progress, flight.outgoing = taken.progress, taken.body
        self._deadline = now + WAIT_FOR_REST_S
        return True

    # Another engine --------------------------------------------------------------------------------------------------

    def _look(self, now: float) -> None:
        """Ask the desk for another engine; where all have been tried, after a pause, for any."""
        flight = self._flight
        if not self._deadline:
            self._deadline = now + (WAIT_FOR_REST_S if flight.begun else WAIT_FOR_ENGINE_S)
        route = flight.core.tables.find(flight.route.name) or flight.route
        if route.replicas and all(each.id in self.tried for each in route.replicas):
            self.tried = NO_ENGINES
            flight.client.limit(now + LOOK_AGAIN_S)
            return
        self._ask(now)

    def _ask(self, now: float) -> None:
        visit = self._flight.visit
        decision = self._flight.core.desk.again(visit.request.id, self, now, self.tried)
        if decision is not None:
            self._take(decision)
        else:
            visit.standing = True
            self._flight.client.limit(now + LOOK_AGAIN_S)

    def decided(self, answer: Decision) -> None:
        """Called by the desk, when it was held."""
        self._flight.visit.standing = False
        self._take(answer)

    def _take(self, decision: Decision) -> None:
        flight = self._flight
        if isinstance(decision, Send):
            flight.bound(decision.engine)
        elif flight.begun:
            break_off(flight.client, flight.request, decision.message, streamed=True)
        elif not flight.falls_back():
            flight.client.refuse(refusal_of(decision))

    def waited(self, now: float) -> None:
        """No engine has taken it so far: those that failed may be tried again."""
        flight = self._flight
        if now < self._deadline:
            if flight.visit.standing:
                flight.client.limit(now + LOOK_AGAIN_S)
            else:
                self._ask(now)
            return
        refusal = no_engine(flight.route.name)
        if flight.begun:
            break_off(flight.client, flight.request, refusal.message, streamed=True)
        elif not flight.falls_back():
            flight.client.refuse(refusal)

    def _give_in(self, why: str) -> None:
        """It is not tried on yet another engine."""
        flight = self._flight
        if flight.begun:
            break_off(flight.client, flight.request, why, streamed=True)
            return
        message = f"{self._losses} replicas were lost with this request; the last one: {why}."
        flight.client.refuse(Refusal(502, message, code="replica_lost"))


def no_engine(model: str, *, any_known: bool = True) -> Refusal:
    """There was none for as long as a request waits."""
    message = f"No replica of {model!r} {'answers' if any_known else 'is ready'}."
    return Refusal(503, message, code="no_replica", headers=((b"retry-after", b"5"),))
