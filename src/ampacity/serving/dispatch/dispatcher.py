"""The dispatcher's brain: admission's line in front of each model's router, for all models of an endpoint.

A request is asked for once, and gets one answer: at once from ``ask``, or later from ``answers``. One that was sent has
ended by ``ended``; one whose engine failed may be asked for ``again``. Pure, and clocked from outside: the same object
sits inside a gateway's only worker, and in a process of its own when there are several.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping

from ampacity.serving.admission import GO, Admission, Ending, Entry, Go, Held, Refused
from ampacity.serving.routing import NO_ENGINES, ROUTERS, EngineId, Report, Router, Ticket, TicketId

from .request import Answer, Lane, Request, RequestId, Send

IN_VIEW = 64
"""So many held tickets a router sees at most; whoever comes after them stands in admission's line, by its order."""


class _Course:
    """A request that is not over. ``ticket`` is ``None`` while it stands in admission's line, ``engine`` until it is
    sent."""

    __slots__ = ("engine", "entry", "go", "lane", "request", "ticket")

    def __init__(self, request: Request, entry: Entry) -> None:
        self.request, self.entry = request, entry
        self.go = GO
        self.lane: _Lane | None = None
        self.ticket: Ticket | None = None
        self.engine: EngineId | None = None


class _Lane:
    """One model: its router, and the courses that the router holds. ``let_in``: those that admission has let in and
    that are not over; ``shut``: no more are let in than the router can look at."""

    def __init__(self, facts: Lane, router: Router) -> None:
        self.facts, self.router = facts, router
        self.held: dict[TicketId, _Course] = {}
        self.let_in = 0
        self.shut = False


