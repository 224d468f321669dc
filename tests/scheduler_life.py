"""Carries plans out on rows alone, as the control loop does: for tests of what follows from one plan after another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ampacity.model.attempt import Attempt, AttemptPhase, Cause, CauseKind, Member, Progress, StopOrder
from ampacity.model.event import Draft, Event, EventKind, Row, Rows, put
from ampacity.model.ids import attempt_id
from ampacity.model.plan import Placement, Plan
from ampacity.model.workload import ReplicaPhase
from ampacity.scheduler import State, build, plan


class Life:
    """Rows, and a scheduler's state that is kept current by events."""

    def __init__(self, rows: Rows, now: float) -> None:
        self.rows, self.now = rows, now
        self.state: State = build(rows)
        self.seq = rows.seq

    def write(self, *rows: Row) -> None:
        fresh = [replace(row, version=self._version(row) + 1) for row in rows]
        self.seq += 1
        draft = Draft(kind=EventKind.WORKLOAD_CHANGED, at=self.now, changes=tuple(put(row) for row in fresh))
        event = Event(seq=self.seq, draft=draft)
        self.rows.apply(event)
        self.state.apply(event)

    def _version(self, row: Row) -> int:
        change = put(row)
        return self.rows.version(change.table, change.key)

    def plan(self) -> Plan:
        return plan(self.state, self.now)

    def live(self) -> list[Attempt]:
        return sorted((each for each in self.rows.attempts.values() if not each.phase.ended), key=lambda each: each.id)

    def carry_out(self, made: Plan) -> None:
        """What the plan says is written down; those who were told to stop have not ended yet."""
        for stop in made.stops:
            self.tell(self.rows.attempts[stop.attempt], stop.reason)
        for change in (*made.resizes, *made.moves):
            self.tell(self.rows.attempts[change.attempt], change.reason, change.placements)
        for start in made.starts:
            self._start(f"{start.workload}.{start.replica}", start.placements)
        standing = {f"{each.workload}.{each.replica}": each.placements for each in made.promises}
        for key, replica in list(self.rows.replicas.items()):
            then = standing.get(key, ())
            if replica.phase is ReplicaPhase.WAITING and replica.then != then:
                self.write(replace(replica, then=then))

    def tell(self, attempt: Attempt, reason: str, then: tuple[Placement, ...] = ()) -> None:
        cause = Cause(kind=CauseKind.PREEMPTED, message=reason)
        order = StopOrder(reason=reason, by="scheduler", grace_s=10.0, at=self.now, cause=cause, then=then)
        self.write(replace(attempt, phase=AttemptPhase.STOPPING, stop=order))

    def _start(self, key: str, placements: Iterable[Placement]) -> None:
        replica = self.rows.replicas[key]
        epoch = replica.epoch + 1
        attempt = Attempt(
            id=attempt_id(replica.workload, replica.index, epoch),
            workload=replica.workload,
            replica=replica.index,
            epoch=epoch,
            spec_revision=1,
            queue=self.rows.spec(replica.workload).spec.queue,
            members=tuple(
                Member(index=index, node=each.node, allocation=each.allocation) for index, each in enumerate(placements)
            ),
            phase=AttemptPhase.RUNNING,
            placed_at=self.now,
            started_at=self.now,
            progress=Progress(at=self.now, step=1, checkpoint_step=1, checkpoint_at=self.now),
        )
        self.write(attempt, replace(replica, phase=ReplicaPhase.ACTIVE, epoch=epoch, then=()))

    def leave(self) -> None:
        """All who were told to stop have ended."""
        for attempt in self.live():
            if attempt.stop is not None:
                replica = self.rows.replicas[f"{attempt.workload}.{attempt.replica}"]
                self.write(
                    replace(attempt, phase=AttemptPhase.CANCELLED),
                    replace(
                        replica,
                        phase=ReplicaPhase.WAITING,
                        then=attempt.stop.then,
                        preempted=replica.preempted + 1,
                    ),
                )
