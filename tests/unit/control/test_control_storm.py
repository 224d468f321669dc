"""When the loop gathers wishes before it looks at them."""

from __future__ import annotations

from ampacity.control.storm import FEW_STEPS, GATHERING_S, IN_A_ROW_S, Storm


def storming() -> Storm:
    storm = Storm()
    for number in range(FEW_STEPS):
        storm.stepped(began_at=number * 0.01, ended_at=number * 0.01 + 0.002, futile=True)
    return storm


def test_a_wish_on_a_system_at_rest_never_waits() -> None:
    storm = Storm()
    assert storm.gathering_s(0.0) == 0.0
    for number in range(10):
        began_at = number * (IN_A_ROW_S + 0.01)
        storm.stepped(began_at=began_at, ended_at=began_at + 0.001, futile=True)
        assert storm.gathering_s(began_at + 0.002) == 0.0


def test_after_a_few_steps_in_a_row_that_came_to_nothing_wishes_are_gathered() -> None:
    storm = Storm()
    for number in range(FEW_STEPS):
        assert storm.gathering_s(number * 0.01) == 0.0
        storm.stepped(began_at=number * 0.01, ended_at=number * 0.01 + 0.002, futile=True)
    assert storm.gathering_s((FEW_STEPS - 1) * 0.01 + 0.003) == GATHERING_S


def test_gathering_goes_on_as_long_as_wishes_keep_coming() -> None:
    assert GATHERING_S < IN_A_ROW_S
    storm = storming()
    began_at = (FEW_STEPS - 1) * 0.01 + GATHERING_S
    storm.stepped(began_at=began_at, ended_at=began_at + 0.002, futile=True)
    assert storm.gathering_s(began_at + 0.003) == GATHERING_S


def test_one_step_that_came_to_something_ends_it() -> None:
    storm = storming()
    began_at = FEW_STEPS * 0.01
    storm.stepped(began_at=began_at, ended_at=began_at + 0.002, futile=False)
    assert storm.gathering_s(began_at + 0.003) == 0.0


def test_a_pause_ends_it() -> None:
    storm = storming()
    assert storm.gathering_s((FEW_STEPS - 1) * 0.01 + 0.002 + IN_A_ROW_S) == 0.0
