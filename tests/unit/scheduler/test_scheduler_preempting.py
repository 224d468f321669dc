"""Whose places are taken for whom, on small clusters made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ampacity.model.attempt import Attempt, AttemptPhase, Cause, CauseKind, Member, Progress, StopOrder
from ampacity.model.event import Row, Rows, Table
from ampacity.model.fits import allocate, free_on
from ampacity.model.ids import DEFAULT_QUEUE, QueueName, WorkloadId, attempt_id
from ampacity.model.node import Node
from ampacity.model.plan import Placement, Plan, WaitCode
from ampacity.model.policy import SchedulerPolicy
from ampacity.model.preemption import PreemptionPolicy
from ampacity.model.queue import Queue
from ampacity.model.resources import Counted, Range
from ampacity.model.rules import PlacementRules, TopologyMode, TopologyRule
from ampacity.model.site import Site
from ampacity.model.workload import (
    Desired,
    GivingWay,
    Replica,
    ReplicaPhase,
    SpecRevision,
    Workload,
    WorkloadKind,
)
from ampacity.scheduler import build, plan
from scheduler_cluster import node, request, rows_of, workload

NOW = 10_000.0


def asks(id: str, ask: str, *, nodes: int = 1, at: float = 0.0, **keys: Any) -> tuple[Row, ...]:
    """One that waits."""
    return _with(workload(id, request(ask, cpus=1), num_nodes=Range.exactly(nodes), created_at=at), **keys)


def runs(
    id: str,
    ask: str,
    on: list[Node],
    *,
    beside: tuple[tuple[Row, ...], ...] = (),
    lost_s: float = 100.0,
    size: Range | None = None,
    replica: int = 0,
    preempted: int = 0,
    placed_at: float = 0.0,
    **keys: Any,
) -> tuple[Row, ...]:
    """One that runs on these nodes ``beside`` others, and whose newest checkpoint is so old."""
    resources = request(ask, cpus=1)
    held = [
        (each.node, each.allocation)
        for part in beside
        for row in part
        if isinstance(row, Attempt)
        for each in row.members
    ]
    members = []
    for index, each in enumerate(on):
        allocation = allocate(each, free_on(each, [used for name, used in held if name == each.id]), resources)
        assert allocation is not None
        members.append(Member(index=index, node=each.id, allocation=allocation))
    key = WorkloadId(id)
    attempt = Attempt(
        id=attempt_id(key, replica, 1),
        workload=key,
        replica=replica,
        epoch=1,
        spec_revision=1,
        queue=QueueName(keys.get("queue", DEFAULT_QUEUE)),
        members=tuple(members),
        phase=AttemptPhase.RUNNING,
        placed_at=placed_at,
        started_at=placed_at,
        progress=Progress(at=NOW, step=9, checkpoint_step=8, checkpoint_at=NOW - lost_s),
    )
    parts = workload(id, resources, num_nodes=size or Range.exactly(len(on)), replicas=max(1, replica + 1))
    active = [
        replace(row, phase=ReplicaPhase.ACTIVE, epoch=1, preempted=preempted)
        if getattr(row, "index", None) == replica
        else row
        for row in parts
    ]
    return (*_with(tuple(active), **keys), attempt)  # type: ignore[arg-type]


def _with(parts: tuple[Row, ...], *, kind: WorkloadKind = WorkloadKind.TRAIN, **keys: Any) -> tuple[Row, ...]:
    found: list[Row] = []
    for row in parts:
        if isinstance(row, SpecRevision):
            row = replace(row, spec=replace(row.spec, kind=kind, **keys))
        elif isinstance(row, Workload):
            row = replace(row, kind=kind)
        found.append(row)
    return tuple(found)


def planned(*parts: Row | tuple[Row, ...], now: float = NOW) -> Plan:
    return plan(build(rows_of(*parts)), now)


def stopped(made: Plan) -> list[str]:
    return [each.attempt.partition(".")[0] for each in made.stops]


def of(made: Plan, id: str) -> Any:
    (wait,) = made.waits.of(WorkloadId(id))
    return wait


def told(parts: tuple[Row, ...]) -> tuple[Row, ...]:
    """It is leaving for somebody else."""
    order = StopOrder(reason="", by="scheduler", grace_s=1.0, at=NOW, cause=Cause(kind=CauseKind.PREEMPTED))
    return tuple(
        replace(row, phase=AttemptPhase.STOPPING, stop=order) if isinstance(row, Attempt) else row for row in parts
    )


HIGH = 100


def test_a_higher_priority_takes_the_place_of_a_lower_one_and_is_promised_it() -> None:
    n1 = node("n1", devices=8)
    made = planned(n1, runs("low", "H100:8", [n1]), asks("big", "H100:8", priority=HIGH))
    (stop,) = made.stops
    assert (stop.attempt, stop.grace_s, stop.checkpoint_first) == ("low.0.1", 10.0, True)
    assert stop.reason == "makes room for name-big (big): priority 100 over 0"
    (promise,) = made.promises
    assert (promise.workload, [place.node for place in promise.placements]) == ("big", ["n1"])
    wait = of(made, "big")
    assert wait.code is WaitCode.PREEMPTING
    assert wait.text == "waits until name-low (low) has left the place that was promised to it."
    assert made.starts == ()


@pytest.mark.parametrize("priority", [0, -HIGH])
def test_the_same_or_a_lower_priority_takes_nothing(priority: int) -> None:
    n1 = node("n1", devices=8)
    made = planned(n1, runs("low", "H100:8", [n1]), asks("big", "H100:8", priority=priority))
    assert (made.stops, made.promises) == ((), ())
    assert of(made, "big").code is WaitCode.INSUFFICIENT


def test_another_queue_s_places_are_not_taken_by_priority() -> None:
    n1 = node("n1", devices=8)
    made = planned(n1, runs("low", "H100:8", [n1], queue="theirs"), asks("big", "H100:8", priority=HIGH))
    assert made.stops == ()


def test_nothing_is_stopped_where_there_is_room_or_where_it_would_not_help() -> None:
    n1, n2 = node("n1", devices=8), node("n2", devices=8)
    assert planned(n1, n2, runs("low", "H100:8", [n1]), asks("big", "H100:8", priority=HIGH)).stops == ()
    kept = runs("kept", "H100:1", [n2], priority=HIGH)
    assert planned(n1, n2, runs("low", "H100:8", [n1]), kept, asks("big", "H100:8", nodes=2, priority=HIGH)).stops == ()


def test_the_cheapest_node_is_taken_by_lost_work_since_the_checkpoint() -> None:
    nodes = [node(f"n{index}", devices=8) for index in range(3)]
    runners = [runs(f"w{index}", "H100:8", [nodes[index]], lost_s=lost) for index, lost in enumerate([900, 30, 300])]
    made = planned(*nodes, *runners, asks("big", "H100:8", priority=HIGH))
    assert stopped(made) == ["w1"]


def test_one_large_victim_is_cheaper_than_many_small_ones_with_more_to_lose_in_all() -> None:
    n1, n2 = node("n1", devices=8), node("n2", devices=8)
    small: list[tuple[Row, ...]] = []
    for index in range(8):
        small.append(runs(f"s{index}", "H100:1", [n1], beside=tuple(small), lost_s=500))
    made = planned(n1, n2, *small, runs("large", "H100:8", [n2], lost_s=300), asks("big", "H100:8", priority=HIGH))
    assert stopped(made) == ["large"]
    made = planned(n1, n2, *small, runs("large", "H100:8", [n2], lost_s=900), asks("big", "H100:8", priority=HIGH))
    assert stopped(made) == sorted(f"s{index}" for index in range(8))


def test_only_as_many_go_as_are_needed_and_those_of_the_lowest_priority_first() -> None:
    n1 = node("n1", devices=4)
    first = runs("a", "H100:2", [n1], lost_s=10, priority=-1)
    second = runs("b", "H100:1", [n1], beside=(first,), lost_s=9000, priority=-5)
    third = runs("c", "H100:1", [n1], beside=(first, second), lost_s=10, priority=-1)
    assert stopped(planned(n1, first, second, third, asks("big", "H100:1", priority=HIGH))) == ["b"]
    assert stopped(planned(n1, first, second, third, asks("big", "H100:2", priority=HIGH))) == ["a"]
    made = planned(n1, first, second, third, asks("big", "H100:3", priority=HIGH))
    assert stopped(made) == ["a", "c"], "where a normal one has to go in any case, what they lose decides"


def test_a_gang_goes_whole_and_its_other_nodes_are_used_before_anybody_else_goes() -> None:
    nodes = [node(f"n{index}", devices=8) for index in range(4)]
    wide = runs("wide", "H100:8", nodes[:2], lost_s=100)
    others = [runs(f"o{index}", "H100:8", [nodes[2 + index]], lost_s=150) for index in range(2)]
    made = planned(*nodes, wide, *others, asks("big", "H100:8", nodes=2, priority=HIGH))
    assert stopped(made) == ["wide"]
    made = planned(*nodes, wide, *others, asks("big", "H100:8", nodes=1, priority=HIGH))
    assert stopped(made) == ["o0"], "one node is cheaper without the gang"


def test_the_places_of_those_that_leave_already_are_waited_for_and_no_others_go() -> None:
    n1, n2 = node("n1", devices=8), node("n2", devices=8)
    order = StopOrder(
        reason="makes room", by="scheduler", grace_s=10.0, at=NOW - 1, cause=Cause(kind=CauseKind.PREEMPTED)
    )
    *rest, attempt = runs("low", "H100:8", [n1])
    assert isinstance(attempt, Attempt)
    leaving = replace(attempt, phase=AttemptPhase.STOPPING, stop=order)
    made = planned(n1, n2, *rest, leaving, runs("other", "H100:8", [n2]), asks("big", "H100:8", priority=HIGH))
    assert made.stops == ()
    assert [place.node for place in made.promises[0].placements] == ["n1"]
    assert of(made, "big").text == "waits until name-low (low) has left, by 02:46:49 UTC at the latest."


def test_a_promise_stands_against_all_who_come_later() -> None:
    n1 = node("n1", devices=8)
    low, big = runs("low", "H100:8", [n1]), asks("big", "H100:8", priority=HIGH)
    rows = rows_of(n1, low, big)
    made = plan(build(rows), NOW)
    attempt = rows.attempts["low.0.1"]
    order = StopOrder(reason="", by="scheduler", grace_s=1.0, at=NOW, cause=Cause(kind=CauseKind.PREEMPTED))
    told = replace(attempt, phase=AttemptPhase.STOPPING, stop=order)
    promised = replace(rows.replicas["big.0"], then=made.promises[0].placements)
    higher = asks("higher", "H100:8", priority=2 * HIGH)
    made = plan(build(_replaced(rows, told, promised, *higher)), NOW)
    assert (made.stops, made.starts) == ((), ())
    assert [each.workload for each in made.promises] == ["big"]
    del rows.attempts["low.0.1"]
    made = plan(build(_replaced(rows, promised, *higher)), NOW)
    assert [start.workload for start in made.starts] == ["big"]


def _replaced(rows: Rows, *changed: Row) -> Rows:
    return rows_of(*(row for table in Table for row in rows.table(table).values()), *changed)


def test_who_had_to_leave_before_keeps_its_next_place_for_a_while() -> None:
    n1 = node("n1", devices=8)
    low = runs("low", "H100:8", [n1], preempted=1, placed_at=NOW - 100)
    made = planned(n1, low, asks("big", "H100:8", priority=HIGH))
    assert made.stops == ()
    assert made.next_wake == NOW + 500
    assert stopped(planned(n1, low, asks("big", "H100:8", priority=HIGH), now=NOW + 500)) == ["low"]


def test_a_plan_comes_when_the_first_of_several_may_be_stopped_again() -> None:
    nodes = [node(f"n{index}", devices=8) for index in range(3)]
    ages = (100.0, 300.0, 200.0)
    held = [runs(f"w{i}", "H100:8", [nodes[i]], preempted=1, placed_at=NOW - ages[i]) for i in range(3)]
    assert planned(*nodes, *held, asks("big", "H100:8", priority=HIGH)).next_wake == NOW + 300


def test_who_is_leaving_by_its_owners_wish_makes_no_difference_to_a_promise() -> None:
    n1, n2, n3 = (node(f"n{index}", devices=8) for index in (1, 2, 3))
    given_up = StopOrder(reason="", by="scheduler", grace_s=9.0, at=NOW, cause=Cause(kind=CauseKind.PREEMPTED))
    stopped_by = StopOrder(reason="stopped by anna", by="anna", grace_s=9.0, at=NOW)
    parts: list[Row] = []
    for id, on, order in (("one", n1, given_up), ("two", n2, stopped_by)):
        *rest, attempt = runs(id, "H100:8", [on])
        assert isinstance(attempt, Attempt)
        parts += [*rest, replace(attempt, phase=AttemptPhase.STOPPING, stop=order)]
    other = runs("other", "H100:8", [n3])
    made = planned(n1, n2, n3, *parts, other, asks("big", "H100:8", nodes=2, priority=HIGH))
    assert made.stops == ()
    assert [place.node for place in made.promises[0].placements] == ["n1", "n2"]


def test_the_rows_of_nodes_are_known_anew_when_runners_come_and_nodes_go() -> None:
    n1, n2, n3 = (node(f"n{index}", devices=8) for index in (1, 2, 3))
    state = build(rows_of(n1, n2, n3, runs("a", "H100:8", [n2])))
    assert state.runners.rows_in(state.fleet).tolist() == [state.fleet.row_of[n2.id]]
    more = build(rows_of(n1, n2, n3, runs("b", "H100:8", [n3]))).runners
    for held in more.held.values():
        state.runners.put(WorkloadId("b"), held.runners.values(), ())
    expected = [state.fleet.row_of[id] for id in state.runners.numbers]
    assert state.runners.rows_in(state.fleet).tolist() == expected
    state.fleet.remove_node(n2.id)
    assert state.runners.rows_in(state.fleet).tolist() == [-1, state.fleet.row_of[n3.id]]


@pytest.mark.parametrize(
    ("site", "keys"),
    [
        (Site(licences={"sim": 1}), {"licences": (Counted(name="sim", amount=1),)}),
        (Site(feeds={"pdu": 300}), {"power_w": 200}),
    ],
)
def test_a_promised_place_is_taken_when_the_licences_and_the_watts_are_there_as_well(
    site: Site, keys: dict[str, Any]
) -> None:
    n1, n2 = (replace(node(f"n{index}", devices=8), feed="pdu") for index in (1, 2))
    holder = runs("holder", "H100:8", [n2])
    allocation = replace(holder[-1].members[0].allocation, **keys)  # type: ignore[union-attr]
    member = replace(holder[-1].members[0], allocation=allocation)  # type: ignore[union-attr]
    holder = (*holder[:-1], replace(holder[-1], members=(member,)))  # type: ignore[type-var]
    wants = asks("next", "H100:8")
    shares = tuple(replace(each, device=f"n1-{i}") for i, each in enumerate(allocation.devices))
    then = (Placement(node=n1.id, allocation=replace(allocation, devices=shares)),)
    promised = tuple(replace(row, then=then) if isinstance(row, Replica) else row for row in wants)
    made = planned(site, n1, n2, told(holder), promised)
    assert made.starts == ()
    assert [each.workload for each in made.promises] == ["next"], "they come free when the other has left"
    assert [each.workload for each in planned(site, n1, n2, promised).starts] == ["next"]
    made = planned(site, n1, n2, holder, promised)
    assert made.promises == (), "nobody is leaving who has them"
    assert [place.node for each in made.starts for place in each.placements] == ["n1"], "it is served like all others"


# By their owners' word --------------------------------------------------------------------------------------------

TRAIN, SERVICE, TASK = WorkloadKind.TRAIN, WorkloadKind.SERVICE, WorkloadKind.TASK


def test_a_service_keeps_its_place_unless_its_owner_says_otherwise() -> None:
    n1 = node("n1", devices=8)
    service = runs("svc", "H100:8", [n1], kind=SERVICE)
    assert planned(n1, service, asks("big", "H100:8", priority=HIGH)).stops == ()
    service = runs("svc", "H100:8", [n1], kind=SERVICE, giving_way=GivingWay(preemptible=True))
    assert stopped(planned(n1, service, asks("big", "H100:8", priority=HIGH))) == ["svc"]
    assert planned(n1, service, asks("big", "H100:8")).stops == ()


def test_a_job_may_be_kept_from_giving_way() -> None:
    n1 = node("n1", devices=8)
    job = runs("job", "H100:8", [n1], giving_way=GivingWay(preemptible=False))
    assert planned(n1, job, asks("big", "H100:8", priority=HIGH)).stops == ()


def test_a_service_that_yields_to_training_does_so_at_the_same_priority_and_keeps_what_it_keeps() -> None:
    n1 = node("n1", devices=2)
    yields = GivingWay(yield_to=(TRAIN,), keep_replicas=1)
    one = runs("svc", "H100:1", [n1], kind=SERVICE, giving_way=yields)
    two = runs("svc", "H100:1", [n1], beside=(one,), replica=1, kind=SERVICE, giving_way=yields)
    merged = rows_of(n1, one, two, asks("job", "H100:1"))
    merged.replicas["svc.0"] = replace(merged.replicas["svc.0"], phase=ReplicaPhase.ACTIVE, epoch=1)
    made = plan(build(merged), NOW)
    assert len(made.stops) == 1
    assert made.stops[0].reason.endswith("it yields to a train, as its owner says")
    merged = rows_of(n1, one, two, asks("job", "H100:2"))
    merged.replicas["svc.0"] = replace(merged.replicas["svc.0"], phase=ReplicaPhase.ACTIVE, epoch=1)
    assert plan(build(merged), NOW).stops == (), "one replica is kept"
    assert planned(n1, one, two, asks("job", "H100:1", kind=TASK)).stops == ()


def test_a_service_that_outranks_training_takes_its_place_at_the_same_priority() -> None:
    n1 = node("n1", devices=8)
    outranks = GivingWay(outrank=(TRAIN,))
    made = planned(n1, runs("job", "H100:8", [n1]), asks("svc", "H100:8", kind=SERVICE, giving_way=outranks))
    assert stopped(made) == ["job"]
    assert made.stops[0].reason.endswith("that outranks a train, as its owner says")
    made = planned(
        n1, runs("job", "H100:8", [n1], priority=1), asks("svc", "H100:8", kind=SERVICE, giving_way=outranks)
    )
    assert made.stops == ()


def test_a_service_takes_places_where_it_has_the_fewest_replicas_yet() -> None:
    n1, n2 = node("n1", devices=2), node("n2", devices=2)
    cheap, dear = runs("cheap", "H100:1", [n1], lost_s=10), runs("dear", "H100:2", [n2], lost_s=900)
    first = runs("svc", "H100:1", [n1], beside=(cheap,), kind=SERVICE, priority=HIGH)
    second = replace(
        next(row for row in first if isinstance(row, Replica)), index=1, phase=ReplicaPhase.WAITING, epoch=0
    )
    wish = Desired(workload=WorkloadId("svc"), replicas=2, version=2)
    made = planned(n1, n2, cheap, dear, first, second, wish)
    assert stopped(made) == ["dear"], "the other node, though more is lost there"
    assert [place.node for place in made.promises[0].placements] == ["n2"]
    lower = runs("low", "H100:1", [n1], lost_s=10, priority=-HIGH)
    first = runs("svc", "H100:1", [n1], beside=(lower,), kind=SERVICE, priority=HIGH)
    made = planned(n1, n2, lower, dear, first, second, wish)
    assert stopped(made) == ["low"], "but nobody of a higher class goes for that"
    free = runs("half", "H100:1", [n2])
    leaving = told(runs("gone", "H100:1", [n2], beside=(free,)))
    both = told(cheap)
    made = planned(n1, n2, both, free, leaving, first, second, wish)
    assert [place.node for place in made.promises[0].placements] == ["n2"], "of two places that are left, too"


# Elastic gangs ----------------------------------------------------------------------------------------------------


def test_an_elastic_gang_gives_what_is_beyond_its_least_before_anybody_is_stopped() -> None:
    nodes = [node(f"n{index}", devices=8) for index in range(4)]
    elastic = runs("elastic", "H100:8", nodes[:3], size=Range(minimum=2, maximum=3), lost_s=5000)
    other = runs("other", "H100:8", [nodes[3]], lost_s=1, priority=-1)
    made = planned(*nodes, elastic, other, asks("big", "H100:8", priority=HIGH))
    assert made.stops == ()
    (resize,) = made.resizes
    assert resize.attempt == "elastic.0.1"
    assert len(resize.placements) == 2
    assert resize.reason == "goes on with 2 of 3 nodes: makes room for name-big (big)"
    (promise,) = made.promises
    kept = {place.node for place in resize.placements}
    assert {place.node for place in promise.placements} == {"n0", "n1", "n2"} - kept


def test_what_is_beyond_the_least_goes_to_the_same_priority_too_but_no_whole_gang() -> None:
    nodes = [node(f"n{index}", devices=8) for index in range(3)]
    elastic = runs("elastic", "H100:8", nodes, size=Range(minimum=2, maximum=None))
    assert len(planned(*nodes, elastic, asks("one", "H100:8")).resizes) == 1
    made = planned(*nodes, elastic, asks("two", "H100:8", nodes=2))
    assert (made.resizes, made.stops) == ((), ())
    made = planned(*nodes, elastic, asks("low", "H100:8", priority=-1))
    assert (made.resizes, made.stops) == ((), ())
    made = planned(*nodes, elastic, asks("high", "H100:8", nodes=2, priority=HIGH))
    assert stopped(made) == ["elastic"]


def test_an_elastic_gang_grows_on_room_that_nobody_waits_for() -> None:
    nodes = [node(f"n{index}", devices=8) for index in range(4)]
    elastic = runs("elastic", "H100:8", nodes[:1], size=Range(minimum=1, maximum=3))
    made = planned(*nodes, elastic)
    (resize,) = made.resizes
    assert [place.node for place in resize.placements] == ["n0", "n1", "n2"]
    assert resize.reason == "goes on with 3 nodes instead of 1: there is room that nobody waits for"
    waiting = asks("wide", "H100:8", nodes=4)
    assert planned(*nodes, elastic, waiting).resizes == ()
    unlimited = runs("elastic", "H100:8", nodes[:1], size=Range(minimum=1, maximum=None), queue="a")
    made = planned(*nodes, queue("a", 16, borrows=False), unlimited)
    assert len(made.resizes[0].placements) == 2, "its queue may not use more"


def test_a_gang_grows_only_after_a_while_and_when_it_has_saved_its_state_before() -> None:
    n1, n2 = node("n1", devices=8), node("n2", devices=8)
    size = Range(minimum=1, maximum=2)
    young = runs("elastic", "H100:8", [n1], size=size, placed_at=NOW - 100)
    made = planned(n1, n2, young)
    assert (made.resizes, made.next_wake) == ((), NOW + 200)
    assert len(planned(n1, n2, young, now=NOW + 200).resizes) == 1
    *rest, attempt = runs("elastic", "H100:8", [n1], size=size)
    assert isinstance(attempt, Attempt)
    assert planned(n1, n2, *rest, replace(attempt, progress=None)).resizes == ()
    full = runs("elastic", "H100:8", [n1, n2], size=size)
    assert planned(n1, n2, full).resizes == ()


def test_jobs_are_moved_to_make_a_room_whole_where_that_is_wanted_and_pays() -> None:
    n1, n2, n3 = (node(f"n{index}", devices=8) for index in (1, 2, 3))
    one, two = runs("one", "H100:4", [n1]), runs("two", "H100:4", [n2], lost_s=10)
    long = runs("long", "H100:8", [n3])
    whole = asks("whole", "H100:8")
    assert planned(n1, n2, n3, one, two, long, whole).moves == ()
    wanted = SchedulerPolicy(preemption=PreemptionPolicy(defragment=True))
    made = planned(n1, n2, n3, wanted, one, two, long, whole)
    (move,) = made.moves
    assert (move.attempt, [place.node for place in move.placements]) == ("two.0.1", ["n1"])
    assert [(each.workload, each.placements[0].node) for each in made.promises] == [("whole", "n2")]
    assert made.stops == ()
    dear = SchedulerPolicy(preemption=PreemptionPolicy(defragment=True, defragment_gain=1e9))
    assert planned(n1, n2, n3, dear, one, two, long, whole).moves == ()
    *rest, attempt = two
    assert isinstance(attempt, Attempt)
    *others, first = one
    assert isinstance(first, Attempt)
    unsaved = [(*rest, replace(attempt, progress=None)), (*others, replace(first, progress=None))]
    assert planned(n1, n2, n3, wanted, *unsaved, long, whole).moves == ()


def test_a_gang_that_has_to_be_in_one_place_is_made_room_for_there_though_others_lose_less_elsewhere() -> None:
    nodes = [
        replace(node(f"n{index}", devices=8), trees={"fabric": ("spine", f"leaf{index // 2}")}) for index in range(4)
    ]
    lost = [10, 900, 500, 500]
    runners = [runs(f"w{index}", "H100:8", [nodes[index]], lost_s=lost[index]) for index in range(4)]
    rule = TopologyRule(tree="fabric", level="leaf", mode=TopologyMode.REQUIRED)
    asker = asks("big", "H100:8", nodes=2, priority=HIGH, rules=PlacementRules(topology=rule))
    made = planned(*nodes, *runners, asker)
    assert stopped(made) in (["w0", "w1"], ["w2", "w3"]), "two that are neighbours"
    assert {place.node for place in made.promises[0].placements} == {f"n{id[1]}" for id in stopped(made)}
    kept = runs("w3", "H100:8", [nodes[3]], lost_s=500, priority=HIGH)
    assert stopped(planned(*nodes, *runners[:3], kept, asker)) == ["w0", "w1"]
    other = runs("w1", "H100:8", [nodes[1]], priority=HIGH)
    assert planned(*nodes, runners[0], other, runners[2], kept, asker).stops == ()


# Queues -----------------------------------------------------------------------------------------------------------


def queue(name: str, h100: int, **keys: Any) -> Queue:
    return Queue(name=QueueName(name), quota={"H100": h100 * 1000}, **keys)


def test_a_queue_has_back_what_another_one_borrows_but_no_more() -> None:
    nodes = [node(f"n{index}", devices=8) for index in range(3)]
    a, b = queue("a", 8), queue("b", 16)
    own = runs("own", "H100:8", [nodes[0]], queue="a")
    more = [runs(f"more{index}", "H100:8", [nodes[index]], lost_s=index, queue="a") for index in (1, 2)]
    made = planned(*nodes, a, b, own, *more, asks("back", "H100:8", priority=-HIGH, queue="b"))
    assert stopped(made) == ["more1"], "the one that loses the least; priorities hold within one queue"
    assert made.stops[0].reason == "makes room for name-back (back): the queue a has borrowed what b has a right to"
    made = planned(*nodes, a, b, own, *more, asks("back", "H100:8", nodes=3, queue="b"))
    assert made.stops == (), "it would itself be over its quota"
    made = planned(*nodes, a, queue("b", 24), own, *more, asks("back", "H100:8", nodes=3, queue="b"))
    assert made.stops == (), "the other one is at its quota once two are gone, and keeps the third"
    shy = queue("b", 16, reclaims=False)
    assert planned(*nodes, a, shy, own, *more, asks("back", "H100:8", queue="b")).stops == ()
    kept = [
        runs(f"kept{index}", "H100:8", [each], queue="a", giving_way=GivingWay(preemptible=False))
        for index, each in enumerate(nodes)
    ]
    assert planned(*nodes, a, b, *kept, asks("back", "H100:8", queue="b")).stops == ()


def test_what_is_within_the_quota_is_not_reclaimed() -> None:
    n1, n2 = node("n1", devices=8), node("n2", devices=8)
    held = [runs("one", "H100:8", [n1], queue="a"), runs("two", "H100:8", [n2], queue="a")]
    assert planned(n1, n2, queue("a", 16), queue("b", 8), *held, asks("back", "H100:8", queue="b")).stops == ()


def test_elastic_gangs_of_the_debtor_are_made_smaller_first() -> None:
    nodes = [node(f"n{index}", devices=8) for index in range(3)]
    elastic = runs("elastic", "H100:8", nodes[:2], size=Range(minimum=1, maximum=2), queue="a", priority=HIGH)
    other = runs("other", "H100:8", [nodes[2]], queue="a", priority=-HIGH)
    made = planned(*nodes, queue("a", 8), queue("b", 8), elastic, other, asks("back", "H100:8", queue="b"))
    assert made.stops == ()
    assert [len(resize.placements) for resize in made.resizes] == [1]


def test_a_higher_priority_takes_what_its_queue_may_use_from_a_lower_one_though_there_is_room() -> None:
    n1, n2 = node("n1", devices=8), node("n2", devices=8)
    limited = queue("a", 8, borrows=False)
    low = runs("low", "H100:8", [n1], queue="a")
    assert planned(n1, n2, limited, low, asks("same", "H100:8", queue="a")).stops == ()
    rows = rows_of(n1, n2, limited, low, asks("big", "H100:8", queue="a", priority=HIGH))
    made = plan(build(rows), NOW)
    assert stopped(made) == ["low"]
    assert of(made, "big").text == "waits until name-low (low) has left the place that was promised to it."
    order = StopOrder(reason="", by="scheduler", grace_s=1.0, at=NOW, cause=Cause(kind=CauseKind.PREEMPTED))
    told = replace(rows.attempts["low.0.1"], phase=AttemptPhase.STOPPING, stop=order)
    promised = replace(rows.replicas["big.0"], then=made.promises[0].placements)
    made = plan(build(_replaced(rows, told, promised)), NOW)
    assert (made.starts, len(made.promises)) == ((), 1), "the quota holds until the other has left"
    assert of(made, "big").text == "waits until name-low (low) has left, by 02:46:41 UTC at the latest."
    del rows.attempts["low.0.1"]
    made = plan(build(_replaced(rows, promised)), NOW)
    assert [start.workload for start in made.starts] == ["big"]


def test_who_left_a_place_lately_is_not_moved_and_nobody_is_moved_twice() -> None:
    n1, n2, n3 = (node(f"n{index}", devices=8) for index in (1, 2, 3))
    wanted = SchedulerPolicy(preemption=PreemptionPolicy(defragment=True))
    one = runs("one", "H100:4", [n1], preempted=1, placed_at=NOW - 100)
    two = runs("two", "H100:4", [n2], preempted=1, placed_at=NOW - 100)
    whole, long = asks("whole", "H100:8"), runs("long", "H100:8", [n3])
    assert planned(n1, n2, n3, wanted, one, two, long, whole).moves == ()
    settled = runs("two", "H100:4", [n2], preempted=1, placed_at=NOW - 700)
    made = planned(n1, n2, n3, wanted, one, settled, long, whole)
    assert [each.attempt for each in made.moves] == ["two.0.1"]
    both = [runs("one", "H100:4", [n1]), runs("two", "H100:4", [n2])]
    made = planned(n1, n2, n3, wanted, *both, long, whole, asks("next", "H100:8", at=1.0))
    assert len(made.moves) == 1


def test_of_two_gangs_that_could_grow_the_one_of_the_higher_priority_does() -> None:
    nodes = [node(f"n{index}", devices=8) for index in range(3)]
    size = Range(minimum=1, maximum=2)
    low = runs("a", "H100:8", [nodes[0]], size=size)
    high = runs("b", "H100:8", [nodes[1]], size=size, priority=HIGH)
    assert [each.attempt for each in planned(*nodes, low, high).resizes] == ["b.0.1"]
