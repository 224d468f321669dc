"""Pools that place by themselves: a gang is asked of one of them as a whole, and no place there is ours to give."""

from __future__ import annotations

from dataclasses import replace

from test_scheduler_preempting import NOW, asks, runs

from ampacity.model.event import Draft, Event, EventKind, Row, Table, put
from ampacity.model.ids import PoolName
from ampacity.model.node import Node, Pool
from ampacity.model.plan import Plan
from ampacity.model.resources import Range
from ampacity.model.rules import PlacementRules, TopologyMode, TopologyRule
from ampacity.scheduler import build, plan
from scheduler_cluster import node, request, rows_of, running, workload

A, B = PoolName("a"), PoolName("b")
POOLS = tuple(Pool(name=name, driver="fake", places_itself=True) for name in (A, B))


def nodes(own: int, a: int = 0, b: int = 0) -> list[Node]:
    made = [node(f"n{i}", devices=8) for i in range(own)]
    made += [replace(node(f"a{i}", devices=8), pool=A) for i in range(a)]
    return made + [replace(node(f"b{i}", devices=8), pool=B) for i in range(b)]


def planned(*rows: Row | tuple[Row, ...], now: float = 0.0) -> Plan:
    return plan(build(rows_of(*POOLS, *rows)), now)


def places(made: Plan) -> list[str]:
    return sorted(place.node for start in made.starts if start.workload == "w" for place in start.placements)


def gang(size: int) -> tuple[Row, ...]:
    return workload("w", request("H100:8"), num_nodes=Range.exactly(size))


def test_a_gang_is_of_one_pool_our_own_nodes_first() -> None:
    assert places(planned(*nodes(2, 3, 4), gang(2))) == ["n0", "n1"]
    made = planned(*nodes(2, 3, 4), gang(3))
    assert places(made) == ["a0", "a1", "a2"]
    assert made.starts[0].why.endswith("; the pool a decides where")
    assert places(planned(*nodes(2, 3, 4), gang(4))) == ["b0", "b1", "b2", "b3"]
    assert "pool" not in planned(*nodes(2, 3, 4), gang(2)).starts[0].why


def test_what_no_pool_has_by_itself_waits_and_fewer_nodes_start() -> None:
    made = planned(*nodes(2, 3, 1), gang(4))
    assert places(made) == []
    (wait,) = made.waits
    assert wait.text == "needs 4 nodes that one and the same place gives out; the most with room are 3, in the pool a."
    assert wait.change == "ask for 3 nodes"
    assert places(planned(*nodes(2, 3, 1), gang(3))) == ["a0", "a1", "a2"]


def test_its_expected_start_is_that_of_one_pool() -> None:
    """Two nodes of the one pool come free at 100, one of each pool at 50."""
    machines = nodes(0, 2, 1)
    ends = {"a0": 50.0, "a1": 100.0, "b0": 50.0}
    held = [running(f"on-{each.id}", each, request("H100:8"), lasts_s=ends[each.id]) for each in machines]
    made = planned(*machines, *held, gang(2))
    (reserved,) = made.reservations
    assert reserved.from_s >= 100.0
    assert sorted(place.node for place in reserved.placements) == ["a0", "a1"]


def test_together_in_a_place_means_in_one_pool_as_well() -> None:
    machines = [replace(each, trees={"fabric": ("s", "leaf")}) for each in nodes(1, 1)]
    rules = PlacementRules(topology=TopologyRule(tree="fabric", level="leaf", mode=TopologyMode.REQUIRED))
    asker = asks("w", "H100:8", nodes=2, rules=rules)
    assert places(planned(*machines, asker)) == []
    more = [replace(each, trees={"fabric": ("s", "leaf")}) for each in nodes(1, 2)]
    assert places(planned(*more, asker)) == ["a0", "a1"]


def test_nobody_is_stopped_in_a_pool_for_a_place_that_would_not_be_ours() -> None:
    low = runs("low", "H100:8", nodes(0, 1), priority=-100)
    high = asks("w", "H100:8", priority=100)
    made = planned(*nodes(0, 1), low, high, now=NOW)
    assert (made.stops, made.promises) == ((), ())
    own = runs("low", "H100:8", nodes(1), priority=-100)
    assert [stop.attempt for stop in planned(*nodes(1), own, high, now=NOW).stops] == ["low.0.1"]


def test_gangs_do_not_grow_in_a_pool_or_into_one() -> None:
    machines = nodes(2, 2)
    inside = runs("w", "H100:8", [machines[2]], size=Range(minimum=1, maximum=None))
    assert planned(*machines, inside, now=NOW).resizes == ()
    outside = runs("w", "H100:8", [machines[0]], size=Range(minimum=1, maximum=None))
    (resize,) = planned(*machines, outside, now=NOW).resizes
    assert [place.node for place in resize.placements] == ["n0", "n1"]


def test_a_pool_that_comes_and_goes_is_heeded_at_once() -> None:
    machines = nodes(1, 1)
    rows = rows_of(
        *machines, runs("low", "H100:8", [machines[1]], priority=-100), asks("w", "H100:8", nodes=2, priority=9)
    )
    state = build(rows)
    for itself in (True, False, True):
        pool = Pool(name=A, driver="fake", places_itself=itself, version=rows.version(Table.POOLS, A) + 1)
        draft = Draft(kind=EventKind.POOL_CHANGED, at=0.0, changes=(put(pool),))
        rows.apply(event := Event(seq=rows.seq + 1, draft=draft))
        state.apply(event)
        assert state == build(rows)
        made = plan(state, NOW)
        assert made == plan(build(rows), NOW)
        assert [stop.attempt for stop in made.stops] == ([] if itself else ["low.0.1"])


def test_a_node_that_joins_a_pool_takes_who_runs_there_out_of_reach() -> None:
    (machine,) = nodes(1)
    rows = rows_of(*POOLS, machine, runs("low", "H100:8", [machine], priority=-100), asks("w", "H100:8", priority=9))
    state = build(rows)
    for pool, stopped in ((A, []), (PoolName("default"), ["low.0.1"])):
        moved = replace(rows.nodes[machine.id], pool=pool, version=rows.nodes[machine.id].version + 1)
        draft = Draft(kind=EventKind.NODE_CHANGED, at=0.0, changes=(put(moved),))
        rows.apply(event := Event(seq=rows.seq + 1, draft=draft))
        state.apply(event)
        assert plan(state, NOW) == plan(build(rows), NOW)
        assert [stop.attempt for stop in plan(state, NOW).stops] == stopped


def test_a_gang_heeds_at_once_that_a_node_came_to_a_pool_or_left_it() -> None:
    first, second = nodes(2)
    rows = rows_of(*POOLS, first, second, gang(2))
    state = build(rows)
    assert places(plan(state, 0.0)) == ["n0", "n1"]
    for pool in (A, B, PoolName("default")):
        moved = replace(rows.nodes[second.id], pool=pool, version=rows.nodes[second.id].version + 1)
        draft = Draft(kind=EventKind.NODE_CHANGED, at=0.0, changes=(put(moved),))
        rows.apply(event := Event(seq=rows.seq + 1, draft=draft))
        state.apply(event)
        assert places(plan(state, 0.0)) == ([] if pool in (A, B) else ["n0", "n1"])
