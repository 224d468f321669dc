"""The priority that an explanation proposes, and where it proposes none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_scheduler_preempting import HIGH, NOW, SERVICE, asks, of, planned, runs

from ampacity.model.attempt import AttemptPhase
from ampacity.model.event import Row
from ampacity.model.policy import SchedulerPolicy
from ampacity.model.preemption import PreemptionPolicy
from ampacity.model.resources import Range
from ampacity.model.rules import ApartRule, PlacementRules, TopologyMode, TopologyRule
from ampacity.model.workload import GivingWay
from scheduler_cluster import node, rows_of
from scheduler_life import Life


def proposed(*parts: Row | tuple[Row, ...]) -> list[str]:
    """What is said of the priority of ``big``."""
    change = of(planned(*parts), "big").change
    return [part for part in change.split("; or ") if "priority" in part]


def test_the_smallest_priority_that_makes_enough_room_is_proposed() -> None:
    n1 = node("n1", devices=8)
    low = runs("low", "H100:4", [n1])
    high = runs("high", "H100:4", [n1], beside=(low,), priority=HIGH)
    assert proposed(n1, low, high, asks("big", "H100:4")) == ["raise its priority to 1"]
    assert proposed(n1, low, high, asks("big", "H100:8")) == ["raise its priority to 101"]
    assert planned(n1, low, high, asks("big", "H100:8", priority=HIGH)).promises == ()
    made = planned(n1, low, high, asks("big", "H100:8", priority=HIGH + 1))
    assert [each.workload for each in made.promises] == ["big"]


@pytest.mark.parametrize(
    "keys",
    [
        {"kind": SERVICE},
        {"giving_way": GivingWay(preemptible=False)},
        {"giving_way": GivingWay(keep_replicas=1)},
        {"preempted": 1},
        {"queue": "other"},
        {"priority": 1000},
    ],
)
def test_none_is_proposed_over_those_who_would_not_leave_for_it(keys: dict[str, Any]) -> None:
    n1 = node("n1", devices=8)
    assert proposed(n1, runs("low", "H100:8", [n1], **keys), asks("big", "H100:8")) == []
    assert proposed(n1, runs("low", "H100:8", [n1]), asks("big", "H100:8")) == ["raise its priority to 1"]


def test_none_is_proposed_where_places_are_not_taken_or_more_than_room_is_needed() -> None:
    n1, n2 = node("n1", devices=8), node("n2", devices=8)
    off = SchedulerPolicy(preemption=PreemptionPolicy(enabled=False))
    one, two = runs("one", "H100:8", [n1]), runs("two", "H100:8", [n2])
    assert proposed(off, n1, one, asks("big", "H100:8")) == []
    gang = asks("big", "H100:8", nodes=2)
    assert proposed(n1, n2, one, two, gang) == ["raise its priority to 1"]
    tied = PlacementRules(topology=TopologyRule(tree="fabric", level="leaf", mode=TopologyMode.REQUIRED))
    assert proposed(n1, n2, one, two, asks("big", "H100:8", nodes=2, rules=tied)) == [], "they are in no leaf"
    shy = PlacementRules(apart=ApartRule(workloads=("name-one",)))
    assert proposed(n1, n2, one, two, asks("big", "H100:8", nodes=2, rules=shy)) == []


def test_a_gang_that_is_to_stay_together_outranks_those_in_one_place() -> None:
    nodes = [replace(node(f"n{index}", devices=8), trees={"fabric": ("s", f"l{index // 2}")}) for index in range(4)]
    runners = [runs(f"w{index}", "H100:8", [on], priority=10 * index) for index, on in enumerate(nodes)]
    tied = PlacementRules(topology=TopologyRule(tree="fabric", level="leaf", mode=TopologyMode.REQUIRED))
    gang = asks("big", "H100:8", nodes=2, rules=tied)
    assert proposed(*nodes, *runners, gang) == ["raise its priority to 11"]
    made = planned(*nodes, *runners, asks("big", "H100:8", nodes=2, rules=tied, priority=11))
    assert [place.node for each in made.promises for place in each.placements] == ["n0", "n1"]
    other = asks("other", "H100:4", nodes=2, rules=tied, at=1.0)
    assert proposed(*nodes, *runners, gang, other) == [], "not every plan looks for both of them"
    loose = PlacementRules(topology=replace(tied.topology, mode=TopologyMode.PREFERRED))
    assert proposed(*nodes, *runners, asks("big", "H100:8", nodes=2, rules=loose)) == ["raise its priority to 11"]


def test_nobody_counts_who_leaves_for_another_already() -> None:
    nodes = [node(f"n{index}", devices=8) for index in range(2)]
    low = runs("low", "H100:8", [nodes[0]])
    kept = runs("kept", "H100:8", [nodes[1]], giving_way=GivingWay(preemptible=False), size=Range.exactly(1))
    first = asks("first", "H100:8", priority=HIGH)
    assert proposed(*nodes, low, kept, first, asks("big", "H100:8", at=1.0)) == []


def test_what_is_said_stays_though_they_have_left_meanwhile() -> None:
    n1 = node("n1", devices=8)
    rows = rows_of(n1, runs("low", "H100:8", [n1]), asks("big", "H100:8"))
    life = Life(rows, NOW)
    made = life.plan()
    (attempt,) = life.live()
    life.write(replace(attempt, phase=AttemptPhase.FAILED))
    assert of(made, "big").change == "free 8 H100 on n1; or raise its priority to 1"
    assert [each.workload for each in life.plan().starts] == ["big"]
