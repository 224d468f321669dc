"""A generated history drives the log, the state and the scheduler together; what must always hold is checked after
every step, by arithmetic of its own."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ampacity.model.attempt import Attempt, AttemptPhase, Member
from ampacity.model.event import Change, Draft, Event, EventKind, Row, Rows, Table, Touch, put, remove
from ampacity.model.history import RuntimeHistory, Usage
from ampacity.model.ids import DEFAULT_PROJECT, NodeId, Owner, QueueName, WorkloadId, attempt_id
from ampacity.model.node import Health, Node, NodeCondition
from ampacity.model.plan import Placement, Plan, Wait
from ampacity.model.policy import (
    POLICY_KEY,
    BackfillName,
    BackfillPolicy,
    OrderName,
    PlacementName,
    Points,
    SchedulerPolicy,
    Sharing,
)
from ampacity.model.queue import Queue
from ampacity.model.resources import Range
from ampacity.model.workload import Replica, ReplicaPhase, Wish, Workload, WorkloadPhase
from ampacity.scheduler import State, build, plan
from ampacity.scheduler.order import Line, Want
from scheduler_cluster import node, request, workload

ASKS = ["", "", "H100", "H100:2", "H100:4", "H100:0.5", "H100:0.3", "A100:2", "2", "B200", "A100 | H100:2"]
SIZES = [Range.exactly(1), Range.exactly(1), Range.exactly(2), Range(minimum=2, maximum=3), Range.at_least(1)]
NODE_IDS = [f"n{index}" for index in range(5)]
QUEUES = ["a", "b", "c"]


def grouped(line: Line) -> dict[object, list[Want]]:
    """The groups, each with its shape instead of the number that it happens to have."""
    return {
        (group._replace(shape=0), line.shapes[group.shape]): [want for _, want in entries]
        for each in line.queues.values()
        for group, entries in each.groups.items()
    }


class History(RuleBasedStateMachine):
    @initialize(count=st.integers(0, 5))
    def begin(self, count: int) -> None:
        self.rows = Rows()
        self.state: State = build(self.rows)
        self.seq = 0
        self.now = 0.0
        self.submitted = 0
        self.unread: list[tuple[Plan, tuple[Wait, ...]]] = []
        for index in range(count):
            self.write(node(NODE_IDS[index], devices=4 - index, kind="H100" if index % 2 == 0 else "A100", cpus=4))
            self.submit(ask=ASKS[index], cpus=1, size=SIZES[index], replicas=1, priority=0, delay_s=0.0, after=[])

    def write(
        self, *rows: Row, removed: Sequence[Row] = (), touches: Sequence[Touch] = (), kind: EventKind | None = None
    ) -> None:
        changes: list[Change] = [*(put(row) for row in rows), *(remove(row) for row in removed)]
        self.seq += 1
        draft = Draft(
            kind=kind or EventKind.WORKLOAD_CHANGED, at=self.now, changes=tuple(changes), touches=tuple(touches)
        )
        event = Event(seq=self.seq, draft=draft)
        self.rows.apply(event)
        self.state.apply(event)

    @rule(
        ask=st.sampled_from(ASKS),
        cpus=st.sampled_from([0.5, 1, 3]),
        size=st.sampled_from(SIZES),
        replicas=st.integers(1, 3),
        priority=st.integers(-1, 1),
        delay_s=st.sampled_from([0.0, 0.0, 5.0]),
        after=st.lists(st.integers(0, 12), max_size=2),
        queue=st.sampled_from(["default", *QUEUES]),
        limit_s=st.sampled_from([None, 10.0, 100.0]),
        deadline=st.sampled_from([None, None, 50.0]),
    )
    def submit(
        self,
        ask: str,
        cpus: float,
        size: Range,
        replicas: int,
        priority: int,
        delay_s: float,
        after: list[int],
        queue: str = "default",
        limit_s: float | None = None,
        deadline: float | None = None,
    ) -> None:
        parts = workload(
            f"w{self.submitted}",
            request(ask, cpus=cpus, memory_bytes=2**20),
            num_nodes=size,
            priority=priority,
            created_at=self.now,
            replicas=replicas,
            not_before=self.now + delay_s if delay_s else 0.0,
            after=tuple(f"w{index}" for index in after if self.lives(f"w{index}")),
            queue=queue,
            owner=["anna", "ben"][self.submitted % 2],
            limit_s=limit_s,
            deadline=deadline,
        )
        self.submitted += 1
        self.write(*parts)

    def lives(self, id: str) -> bool:
        row = self.rows.workloads.get(id)
        return row is not None and not row.phase.ended

    @rule(name=st.sampled_from(PlacementName))
    def place_by(self, name: PlacementName) -> None:
        version = self.rows.version(Table.POLICIES, POLICY_KEY) + 1
        self.write(replace(self.state.policy, placement=name, version=version))

    @rule(
        name=st.sampled_from(QUEUES),
        parent=st.sampled_from(["", QUEUES[0]]),
        quota=st.sampled_from([{}, {"H100": 2000}, {"cpus": 3000, "A100": 1000}]),
        borrows=st.booleans(),
        lends=st.booleans(),
    )
    def queue_changes(self, name: str, parent: str, quota: dict[str, int], borrows: bool, lends: bool) -> None:
        row = Queue(
            name=QueueName(name),
            parent=parent if name != QUEUES[0] else "",
            quota=quota,
            borrows=borrows,
            lends=lends,
            version=self.rows.version(Table.QUEUES, name) + 1,
        )
        self.write(row, kind=EventKind.QUEUES_CHANGED)

    @precondition(lambda self: self.rows.queues)
    @rule(index=st.integers(0, 2))
    def queue_goes(self, index: int) -> None:
        keys = sorted(self.rows.queues)
        self.write(removed=[self.rows.queues[keys[index % len(keys)]]], kind=EventKind.QUEUES_CHANGED)

    @rule(
        order=st.sampled_from(list(OrderName)),
        sharing=st.sampled_from(list(Sharing)),
        backfill=st.sampled_from(list(BackfillName)),
        critical_path=st.sampled_from([0.0, 5.0]),
    )
    def settings_change(self, order: OrderName, sharing: Sharing, backfill: BackfillName, critical_path: float) -> None:
        row = SchedulerPolicy(
            order=order,
            sharing=sharing,
            backfill=BackfillPolicy(name=backfill),
            points=Points(critical_path=critical_path),
            version=self.rows.version(Table.POLICIES, POLICY_KEY) + 1,
        )
        self.write(row, kind=EventKind.QUEUES_CHANGED)

    @rule(queue=st.sampled_from(["default", *QUEUES]), owner=st.sampled_from(["anna", "ben"]), used_s=st.just(9.0))
    def somebody_has_used(self, queue: str, owner: str, used_s: float) -> None:
        row = Usage(queue=QueueName(queue), project=DEFAULT_PROJECT, owner=Owner(owner), used_s=used_s, at=self.now)
        version = self.rows.version(Table.USAGE, row.key) + 1
        self.write(replace(row, version=version))

    @rule(owner=st.sampled_from(["anna", "ben"]), lasted_s=st.sampled_from([5.0, 50.0]))
    def somebody_has_learned(self, owner: str, lasted_s: float) -> None:
        key = f"default/{owner}/train/name-w"
        row = self.rows.runtimes.get(key, RuntimeHistory(key=key, version=0))
        for _ in range(5):
            row = row.with_run(lasted_s, self.now)
        self.write(replace(row, version=row.version + 1))

    @rule(
        owner=st.sampled_from(["anna", "ben", "carl"]),
        kind=st.sampled_from(["H100", "A100", "B200"]),
        rate=st.sampled_from([0.5, 1.0, 4.0]),
    )
    def somebody_has_measured(self, owner: str, kind: str, rate: float) -> None:
        key = f"default/{owner}/train/name-w"
        row = self.rows.runtimes.get(key, RuntimeHistory(key=key, version=0))
        self.write(replace(row.with_rate(kind, rate, self.now), version=row.version + 1))

    @rule(seconds=st.sampled_from([1.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def commit(self) -> None:
        """Every start becomes an attempt, as the control loop does it."""
        for start in plan(self.state, self.now).starts:
            replica = self.rows.replicas[f"{start.workload}.{start.replica}"]
            epoch = replica.epoch + 1
            attempt = Attempt(
                id=attempt_id(start.workload, start.replica, epoch),
                workload=start.workload,
                replica=start.replica,
                epoch=epoch,
                spec_revision=1,
                members=tuple(
                    Member(index=index, node=each.node, allocation=each.allocation)
                    for index, each in enumerate(start.placements)
                ),
                queue=self.rows.spec(start.workload).spec.queue,
                owner=self.rows.workloads[start.workload].owner,
                lasting=start.lasting,
                placed_at=self.now,
            )
            active = replace(replica, phase=ReplicaPhase.ACTIVE, epoch=epoch, version=replica.version + 1)
            touches = [
                Touch(table=Table.NODES, key=each.node, version=self.rows.nodes[each.node].version + 1)
                for each in start.placements
            ]
            self.write(attempt, active, touches=touches, kind=EventKind.ATTEMPT_PLACED)

    def pick_attempt(self, index: int) -> Attempt | None:
        if all(each.phase.ended for each in self.rows.attempts.values()):
            self.commit()
        live = sorted((each for each in self.rows.attempts.values() if not each.phase.ended), key=lambda each: each.id)
        return live[index % len(live)] if live else None

    @rule(index=st.integers(0, 20))
    def stop_attempt(self, index: int) -> None:
        attempt = self.pick_attempt(index)
        if attempt is not None:
            self.write(replace(attempt, phase=AttemptPhase.STOPPING, version=attempt.version + 1))

    @rule(index=st.integers(0, 20), again=st.booleans())
    def end_attempt(self, index: int, again: bool) -> None:
        attempt = self.pick_attempt(index)
        if attempt is None:
            return
        replica = self.rows.replicas[f"{attempt.workload}.{attempt.replica}"]
        phase = ReplicaPhase.WAITING if again else ReplicaPhase.FAILED
        self.write(
            replace(attempt, phase=AttemptPhase.FAILED, version=attempt.version + 1),
            replace(replica, phase=phase, not_before=self.now + 3, failures=1, version=replica.version + 1),
        )

    @rule(index=st.integers(0, 20), phase=st.sampled_from([WorkloadPhase.SUCCEEDED, WorkloadPhase.CANCELLED]))
    def end_workload(self, index: int, phase: WorkloadPhase) -> None:
        live = sorted((each for each in self.rows.workloads.values() if not each.phase.ended), key=lambda each: each.id)
        if not live:
            return
        chosen = live[index % len(live)]
        attempts = [
            replace(each, phase=AttemptPhase.CANCELLED, version=each.version + 1)
            for each in self.rows.attempts.values()
            if each.workload == chosen.id and not each.phase.ended
        ]
        self.write(replace(chosen, phase=phase, version=chosen.version + 1), *attempts)

    @rule(index=st.integers(0, 20), wish=st.sampled_from(list(Wish)), replicas=st.integers(0, 3))
    def desire(self, index: int, wish: Wish, replicas: int) -> None:
        keys = sorted(self.rows.desired)
        if keys:
            row = self.rows.desired[keys[index % len(keys)]]
            self.write(replace(row, wish=wish, replicas=replicas, version=row.version + 1))

    @rule(
        id=st.sampled_from(NODE_IDS),
        condition=st.sampled_from(list(NodeCondition)),
        health=st.sampled_from(list(Health)),
        devices=st.sampled_from([0, 2, 4]),
    )
    def node_changes(self, id: str, condition: NodeCondition, health: Health, devices: int) -> None:
        version = self.rows.version(Table.NODES, id) + 1
        kind = "H100" if int(id[1:]) % 2 == 0 else "A100"
        self.write(
            node(id, devices=devices, kind=kind, cpus=4, condition=condition, health=health, version=version),
            kind=EventKind.NODE_CHANGED,
        )

    @precondition(lambda self: self.rows.nodes)
    @rule(index=st.integers(0, 4))
    def node_goes(self, index: int) -> None:
        keys = sorted(self.rows.nodes)
        self.write(removed=[self.rows.nodes[NodeId(keys[index % len(keys)])]], kind=EventKind.NODE_REMOVED)

    @rule()
    def compact(self) -> None:
        everything = [row for table in Table for row in self.rows.table(table).values()]
        self.write(*everything, kind=EventKind.SNAPSHOT)

    @invariant()
    def applied_equals_built(self) -> None:
        fresh = build(self.rows)
        assert self.state == fresh
        assert self.state.line.all() == fresh.line.all()
        assert grouped(self.state.line) == grouped(fresh.line)
        assert self.state.line.apart == fresh.line.apart

    @invariant()
    def plans_do_not_depend_on_the_order_of_dicts_and_change_nothing(self) -> None:
        shuffled = Rows(seq=self.rows.seq)
        for table in Table:
            items = list(self.rows.table(table).items())
            random.Random(self.seq).shuffle(items)
            shuffled.table(table).update(items)
        assert plan(self.state, self.now) == plan(build(shuffled), self.now)
        assert self.state == build(self.rows)

    @invariant()
    def reasons_that_are_read_late_are_those_of_their_time(self) -> None:
        for made, waits in self.unread:
            assert tuple(made.waits) == waits
        at_once, late = plan(self.state, self.now), plan(self.state, self.now)
        self.unread = [*self.unread[-1:], (late, tuple(at_once.waits))]

    @invariant()
    def the_plan_is_sound(self) -> None:
        made = plan(self.state, self.now)
        self.check_room(made)
        self.check_gangs(made)
        self.check_all_are_answered(made)

    def check_room(self, made: Plan) -> None:
        """No node gives more than it has, but for what was given before it shrank."""
        starts = [placement for start in made.starts for placement in start.placements]
        for id in {placement.node for placement in starts}:
            held = [
                member.allocation
                for attempt in self.rows.attempts.values()
                if not attempt.phase.ended
                for member in attempt.members
                if member.node == id
            ]
            given = [*held, *(placement.allocation for placement in starts if placement.node == id)]
            on = self.rows.nodes[id]
            assert on.condition is NodeCondition.READY
            assert sum(each.cpu_milli for each in given) <= on.cpu_milli
            assert sum(each.memory_bytes for each in given) <= on.memory_bytes
            self.check_devices(on, [placement for placement in starts if placement.node == id], given)

    def check_devices(self, on: Node, starts: Sequence[Placement], given: Sequence[object]) -> None:
        healthy = {device.id for device in on.devices if device.health is not Health.FAILED}
        new = {share.device for placement in starts for share in placement.allocation.devices}
        assert new <= healthy
        used: dict[str, int] = {}
        for allocation in given:
            for share in allocation.devices:  # type: ignore[attr-defined]
                used[share.device] = used.get(share.device, 0) + share.milli
        assert all(used[device] <= 1000 for device in new)

    def check_gangs(self, made: Plan) -> None:
        for start in made.starts:
            spec = self.rows.spec(start.workload).spec
            places = [placement.node for placement in start.placements]
            assert len(set(places)) == len(places)
            assert spec.num_nodes.holds(len(places))
            for placement in start.placements:
                devices = {each.id: each for each in self.rows.nodes[placement.node].devices}
                choices = spec.resources.accelerators
                assert not choices or any(
                    len(placement.allocation.devices) == wanted.count.minimum
                    and all(share.milli == wanted.milli for share in placement.allocation.devices)
                    and all(wanted.kind in ("*", devices[each.device].kind) for each in placement.allocation.devices)
                    for wanted in choices
                )
                assert placement.allocation.cpu_milli == spec.resources.cpu_milli.minimum

    def check_all_are_answered(self, made: Plan) -> None:
        starts = [(start.workload, start.replica) for start in made.starts]
        waits = [(wait.workload, wait.replica) for wait in made.waits]
        expected = [(row.workload, row.index) for row in self.rows.replicas.values() if self.needs_start(row)]
        assert sorted(starts + waits) == sorted(expected)
        assert all(wait.text and wait.change for wait in made.waits)
        for id, _ in starts:
            assert all(
                self.rows.workloads[WorkloadId(first)].phase is WorkloadPhase.SUCCEEDED for first in self.after(id)
            )
        times = [self.rows.replicas[f"{id}.{index}"].not_before for id, index in expected]
        at_last = min((at for at in times if at > self.now), default=None)
        if made.next_wake is None:
            assert at_last is None
        else:  # earlier, where some were not looked at for whom they might preempt
            assert self.now <= made.next_wake
            assert at_last is None or made.next_wake <= at_last

    def after(self, id: WorkloadId) -> tuple[WorkloadId, ...]:
        row: Workload = self.rows.workloads[id]
        return row.after

    def needs_start(self, replica: Replica) -> bool:
        row, desired = self.rows.workloads[replica.workload], self.rows.desired[replica.workload]
        live = any(
            (each.workload, each.replica) == (replica.workload, replica.index) and not each.phase.ended
            for each in self.rows.attempts.values()
        )
        return (
            not row.phase.ended
            and desired.wish is Wish.RUN
            and replica.index < desired.replicas
            and replica.phase is ReplicaPhase.WAITING
            and not live
        )


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
