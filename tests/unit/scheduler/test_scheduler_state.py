"""State: dropping what ended, remembering what others come after, and the fleet and what is left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ampacity.model.attempt import Attempt, AttemptPhase
from ampacity.model.event import Draft, Event, EventKind, Row, Rows, Table, Touch, put, remove
from ampacity.model.fits import capacity, less
from ampacity.model.ids import NodeId, WorkloadId
from ampacity.model.node import Health
from ampacity.model.policy import Points, SchedulerPolicy
from ampacity.model.rules import ApartRule, PlacementRules
from ampacity.model.workload import Desired, Replica, SpecRevision, Workload, WorkloadPhase
from ampacity.scheduler import State, build, plan
from scheduler_cluster import node, request, rows_of, running, workload


def event(seq: int, *rows: Row, touches: tuple[Touch, ...] = (), kind: EventKind = EventKind.WORKLOAD_CHANGED) -> Event:
    return Event(seq=seq, draft=Draft(kind=kind, at=0.0, changes=tuple(put(row) for row in rows), touches=touches))


def ended(row: Row, phase: WorkloadPhase = WorkloadPhase.SUCCEEDED) -> Workload:
    assert isinstance(row, Workload)
    return replace(row, phase=phase, version=row.version + 1)


def test_an_ended_workload_is_dropped_with_all_its_rows() -> None:
    n1 = node("n1", devices=2)
    parts = running("w1", n1, request("H100:1"))
    attempt = parts[-1]
    assert isinstance(attempt, Attempt)
    state = build(rows_of(n1, parts))
    assert state.fleet.free(n1.id) == less(capacity(n1), attempt.members[0].allocation)
    state.apply(event(1, replace(attempt, phase=AttemptPhase.SUCCEEDED, version=2), ended(parts[0])))
    empty = build(rows_of(n1))
    empty.seq = 1
    assert state == empty


def test_it_remembers_what_a_live_one_comes_after_and_only_so_long() -> None:
    first, second = workload("w1"), workload("w2", after=("w1",))
    state = build(rows_of(node("n1"), first, second))
    state.apply(event(1, ended(first[0])))
    assert [start.workload for start in plan(state, 0.0).starts] == ["w2"]
    assert set(state.ended) == {"w1"}
    state.apply(event(2, ended(second[0])))
    assert state.ended == {}
    assert state.dependants == {}


def test_rows_of_workloads_that_are_not_held_are_passed_over() -> None:
    state = build(rows_of(node("n1")))
    _, spec, desired, replica = workload("w1")
    state.apply(event(1, spec, desired, replica, touches=(Touch(table=Table.WORKLOADS, key="w1", version=9),)))
    assert state.live == {}
    assert state.line.all() == []


def test_an_attempt_holds_its_place_though_its_workload_has_ended() -> None:
    n1 = node("n1", devices=1)
    parts = running("w1", n1, request("H100:1"), phase=AttemptPhase.STOPPING)
    state = build(rows_of(n1, parts))
    state.apply(event(1, ended(parts[0], WorkloadPhase.CANCELLED)))
    assert state.fleet.free(n1.id).device_milli == {"n1-0": 0}
    assert plan(build(rows_of(n1, parts, workload("w2", request("H100:1")))), 0.0).starts == ()


def test_a_node_that_comes_back_or_changes_counts_what_runs_there() -> None:
    n1 = node("n1", devices=2)
    parts = running("w1", n1, request("H100:1"))
    state = build(rows_of(n1, parts))
    state.apply(Event(seq=1, draft=Draft(kind=EventKind.NODE_REMOVED, at=0.0, changes=(remove(n1),))))
    assert n1.id not in state.fleet.row_of
    state.apply(event(2, n1))
    assert state.fleet.free(n1.id).device_milli == {"n1-0": 0, "n1-1": 1000}
    worse = replace(n1, devices=tuple(replace(device, health=Health.FAILED) for device in n1.devices), version=2)
    state.apply(event(3, worse))
    assert state.fleet.free(n1.id).device_milli == {}
    attempt = parts[-1]
    assert isinstance(attempt, Attempt)
    state.apply(event(4, replace(attempt, phase=AttemptPhase.FAILED, version=2)))
    state.apply(event(5, replace(n1, version=3)))
    assert state.fleet.free(n1.id) == capacity(n1)


def test_a_touch_raises_the_version_alone() -> None:
    n1 = node("n1")
    state = build(rows_of(n1))
    state.apply(event(1, touches=(Touch(table=Table.NODES, key="n1", version=2),)))
    assert state.fleet.get(NodeId("n1")) == replace(n1, version=2)


def test_a_snapshot_replaces_everything() -> None:
    n1, n2 = node("n1", devices=1), node("n2")
    state = build(rows_of(n2, workload("w9", after=("w8",))))
    parts = running("w1", n1, request("H100:1"))
    state.apply(event(7, n1, *parts, kind=EventKind.SNAPSHOT))
    expected = build(rows_of(n1, parts))
    expected.seq = 7
    assert state == expected


def test_an_empty_state_is_that_of_no_rows() -> None:
    assert build(Rows()) == State()
    assert WorkloadId("w1") not in State().live


def test_the_work_behind_one_that_waits_counts_no_more_once_it_has_ended() -> None:
    policy = SchedulerPolicy(points=Points(critical_path=5.0))
    first, second = workload("w1"), workload("w2", after=("w1",), limit_s=100.0)
    third = workload("w3", after=("w2",), limit_s=50.0)
    state = build(rows_of(policy, first, second, third))
    assert [want.behind_s for want in state.wants(WorkloadId("w1"))] == [150.0]
    state.apply(event(1, ended(third[0], WorkloadPhase.CANCELLED)))
    (want,) = [each for each in state.line.all() if each.workload.id == "w1"]
    assert want.behind_s == 100.0


def test_why_one_waits_is_said_as_of_the_plan_also_when_it_is_read_after_the_other_has_ended() -> None:
    n1 = node("n1", devices=1)
    parts = running("w1", n1, request("H100:1"))
    state = build(rows_of(n1, parts, workload("w2", request("H100:1"))))
    made, again = plan(state, 0.0), plan(state, 0.0)
    (expected,) = again.waits
    assert "name-w1 (w1)" in expected.text
    attempt = parts[-1]
    assert isinstance(attempt, Attempt)
    state.apply(event(1, replace(attempt, phase=AttemptPhase.SUCCEEDED, version=2), ended(parts[0])))
    assert list(made.waits) == [expected]


def test_a_rule_that_keeps_apart_is_forgotten_when_its_workload_has_ended() -> None:
    n1 = node("n1")
    apart = PlacementRules(apart=ApartRule(workloads=("name-w2",)))
    parts = tuple(
        replace(row, spec=replace(row.spec, rules=apart)) if isinstance(row, SpecRevision) else row
        for row in running("w1", n1, request(cpus=1))
    )
    state = build(rows_of(n1, parts, workload("w2")))
    assert plan(state, 0.0).starts == ()
    attempt = parts[-1]
    assert isinstance(attempt, Attempt)
    state.apply(event(1, replace(attempt, phase=AttemptPhase.SUCCEEDED, version=2), ended(parts[0])))
    assert [start.workload for start in plan(state, 0.0).starts] == ["w2"]
    assert state.neighbours == build(rows_of(n1, workload("w2"))).neighbours


@pytest.mark.parametrize(("kind", "left"), [(SpecRevision, 0), (Desired, 0), (Replica, 1)])
def test_a_part_of_a_workload_that_is_removed_counts_no_more(kind: type[Row], left: int) -> None:
    n1, parts = node("n1"), workload("w1", replicas=2)
    part = next(row for row in parts if isinstance(row, kind))
    state = build(rows_of(n1, parts))
    state.apply(Event(seq=1, draft=Draft(kind=EventKind.WORKLOAD_CHANGED, at=0.0, changes=(remove(part),))))
    without = build(rows_of(n1, *(row for row in parts if row is not part)))
    without.seq = 1
    assert state == without
    assert plan(state, 0.0).starts == plan(without, 0.0).starts
    assert len(plan(state, 0.0).starts) == left
