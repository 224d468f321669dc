"""Preemption on generated clusters, held against arithmetic of its own: who has to go, for whom, and that it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from ampacity.model.attempt import Attempt, Progress
from ampacity.model.event import Row, Rows, SpecRevision, Workload
from ampacity.model.fits import fits, free_on
from ampacity.model.ids import QueueName
from ampacity.model.plan import Plan
from ampacity.model.policy import SchedulerPolicy
from ampacity.model.preemption import PreemptionPolicy
from ampacity.model.queue import Queue
from ampacity.model.resources import Allocation, Range
from ampacity.model.workload import GivingWay, ReplicaPhase, WorkloadKind, WorkloadSpec
from scheduler_cluster import node, request, rows_of, workload
from scheduler_life import Life

NOW = 100_000.0
KINDS = (WorkloadKind.TRAIN, WorkloadKind.TASK, WorkloadKind.SERVICE)
SIZES = (Range.exactly(1), Range.exactly(1), Range.exactly(2), Range(minimum=1, maximum=3), Range.at_least(2))

kinds = st.lists(st.sampled_from(KINDS), max_size=2, unique=True).map(tuple)
ways = st.one_of(
    st.just(GivingWay()),
    st.builds(GivingWay, preemptible=st.booleans()),
    st.builds(GivingWay, yield_to=kinds),
    st.builds(GivingWay, outrank=kinds),
    st.builds(GivingWay, yield_to=kinds, keep_replicas=st.integers(0, 1)),
)


@st.composite
def jobs(draw: st.DrawFn, id: str) -> tuple[Row, ...]:
    """One that waits."""
    kind = draw(st.sampled_from(KINDS))
    size = draw(st.sampled_from(SIZES)) if kind is WorkloadKind.TRAIN else Range.exactly(1)
    parts = workload(
        id,
        request(f"H100:{draw(st.integers(1, 4))}", cpus=0),
        num_nodes=size,
        priority=draw(st.integers(-1, 1)),
        created_at=draw(st.integers(0, 9)),
        replicas=draw(st.integers(1, 2)) if kind is WorkloadKind.SERVICE else 1,
    )
    giving_way, queue = draw(ways), draw(st.sampled_from(["default", "default", "other"]))
    return tuple(
        replace(row, spec=replace(row.spec, kind=kind, giving_way=giving_way, queue=queue))  # type: ignore[arg-type]
        if isinstance(row, SpecRevision)
        else replace(row, kind=kind)
        if isinstance(row, Workload)
        else row
        for row in parts
    )


clusters = st.lists(st.integers(2, 6), min_size=1, max_size=4).map(
    lambda sizes: [node(f"n{index}", devices=devices) for index, devices in enumerate(sizes)]
)


quotas = st.one_of(
    st.just(()),
    st.builds(
        lambda devices, borrows: (Queue(name=QueueName("other"), quota={"H100": devices * 1000}, borrows=borrows),),
        st.integers(0, 6),
        st.booleans(),
    ),
)


unsettled: st.SearchStrategy[tuple[Row, ...]] = st.just(())
settled = st.sampled_from(
    [(), (), (SchedulerPolicy(preemption=PreemptionPolicy(defragment=True, defragment_gain=1.0)),)]
)
"""Settings: the usual ones, or jobs may be moved as well."""


@st.composite
def lives(draw: st.DrawFn, waiting: int = 4, policies: st.SearchStrategy[tuple[Row, ...]] = unsettled) -> Life:
    """Jobs that were started as they came, then more that come."""
    first = [draw(jobs(f"a{index}")) for index in range(draw(st.integers(0, 7)))]
    life = Life(rows_of(*draw(clusters), *draw(quotas), *draw(policies), *first), NOW)
    life.carry_out(life.plan())
    life.now += draw(st.sampled_from([10.0, 5_000.0]))
    for attempt in life.live():
        saved = Progress(at=life.now, step=2, checkpoint_step=2, checkpoint_at=life.now - draw(st.integers(0, 9)))
        life.write(replace(attempt, progress=saved))
    for index in range(draw(st.integers(1, waiting))):
        for row in draw(jobs(f"b{index}")):
            life.write(row)
    return life


def spec(life: Life, workload: str) -> WorkloadSpec:
    return life.rows.spec(life.rows.workloads[workload].id).spec


def free_after(life: Life, gone: Sequence[str]) -> dict[str, list[Allocation]]:
    """What is held on each node once these attempts are gone."""
    held: dict[str, list[Allocation]] = {name: [] for name in life.rows.nodes}
    for attempt in life.live():
        if attempt.id not in gone:
            for _, place in attempt.held:
                held[place.node].append(place.allocation)
    return held


@given(life=lives(policies=settled))
@settings(max_examples=100, deadline=None)
def test_preemption_comes_to_rest(life: Life) -> None:
    """With time going by between the plans, so that nobody is kept in place for having had to leave before. Moves that
    make a room whole come to rest, too."""
    for _ in range(60):
        made = life.plan()
        if not (made.starts or made.stops or made.resizes or made.moves or made.promises):
            return
        life.carry_out(made)
        life.leave()
        life.now += 5_000.0
    raise AssertionError("it never comes to rest")


@given(life=lives())
@settings(max_examples=100, deadline=None)
def test_only_lower_claims_go_and_those_for_whom_they_go_get_their_places(life: Life) -> None:
    made = life.plan()
    helped = [spec(life, promise.workload) for promise in made.promises]
    for stop in made.stops:
        victim = spec(life, life.rows.attempts[stop.attempt].workload)
        assert victim.preemptible
        assert any(_may_stop(one, victim) or _reclaims(life, one, victim) for one in helped)
    for resize in made.resizes:
        attempt = life.rows.attempts[resize.attempt]
        own = [(member.node, member.allocation) for member in attempt.members]
        places = [(place.node, place.allocation) for place in resize.placements]
        assert set(places) < set(own) and len(places) >= spec(life, attempt.workload).num_nodes.minimum  # noqa: PT018
    for key, kept in _replicas_left(life, made).items():
        assert kept >= spec(life, key).giving_way.keep_replicas
    life.carry_out(made)
    life.leave()
    after = life.plan()
    started = {(start.workload, start.replica): start.placements for start in after.starts}
    for promise in made.promises:
        assert started[promise.workload, promise.replica] == promise.placements
    for resize in made.resizes:
        attempt = life.rows.attempts[resize.attempt]
        assert started[attempt.workload, attempt.replica] == resize.placements


def _may_stop(one: WorkloadSpec, other: WorkloadSpec) -> bool:
    if one.queue != other.queue:
        return False
    by_word = one.kind in other.giving_way.yield_to or other.kind in one.giving_way.outrank
    return one.priority > other.priority or (one.priority == other.priority and by_word)


def _reclaims(life: Life, one: WorkloadSpec, other: WorkloadSpec) -> bool:
    """What the other's queue holds beyond its quota, for what the one's has a right to."""
    quota = {name: row.quota["H100"] for name, row in life.rows.queues.items()}
    held = {"default": 0, "other": 0}
    for each in life.live():
        held[each.queue] += sum(1000 * len(member.allocation.devices) for member in each.members)
    wanted = 1000 * one.resources.accelerators[0].count.minimum * one.num_nodes.minimum
    return (
        one.queue != other.queue
        and held[one.queue] + wanted <= quota.get(one.queue, 0)
        and (held[other.queue] > quota.get(other.queue, 0))
    )


def _replicas_left(life: Life, made: Plan) -> dict[str, int]:
    """Of the workloads of which somebody has to go."""
    gone = {stop.attempt for stop in made.stops}
    workloads = {life.rows.attempts[id].workload for id in gone}
    return {key: sum(each.workload == key and each.id not in gone for each in life.live()) for key in workloads}


@given(life=lives(waiting=1))
@settings(max_examples=100, deadline=None)
def test_one_on_one_node_costs_as_little_as_any_choice_does(life: Life) -> None:
    """All choices are tried, one after the other, by plain arithmetic."""
    made = life.plan()
    (first, *_) = [row for key, row in life.rows.workloads.items() if key.startswith("b")]
    asked = spec(life, first.id)
    if asked.num_nodes.minimum > 1 or made.resizes or life.rows.queues or not _waits_alone(life):
        return
    started = [start for start in made.starts if start.workload == first.id]
    mine = [stop.attempt for stop in made.stops]
    best = _cheapest(life, asked)
    if started or _shrinks_would_do(life, asked):
        assert best == () or not mine
        return
    if best is None:
        assert mine == []
        return
    assert _price(life, mine) == _price(life, best)
    assert all(not _has_room(life, asked, [id for id in mine if id != each]) for each in mine)


def _waits_alone(life: Life) -> bool:
    return sum(row.phase is ReplicaPhase.WAITING for row in life.rows.replicas.values()) == 1


def _cheapest(life: Life, asked: WorkloadSpec) -> Sequence[str] | None:
    lower = [each.id for each in life.live() if _goes(life, asked, each)]
    choices = [chosen for size in range(len(lower) + 1) for chosen in combinations(lower, size)]
    good = [each for each in choices if _keeps(life, each) and _has_room(life, asked, each)]
    return min(good, key=lambda each: _price(life, each), default=None)


def _goes(life: Life, asked: WorkloadSpec, attempt: Attempt) -> bool:
    other = spec(life, attempt.workload)
    return other.preemptible and _may_stop(asked, other) and _rank(asked) > _rank(other)


def _keeps(life: Life, gone: Sequence[str]) -> bool:
    for attempt in life.live():
        left = sum(each.workload == attempt.workload and each.id not in gone for each in life.live())
        if attempt.id in gone and left < spec(life, attempt.workload).giving_way.keep_replicas:
            return False
    return True


def _rank(one: WorkloadSpec) -> tuple[int, int]:
    return one.priority, bool(one.giving_way.outrank) - bool(one.giving_way.yield_to)


def _price(life: Life, gone: Sequence[str]) -> tuple[object, float]:
    attempts = [life.rows.attempts[id] for id in gone]
    highest = max((_rank(spec(life, each.workload)) for each in attempts), default=(-9, -9))
    cost = 0.0
    for each in attempts:
        devices = sum(len(member.allocation.devices) for member in each.members)
        assert each.progress is not None
        lost = life.now - (each.progress.checkpoint_at or 0.0)
        cost += devices * ((0.0 if spec(life, each.workload).kind is WorkloadKind.SERVICE else lost) + 30.0)
    return highest, round(cost, 3)


def _has_room(life: Life, asked: WorkloadSpec, gone: Sequence[str]) -> bool:
    wanted = asked.resources.accelerators[0].count.minimum
    held = free_after(life, gone)
    return any(
        sum(milli == 1000 for milli in free_on(life.rows.nodes[name], held[name]).device_milli.values()) >= wanted
        for name in held
    )


def _shrinks_would_do(life: Life, asked: WorkloadSpec) -> bool:
    """Elastic gangs make this choice another one: they are tested by themselves."""
    return any(len(each.members) > spec(life, each.workload).num_nodes.minimum for each in life.live())


@given(life=lives(waiting=1))
@settings(max_examples=100, deadline=None)
def test_whoever_can_be_helped_is(life: Life) -> None:
    """If there is room once all of lower claim are gone, then it starts or gets a promise."""
    made = life.plan()
    (first, *_) = [row for key, row in life.rows.workloads.items() if key.startswith("b")]
    asked = spec(life, first.id)
    if life.rows.queues or not _waits_alone(life):
        return
    gone = [each.id for each in life.live() if _goes(life, asked, each)]
    if not _keeps(life, gone):
        return
    held = free_after(life, gone)
    wanted = asked.resources.accelerators[0].count.minimum
    rooms = sum(
        sum(milli == 1000 for milli in free_on(life.rows.nodes[name], held[name]).device_milli.values()) >= wanted
        for name in held
    )
    if rooms >= asked.num_nodes.minimum:
        answered = [each.workload for each in (*made.starts, *made.promises)]
        assert first.id in answered


def test_rows_stay_within_what_nodes_have() -> None:
    """The carrying out that these tests rely on is itself held to ``fits``."""
    n1 = node("n1", devices=2)
    life = Life(rows_of(n1, workload("w", request("H100:2", cpus=0))), NOW)
    life.carry_out(life.plan())
    rows: Rows = life.rows
    held = [member.allocation for each in rows.attempts.values() for member in each.members]
    assert fits(free_on(n1, held), Allocation(cpu_milli=0, memory_bytes=0))
