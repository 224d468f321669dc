"""The policy of least waste: what is kept for whom."""

from __future__ import annotations

import pytest

from ampacity.scheduler.board import Board
from ampacity.scheduler.fleet import Fleet
from ampacity.scheduler.placing import Ask, Room
from ampacity.scheduler.placing.least_waste import NODE_CPUS, LeastWaste
from scheduler_cluster import node


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("cpus", "wanted"), [(96, 80), (256, 224), (2 * NODE_CPUS, 2 * NODE_CPUS)])
def test_a_whole_node_is_kept_for_those_who_want_all_of_it_however_many_cpus_they_want(
    cpus: int, wanted: int, compiled: bool
) -> None:
    if compiled:
        pytest.importorskip("numba")
    fleet = Fleet()
    fleet.put_node(node("a", devices=8, cpus=cpus))
    fleet.put_node(node("b", devices=4, cpus=cpus))
    single = Ask(cpu_milli=8000, count=1)
    policy = LeastWaste([(Ask(cpu_milli=wanted * 1000, count=8), 5), (single, 5)], compiled=compiled)
    room = Room.of(Board.of(fleet))
    policy.begin(room)
    (choice,) = policy.choose(room, single)
    assert choice.row == fleet.row_of[node("b").id]
    without = LeastWaste([(single, 5)], compiled=compiled)
    assert [each.row for each in without.choose(room, single)] == [fleet.row_of[node("a").id]], "by its name, else"
