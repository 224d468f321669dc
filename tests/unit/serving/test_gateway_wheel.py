"""The timer wheel: nothing early, nothing later than a tick, and putting off is free."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ampacity.serving.gateway.wheel import NEVER, Wheel

TICK_S = 0.05


class Thing:
    def __init__(self) -> None:
        self.due, self.slot = NEVER, 0
        self.expired: list[float] = []

    def expire(self, now: float) -> None:
        assert self.due == NEVER
        self.expired.append(now)


def turn_to(wheel: Wheel, now: float) -> None:
    """Advance tick by tick, as the gateway does."""
    while wheel.now + TICK_S < now:
        wheel.advance(wheel.now + TICK_S)
    wheel.advance(now)


@settings(deadline=None)
@given(due=st.floats(0.1, 300), later=st.floats(0, 200), slots=st.integers(4, 400))
def test_a_limit_that_was_put_off_comes_then_and_once(due: float, later: float, slots: int) -> None:
    wheel, thing = Wheel(0.0, tick_s=TICK_S, slots=slots), Thing()
    thing.due = due
    wheel.hasten(thing)
    turn_to(wheel, due * 0.9)
    assert not thing.expired
    thing.due = due + later
    turn_to(wheel, due + later + 2 * TICK_S)
    assert len(thing.expired) == 1
    assert due + later <= thing.expired[0] <= due + later + 2 * TICK_S
    turn_to(wheel, due + later + 50)
    assert len(thing.expired) == 1


def test_a_limit_brought_forward_comes_sooner() -> None:
    wheel, thing = Wheel(0.0, tick_s=TICK_S), Thing()
    thing.due = 50.0
    wheel.hasten(thing)
    thing.due = 1.0
    wheel.hasten(thing)
    turn_to(wheel, 1.1)
    assert len(thing.expired) == 1
    turn_to(wheel, 60.0)
    assert len(thing.expired) == 1


def test_what_is_forgotten_never_comes() -> None:
    wheel, thing = Wheel(0.0), Thing()
    thing.due = 1.0
    wheel.hasten(thing)
    wheel.forget(thing)
    turn_to(wheel, 100.0)
    assert not thing.expired


def test_one_that_sets_its_limit_anew_is_called_again() -> None:
    class Again(Thing):
        def expire(self, now: float) -> None:
            super().expire(now)
            self.due = now + 1.0

    wheel, thing = Wheel(0.0, tick_s=TICK_S), Again()
    thing.due = 1.0
    wheel.hasten(thing)
    turn_to(wheel, 10.0)
    assert 8 <= len(thing.expired) <= 10


def test_a_clock_that_jumped_makes_up_for_it_at_once() -> None:
    wheel, thing = Wheel(0.0, tick_s=TICK_S, slots=10), Thing()
    thing.due = 0.2
    wheel.hasten(thing)
    wheel.advance(1000.0)
    assert thing.expired == [1000.0]
