"""The Protocol of a store: rows and the events that made them, written together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from ampacity.model.event import Draft, Event, Row, Rows, Table
from ampacity.model.ids import Project, WorkloadId
from ampacity.model.receipt import Receipt
from ampacity.model.request_usage import RequestSum, UsageBy
from ampacity.model.workload import Workload, WorkloadKind, WorkloadPhase


class Store(Protocol):
    """The only writer of state. Safe to use from several threads."""

    def append(
        self,
        drafts: Sequence[Draft],
        *,
        cursors: Mapping[str, str] | None = None,
        receipts: Sequence[Receipt] = (),
    ) -> tuple[Event, ...]:
        """Write the events, the rows that they change, the sources' cursors and receipts, all or nothing, durably.

        Raises:
            StaleVersion: a change does not follow on the row's version; nothing was written.
            NameTaken: another live workload has the name; nothing was written.
            Repeated: there is a receipt of that key; nothing was written.
            StoreError: the disk is full, the database is gone, …; nothing was written.
        """
        ...

    def live(self) -> Rows:
        """What the control loop needs, in one consistent view.

        Workloads that have not ended with their specs, desired, replicas and attempts, and the workloads (ended or
        not) that these come ``after``; all nodes, pools, queues, keys and limits of projects,
        the settings, usage and runtimes. ``seq`` is that of the last event.
        """
        ...

    def rows(self) -> Rows:
        """Everything, ended workloads included. One consistent view."""
        ...

    def get(self, table: Table, key: str) -> Row | None:
        """One row, or ``None``."""
        ...

    def of_workload(self, workload: WorkloadId) -> Rows:
        """All rows of one workload (none: empty)."""
        ...

    def workloads(
        self,
        *,
        project: Project | None = None,
        name: str | None = None,
        phases: Collection[WorkloadPhase] | None = None,
        kinds: Collection[WorkloadKind] | None = None,
        limit: int = 100,
        before: tuple[float, str] | None = None,
    ) -> tuple[Workload, ...]:
        """Newest first. ``before`` is ``(created_at, id)`` of the last one of the page before."""
        ...

    def events(self, *, after: int = 0, workload: WorkloadId | None = None, limit: int = 1000) -> tuple[Event, ...]:
        """Events with a higher sequence number, in order.

        Where some of them were compacted, the first is a snapshot event with the number of the last of these and
        without changes: the rows up to there are in :meth:`base`. Those of one ``workload`` come without it.
        """
        ...

    def base(self) -> Rows:
        """The rows as of the last event that was compacted: folding the events onto them gives the rows."""
        ...

    def compact(self, *, before: int) -> None:
        """Fold the events up to and with ``before`` into the base, and drop them. Bounded in memory, and in short
        transactions, so that writers need not wait.

        Raises:
            StoreCorrupt: the events do not follow on each other; those that do were folded.
        """
        ...

    def last_before(self, at: float) -> int:
        """The number of the last event that is older than this time; 0 = there is none."""
        ...

    def finished(self, *, before: float, limit: int) -> tuple[WorkloadId, ...]:
        """Workloads that ended before that time, the oldest first."""
        ...

    def cursors(self) -> Mapping[str, str]:
        """How far the facts of each source have been recorded."""
        ...

    def receipt(self, key: str) -> Receipt | None:
        """What was answered to the write of that key."""
        ...

    def forget_receipts(self, *, before: float) -> None:
        """Drop the receipts that are older."""
        ...

    def book_requests(self, sums: Sequence[RequestSum], *, cursors: Mapping[str, str]) -> None:
        """Add sums by the hour to those that stand, with the sources' cursors, all or nothing, durably."""
        ...

    def request_usage(
        self,
        *,
        by: Collection[UsageBy],
        since: float = 0.0,
        until: float = float("inf"),
        project: Project | None = None,
    ) -> tuple[RequestSum, ...]:
        """What was used in the hours that began since a time and before another, told apart by these, in their
        order."""
        ...

    def forget_request_usage(self, *, before: float) -> None:
        """Drop the sums of hours that began earlier."""
        ...

    def close(self) -> None: ...
