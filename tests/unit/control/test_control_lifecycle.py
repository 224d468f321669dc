"""What follows from rows alone: ``settle`` on single workloads, without a store or a driver."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ampacity.control.batch import Batch
from ampacity.control.lifecycle import backoff_s, settle
from ampacity.control.mirror import Mirror
from ampacity.model.attempt import Attempt, AttemptPhase, Cause, CauseKind, Member, MemberPhase
from ampacity.model.event import Event, EventKind, Rows, row_key
from ampacity.model.ids import NodeId, WorkloadId, attempt_id
from ampacity.model.resources import Allocation
from ampacity.model.workload import (
    Desired,
    Replica,
    ReplicaPhase,
    RetryEvent,
    RetryPolicy,
    SpecRevision,
    Wish,
    Workload,
    WorkloadKind,
    WorkloadPhase,
    WorkloadSpec,
)

IDENT = WorkloadId("w1")
NOW = 500.0
EXIT = Cause(kind=CauseKind.EXIT, exit_code=1)


def attempt(phase: AttemptPhase, *, cause: Cause | None = None, epoch: int = 1, incarnation: int = 0) -> Attempt:
    ended = phase.ended
    member = Member(
        index=0,
        node=NodeId("n1"),
        allocation=Allocation(cpu_milli=1000, memory_bytes=0),
        phase=MemberPhase.EXITED if ended else MemberPhase.RUNNING,
        cause=cause,
    )
    return Attempt(
        id=attempt_id(IDENT, 0, epoch),
        workload=IDENT,
        replica=0,
        epoch=epoch,
        spec_revision=1,
        members=(member,),
        phase=phase,
        started_at=NOW - 10.0,
        ended_at=NOW if ended else None,
        incarnation=incarnation,
        cause=cause,
    )


class Case:
    """One workload with one replica in the midst of its life."""

    def __init__(
        self,
        latest: Attempt | None = None,
        *,
        kind: WorkloadKind = WorkloadKind.TASK,
        retry: RetryPolicy | None = None,
        wish: Wish = Wish.RUN,
        failures: int = 0,
        before: WorkloadPhase | None = None,
    ) -> None:
        spec = WorkloadSpec(name="w", kind=kind, retry=retry or RetryPolicy(), grace_s=7.0)
        first = WorkloadId("w0")
        self.rows = Rows()
        active = latest is not None
        if before is not None:
            self._put("workloads", Workload(id=first, name="first", kind=WorkloadKind.TASK, phase=before))
        phase = WorkloadPhase.RUNNING if active else WorkloadPhase.WAITING
        after = () if before is None else (first,)
        self._put("workloads", Workload(id=IDENT, name="w", kind=kind, phase=phase, after=after))
        self._put("specs", SpecRevision(workload=IDENT, revision=1, spec=spec))
        self._put("desired", Desired(workload=IDENT, wish=wish, by="anna"))
        self._put(
            "replicas",
            Replica(
                workload=IDENT,
                index=0,
                phase=ReplicaPhase.ACTIVE if active else ReplicaPhase.WAITING,
                epoch=latest.epoch if latest else 0,
                failures=failures,
            ),
        )
        if latest is not None:
            self._put("attempts", latest)
        self.settled = self._settle()

    def _put(self, table: str, row: Workload | SpecRevision | Desired | Replica | Attempt) -> None:
        getattr(self.rows, table)[row_key(row)] = row

    def _settle(self) -> Batch:
        batch = Batch(Mirror(self.rows), NOW)
        settle(batch, IDENT)
        count = len(batch.drafts)
        settle(batch, IDENT)
        assert len(batch.drafts) == count, "settling again writes nothing more"
        for number, draft in enumerate(batch.drafts, start=1):
            self.rows.apply(Event(seq=number, draft=draft))
        return batch

    @property
    def phases(self) -> tuple[WorkloadPhase, ReplicaPhase]:
        return self.rows.workloads[IDENT].phase, self.replica.phase

    @property
    def replica(self) -> Replica:
        return self.rows.replicas[f"{IDENT}.0"]

    @property
    def kinds(self) -> list[EventKind]:
        return [draft.kind for draft in self.settled.drafts]


def test_what_runs_as_it_should_needs_nothing() -> None:
    assert Case(attempt(AttemptPhase.RUNNING)).kinds == []
    assert Case().kinds == []


def test_success_ends_a_job_and_not_a_service() -> None:
    done = attempt(AttemptPhase.SUCCEEDED, cause=Cause(kind=CauseKind.COMPLETED, exit_code=0))
    job = Case(done)
    assert job.phases == (WorkloadPhase.SUCCEEDED, ReplicaPhase.SUCCEEDED)
    assert job.rows.workloads[IDENT].ended_at == NOW
    service = Case(done, kind=WorkloadKind.SERVICE, retry=RetryPolicy(maximum=None))
    assert service.phases == (WorkloadPhase.WAITING, ReplicaPhase.WAITING)
    assert (service.replica.failures, service.replica.not_before) == (1, NOW)


@pytest.mark.parametrize(
    ("cause", "retry", "failures", "incarnation", "again"),
    [
        (EXIT, RetryPolicy(maximum=0), 0, 0, False),
        (EXIT, RetryPolicy(maximum=1), 0, 0, True),
        (EXIT, RetryPolicy(maximum=1), 1, 0, False),
        (EXIT, RetryPolicy(maximum=3), 0, 2, True),
        (EXIT, RetryPolicy(maximum=3), 0, 3, False),
        (EXIT, RetryPolicy(maximum=None), 1000, 50, True),
        (EXIT, RetryPolicy(maximum=9, on_events=(RetryEvent.INTERRUPTION,)), 0, 0, False),
        (Cause(kind=CauseKind.NODE_LOST), RetryPolicy(maximum=9, on_events=(RetryEvent.INTERRUPTION,)), 0, 0, True),
        (Cause(kind=CauseKind.SUPERVISOR_DIED), RetryPolicy(maximum=9, on_events=(RetryEvent.ERROR,)), 0, 0, False),
        (Cause(kind=CauseKind.LAUNCH_FAILED), RetryPolicy(maximum=9, on_events=(RetryEvent.ERROR,)), 0, 0, True),
        (Cause(kind=CauseKind.TIME_LIMIT), RetryPolicy(maximum=9), 0, 0, False),
        (Cause(kind=CauseKind.EXIT, exit_code=93), RetryPolicy(maximum=9), 0, 0, False),
    ],
)
def test_a_failure_is_tried_again_within_the_policy(
    cause: Cause, retry: RetryPolicy, failures: int, incarnation: int, again: bool
) -> None:
    lost = cause.kind is CauseKind.NODE_LOST
    phase = AttemptPhase.LOST if lost else AttemptPhase.FAILED
    case = Case(attempt(phase, cause=cause, incarnation=incarnation), retry=retry, failures=failures)
    assert case.replica.phase is (ReplicaPhase.WAITING if again else ReplicaPhase.FAILED)
    assert case.replica.failures == failures + incarnation + 1
    assert case.phases[0] is (WorkloadPhase.WAITING if again else WorkloadPhase.FAILED)
    if again:
        assert case.replica.not_before == NOW + backoff_s(case.replica.failures)


def test_a_place_that_was_taken_back_costs_no_retry() -> None:
    case = Case(attempt(AttemptPhase.CANCELLED, cause=Cause(kind=CauseKind.STOPPED)))
    assert case.phases == (WorkloadPhase.WAITING, ReplicaPhase.WAITING)
    assert case.replica.failures == 0


def test_a_wish_to_stop_orders_it_with_the_specs_grace() -> None:
    case = Case(attempt(AttemptPhase.RUNNING), wish=Wish.STOP)
    told = case.rows.attempts[attempt_id(IDENT, 0, 1)]
    assert told.stop is not None
    assert (told.phase, told.stop.grace_s, told.stop.by) == (AttemptPhase.STOPPING, 7.0, "anna")
    assert case.phases == (WorkloadPhase.STOPPING, ReplicaPhase.ACTIVE)
    assert Case(wish=Wish.STOP).phases == (WorkloadPhase.CANCELLED, ReplicaPhase.STOPPED)


@pytest.mark.parametrize(
    ("ended", "kind", "phase"),
    [
        (AttemptPhase.CANCELLED, WorkloadKind.TASK, WorkloadPhase.CANCELLED),
        (AttemptPhase.SUCCEEDED, WorkloadKind.TASK, WorkloadPhase.SUCCEEDED),
        (AttemptPhase.FAILED, WorkloadKind.TASK, WorkloadPhase.CANCELLED),
        (AttemptPhase.CANCELLED, WorkloadKind.SERVICE, WorkloadPhase.CANCELLED),
        (AttemptPhase.SUCCEEDED, WorkloadKind.SERVICE, WorkloadPhase.CANCELLED),
    ],
)
def test_what_was_told_to_stop_is_not_tried_again(
    ended: AttemptPhase, kind: WorkloadKind, phase: WorkloadPhase
) -> None:
    case = Case(attempt(ended, cause=EXIT), wish=Wish.STOP, kind=kind, retry=RetryPolicy(maximum=5))
    assert case.phases[0] is phase


@pytest.mark.parametrize("before", [WorkloadPhase.FAILED, WorkloadPhase.CANCELLED])
def test_what_comes_after_falls_with_a_note_and_nobody_elses_wish_is_touched(before: WorkloadPhase) -> None:
    case = Case(before=before)
    assert case.phases == (WorkloadPhase.CANCELLED, ReplicaPhase.STOPPED)
    verb = "failed" if before is WorkloadPhase.FAILED else "was cancelled"
    assert case.rows.workloads[IDENT].note == f"first (w0), which it comes after, {verb}"
    assert case.rows.desired[IDENT] == Desired(workload=IDENT, by="anna")


def test_what_comes_after_success_goes_on() -> None:
    assert Case(before=WorkloadPhase.SUCCEEDED).kinds == []


def test_only_the_newest_attempt_counts() -> None:
    case = Case(attempt(AttemptPhase.RUNNING, epoch=2))
    case.rows.attempts[attempt_id(IDENT, 0, 1)] = attempt(AttemptPhase.FAILED, cause=EXIT)
    batch = Batch(Mirror(case.rows), NOW)
    settle(batch, IDENT)
    assert batch.drafts == []


def test_an_ended_workload_is_left_alone() -> None:
    case = Case()
    case.rows.workloads[IDENT] = replace(case.rows.workloads[IDENT], phase=WorkloadPhase.FAILED)
    batch = Batch(Mirror(case.rows), NOW)
    settle(batch, IDENT)
    settle(batch, WorkloadId("nobody"))
    assert batch.drafts == []
