"""Promises where the room is not all that has to come free, and several of them in one plan."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_scheduler_preempting import HIGH, NOW, asks, of, planned, queue, runs, stopped, told
from test_scheduler_state import event

from ampacity.model.attempt import Attempt, AttemptPhase
from ampacity.model.ids import WorkloadId, attempt_id
from ampacity.model.node import NodeCondition
from ampacity.model.policy import SchedulerPolicy
from ampacity.model.preemption import PreemptionPolicy
from ampacity.model.resources import Range
from ampacity.model.rules import PlacementRules, TopologyMode, TopologyRule
from ampacity.model.workload import Replica
from ampacity.scheduler import build, plan
from ampacity.scheduler.board import Board
from ampacity.scheduler.gang import Gang
from ampacity.scheduler.preempting import preemptor
from ampacity.scheduler.preempting.cost import lost_s
from ampacity.scheduler.preempting.pieces import places_of
from ampacity.scheduler.preempting.rows import promising, reclaimable
from ampacity.scheduler.preempting.runners import CPU, DEVICES
from scheduler_cluster import node, request, rows_of, running, workload

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


def test_who_has_a_place_and_waits_for_its_quota_alone_is_told_by_when_that_is_free() -> None:
    closed, free = replace(node("c0", devices=8), condition=NodeCondition.CORDONED), node("n0", devices=8)
    low, big = runs("low", "H100:8", [closed], queue="a"), asks("big", "H100:8", queue="a", priority=HIGH)
    limited = queue("a", 8, borrows=False)
    (promise,) = planned(closed, free, limited, low, big).promises
    kept = tuple(replace(row, then=promise.placements) if isinstance(row, Replica) else row for row in big)
    made = planned(closed, free, limited, told(low), kept)
    assert (made.starts, [each.workload for each in made.promises]) == ((), ["big"])
    assert of(made, "big").text == "waits until name-low (low) has left, by 02:46:41 UTC at the latest."


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


def test_of_the_kinds_that_would_do_that_one_is_taken_whose_place_costs_the_least() -> None:
    n1, n2 = node("n1", devices=8), node("n2", devices=8, kind="A100")
    for since_s, expected in ((10.0, "two"), (5000.0, "one")):
        one, two = runs("one", "H100:8", [n1], lost_s=900.0), runs("two", "A100:8", [n2], lost_s=since_s)
        for ask in ("H100:8 | A100:8", "A100:8 | H100:8"):
            assert stopped(planned(n1, n2, one, two, asks("big", ask, priority=HIGH))) == [expected]


def test_what_those_who_have_left_held_is_not_counted_as_what_could_be_had_back() -> None:
    nodes = [node(f"n{index}", devices=8) for index in range(2)]
    low = [runs(f"low{index}", "H100:8", [nodes[index]]) for index in range(2)]
    state = build(rows_of(*nodes, *low))
    gone = next(row for row in low[0] if isinstance(row, Attempt))
    state.apply(event(1, replace(gone, phase=AttemptPhase.FAILED, version=2)))
    found = reclaimable(Board.of(state.fleet), state.runners, list(state.runners.held.values()))
    rows = [state.fleet.row_of[each.id] for each in nodes]
    assert found[DEVICES, rows].tolist() == [0, 8000]
    assert found[CPU, rows].tolist() == [0, 1000]


def test_nodes_that_lack_the_least_are_looked_at_first_devices_before_cpus() -> None:
    """Rather one on which CPUs alone have to come free than one on which a device has to."""
    device, cpus = node("n1", devices=1), node("n2", devices=1)
    low = runs("device", "H100:1", [device]), running("cpus", cpus, request(cpus=60))
    state = build(rows_of(device, cpus, *low))
    held = list(state.runners.held.values())
    board = Board.of(state.fleet)
    gang = Gang(resources=request("H100", cpus=40), size=Range.exactly(1))
    found = promising(board, reclaimable(board, state.runners, held), held, (), gang, gang.resources)
    assert found == [state.fleet.row_of[each.id] for each in (cpus, device)]


def test_what_is_lost_is_what_came_since_the_start_or_the_newest_checkpoint() -> None:
    attempt = next(row for row in runs("w1", "H100", [node("n1", devices=1)]) if isinstance(row, Attempt))
    assert lost_s(attempt, NOW) == 100.0
    assert lost_s(attempt, NOW - 500.0) == 0.0, "a clock that was set back"
    assert lost_s(replace(attempt, progress=None), NOW) == NOW
    assert lost_s(replace(attempt, progress=None, started_at=NOW - 7.0), NOW) == 7.0
    assert lost_s(replace(attempt, started_at=None), NOW) == 0.0, "it has not begun"


def test_nobody_is_stopped_for_two() -> None:
    n1 = node("n1", devices=8)
    cheap = runs("cheap", "H100:4", [n1], lost_s=10.0)
    dear = runs("dear", "H100:4", [n1], beside=(cheap,), lost_s=900.0)
    made = planned(n1, cheap, dear, *(asks(f"big{index}", "H100:4", priority=HIGH) for index in range(2)))
    assert stopped(made) == ["cheap", "dear"]
    taken = [share.device for each in made.promises for share in each.placements[0].allocation.devices]
    assert len(taken) == len(set(taken)) == 8


def test_a_gang_is_made_smaller_once_in_a_plan() -> None:
    nodes = [node(f"n{index}", devices=8) for index in range(3)]
    elastic = runs("elastic", "H100:4", nodes, size=Range(minimum=1, maximum=3))
    low = [runs(f"low{index}", "H100:4", [each], beside=(elastic,)) for index, each in enumerate(nodes)]
    big = [asks(f"big{index}", "H100:4", at=float(index), priority=HIGH) for index in range(2)]
    made = planned(*nodes, elastic, *low, *big)
    assert [(each.attempt, len(each.placements)) for each in made.resizes] == [("elastic.0.1", 2)]
    assert [each.workload for each in made.promises] == ["big0", "big1"]
    assert len(made.stops) == 1, "for the second another one has to go"


def test_a_place_that_was_taken_for_somebody_already_is_no_hope_for_another_one() -> None:
    nodes = [node(f"n{index}", devices=8) for index in range(2)]
    low = [runs(f"low{index}", "H100:8", [nodes[index]], priority=-index) for index in range(2)]
    state = build(rows_of(*nodes, *low))
    held = list(state.runners.held.values())
    assert len(held) == 2, "one of each priority"
    board, gang = Board.of(state.fleet), Gang(resources=request("H100:8"), size=Range.exactly(2))
    reclaimed = reclaimable(board, state.runners, held)
    assert promising(board, reclaimed, held, (), gang, gang.resources) is not None
    chosen = state.runners.at(attempt_id(WorkloadId("low0"), 0, 1), state.seq)
    assert chosen is not None
    board.give(chosen.attempt)
    board.take_place(places_of(chosen.attempt)[0], WorkloadId("other"))
    assert promising(board, reclaimed, held, (chosen,), gang, gang.resources) is None


# Where the cluster is so large that a plan looks for few -----------------------------------------------------------


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a cluster of 20,000 nodes and attempts."""
    monkeypatch.setattr(preemptor, "LARGE", 0)