class Dispatcher:
    """``routers`` makes a router by its name. ``admission`` is public for what does not concern single requests:
    limits, what was spent, the wall clock."""

    def __init__(self, routers: Mapping[str, Callable[[], Router]] = ROUTERS) -> None:
        self.admission = Admission()
        self._routers = routers
        self._lanes: dict[str, _Lane] = {}
        self._gone: dict[str, _Lane] = {}  # of models that are gone, with requests that are not over
        self._courses: dict[RequestId, _Course] = {}
        self._standing: dict[int, _Course] = {}  # in admission's line
        self._stirred: dict[str, _Lane] = {}  # whose routers may let something go
        self._deadlines: list[tuple[float, RequestId]] = []
        self._ready: list[tuple[RequestId, Answer]] = []
        self._last_ticket = 0
        self._plain: dict[EngineId, Send] = {}  # one for each engine does for all that are sent there as they came

    @property
    def busy(self) -> bool:
        """Whether a request is not over."""
        return bool(self._courses or self._standing or self._ready)

    def set_lanes(self, lanes: Iterable[Lane], now: float) -> None:
        """From now on these are all models. Who waits for one that is gone is refused by the next ``answers``."""
        wanted = {lane.model: lane for lane in lanes}
        self.admission.set_policies({lane.model: lane.admission for lane in wanted.values()})
        before, self._lanes = self._lanes, {}
        for model, facts in wanted.items():
            lane = before.pop(model, None) or self._gone.pop(model, None)
            if lane is None:
                lane = _Lane(facts, self._routers[facts.routing]())
            self._lanes[model] = lane
            changed, lane.facts = facts.routing != lane.facts.routing, facts
            if changed:
                self._change_router(lane, self._routers[facts.routing](), now)
            lane.router.set_engines(facts.engines, now)
            self.admission.set_room(model, facts.room)
            self._stir(lane)
        for lane in before.values():
            self._close(lane, now)
        self._plain.clear()

    # One request -----------------------------------------------------------------------------------------------------

    def ask(self, request: Request, now: float) -> Answer | None:
        """Where to send it, or why not; ``None``: the answer comes by ``answers``, unless it is ``withdrawn``."""
        lane = self._lanes.get(request.model)
        if lane is None:
            return _gone(request.model)
        entry = _entry(request)
        verdict = self.admission.ask(entry, now)
        if isinstance(verdict, Refused):
            return verdict
        course = self._courses[request.id] = _Course(request, entry)
        if isinstance(verdict, Held):
            self._standing[request.id] = course
            return None
        return self._enter(course, verdict, now)

    def adopt(self, request: Request, engine: EngineId, now: float, *, answered: bool) -> bool:
        """It is on this engine already: a dispatcher that is gone had sent it there. ``answered``: its first byte has
        come. ``False``: its model is not served any more, and it is nobody's."""
        lane = self._lanes.get(request.model)
        if lane is None:
            return False
        course = self._courses[request.id] = _Course(request, _entry(request))
        self.admission.adopt(course.entry, now)
        course.lane, course.engine = lane, engine
        lane.let_in += 1
        course.ticket = self._ticket(course, NO_ENGINES)
        lane.router.adopt(course.ticket, engine, now)
        if answered:
            lane.router.answered(course.ticket.id, now)
        self._stir(lane)
        return True

    def answers(self, now: float) -> list[tuple[RequestId, Answer]]:
        """What has been decided for those who waited; to be called after each call that may change anything (all but
        those that gave an answer), and when ``next_wake`` has come."""
        found, self._ready = self._ready, []
        self._expire(found, now)
        while True:
            for lane in self._stirred.values():
                self._let_go(lane, found, now)
            self._stirred = {}
            released = self.admission.released(now) if self._standing else []
            for entry, verdict in released:
                course = self._standing.pop(entry.id, None)
                if course is None:
                    continue
                if isinstance(verdict, Refused):
                    del self._courses[course.request.id]
                    found.append((course.request.id, verdict))
                else:
                    answer = self._enter(course, verdict, now)
                    if answer is not None:
                        found.append((course.request.id, answer))
            if not released and not self._stirred:
                return found

    def answered(self, id: RequestId, now: float) -> None:
        """The first byte of its answer has come."""
        course = self._courses.get(id)
        if course is not None and course.ticket is not None and course.lane is not None:
            course.lane.router.answered(course.ticket.id, now)
            self._stir(course.lane)

    def again(self, id: RequestId, now: float, *, excluded: frozenset[EngineId]) -> Answer | None:
        """The engine that it was sent to failed: as ``ask``, but not to these engines, unless there is no other."""
        course = self._courses.get(id)
        if course is None:  # it could not be adopted
            return Refused(status=404, code="model_not_found", message="Its model is not served here any more.")
        assert course.lane is not None, "it was sent"
        assert course.ticket is not None, "it was sent"
        course.lane.router.ended(course.ticket.id, now, failed=True)
        self._left(course.lane)
        lane = self._lanes.get(course.entry.model)
        if lane is None:
            del self._courses[id]
            self.admission.ended(course.entry, now, ending=Ending.FAILED)
            return _gone(course.entry.model)
        if excluded.issuperset(engine.id for engine in lane.facts.engines):
            excluded = NO_ENGINES
        course.lane = lane
        lane.let_in += 1
        return self._offer(course, lane, excluded, now)

    def ended(
        self,
        id: RequestId,
        now: float,
        ending: Ending,
        *,
        input_tokens: int | None = None,
        cached_tokens: int | None = None,
        output_tokens: int | None = None,
        money: float = 0.0,
    ) -> None:
        """One that was sent is over. Tokens as the engine counted them, ``None`` = it did not say."""
        course = self._courses.pop(id, None)
        if course is None or course.lane is None or course.ticket is None:
            return
        failed = ending is Ending.FAILED
        course.lane.router.ended(course.ticket.id, now, cached_tokens=cached_tokens, failed=failed)
        self.admission.ended(
            course.entry, now, ending=ending, input_tokens=input_tokens, output_tokens=output_tokens, money=money
        )
        self._left(course.lane)

    def withdrawn(self, id: RequestId, now: float) -> None:
        """The client of one that waits has left; for one that was sent this is ``ended``, abandoned."""
        course = self._courses.get(id)
        if course is None:
            return
        if course.engine is not None:
            self.ended(id, now, Ending.ABANDONED)
            return
        del self._courses[id]
        if self._standing.pop(id, None) is not None:
            self.admission.withdrawn(course.entry, now)
        else:
            self._take_back(course, now)

    def report(self, model: str, engine: EngineId, report: Report, now: float) -> None:
        lane = self._lanes.get(model)
        if lane is not None:
            lane.router.report(engine, report, now)
            self._stir(lane)

    def next_wake(self, now: float) -> float | None:
        """When ``answers`` may have news without any other call; ``None`` = never."""
        if self._ready or self._stirred:
            return now
        while self._deadlines and not self._is_held(self._deadlines[0][1]):
            heapq.heappop(self._deadlines)
        times = [lane.router.next_wake(now) for lane in self._lanes.values() if lane.held]
        times.append(self._deadlines[0][0] if self._deadlines else None)
        times.append(self.admission.next_wake() if self._standing else None)
        return min((each for each in times if each is not None), default=None)

    # -----------------------------------------------------------------------------------------------------------------

    def _enter(self, course: _Course, go: Go, now: float) -> Answer | None:
        """Admission has let it in: its router's turn."""
        lane = self._lanes.get(course.entry.model)
        if lane is None:
            del self._courses[course.request.id]
            self.admission.ended(course.entry, now, ending=Ending.FAILED)
            return _gone(course.entry.model)
        course.go, course.lane = go, lane
        lane.let_in += 1
        return self._offer(course, lane, NO_ENGINES, now)

    def _offer(self, course: _Course, lane: _Lane, excluded: frozenset[EngineId], now: float) -> Answer | None:
        request = course.request
        ticket = course.ticket = self._ticket(course, excluded)
        course.engine = lane.router.offer(ticket, now)
        if course.engine is not None:
            return self._send(course, course.engine)
        lane.held[ticket.id] = course
        if request.deadline is not None:
            heapq.heappush(self._deadlines, (request.deadline, request.id))
        if len(lane.held) >= IN_VIEW:
            self._fit(lane)
        self._stir(lane)
        return None

    def _send(self, course: _Course, engine: EngineId) -> Send:
        if course.go is not GO:
            return Send(engine=engine, max_tokens=course.go.max_tokens, model=course.go.model)
        plain = self._plain.get(engine)
        if plain is None:
            plain = self._plain[engine] = Send(engine=engine)
        return plain

    def _ticket(self, course: _Course, excluded: frozenset[EngineId]) -> Ticket:
        request = course.request
        self._last_ticket += 1
        return Ticket(
            TicketId(self._last_ticket),
            arrived=request.arrived,
            tokens=request.tokens,
            blocks=request.blocks,
            session=request.session,
            priority=course.entry.priority,
            deadline=request.deadline,
            excluded=excluded,
            streams=request.streams,
        )

    def _let_go(self, lane: _Lane, found: list[tuple[RequestId, Answer]], now: float) -> None:
        if not lane.held:
            self._fit(lane)
            return
        for ticket, engine in lane.router.released(now):
            course = lane.held.pop(ticket.id)
            course.engine = engine
            found.append((course.request.id, self._send(course, engine)))
        self._fit(lane)

    def _expire(self, found: list[tuple[RequestId, Answer]], now: float) -> None:
        """Refuse those whose time is up while a router holds them."""
        while self._deadlines and self._deadlines[0][0] <= now:
            _, id = heapq.heappop(self._deadlines)
            if self._is_held(id):
                course = self._courses.pop(id)
                self._take_back(course, now)
                message = f"The request's timeout had passed before {course.entry.model!r} could answer it."
                found.append((id, Refused(status=503, code="deadline_exceeded", message=message, retry_after_s=1.0)))

    def _is_held(self, id: RequestId) -> bool:
        course = self._courses.get(id)
        return course is not None and course.ticket is not None and course.engine is None

    def _take_back(self, course: _Course, now: float) -> None:
        """Out of a router that holds it: nothing was used."""
        assert course.lane is not None, "a router holds it"
        assert course.ticket is not None, "a router holds it"
        course.lane.router.withdrawn(course.ticket.id, now)
        course.lane.held.pop(course.ticket.id, None)
        self.admission.ended(course.entry, now, ending=Ending.FAILED)
        self._left(course.lane)

    def _left(self, lane: _Lane) -> None:
        lane.let_in -= 1
        self._stir(lane)
        self._forget(lane)

    def _forget(self, lane: _Lane) -> None:
        if not lane.let_in and self._gone.get(lane.facts.model) is lane:
            del self._gone[lane.facts.model]

    def _stir(self, lane: _Lane) -> None:
        if self._lanes.get(lane.facts.model) is lane:
            self._stirred[lane.facts.model] = lane

    def _fit(self, lane: _Lane) -> None:
        """Let no more in than the router may look at."""
        model, free = lane.facts.model, IN_VIEW - len(lane.held)
        if free <= 0 or (lane.shut and self.admission.waiting(model)):
            lane.shut = True
            room = lane.let_in + max(0, free)
            self.admission.set_room(model, room if lane.facts.room is None else min(room, lane.facts.room))
        elif lane.shut:
            lane.shut = False
            self.admission.set_room(model, lane.facts.room)

    def _change_router(self, lane: _Lane, router: Router, now: float) -> None:
        """The new one is told of what was sent, and offered what the old one held."""
        lane.router = router
        held, lane.held = list(lane.held.values()), {}
        router.set_engines(lane.facts.engines, now)
        for course in self._courses.values():
            if course.lane is lane and course.ticket is not None and course.engine is not None:
                router.adopt(course.ticket, course.engine, now)
        for course in held:
            answer = self._offer(course, lane, NO_ENGINES, now)
            if answer is not None:
                self._ready.append((course.request.id, answer))

    def _close(self, lane: _Lane, now: float) -> None:
        """A model is gone: what was sent ends as ever, who waits is refused."""
        self._gone[lane.facts.model] = lane
        lane.router.set_engines((), now)
        for course in [course for course in self._courses.values() if course.engine is None]:
            if course.lane is lane:
                del self._courses[course.request.id]
                self._take_back(course, now)
            elif course.entry.model == lane.facts.model and self._standing.pop(course.request.id, None) is not None:
                del self._courses[course.request.id]
                self.admission.withdrawn(course.entry, now)
            else:
                continue
            self._ready.append((course.request.id, _gone(lane.facts.model)))
        self._stirred.pop(lane.facts.model, None)
        self._forget(lane)


def _entry(request: Request) -> Entry:
    return Entry(
        request.id,
        request.model,
        arrived=request.arrived,
        tokens=request.tokens,
        key=request.key,
        max_tokens=request.max_tokens,
        deadline=request.deadline,
        despite_budget=request.despite_budget,
    )


def _gone(model: str) -> Refused:
    return Refused(status=404, code="model_not_found", message=f"The model {model!r} is not served here.")
