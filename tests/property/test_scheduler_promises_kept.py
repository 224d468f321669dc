"""Random jobs on a small cluster, from their arrival to their end: whoever was told when it starts, starts by then,
unless one ahead of it moved (it started, or is to start, elsewhere or at another time); and nobody waits for ever."""

from __future__ import annotations

from dataclasses import dataclass, replace
from heapq import heappop, heappush

from hypothesis import given, settings
from hypothesis import strategies as st

from ampacity.model.attempt import Attempt, AttemptPhase, Member
from ampacity.model.event import Draft, Event, EventKind, Row, put
from ampacity.model.ids import QueueName, WorkloadId, attempt_id
from ampacity.model.plan import Plan, Reservation, Start
from ampacity.model.policy import BackfillName, BackfillPolicy, OrderName, Points, SchedulerPolicy, Sharing
from ampacity.model.queue import Queue
from ampacity.model.resources import Counted, Range, ResourceRequest
from ampacity.model.site import Site
from ampacity.model.workload import Replica, ReplicaPhase, Workload, WorkloadPhase
from ampacity.scheduler import build, plan
from scheduler_cluster import node, request, rows_of, workload

SITE = Site(licences={"matlab": 3})
NODES = (node("n1", devices=4, cpus=8), node("n2", devices=4, cpus=8), node("n3", devices=2, cpus=8))


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    after_s: int
    ask: str
    cpus: int
    nodes: int
    limit_s: int
    part: float
    queue: str
    owner: str
    priority: int = 0
    licences: int = 0

    @property
    def resources(self) -> ResourceRequest:
        licences = (Counted(name="matlab", amount=self.licences),) if self.licences else ()
        return replace(request(self.ask, cpus=self.cpus), licences=licences)


jobs = st.builds(
    Job,
    after_s=st.integers(0, 40),
    ask=st.sampled_from(["", "H100", "H100:2", "H100:4", "H100:0.5", "2"]),
    cpus=st.integers(1, 4),
    nodes=st.integers(1, 2),
    limit_s=st.sampled_from([10, 30, 60, 100, 200]),
    part=st.sampled_from([0.1, 0.5, 1.0]),
    queue=st.sampled_from(["a", "b"]),
    owner=st.sampled_from(["anna", "ben"]),
    licences=st.sampled_from([0, 0, 0, 1, 2]),
)


class World:
    """Plays all events of a list of jobs; ``look`` sees each plan, before it is carried out."""

    def __init__(self, policy: SchedulerPolicy, queues: tuple[Queue, ...] = ()) -> None:
        self.rows = rows_of(*NODES, SITE, *queues, policy)
        self.state = build(self.rows)
        self.now = 0.0
        self.events: list[tuple[float, int, str, object]] = []
        self.started: dict[str, float] = {}
        self.promised: dict[str, float] = {}
        self.told_at: dict[str, float] = {}
        self.held: dict[str, Reservation] = {}
        self.lasts: dict[str, float] = {}

    def write(self, *rows: Row) -> None:
        draft = Draft(kind=EventKind.WORKLOAD_CHANGED, at=self.now, changes=tuple(put(row) for row in rows))
        event = Event(seq=self.rows.seq + 1, draft=draft)
        self.rows.apply(event)
        self.state.apply(event)

    def play(self, given: list[Job]) -> None:
        at = 0.0
        for index, job in enumerate(given):
            at += job.after_s
            heappush(self.events, (at, index, "arrives", job))
        while self.events:
            self.now, index, what, subject = heappop(self.events)
            if what == "arrives":
                assert isinstance(subject, Job)
                self.arrive(f"w{index:02}", subject)
            else:
                self.end(str(subject))
            if not self.events or self.events[0][0] > self.now:
                self.carry_out(plan(self.state, self.now))

    def arrive(self, id: str, job: Job) -> None:
        self.lasts[id] = job.limit_s * job.part
        self.write(
            *workload(
                id,
                job.resources,
                num_nodes=Range.exactly(job.nodes),
                created_at=self.now,
                limit_s=float(job.limit_s),
                queue=job.queue,
                owner=job.owner,
                priority=job.priority,
            )
        )

    def end(self, id: str) -> None:
        attempt, row = self.rows.attempts[f"{id}.0.1"], self.rows.workloads[id]
        self.write(
            replace(attempt, phase=AttemptPhase.SUCCEEDED, ended_at=self.now, version=attempt.version + 1),
            replace(row, phase=WorkloadPhase.SUCCEEDED, version=row.version + 1),
        )

    def carry_out(self, made: Plan) -> None:
        for start in made.starts:
            self.start(start)
        held = {str(each.workload): each for each in made.reservations}
        for reservation in made.reservations:
            assert reservation.from_s >= self.now
            told = self.promised.get(reservation.workload)
            if told is not None and reservation.from_s > told + 1e-6:
                assert self.moved_by_one_ahead(reservation.workload, held), "nobody ahead of it has moved since"
            self.promised[reservation.workload] = reservation.from_s
            self.told_at[reservation.workload] = self.now
        self.held = held

    def moved_by_one_ahead(self, id: str, held: dict[str, Reservation]) -> bool:
        """Whether what moved it is one ahead of it, which has started since, or for which other places or another time
        are held now: the first in line has none."""
        started = any(other < id and at >= self.told_at[id] for other, at in self.started.items())
        return started or any(other < id and held.get(other) != before for other, before in self.held.items())

    def start(self, start: Start) -> None:
        id = start.workload
        self.started[id] = self.now
        row: Workload = self.rows.workloads[id]
        replica: Replica = self.rows.replicas[f"{id}.0"]
        spec = self.rows.spec(WorkloadId(id)).spec
        attempt = Attempt(
            id=attempt_id(id, 0, 1),
            workload=id,
            replica=0,
            epoch=1,
            spec_revision=1,
            members=tuple(
                Member(index=index, node=each.node, allocation=each.allocation)
                for index, each in enumerate(start.placements)
            ),
            queue=spec.queue,
            owner=row.owner,
            lasting=start.lasting,
            placed_at=self.now,
            started_at=self.now,
        )
        self.write(
            attempt,
            replace(replica, phase=ReplicaPhase.ACTIVE, epoch=1, version=replica.version + 1),
            replace(row, phase=WorkloadPhase.RUNNING, version=row.version + 1),
        )
        heappush(self.events, (self.now + self.lasts[id], len(self.started), "ends", id))


