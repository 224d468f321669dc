"""Small parts of the scheduler by themselves: what a run of the mutation benchmark showed that no test looked at."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_scheduler_state import event

from ampacity.model.attempt import Attempt
from ampacity.model.history import RuntimeHistory
from ampacity.model.ids import DeviceId, NodeId, QueueName, WorkloadId
from ampacity.model.node import Device, Node
from ampacity.model.plan import Placement
from ampacity.model.policy import Multifactor, OrderName, SchedulerPolicy
from ampacity.model.queue import Queue
from ampacity.model.resources import Allocation, Counted, DeviceShare, Range, ResourceRequest
from ampacity.model.rules import ApartRule, PlacementRules
from ampacity.model.site import Site
from ampacity.model.workload import SpecRevision
from ampacity.scheduler import build, could_ever_fit, plan
from ampacity.scheduler.backfill.held import _beyond, _larger
from ampacity.scheduler.board import Board
from ampacity.scheduler.demand import Demand, ask_of
from ampacity.scheduler.fleet import Fleet
from ampacity.scheduler.order import Want
from ampacity.scheduler.ordering.base import Circumstances
from ampacity.scheduler.ordering.fair import LARGE, ByFactors
from ampacity.scheduler.ordering.sized import LeastAttained
from ampacity.scheduler.outlook import _nth
from ampacity.scheduler.placing import Ask, PolicyName, Room, make
from ampacity.scheduler.placing.least_waste import lost_of_pieces
from ampacity.scheduler.placing.pressure import _allowed
from ampacity.scheduler.placing.rules import LEVELS
from ampacity.scheduler.placing.simple import GpuClustering
from ampacity.scheduler.placing.throughput import rates
from ampacity.scheduler.queues.rules import lent
from ampacity.scheduler.queues.tree import QueueTree
from scheduler_cluster import GIB, node, request, rows_of, running, workload

# Amounts that are held ------------------------------------------------------------------------------------------------

milli = st.one_of(st.integers(1, 3), st.integers(1, 1000))
shares = st.dictionaries(st.sampled_from(["d0", "d1", "d2"]), milli).map(
    lambda found: tuple(DeviceShare(device=device, milli=milli) for device, milli in found.items())
)
allocations = st.builds(
    Allocation,
    cpu_milli=st.integers(0, 9),
    memory_bytes=st.integers(0, 9),
    disk_bytes=st.integers(0, 9),
    devices=shares,
)


def amounts(each: Allocation) -> dict[str, int]:
    found = {"cpu": each.cpu_milli, "memory": each.memory_bytes, "disk": each.disk_bytes}
    return {**found, **{share.device: share.milli for share in each.devices}}


@given(one=allocations, other=allocations)
def test_of_what_is_held_twice_the_larger_part_is_held(one: Allocation, other: Allocation) -> None:
    a, b, both, more = (amounts(each) for each in (one, other, _larger(one, other), _beyond(one, other)))
    for name in {*a, *b}:
        assert both[name] == max(a.get(name, 0), b.get(name, 0))
        assert both[name] == b.get(name, 0) + more.get(name, 0)
    assert all(share.milli > 0 for share in _beyond(one, other).devices)


# Boards and fleets ----------------------------------------------------------------------------------------------------


def fleet_of(*nodes: Node, site: Site | None = None) -> Fleet:
    fleet = Fleet()
    for each in nodes:
        fleet.put_node(each)
    if site is not None:
        fleet.put_site(site)
    return fleet


def test_what_comes_free_on_an_unknown_node_leaves_nothing_but_its_licences() -> None:
    known, gone = node("n1", devices=2), node("n9", devices=2)
    *_, attempt = running("w1", gone, request("H100:2"))
    assert isinstance(attempt, Attempt)
    licensed = replace(attempt.members[0].allocation, licences=(Counted(name="sim", amount=2),))
    attempt = replace(attempt, members=(replace(attempt.members[0], allocation=licensed),))
    fleet = fleet_of(known, node("n2"), site=Site(licences={"sim": 3}))
    fleet.hold(attempt)
    for give in (
        lambda board: board.give(attempt),
        lambda board: board.give_place(Placement(node=gone.id, allocation=licensed)),
    ):
        board = Board.of(fleet)
        assert board.licences_left("sim") == 1
        give(board)
        assert board.licences_left("sim") == 3
        assert all(board.free(each) == fleet.free(each) for each in (known.id, NodeId("n2")))


def test_an_attempt_that_is_given_back_leaves_the_node_as_it_was() -> None:
    n1 = node("n1", devices=2)
    *_, attempt = running("w1", n1, request("H100:2", cpus=3))
    assert isinstance(attempt, Attempt)
    fleet = fleet_of(n1)
    empty = fleet.free(n1.id)
    fleet.hold(attempt)
    board = Board.of(fleet)
    board.give(attempt)
    assert board.free(n1.id) == empty


def test_fleets_are_others_by_any_single_difference() -> None:
    n1 = node("n1", devices=2)
    *_, attempt = running("w1", n1, request("H100"))
    assert isinstance(attempt, Attempt)
    held, bare = fleet_of(n1), fleet_of(n1)
    assert held == bare
    held.hold(attempt)
    assert held != bare
    assert fleet_of(n1, site=Site(licences={"sim": 1})) != bare
    assert fleet_of(n1, node("n2")) != bare
    licensed = fleet_of(n1)
    licensed.licences_used["sim"] = 1
    assert licensed != bare
    assert fleet_of(replace(n1, labels={"zone": "a"})) != bare, "the same amounts"
    for column in ("cpu_left", "power_used_w"):
        drifted = fleet_of(n1)
        getattr(drifted, column)[drifted.row_of[n1.id]] += 1
        assert drifted != bare, column


def test_a_node_that_went_leaves_nothing_counted_behind_it() -> None:
    fleet = fleet_of(replace(node("n1"), counted={"fpga": 2}))
    row = fleet.row_of[NodeId("n1")]
    assert fleet.counted_left["fpga"][row] == 2
    fleet.remove_node(NodeId("n1"))
    assert fleet.counted_left["fpga"][row] == 0
    assert fleet.kinds_there() == []
    assert not fleet.open[row]
    amounts = (
        fleet.cpu_total,
        fleet.cpu_left,
        fleet.memory_total,
        fleet.memory_left,
        fleet.disk_total,
        fleet.disk_left,
    )
    assert not any(column.any() for column in (*amounts, fleet.device_total, fleet.device_left, fleet.power_used_w))


# Demand ---------------------------------------------------------------------------------------------------------------


def test_who_asks_for_no_device_asks_for_none_and_means_of_memory_are_of_all() -> None:
    fleet = fleet_of(node("n1", devices=2))
    assert ask_of(request(cpus=2), fleet).count == 0
    assert Ask(cpu_milli=1).total_milli == 0
    demand = Demand()
    demand.put(WorkloadId("a"), request("H100", memory_bytes=4 * GIB), 1)
    demand.put(WorkloadId("b"), request("H100", memory_bytes=16 * GIB), 1)
    ((ask, members),) = demand.mix(fleet)
    assert members == 2
    assert 9 * GIB < ask.memory_bytes < 12 * GIB


def test_a_kind_that_nobody_has_loads_no_kind() -> None:
    assert _allowed((2,), 2).tolist() == [0, 0]
    assert _allowed((1, 2), 2).tolist() == [0, 1]
    assert _allowed((), 2).tolist() == [1, 1]
    assert not Ask(cpu_milli=1, count=1, kinds=(2,)).allowed(2).any(), "nor does it fit where there is no device"


def test_of_whole_devices_alone_a_piece_is_lost_as_a_whole() -> None:
    lost = lost_of_pieces(((Ask(cpu_milli=1000, count=1), 5),))
    assert lost[LEVELS] == pytest.approx(0.0)
    assert lost[LEVELS // 2] == pytest.approx(500.0)
    assert lost[0] == 0.0


def test_what_gpu_clustering_was_told_of_is_forgotten_when_it_leaves() -> None:
    policy = GpuClustering(compiled=False)
    asks = [Ask(cpu_milli=1, count=1, device_milli=500), Ask(cpu_milli=1, count=2), Ask(cpu_milli=1, count=12)]
    for ask in asks:
        policy.hold(3, ask)
    assert policy._classes[3].sum() == 3
    for ask in asks:
        policy.release(3, ask)
    assert not policy._classes.any()


@pytest.mark.parametrize("name", [each for each in PolicyName if each is not PolicyName.RANDOM])
def test_what_a_policy_keeps_of_the_nodes_holds_when_more_join_and_others_go(name: PolicyName) -> None:
    ask = Ask(cpu_milli=1000, count=1, device_milli=500)
    kept = make(name, mix=[(ask, 1)])
    nodes = [node(f"n{index}", devices=1 + index % 4, kind="H100" if index < 6 else "A100") for index in range(12)]
    fleet = Fleet()
    changes = [partial(fleet.put_node, each) for each in nodes]
    for change in (*changes, partial(fleet.remove_node, nodes[3].id)):
        change()
        room, fresh = Room.of(Board.of(fleet)), make(name, mix=[(ask, 1)])
        for each in (kept, fresh):
            each.begin(room)
        assert kept.choose(room, ask, count=3) == fresh.choose(room, ask, count=3)


def test_rates_below_one_step_a_second_tell_a_ratio_as_well() -> None:
    others = [{"H100": 0.4, "A100": 0.1}]
    found = rates(["A100"], given={}, measured={"H100": 1.0}, others=others)
    assert found["A100"].steps_per_s == pytest.approx(0.25)
    in_part = [*others, {"H100": 9.0}, {"A100": 9.0}]
    assert rates(["A100"], given={}, measured={"H100": 1.0}, others=in_part) == found, (
        "of the two kinds both are needed"
    )


# Orders ---------------------------------------------------------------------------------------------------------------


def want(asked: ResourceRequest, *, nodes: int = 1, ran_s: float = 0.0) -> Want:
    rows = rows_of(workload("w", asked, num_nodes=Range.exactly(nodes), ran_s=ran_s))
    state = build(rows)
    (found,) = state.wants(WorkloadId("w"))
    return found


def test_no_job_counts_as_larger_than_the_largest() -> None:
    order = ByFactors(Multifactor(age=0.0, priority=0.0, size=500.0))
    sizes = [order.standing(want(request("H100:8"), nodes=nodes))[1] for nodes in (LARGE // 16, LARGE // 8, LARGE)]
    assert sizes == [250.0, 500.0, 500.0]


def test_attained_service_is_counted_in_accelerator_seconds() -> None:
    order = LeastAttained()
    one, eight = (order.standing(want(request(ask), ran_s=100.0))[1] for ask in ("H100", "H100:8"))
    assert (one, eight) == (-6.0, -9.0), "octaves of 101 and of 801"
    assert order.pull(want(request()), Circumstances(now=0, fairness=1, history=None, expected_s=1)) == 0.0


@pytest.mark.parametrize("order", [OrderName.GITTINS, OrderName.SHORTEST_REMAINING])
def test_what_is_learned_of_a_kind_orders_those_with_a_limit_too(order: OrderName) -> None:
    long, short = RuntimeHistory(key="default/default/train/name-a"), RuntimeHistory(key="default/default/train/name-b")
    for _ in range(5):
        long, short = long.with_run(5000.0, 0.0), short.with_run(10.0, 0.0)
    jobs = [workload(id, limit_s=6000.0, created_at=at) for id, at in (("a1", 1.0), ("b1", 2.0))]
    state = build(rows_of(node("n1"), SchedulerPolicy(order=order), long, short, *jobs))
    assert [start.workload for start in plan(state, 10.0).starts] == ["b1", "a1"]
    turned = [replace(short, key=long.key, version=2), replace(long, key=short.key, version=2)]
    state.apply(event(1, *turned))
    assert [start.workload for start in plan(state, 10.0).starts] == ["a1", "b1"], "learned anew"


# What is said ---------------------------------------------------------------------------------------------------------


def test_numbers_of_places() -> None:
    said = "1st 2nd 3rd 4th 9th 10th 11th 12th 13th 20th 21st 22nd 23rd 24th 101st 110th 111th 113th 121st"
    numbers = [1, 2, 3, 4, 9, 10, 11, 12, 13, 20, 21, 22, 23, 24, 101, 110, 111, 113, 121]
    assert [_nth(number) for number in numbers] == said.split()


def test_the_alternative_that_lacks_the_least_is_explained() -> None:
    n1, n2 = node("n1", devices=8), node("n2", devices=8, kind="A100")
    held = [running("x", n1, request("H100:7")), running("y", n2, request("A100:4"))]
    asker = workload("w", request("H100:4 | A100:5"))
    (wait,) = plan(build(rows_of(n1, n2, *held, asker)), 0.0).waits
    assert wait.text.startswith("needs 5 A100 on one node")


def test_where_two_nodes_are_taken_it_is_said_what_is_left_on_each() -> None:
    nodes = [node(f"n{index}", devices=8) for index in range(2)]
    (start,) = plan(build(rows_of(*nodes, workload("w", request("H100:6"), num_nodes=Range.exactly(2)))), 0.0).starts
    assert start.why.startswith("best fit: leaves 2 accelerators and 63 CPUs on n0, 2 accelerators and 63 CPUs on n1")


def test_all_members_of_a_gang_need_their_licences() -> None:
    nodes = [node(f"n{index}") for index in range(3)]
    asked = replace(request(), licences=(Counted(name="sim", amount=2),))
    state = build(rows_of(*nodes, workload("w", asked, num_nodes=Range.exactly(3)), Site(licences={"sim": 5})))
    (wait,) = plan(state, 0.0).waits
    assert wait.text == "needs 6 sim; 5 of 5 licences are left."
    assert wait.change == "name 6 sim under `licences` in the topology file; or ask for 1 sim; or ask for 2 nodes"


def test_what_a_node_just_has_enough_of_is_not_what_is_refused() -> None:
    nodes = [replace(node("n1", devices=1), counted={"fpga": 2}), replace(node("n2", devices=8), counted={"fpga": 1})]
    spec = next(row for row in workload("w", request("H100:8")) if isinstance(row, SpecRevision)).spec
    asked = replace(spec, resources=replace(spec.resources, counted=(Counted(name="fpga", amount=2),)))
    refusal = could_ever_fit(asked, nodes)
    assert refusal is not None
    assert refusal.message.endswith("each is there, but no node has all of it.")


# Rules and queues -----------------------------------------------------------------------------------------------------


def test_a_rule_that_changes_while_its_workload_lives_is_the_new_one_from_then_on() -> None:
    n1, n2 = node("n1"), node("n2")
    other, late = running("a", n1, request(cpus=1)), workload("b", request(cpus=1))
    state = build(rows_of(n1, n2, other, late))
    assert plan(state, 0.0).starts[0].placements[0].node == "n1"
    revision = next(row for row in late if isinstance(row, SpecRevision))
    apart = PlacementRules(apart=ApartRule(workloads=("name-a",)))
    changed = replace(revision, spec=replace(revision.spec, rules=apart), version=2)
    state.apply(event(1, changed))
    assert plan(state, 0.0).starts[0].placements[0].node == "n2"
    anew = build(rows_of(n1, n2, other, *(changed if row is revision else row for row in late)))
    assert state.neighbours == anew.neighbours


def test_the_running_of_a_queue_are_those_that_ran_and_those_that_start() -> None:
    n1 = node("n1", devices=8)
    vision = Queue(name=QueueName("vision"))
    held = running("a", n1, request("H100"), queue="vision")
    made = plan(build(rows_of(n1, vision, held, *workload("b", queue="vision"), *workload("c", queue="vision"))), 0.0)
    (standing,) = [each for each in made.queues if each.queue.name == "vision"]
    assert standing.running == 3


def test_who_has_nothing_to_spare_lends_nothing() -> None:
    queues = {name: Queue(name=QueueName(name), quota={"H100": 4}) for name in ("a", "b", "c")}
    tree = QueueTree.of(queues)
    used = {"a": {"H100": 4}, "b": {"H100": 6}, "": {"H100": 10}}
    assert lent(tree, used, {"H100": 12}, "a") == {}
    assert lent(tree, used, {"H100": 12}, "c") == {"H100": 2}
    at_quota = {"a": {"H100": 4}, "b": {"H100": 4}, "": {"H100": 8}}
    assert lent(tree, at_quota, {"H100": 12}, "c") == {}, "nobody borrows"


def test_what_is_held_is_counted_by_the_kinds_that_devices_now_have() -> None:
    n1 = node("n1", devices=2)
    held = running("a", n1, request("2"), owner="anna")
    policy = SchedulerPolicy(usage_weights={"H100": 1.0, "A100": 0.5, "accelerators": 0.25})
    state = build(rows_of(n1, policy, held))
    devices = tuple(Device(id=DeviceId(f"n1-{i}"), index=i, kind="A100", memory_bytes=80 * GIB) for i in range(2))
    other = replace(n1, devices=devices, version=2)
    state.apply(event(1, other))
    anew = build(rows_of(other, policy, held))
    assert state.accounts == anew.accounts
    key = "default/default/anna"
    used = [each.accounts.used(key, at=100.0, policy=policy, rows={}, shares=each.shares) for each in (state, anew)]
    assert used[0] == used[1] > 0
    assert anew.accounts.used("default/default/ben", at=100.0, policy=policy, rows={}, shares=anew.shares) == 0.0
    assert np.isclose(used[0], 2 * 0.5 * 100.0, rtol=0.01)
