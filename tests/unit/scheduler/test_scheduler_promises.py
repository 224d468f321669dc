"""Promises where the room is not all that has to come free, and several of them in one plan."""

from __future__ import annotations

from dataclasses import replace

from test_scheduler_preempting import HIGH, asks, of, planned, queue, runs, stopped, told

from ampacity.model.node import NodeCondition
from ampacity.model.policy import SchedulerPolicy
from ampacity.model.preemption import PreemptionPolicy
from scheduler_cluster import node

MOVES = SchedulerPolicy(preemption=PreemptionPolicy(defragment=True))


def test_who_waits_for_what_its_queue_may_use_alone_is_told_who_leaves_for_that() -> None:
    """The two that are stopped are on nodes that take no new work: the promised places are free already."""
    closed = [replace(node(f"c{index}", devices=8), condition=NodeCondition.CORDONED) for index in range(2)]
    free = [node(f"n{index}", devices=8) for index in range(2)]
    low = [runs(f"low{index}", "H100:8", [closed[index]], queue="a", lost_s=10.0 + index) for index in range(2)]
    big = [asks(f"big{index}", "H100:8", at=float(index), queue="a", priority=HIGH) for index in range(2)]
    made = planned(*closed, *free, queue("a", 16, borrows=False), *low, *big)
    assert stopped(made) == ["low0", "low1"]
    assert [place.node for each in made.promises for place in each.placements] == ["n0", "n1"]
    for index in range(2):
        text = f"waits until name-low{index} (low{index}) has left the place that was promised to it."
        assert of(made, f"big{index}").text == text


def test_room_that_somebody_leaves_is_not_promised_while_the_queue_may_not_use_it() -> None:
    n1, n2 = node("n1", devices=8), node("n2", devices=8)
    leaving = told(runs("gone", "H100:8", [n1]))
    own = runs("own", "H100:8", [n2], queue="a")
    limited = queue("a", 8, borrows=False)
    made = planned(n1, n2, limited, leaving, own, asks("big", "H100:8", queue="a", priority=HIGH))
    assert stopped(made) == ["own"], "one of its own queue goes, too"
    assert [each.workload for each in made.promises] == ["big"]
    made = planned(n1, n2, limited, leaving, own, asks("big", "H100:8", queue="a"))
    assert (made.stops, made.promises) == ((), ()), "and where none may, it waits for its quota"


def test_several_rooms_are_made_whole_in_one_plan_by_moving_another_job_for_each() -> None:
    nodes = [node(f"n{index}", devices=8) for index in range(5)]
    lost_s = [10.0, 900.0, 20.0, 900.0]
    halves = [runs(f"h{index}", "H100:4", [nodes[index]], lost_s=lost_s[index]) for index in range(4)]
    long = runs("long", "H100:8", [nodes[4]])
    wide = [asks(f"wide{index}", "H100:8", at=float(index)) for index in range(2)]
    made = planned(*nodes, MOVES, *halves, long, *wide)
    assert [each.workload for each in made.promises] == ["wide0", "wide1"]
    moved = [each.attempt for each in made.moves]
    assert len(moved) == len(set(moved)) == 2
    given = [
        (place.node, share.device)
        for each in made.moves
        for place in each.placements
        for share in place.allocation.devices
    ]
    given += [
        (place.node, share.device)
        for each in made.promises
        for place in each.placements
        for share in place.allocation.devices
    ]
    assert len(given) == len(set(given)) == 24, "nobody is given what another one is given"
