"""Every routing policy, driven at random: each ticket gets one engine, or waits while none may take it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ampacity.serving.routing import ROUTERS, Engine, EngineId, Report, Ticket, TicketId

NAMES = tuple(EngineId(name) for name in "abcd")
ENGINES = st.lists(
    st.builds(
        Engine, id=st.sampled_from(NAMES), weight=st.sampled_from([0.5, 1.0, 2.0]), concurrency=st.integers(0, 3)
    ),
    unique_by=lambda engine: engine.id,
    max_size=4,
)
STEPS = st.sampled_from([0.0, 0.01, 0.3, 5.0, 400.0, 40_000.0])


class Driven(RuleBasedStateMachine):
    """What a gateway does to a router, in any order."""

    policy = ""

    @initialize(engines=ENGINES)
    def begin(self, engines: list[Engine]) -> None:
        self.now, self.last = 100.0, 0
        self.router = ROUTERS[self.policy]()
        self.held: dict[TicketId, Ticket] = {}
        self.bound: dict[TicketId, EngineId] = {}
        self.silent: set[TicketId] = set()
        self.set_engines(engines)

    @rule(engines=ENGINES)
    def set_engines(self, engines: list[Engine]) -> None:
        self.engines = {engine.id: engine for engine in engines}
        self.router.set_engines(engines, self.now)
        self.take_released()

    @rule(
        blocks=st.lists(st.integers(0, 3), max_size=6),
        tokens=st.integers(0, 200_000),
        session=st.integers(0, 3),
        priority=st.integers(-1, 1),
        excluded=st.frozensets(st.sampled_from(NAMES), max_size=2),
        streams=st.booleans(),
    )
    def offer(
        self,
        blocks: list[int],
        tokens: int,
        session: int,
        priority: int,
        excluded: frozenset[EngineId],
        streams: bool,
    ) -> None:
        self.last += 1
        ticket = Ticket(
            TicketId(self.last),
            arrived=self.now,
            tokens=tokens,
            blocks=[hash(tuple(blocks[: end + 1])) for end in range(len(blocks))],
            session=session,
            priority=priority,
            excluded=excluded,
            streams=streams,
        )
        engine = self.router.offer(ticket, self.now)
        if engine is None:
            self.held[ticket.id] = ticket
        else:
            self.bind(ticket, engine)
        self.take_released()

    @rule(engine=st.sampled_from(NAMES))
    def adopt(self, engine: EngineId) -> None:
        self.last += 1
        ticket = Ticket(TicketId(self.last), arrived=self.now, tokens=100)
        self.router.adopt(ticket, engine, self.now)
        self.bound[ticket.id] = engine
        self.silent.add(ticket.id)
        self.take_released()

    @rule(step=STEPS)
    def wait(self, step: float) -> None:
        self.now += step
        self.take_released()

    @precondition(lambda self: self.silent)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(self.silent)))
        self.silent.discard(id)
        self.router.answered(id, self.now)
        self.take_released()

    @precondition(lambda self: self.bound)
    @rule(data=st.data(), failed=st.booleans(), cached=st.none() | st.integers(0, 2000))
    def end(self, data: st.DataObject, failed: bool, cached: int | None) -> None:
        id = data.draw(st.sampled_from(sorted(self.bound)))
        del self.bound[id]
        self.silent.discard(id)
        self.router.ended(id, self.now, cached_tokens=cached, failed=failed)
        self.take_released()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(self.held)))
        del self.held[id]
        self.router.withdrawn(id, self.now)
        self.take_released()

    @rule(engine=st.sampled_from(NAMES), waiting=st.none() | st.integers(0, 5))
    def report(self, engine: EngineId, waiting: int | None) -> None:
        self.router.report(engine, Report(waiting=waiting), self.now)
        self.take_released()

    @rule(id=st.integers(-3, -1))
    def speak_of_unknown_tickets(self, id: int) -> None:
        self.router.answered(TicketId(id), self.now)
        self.router.ended(TicketId(id), self.now)
        self.router.withdrawn(TicketId(id), self.now)

    def bind(self, ticket: Ticket, engine: EngineId) -> None:
        assert engine in self.engines, "an engine that is not there"
        assert engine not in ticket.excluded
        self.bound[ticket.id] = engine
        self.silent.add(ticket.id)
        most = self.engines[engine].concurrency
        assert not most or list(self.bound.values()).count(engine) <= most, "more than it takes at once"

    def take_released(self) -> None:
        for ticket, engine in self.router.released(self.now):
            assert self.held.pop(ticket.id) is ticket, "released what was not held"
            self.bind(ticket, engine)
        wake = self.router.next_wake(self.now)
        assert wake is None or wake > self.now

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        """With no prefill under way anywhere and an engine open to it, no ticket is held."""
        if self.silent or self.router.next_wake(self.now) is not None:
            return
        taken = list(self.bound.values())
        for engine in self.engines.values():
            if not engine.concurrency or taken.count(engine.id) < engine.concurrency:
                assert all(engine.id in ticket.excluded for ticket in self.held.values())

    def teardown(self) -> None:
        """Once there is an engine for everybody and all ends, all get their turn."""
        if not hasattr(self, "router"):
            return
        self.set_engines([Engine(id=EngineId("last"))])
        for _ in range(len(self.held) + len(self.bound) + 1):
            for id in list(self.bound):
                del self.bound[id]
                self.silent.discard(id)
                self.router.answered(id, self.now)
                self.router.ended(id, self.now)
            self.take_released()
        assert not self.held


@pytest.mark.parametrize("policy", ROUTERS)
def test_whatever_happens_each_ticket_gets_its_turn(policy: str) -> None:
    machine = type("Driven", (Driven,), {"policy": policy})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