@pytest.mark.usefixtures("large")
def test_those_for_whom_nothing_can_be_had_do_not_keep_it_from_those_behind_them() -> None:
    """The first two want neighbours where there are none: each try for them is in vain, plan after plan."""
    nodes = [replace(node(f"n{index}", devices=8), trees={"fabric": ("spine", f"leaf{index}")}) for index in range(3)]
    low = [runs(f"low{index}", "H100:8", [each]) for index, each in enumerate(nodes)]
    rule = PlacementRules(topology=TopologyRule(tree="fabric", level="leaf", mode=TopologyMode.REQUIRED))
    vain = [asks(f"vain{size}", "H100:8", nodes=size, priority=2 * HIGH, rules=rule) for size in (2, 3)]
    state = build(rows_of(*nodes, *low, *vain, asks("big", "H100:8", priority=HIGH)))
    made = {now: plan(state, now) for now in (NOW + second for second in range(12))}
    assert {promise.workload for each in made.values() for promise in each.promises} == {"big"}
    assert all(each.next_wake == now + 1.0 for now, each in made.items()), "the next one is looked at a second later"


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("place", [0, 2, 3, 5, 8])
def test_all_who_wait_are_looked_at_within_some_seconds(place: int) -> None:
    """No node has the CPUs that the others ask for."""
    n1 = node("n1", devices=8)
    shapes = [replace(request("H100:8"), cpu_milli=Range.exactly(100_000 + index)) for index in range(9)]
    shapes[place] = request("H100:8")
    keys = {"priority": HIGH}
    waiting = [workload(f"w{index}", shape, created_at=float(index), **keys) for index, shape in enumerate(shapes)]
    state = build(rows_of(n1, runs("low", "H100:8", [n1]), *waiting))
    helped = [second for second in range(10) if plan(state, NOW + second).promises]
    if place < preemptor.LOOKED_AT:
        assert {0, 2, 4, 6, 8} <= set(helped), "the first in every other second at least"
    else:
        assert 1 <= len(helped) <= 2, "the others in turn"


@pytest.mark.usefixtures("large")
def test_where_more_may_be_had_the_next_plan_follows_at_once() -> None:
    nodes = [node(f"n{index}", devices=8) for index in range(2)]
    low = [runs(f"low{index}", "H100:8", [each]) for index, each in enumerate(nodes)]
    waiting = [asks("one", "H100:8", priority=HIGH), asks("two", "H100:7", priority=HIGH)]
    made = planned(*nodes, *low, *waiting)
    assert ([each.workload for each in made.promises], made.next_wake) == (["one"], NOW)
