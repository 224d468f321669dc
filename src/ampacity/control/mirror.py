"""The control loop's own copy of the live rows, kept current by the events, with the indices that it needs.

A step looks at what is in the indices, so its cost grows with what is under way, not with all that waits or runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

from ampacity.model.attempt import Attempt, AttemptPhase, Member, MemberPhase
from ampacity.model.event import Change, Event, EventKind, Row, Rows, Table
from ampacity.model.ids import AttemptId, WorkloadId, attempt_id
from ampacity.model.workload import Replica, Workload, WorkloadKind


class Mirror:
    """Rows of workloads that have not ended, and of all nodes.

    Attributes:
        changed: the workloads that events touched since they were last settled.
        in_motion: the attempts that have a member to start or to stop.
        services: the workloads that are services.
        served: the live attempts of services.
        promised: the replicas for which places are kept.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.changed: set[WorkloadId] = {row.id for row in rows.workloads.values() if not row.phase.ended}
        self._replicas: dict[str, set[str]] = defaultdict(set)
        self._attempts: dict[str, set[str]] = defaultdict(set)
        self._after: dict[str, set[WorkloadId]] = defaultdict(set)
        self._ended: set[WorkloadId] = set()
        self.in_motion: dict[AttemptId, None] = {}  # as sets that keep their order
        self.services: dict[WorkloadId, None] = {}
        self.served: dict[AttemptId, None] = {}
        self.promised: dict[str, None] = {}
        for key, replica in rows.replicas.items():
            self._replicas[replica.workload].add(key)
            self._note_replica(key, replica)
        for workload in rows.workloads.values():
            self._note_workload(workload)
        for key, attempt in rows.attempts.items():
            self._attempts[attempt.workload].add(key)
            self._note_attempt(attempt)

    def replica_keys(self, workload: WorkloadId) -> Collection[str]:
        return self._replicas.get(workload, ())

    def attempt_keys(self, workload: WorkloadId) -> Collection[str]:
        return self._attempts.get(workload, ())

    def live_attempts(self) -> Iterable[Attempt]:
        return (attempt for attempt in self.rows.attempts.values() if not attempt.phase.ended)

    def served_attempts(self) -> Iterable[Attempt]:
        return (self.rows.attempts[ident] for ident in list(self.served))

    def live_services(self) -> Iterable[Workload]:
        return (self.rows.workloads[ident] for ident in self.services)

    def dependants(self, workload: WorkloadId) -> Collection[WorkloadId]:
        """The live workloads that come after it."""
        return self._after.get(workload, ())

    def apply(self, event: Event) -> None:
        """Raises ``StaleVersion`` when the event does not follow on what is mirrored."""
        if event.kind is EventKind.SNAPSHOT:
            raise ValueError("a mirror is made from rows, not from a snapshot")
        if event.kind is EventKind.WORKLOAD_FORGOTTEN:
            self._forget(event)
            return
        self.rows.apply(event)
        for change in event.draft.changes:
            self._note_key(change)
        for change in event.draft.changes:
            if isinstance(change.row, Attempt):
                self._note_attempt(change.row)
                self._drop_predecessor(change.row)
            elif change.row is None and change.table is Table.ATTEMPTS:
                self._forget_attempt(AttemptId(change.key))
        if event.draft.workload is not None:
            self.changed.add(event.draft.workload)

    def forget_ended(self) -> None:
        """Drop what ended workloads left, but for those that a live one comes ``after``."""
        for ident in list(self._ended):
            workload = self.rows.workloads[ident]
            self._drop_parts(workload)
            if not self._after.get(ident):
                self._after.pop(ident, None)
                self._ended.discard(ident)
                del self.rows.workloads[ident]

    def _forget(self, event: Event) -> None:
        """Of a workload that ended long ago there is nothing here any more, but what a live one came ``after``."""
        self.rows.seq = event.seq
        ident = event.draft.workload
        if ident is not None and (row := self.rows.workloads.get(ident)) is not None:
            self._drop_parts(row)
            self._ended.discard(ident)
            del self.rows.workloads[ident]

    def _drop_predecessor(self, attempt: Attempt) -> None:
        """Only the newest attempt of a replica is worked with."""
        key = attempt_id(attempt.workload, attempt.replica, attempt.epoch - 1)
        if key in self.rows.attempts:
            del self.rows.attempts[key]
            self._attempts[attempt.workload].discard(key)
            self._forget_attempt(key)

    def _note_key(self, change: Change) -> None:
        """Keep the indices of replicas and workloads; of attempts only that there is one."""
        match change.table:
            case Table.REPLICAS:
                self._index(self._replicas, change.key, removed=change.row is None)
                self._note_replica(change.key, change.row)
            case Table.ATTEMPTS:
                self._index(self._attempts, change.key, removed=change.row is None)
            case Table.WORKLOADS if isinstance(change.row, Workload):
                self._note_workload(change.row)
            case Table.WORKLOADS:
                self._ended.discard(WorkloadId(change.key))
                self.services.pop(WorkloadId(change.key), None)

    def _note_attempt(self, attempt: Attempt) -> None:
        if attempt.phase.ended:
            self._forget_attempt(attempt.id)
            return
        if needs_call(attempt):
            self.in_motion[attempt.id] = None
        else:
            self.in_motion.pop(attempt.id, None)
        if attempt.workload in self.services:
            self.served[attempt.id] = None

    def _note_replica(self, key: str, row: Row | None) -> None:
        if isinstance(row, Replica) and row.then:
            self.promised[key] = None
        else:
            self.promised.pop(key, None)

    def _forget_attempt(self, ident: AttemptId) -> None:
        self.in_motion.pop(ident, None)
        self.served.pop(ident, None)

    def _note_workload(self, workload: Workload) -> None:
        if workload.phase.ended:
            self._ended.add(workload.id)
            self.services.pop(workload.id, None)
        elif workload.kind is WorkloadKind.SERVICE:
            self.services[workload.id] = None
        for before in workload.after:
            if workload.phase.ended:
                self._after[before].discard(workload.id)
            else:
                self._after[before].add(workload.id)

    def _drop_parts(self, workload: Workload) -> None:
        for key in self._attempts.pop(workload.id, ()):
            del self.rows.attempts[key]
            self._forget_attempt(AttemptId(key))
        for key in self._replicas.pop(workload.id, ()):
            del self.rows.replicas[key]
            self.promised.pop(key, None)
        self.rows.desired.pop(workload.id, None)
        for revision in range(1, workload.spec_revision + 1):
            self.rows.specs.pop(f"{workload.id}@{revision}", None)

    @staticmethod
    def _index(index: dict[str, set[str]], key: str, *, removed: bool) -> None:
        workload = key.split(".", 1)[0]
        if removed:
            index[workload].discard(key)
        else:
            index[workload].add(key)


def needs_call(attempt: Attempt) -> bool:
    """Whether a driver has to be called for one of its members."""
    stopping = attempt.phase is AttemptPhase.STOPPING
    return any(member_needs_call(member, stopping=stopping) for member in attempt.members)


def member_needs_call(member: Member, *, stopping: bool) -> bool:
    if stopping:
        return member.phase is not MemberPhase.EXITED
    return member.phase is MemberPhase.PENDING and not member.handle
