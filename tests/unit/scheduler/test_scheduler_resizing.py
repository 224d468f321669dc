"""Gangs that get another size: within their place of a tree, by their neighbours' rules, and as is desired of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_scheduler_preempting import NOW, asks, runs

from ampacity.model.attempt import Attempt
from ampacity.model.event import Row
from ampacity.model.ids import WorkloadId
from ampacity.model.node import Node
from ampacity.model.plan import Plan
from ampacity.model.resources import Counted, Range, ResourceRequest
from ampacity.model.rules import ApartRule, PlacementRules, TopologyMode, TopologyRule
from ampacity.model.site import Site
from ampacity.model.workload import Desired, SpecRevision
from ampacity.scheduler import build, plan
from scheduler_cluster import node, rows_of

ANY = Range(minimum=1, maximum=None)


def leaves(*sizes: int) -> list[Node]:
    """Leaves a, b, … of so many nodes."""
    return [
        replace(node(f"{leaf}{index}", devices=8), trees={"fabric": ("spine", leaf)})
        for leaf, size in zip("abc", sizes, strict=False)
        for index in range(size)
    ]


def rule(mode: TopologyMode) -> PlacementRules:
    return PlacementRules(topology=TopologyRule(tree="fabric", level="leaf", mode=mode))


def sizes(*parts: Row | tuple[Row, ...]) -> dict[str, list[str]]:
    made = plan(build(rows_of(*parts)), NOW)
    return {each.attempt: [place.node for place in each.placements] for each in made.resizes}


@pytest.mark.parametrize("mode", list(TopologyMode))
def test_a_gang_grows_within_its_place_of_the_tree(mode: TopologyMode) -> None:
    nodes = leaves(3, 4)
    one = runs("one", "H100:8", [nodes[1]], size=ANY, rules=rule(mode))
    assert sizes(*nodes, one) == {"one.0.1": ["a0", "a1", "a2"]}, "ranks go by distance"
    full = runs("one", "H100:8", nodes[:3], size=ANY, rules=rule(mode))
    assert sizes(*nodes, full) == {}


def test_a_gang_that_only_would_like_to_be_in_one_place_grows_anywhere_once_it_is_not() -> None:
    nodes = leaves(2, 2)
    apart = [nodes[0], nodes[2]]
    liked = runs("one", "H100:8", apart, size=ANY, rules=rule(TopologyMode.PREFERRED))
    assert sizes(*nodes, liked) == {"one.0.1": ["a0", "a1", "b0", "b1"]}
    required = runs("one", "H100:8", apart, size=ANY, rules=rule(TopologyMode.REQUIRED))
    assert sizes(*nodes, required) == {}
    unknown = PlacementRules(topology=TopologyRule(tree="fabric", level="row", mode=TopologyMode.REQUIRED))
    assert sizes(*nodes, runs("one", "H100:8", [nodes[0]], size=ANY, rules=unknown)) == {}


def test_a_gang_does_not_grow_beside_those_that_it_keeps_apart_from_nor_they_from_it() -> None:
    nodes = [node(f"n{index}", devices=8) for index in range(3)]
    other = runs("other", "H100:2", [nodes[1]])
    shy = PlacementRules(apart=ApartRule(workloads=("name-other",)))
    half = runs("one", "H100:4", [nodes[0]], size=ANY)
    assert sizes(*nodes, other, half) == {"one.0.1": ["n0", "n1", "n2"]}
    assert sizes(*nodes, other, runs("one", "H100:4", [nodes[0]], size=ANY, rules=shy)) == {"one.0.1": ["n0", "n2"]}
    theirs = PlacementRules(apart=ApartRule(workloads=("name-one",)))
    assert sizes(*nodes, runs("other", "H100:2", [nodes[1]], rules=theirs), half) == {"one.0.1": ["n0", "n2"]}


def test_a_gang_grows_no_further_than_licences_and_watts_allow() -> None:
    nodes = [replace(node(f"n{index}", devices=8), feed="pdu") for index in range(4)]
    for keys, site in (
        ({"licences": (Counted(name="sim", amount=1),)}, Site(licences={"sim": 2})),
        ({"power_w": 300}, Site(feeds={"pdu": 700})),
    ):
        gang = licensed(runs("one", "H100:8", [nodes[0]], size=ANY), keys)
        assert sizes(*nodes, site, gang) == {"one.0.1": ["n0", "n1"]}


def licensed(parts: tuple[Row, ...], keys: Any) -> tuple[Row, ...]:
    """Its members ask for that, too, and have it."""
    found: list[Row] = []
    for row in parts:
        if isinstance(row, SpecRevision):
            resources: ResourceRequest = replace(row.spec.resources, **keys)
            row = replace(row, spec=replace(row.spec, resources=resources))
        elif isinstance(row, Attempt):
            row = replace(
                row,
                members=tuple(replace(each, allocation=replace(each.allocation, **keys)) for each in row.members),
            )
        found.append(row)
    return tuple(found)


# What is desired --------------------------------------------------------------------------------------------------


def desired(size: int) -> Desired:
    return Desired(workload=WorkloadId("one"), size=size, version=2)


def wished(size: int, *parts: Row | tuple[Row, ...]) -> Plan:
    return plan(build(rows_of(*parts, desired(size))), NOW)


def test_a_running_gang_gets_the_size_that_is_desired_of_it() -> None:
    nodes = [node(f"n{index}", devices=8) for index in range(4)]
    three = runs("one", "H100:8", nodes[:3], size=Range(minimum=1, maximum=4), placed_at=NOW)
    (resize,) = wished(2, *nodes, three).resizes
    assert [place.node for place in resize.placements] == ["n0", "n1"]
    assert resize.reason == "goes on with 2 of 3 nodes, as is desired of it"
    assert wished(3, *nodes, three).resizes == (), "it has that size, and does not grow beyond it"
    (resize,) = wished(4, *nodes, three).resizes
    assert [place.node for place in resize.placements] == ["n0", "n1", "n2", "n3"]
    assert resize.reason == "goes on with 4 nodes instead of 3: that is desired of it, and there is room"


def test_it_grows_to_that_size_at_once_or_not_at_all_and_not_before_those_who_wait() -> None:
    nodes = [node(f"n{index}", devices=8) for index in range(4)]
    two = runs("one", "H100:8", nodes[:2], size=Range(minimum=1, maximum=4), placed_at=NOW)
    other = runs("other", "H100:8", [nodes[3]])
    assert wished(4, *nodes, two, other).resizes == ()
    assert len(wished(3, *nodes, two, other).resizes) == 1
    wide = asks("wide", "H100:8", nodes=3)
    assert wished(3, *nodes, two, other, wide).resizes == ()


def test_it_is_made_smaller_though_others_wait_and_nobody_takes_more_of_it_than_that() -> None:
    nodes = [node(f"n{index}", devices=8) for index in range(3)]
    three = runs("one", "H100:8", nodes, size=Range(minimum=1, maximum=3))
    made = wished(2, *nodes, three, asks("big", "H100:8", nodes=4))
    assert [len(each.placements) for each in made.resizes] == [2]
    two = runs("one", "H100:8", nodes[:2], size=Range(minimum=1, maximum=3))
    wants = asks("same", "H100:8")
    busy = runs("other", "H100:8", [nodes[2]])
    assert len(plan(build(rows_of(*nodes, two, busy, wants)), NOW).resizes) == 1
    assert wished(2, *nodes, two, busy, wants).resizes == (), "what is desired of it is its least"


def test_one_that_leaves_for_another_in_the_same_plan_is_told_one_thing() -> None:
    nodes = [node(f"n{index}", devices=8) for index in range(3)]
    three = runs("one", "H100:8", nodes, size=Range(minimum=1, maximum=3))
    made = wished(2, *nodes, three, asks("big", "H100:8", nodes=3, priority=100))
    assert [each.attempt for each in made.stops] == ["one.0.1"]
    assert made.resizes == ()
