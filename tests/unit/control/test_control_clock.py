"""The time that a control plane goes by."""

from __future__ import annotations

from ampacity.control.clock import Clock


def test_time_never_goes_back() -> None:
    told = iter([10.0, 12.0, 11.0, 3.0, 13.0])
    clock = Clock(floor=11.5, source=lambda: next(told), steady=lambda: 0.0)
    assert [clock() for _ in range(5)] == [11.5, 12.0, 12.0, 12.0, 13.0]


def test_time_goes_on_slowly_until_a_clock_that_was_set_back_has_caught_up() -> None:
    told = iter([100.0, 40.0, 60.0, 200.0])
    steady = iter([0.0, 1.0, 11.0, 31.0, 41.0])
    clock = Clock(source=lambda: next(told), steady=lambda: next(steady))
    assert [clock() for _ in range(4)] == [100.0, 105.0, 115.0, 200.0]
