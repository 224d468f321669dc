"""Generated clusters with labels, taints, trees, feeds, licences and volumes, and workloads with rules: what a plan
gives out is held against each rule by arithmetic of its own, under every placement policy."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from ampacity.model.attempt import Attempt, Member
from ampacity.model.event import Draft, Event, EventKind, Row, Rows, Table, put
from ampacity.model.fits import allocate, free_on
from ampacity.model.ids import DEFAULT_POOL, NodeId, PoolName, attempt_id
from ampacity.model.node import Node, Pool
from ampacity.model.policy import DEFAULT_POLICY, PlacementName
from ampacity.model.resources import Allocation, Counted, Range, ResourceRequest
from ampacity.model.rules import (
    ApartRule,
    LabelRule,
    PlacementRules,
    Preference,
    TopologyMode,
    TopologyRule,
)
from ampacity.model.site import Site
from ampacity.model.volume import Volume, VolumeUse
from ampacity.model.workload import Replica, ReplicaPhase, SpecRevision
from ampacity.scheduler import State, build, plan
from scheduler_cluster import node, request, rows_of, workload

N0, N1, N2 = (NodeId(f"n{index}") for index in range(3))
STORAGE = {
    "corpus": Volume(path="/corpus", near=(N1,), tree="fabric", worth=2),
    "scratch": Volume(path="/scratch", nodes=(N0, N1, N2), near=(N2,)),
}
SITE = Site(feeds={"pdu": 1000}, licences={"matlab": 3}, storage=STORAGE)
POOL = Pool(name=PoolName("slurm"), driver="fake", places_itself=True)
NAMES = [f"name-w{index}" for index in range(6)]

labels = st.dictionaries(st.sampled_from(["zone", "disk"]), st.sampled_from(["a", "b"]))
taints = st.lists(st.sampled_from(["repair", "team=vision"]), max_size=1, unique=True).map(tuple)
label_rules = st.builds(
    LabelRule,
    key=st.sampled_from(["zone", "disk"]),
    values=st.sampled_from([("a",), ("b",), ("a", "b"), ("*",)]),
    negated=st.booleans(),
)
apart_rules = st.builds(
    ApartRule,
    workloads=st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True).map(tuple),
).flatmap(lambda rule: st.sampled_from([rule, replace(rule, tree="fabric", level="leaf")]))
rules = st.builds(
    PlacementRules,
    selector=st.lists(label_rules, max_size=1).map(tuple),
    prefer=st.lists(st.builds(Preference, labels=st.tuples(label_rules), worth=st.integers(1, 3)), max_size=1).map(
        tuple
    ),
    apart=st.none() | apart_rules,
    tolerations=st.sampled_from([(), ("repair",), ("team",), ("*",)]),
    topology=st.none()
    | st.builds(
        TopologyRule,
        tree=st.just("fabric"),
        level=st.sampled_from(["spine", "leaf"]),
        mode=st.sampled_from(list(TopologyMode)),
    ),
)


@st.composite
def machines(draw: st.DrawFn, index: int) -> Node:
    place = draw(st.sampled_from([(), ("s0",), ("s0", "l0"), ("s0", "l1"), ("s1", "l2")]))
    plain = node(
        f"n{index}",
        devices=draw(st.integers(0, 4)),
        kind=draw(st.sampled_from(["H100", "A100"])),
        cpus=draw(st.sampled_from([2, 4])),
    )
    return replace(
        plain,
        labels=draw(labels),
        taints=draw(taints),
        trees={"fabric": place} if place else {},
        feed=draw(st.sampled_from(["", "pdu"])),
        pool=draw(st.sampled_from([DEFAULT_POOL, DEFAULT_POOL, POOL.name])),
        counted={"fpga": draw(st.integers(1, 2))} if draw(st.booleans()) else {},
    )


@dataclass(frozen=True)
class Asked:
    resources: ResourceRequest
    size: Range
    replicas: int
    rules: PlacementRules
    volumes: tuple[VolumeUse, ...] = ()


mounted = st.builds(VolumeUse, target=st.just("/data"), volume=st.sampled_from(sorted(STORAGE)))
asked = st.builds(
    Asked,
    resources=st.builds(
        lambda accelerators, power_w, fpga, matlab: replace(
            request(accelerators, cpus=1),
            power_w=power_w,
            counted=(Counted(name="fpga", amount=fpga),) if fpga else (),
            licences=(Counted(name="matlab", amount=matlab),) if matlab else (),
        ),
        st.sampled_from(["", "H100", "H100:2", "A100:0.5", "2"]),
        st.sampled_from([0, 0, 400]),
        st.sampled_from([0, 0, 1]),
        st.sampled_from([0, 0, 1, 2]),
    ),
    size=st.sampled_from([Range.exactly(1), Range.exactly(1), Range.exactly(2), Range(minimum=2, maximum=3)]),
    replicas=st.integers(1, 2),
    rules=rules,
    volumes=st.lists(mounted, max_size=2, unique=True).map(tuple),
)
clusters = st.integers(1, 6).flatmap(lambda count: st.tuples(*(machines(index) for index in range(count))))


def parts(index: int, asked: Asked) -> tuple[Row, ...]:
    rows = workload(
        f"w{index}", asked.resources, num_nodes=asked.size, replicas=asked.replicas, created_at=float(index)
    )
    return tuple(
        replace(row, spec=replace(row.spec, rules=asked.rules, volumes=asked.volumes))
        if isinstance(row, SpecRevision)
        else row
        for row in rows
    )


def apply(state: State, rows: Rows, *changed: Row) -> None:
    draft = Draft(kind=EventKind.WORKLOAD_CHANGED, at=0.0, changes=tuple(put(row) for row in changed))
    event = Event(seq=rows.seq + 1, draft=draft)
    rows.apply(event)
    state.apply(event)


def commit(state: State, rows: Rows) -> None:
    for start in plan(state, 0.0).starts:
        replica = rows.replicas[f"{start.workload}.{start.replica}"]
        attempt = Attempt(
            id=attempt_id(start.workload, start.replica, 1),
            workload=start.workload,
            replica=start.replica,
            epoch=1,
            spec_revision=1,
            members=tuple(
                Member(index=index, node=each.node, allocation=each.allocation)
                for index, each in enumerate(start.placements)
            ),
        )
        active: Replica = replace(replica, phase=ReplicaPhase.ACTIVE, epoch=1, version=replica.version + 1)
        apply(state, rows, attempt, active)


@given(
    cluster=clusters,
    waves=st.lists(st.lists(asked, max_size=4), min_size=1, max_size=2),
    name=st.sampled_from(PlacementName),
)
@settings(max_examples=150, deadline=None)
def test_every_rule_holds(cluster: Sequence[Node], waves: Sequence[Sequence[Asked]], name: PlacementName) -> None:
    rows = rows_of(*cluster, POOL, SITE, replace(DEFAULT_POLICY, placement=name))
    state = build(rows)
    count = 0
    for wave in waves:
        for each in wave:
            apply(state, rows, *parts(count, each))
            count += 1
        commit(state, rows)
        fresh = shuffled(rows)
        assert state == build(fresh)
        assert plan(state, 0.0) == plan(build(fresh), 0.0)
        check(rows)


@given(
    cluster=clusters,
    ask=st.sampled_from(["", "H100", "A100:0.5", "2"]),
    volume=st.builds(
        Volume,
        path=st.just("/corpus"),
        nodes=st.none() | st.lists(st.sampled_from([N0, N1, N2]), unique=True).map(tuple),
        near=st.lists(st.sampled_from([N0, N1, N2]), unique=True).map(tuple),
        tree=st.sampled_from(["", "fabric"]),
        worth=st.integers(0, 12),
    ),
    name=st.sampled_from(PlacementName),
)
@settings(max_examples=150, deadline=None)
def test_no_node_with_room_is_nearer_to_its_data(
    cluster: Sequence[Node], ask: str, volume: Volume, name: PlacementName
) -> None:
    """Held against every node: room, taints, the volume, and what the node is worth by the places of those near it."""
    asks = Asked(
        resources=request(ask, cpus=1),
        size=Range.exactly(1),
        replicas=1,
        rules=PlacementRules(),
        volumes=(VolumeUse(target="/data", volume="corpus"),),
    )
    site = Site(storage={"corpus": volume})
    rows = rows_of(*cluster, site, replace(DEFAULT_POLICY, placement=name), parts(0, asks))
    homes = [each for each in cluster if each.id in volume.near]
    worths = {
        each.id: worth_of(each, homes, volume)
        for each in cluster
        if not each.taints and volume.is_on(each.id) and allocate(each, free_on(each, ()), asks.resources)
    }
    starts = plan(build(rows), 0.0).starts
    assert len(starts) == bool(worths)
    for start in starts:
        assert worths[start.placements[0].node] == max(worths.values())


def worth_of(each: Node, homes: Sequence[Node], volume: Volume) -> int:
    if each in homes:
        return volume.worth
    own = each.trees.get("fabric", ()) if volume.tree else ()
    steps = 0
    for home in homes:
        there = home.trees.get("fabric", ())
        steps = max(steps, sum(own[: level + 1] == there[: level + 1] for level in range(min(len(own), len(there)))))
    return volume.worth * steps // 3


def shuffled(rows: Rows) -> Rows:
    found = Rows(seq=rows.seq)
    for table in Table:
        items = list(rows.table(table).items())
        random.Random(7).shuffle(items)
        found.table(table).update(items)
    return found


def check(rows: Rows) -> None:
    check_amounts(rows)
    for attempt in rows.attempts.values():
        spec = rows.spec(attempt.workload).spec
        on = [rows.nodes[id] for id in attempt.nodes]
        assert len(set(attempt.nodes)) == len(on)
        assert spec.num_nodes.holds(len(on))
        assert len({each.pool for each in on}) == 1, "a gang is of one pool, where that places by itself"
        assert all(spec.rules.admit(each.all_labels, each.all_taints) for each in on)
        assert all(STORAGE[use.volume].is_on(each.id) for use in spec.volumes for each in on)
        check_topology(spec.rules.topology, on)
        check_neighbours(rows, attempt, spec.rules.apart)


def allocations(rows: Rows) -> Iterator[tuple[Node, Allocation]]:
    for attempt in rows.attempts.values():
        for member in attempt.members:
            yield rows.nodes[member.node], member.allocation


def check_amounts(rows: Rows) -> None:
    devices: Counter[str] = Counter()
    fpgas: Counter[NodeId] = Counter()
    licences = power_w = 0
    for on, allocation in allocations(rows):
        for share in allocation.devices:
            devices[share.device] += share.milli
        fpgas[on.id] += sum(each.amount for each in allocation.counted)
        licences += sum(each.amount for each in allocation.licences)
        power_w += allocation.power_w if on.feed == "pdu" else 0
    assert all(milli <= 1000 for milli in devices.values())
    assert all(count <= rows.nodes[id].counted.get("fpga", 0) for id, count in fpgas.items())
    assert licences <= SITE.licences["matlab"]
    assert power_w <= SITE.feeds["pdu"]


def check_topology(rule: TopologyRule | None, on: Sequence[Node]) -> None:
    if rule is None or rule.mode is not TopologyMode.REQUIRED:
        return
    depth = ("spine", "leaf").index(rule.level) + 1
    if len(on) > 1:
        paths = {each.trees.get("fabric", ())[:depth] for each in on}
        assert len(paths) == 1
        assert len(paths.pop()) == depth


def check_neighbours(rows: Rows, attempt: Attempt, rule: ApartRule | None) -> None:
    if rule is None:
        return
    for other in rows.attempts.values():
        if other.id != attempt.id and rows.workloads[other.workload].name in rule.workloads:
            assert not set(attempt.nodes) & set(other.nodes)
            if rule.tree:
                assert not leaves(rows, attempt) & leaves(rows, other)


def leaves(rows: Rows, attempt: Attempt) -> set[tuple[str, ...]]:
    paths = [rows.nodes[id].trees.get("fabric", ()) for id in attempt.nodes]
    return {path for path in paths if len(path) == 2}
