"""The placement policy in force decides where plans put what fits; services are spread whatever it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_scheduler_state import event

from ampacity.model.attempt import Attempt
from ampacity.model.event import Draft, Event, EventKind, remove
from ampacity.model.ids import WorkloadId
from ampacity.model.plan import Plan
from ampacity.model.policy import DEFAULT_POLICY, PlacementName
from ampacity.model.resources import DeviceShare, Range, ResourceRequest
from ampacity.model.workload import SpecRevision, WorkloadKind
from ampacity.scheduler import State, build, plan
from ampacity.scheduler.chooser import MOST_POLICIES, Policies
from ampacity.scheduler.demand import Demand, ask_of
from ampacity.scheduler.placing import Ask
from scheduler_cluster import GIB, node, request, rows_of, running, workload


def by(name: PlacementName, *parts: object) -> State:
    return build(rows_of(replace(DEFAULT_POLICY, placement=name), *parts))  # type: ignore[arg-type]


def where(made: Plan) -> list[str]:
    return sorted(place.node for start in made.starts for place in start.placements)


def test_spread_and_best_fit_are_opposites() -> None:
    full = node("b", devices=4)
    parts = (node("a", devices=4), full, running("r", full, request("H100:2")), workload("w", request("H100:1")))
    assert where(plan(by(PlacementName.BEST_FIT, *parts), 0)) == ["b"]
    assert where(plan(by(PlacementName.SPREAD, *parts), 0)) == ["a"]


@pytest.mark.parametrize("name", PlacementName)
def test_a_start_says_by_which_policy_it_is_where_it_is(name: PlacementName) -> None:
    (start,) = plan(by(name, node("a", devices=1), workload("w", request("H100:1"))), 0).starts
    assert start.why.startswith(f"{name.value.replace('_', ' ')}: leaves 0 accelerators")


def test_a_share_comes_from_the_device_that_the_policy_names() -> None:
    """Most of what is asked for takes halves: three tenths go where no half is spoilt, not onto the fullest device."""
    there = node("a", devices=2)
    (attempt,) = (row for row in running("r", there, request("H100:0.3")) if isinstance(row, Attempt))
    (member,) = attempt.members
    other = replace(member.allocation, devices=(DeviceShare(device="a-1", milli=300),))
    rows = running("r", there, request("H100:0.3"))
    moved = tuple(replace(row, members=(replace(member, allocation=other),)) if row == attempt else row for row in rows)
    halves = [workload(f"h{index}", request("H100:0.5"), created_at=9.0) for index in range(30)]
    parts = (there, *running("q", there, request("H100:0.2")), moved, workload("w", request("H100:0.3")), *halves)
    given = {}
    for name in (PlacementName.BEST_FIT, PlacementName.FGD, PlacementName.LEAST_WASTE):
        start = next(start for start in plan(by(name, *parts), 10).starts if start.workload == "w")
        given[name] = [share.device for share in start.placements[0].allocation.devices]
    assert given == {
        PlacementName.BEST_FIT: ["a-1"],
        PlacementName.FGD: ["a-0"],
        PlacementName.LEAST_WASTE: ["a-0"],
    }


def service(id: str, replicas: int) -> tuple[object, ...]:
    return tuple(
        replace(row, spec=replace(row.spec, kind=WorkloadKind.SERVICE)) if isinstance(row, SpecRevision) else row
        for row in workload(id, request("H100:1"), replicas=replicas)
    )


@pytest.mark.parametrize("name", PlacementName)
def test_replicas_of_a_service_go_where_the_fewest_of_them_are(name: PlacementName) -> None:
    nodes = [node(id, devices=4) for id in "abc"]
    assert where(plan(by(name, *nodes, *service("s", 7)), 0)).count("a") in (2, 3)
    assert {where(plan(by(name, *nodes, *service("s", 6)), 0)).count(id) for id in "abc"} == {2}
    assert (
        len(set(where(plan(by(PlacementName.BEST_FIT, *nodes, workload("t", request("H100:1"), replicas=3)), 0)))) == 1
    )


def test_demand_follows_from_what_is_live_and_is_told_in_round_numbers() -> None:
    fleet = build(rows_of(node("a", devices=2), node("b", devices=2, kind="A100"))).fleet
    one, other = request("H100:0.5", memory_bytes=GIB), request("A100:2")
    demand, anew = Demand(), Demand()
    demand.put(WorkloadId("w0"), one, 3)
    demand.put(WorkloadId("w1"), one, 5)
    demand.put(WorkloadId("w2"), other, 1)
    demand.put(WorkloadId("w1"), other, 4)
    demand.put(WorkloadId("w2"), None, 0)
    anew.put(WorkloadId("w1"), other, 4)
    anew.put(WorkloadId("w0"), one, 3)
    assert demand.mix(fleet) == anew.mix(fleet)
    assert {(ask.count, ask.device_milli): times for ask, times in demand.mix(fleet)} == {(1, 500): 3, (2, 1000): 4}
    before = demand.mix(fleet)
    demand.put(WorkloadId("w1"), other, 5)
    assert {times for _, times in demand.mix(fleet)} == {3, 6}
    assert demand.mix(fleet) != before


def test_alternatives_that_ask_for_as_many_are_one_ask_on_all_their_kinds() -> None:
    fleet = build(rows_of(node("a", devices=2), node("b", devices=2, kind="A100"))).fleet
    asked = request("H100:2")
    (h100,) = asked.accelerators
    kinds = tuple(replace(h100, kind=kind) for kind in ("H100", "A100", "B200"))
    wide = ResourceRequest(accelerators=(*kinds, replace(h100, kind="A100", count=Range.exactly(4))))
    assert ask_of(wide, fleet) == Ask(cpu_milli=1000, count=2, kinds=(0, 1, 32767))
    assert ask_of(request("2"), fleet).kinds == ()


def test_policies_are_kept_for_the_last_few_demands() -> None:
    policies, mixes = Policies(), [((Ask(cpu_milli=1000 * index), 1),) for index in range(MOST_POLICIES + 1)]
    first = policies.of(PlacementName.FGD, mixes[0])
    assert policies.of(PlacementName.FGD, mixes[0]) is first
    for mix in mixes[1:]:
        policies.of(PlacementName.FGD, mix)
    assert len(policies.made) == MOST_POLICIES
    assert policies.of(PlacementName.FGD, mixes[0]) is not first


def test_what_is_spread_is_held_against_the_largest_node_that_there_is_now() -> None:
    """Six of eight devices are left on one node, seven of sixteen on the one that comes back."""
    small, large = node("n1", devices=8), node("n2", devices=16)
    held = [running("w1", small, request("H100:2")), running("w2", large, request("H100:9"))]
    state = by(PlacementName.SPREAD, small, large, *held, workload("w3", request("H100")))
    state.apply(Event(seq=1, draft=Draft(kind=EventKind.NODE_REMOVED, at=0.0, changes=(remove(large),))))
    assert where(plan(state, 0)) == ["n1"]
    state.apply(event(2, large))
    assert where(plan(state, 0)) == ["n2"]