def fits_somewhere(job: Job) -> bool:
    made = plan(build(rows_of(*NODES, SITE, workload("w", job.resources, num_nodes=Range.exactly(job.nodes)))), 0.0)
    return bool(made.starts)


@settings(max_examples=60, deadline=None)
@given(
    given_jobs=st.lists(jobs, min_size=1, max_size=25),
    backfill=st.sampled_from(
        [BackfillPolicy(name=BackfillName.EASY), BackfillPolicy(depth=3), BackfillPolicy(depth=9)]
    ),
)
def test_nobody_starts_later_than_told_and_all_start(given_jobs: list[Job], backfill: BackfillPolicy) -> None:
    """By arrival, in one line, nobody comes to be ahead later: so the last that was told is kept."""
    policy = SchedulerPolicy(sharing=Sharing.SINGLE_LINE, order=OrderName.FIFO, backfill=backfill)
    world = World(policy)
    possible = [job for job in given_jobs if fits_somewhere(job)]
    world.play(possible)
    assert len(world.started) == len(possible)
    for id, told in world.promised.items():
        assert world.started[id] <= told + 1e-6


@settings(max_examples=60, deadline=None)
@given(given_jobs=st.lists(jobs, min_size=1, max_size=25), order=st.sampled_from(list(OrderName)))
def test_quotas_hold_and_all_start_in_any_order(given_jobs: list[Job], order: OrderName) -> None:
    limit = Queue(name=QueueName("a"), quota={"H100": 4000, "cpus": 8000}, borrows=False)
    world = _Watched(SchedulerPolicy(order=order), (limit, Queue(name=QueueName("b"), weight=2.0)))
    world.promised = _Forgetful()
    possible = [job for job in given_jobs if fits_somewhere(job)]
    possible = [job for job in possible if job.queue == "b" or within(job, world)]
    world.play(possible)
    assert len(world.started) == len(possible)


def within(job: Job, world: World) -> bool:
    """Whether the queue ``a`` may ever use so much."""
    devices = {"": 0.0, "2": 2.0, "H100": 1.0}.get(job.ask, -1.0)
    if devices < 0:
        devices = float(job.ask.partition(":")[2])
    return devices * job.nodes <= 4 and job.cpus * job.nodes <= 8


class _Forgetful(dict[str, float]):
    """Where others may come to be ahead, what was told may change."""

    def get(self, key: str, default: float | None = None) -> float | None:  # type: ignore[override]
        return None


class _Watched(World):
    def carry_out(self, made: Plan) -> None:
        super().carry_out(made)
        held: dict[str, float] = {}
        for attempt in self.rows.attempts.values():
            if not attempt.phase.ended and attempt.queue == "a":
                for member in attempt.members:
                    held["cpus"] = held.get("cpus", 0) + member.allocation.cpu_milli
                    held["H100"] = held.get("H100", 0) + sum(share.milli for share in member.allocation.devices)
        assert held.get("cpus", 0) <= 8000
        assert held.get("H100", 0) <= 4000


@settings(max_examples=10, deadline=None)
@given(
    size=st.sampled_from(["H100:4", "H100:2"]), every_s=st.sampled_from([6, 7]), backfill=st.sampled_from(BackfillName)
)
def test_with_its_age_nobody_starves(size: str, every_s: int, backfill: BackfillName) -> None:
    """One of low priority behind a stream of what is more urgent and keeps all devices busy: it starts once its age has
    made up for two classes of priority, and what is held for it has come free."""
    points = Points(ageing_s=200.0)
    world = World(SchedulerPolicy(points=points, backfill=BackfillPolicy(name=backfill)))
    world.promised = _Forgetful()
    usual = Job(after_s=every_s, ask="H100", cpus=1, nodes=1, limit_s=60, part=1.0, queue="a", owner="anna")
    poor = replace(usual, after_s=0, ask=size, nodes=2, owner="ben", priority=-100)
    stream = [replace(usual, priority=100) for _ in range(150)]
    world.play([*stream[:20], poor, *stream])
    ages = world.started["w20"] - world.rows.workloads["w20"].created_at
    if backfill is not BackfillName.NONE:
        assert ages <= 2 * points.ageing_s + 2 * usual.limit_s + every_s
