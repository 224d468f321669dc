"""The control loop's own copy of the live rows, kept current by the events, with the indices that it needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

from ampacity.model.attempt import Attempt
from ampacity.model.event import Event, EventKind, Rows, Table
from ampacity.model.ids import WorkloadId, attempt_id
from ampacity.model.workload import Workload


class Mirror:
    """Rows of workloads that have not ended, and of all nodes. ``changed`` collects the workloads that events touched
    since they were last settled."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.changed: set[WorkloadId] = {row.id for row in rows.workloads.values() if not row.phase.ended}
        self._replicas: dict[str, set[str]] = defaultdict(set)
        self._attempts: dict[str, set[str]] = defaultdict(set)
        self._after: dict[str, set[WorkloadId]] = defaultdict(set)
        for key, replica in rows.replicas.items():
            self._replicas[replica.workload].add(key)
        for key, attempt in rows.attempts.items():
            self._attempts[attempt.workload].add(key)
        for workload in rows.workloads.values():
            self._note_order(workload)

    def replica_keys(self, workload: WorkloadId) -> Collection[str]:
        return self._replicas.get(workload, ())

    def attempt_keys(self, workload: WorkloadId) -> Collection[str]:
        return self._attempts.get(workload, ())

    def live_attempts(self) -> Iterable[Attempt]:
        return (attempt for attempt in self.rows.attempts.values() if not attempt.phase.ended)

    def dependants(self, workload: WorkloadId) -> Collection[WorkloadId]:
        """The live workloads that come after it."""
        return self._after.get(workload, ())

    def apply(self, event: Event) -> None:
        """Raises ``StaleVersion`` when the event does not follow on what is mirrored."""
        if event.kind is EventKind.SNAPSHOT:
            raise ValueError("a mirror is made from rows, not from a snapshot")
        self.rows.apply(event)
        for change in event.draft.changes:
            index = {Table.REPLICAS: self._replicas, Table.ATTEMPTS: self._attempts}.get(change.table)
            if index is not None:
                self._index(index, change.key, removed=change.row is None)
            if isinstance(change.row, Workload):
                self._note_order(change.row)
            elif isinstance(change.row, Attempt):
                self._drop_predecessor(change.row)
        if event.draft.workload is not None:
            self.changed.add(event.draft.workload)

    def forget_ended(self) -> None:
        """Drop what ended workloads left, but for those that a live one comes ``after``."""
        for workload in [row for row in self.rows.workloads.values() if row.phase.ended]:
            self._drop_parts(workload)
            if not self._after.get(workload.id):
                self._after.pop(workload.id, None)
                del self.rows.workloads[workload.id]

    def _drop_predecessor(self, attempt: Attempt) -> None:
        """Only the newest attempt of a replica is worked with."""
        key = attempt_id(attempt.workload, attempt.replica, attempt.epoch - 1)
        if key in self.rows.attempts:
            del self.rows.attempts[key]
            self._attempts[attempt.workload].discard(key)

    def _note_order(self, workload: Workload) -> None:
        for before in workload.after:
            if workload.phase.ended:
                self._after[before].discard(workload.id)
            else:
                self._after[before].add(workload.id)

    def _drop_parts(self, workload: Workload) -> None:
        for key in self._attempts.pop(workload.id, ()):
            del self.rows.attempts[key]
        for key in self._replicas.pop(workload.id, ()):
            del self.rows.replicas[key]
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
