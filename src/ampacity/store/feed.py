"""The change feed: the newest events in memory, for all who follow a store that only this process writes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from ampacity.model.errors import StoreError
from ampacity.model.event import Draft, Event, Row, Rows, Table
from ampacity.model.ids import Project, WorkloadId
from ampacity.model.receipt import Receipt
from ampacity.model.request_usage import RequestSum, UsageBy
from ampacity.model.workload import Workload, WorkloadKind, WorkloadPhase

from .base import Store

KEPT = 1024
"""How many events are kept at least, once so many were written."""


class FeedStore:
    """A store that answers "what came after" from memory, as far as it has seen the events being written.

    Whoever opens it has to be the only one that writes the store beneath, as a control plane is that holds the lock of
    its state folder: what another process wrote is not seen here.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._writing = threading.Lock()  # events are kept in the order in which they were written
        self._news = threading.Condition()
        rows = store.live()
        self._last = rows.seq
        self._first = self._last + 1
        self._events: list[Event] = []
        self._followers: tuple[Callable[[Sequence[Event]], None], ...] = ()
        self._in_doubt = False
        self._live = {row.id: row for row in rows.workloads.values() if not row.phase.ended}
        self._counts = Counter((row.project, row.phase) for row in self._live.values())

    @property
    def last_seq(self) -> int:
        """The number of the last event."""
        return self._last

    def wait(self, *, after: int, timeout_s: float) -> bool:
        """Block until there is an event after that number, or the time is up. ``True`` = there is one."""
        with self._news:
            return self._news.wait_for(lambda: self._last > after, timeout=timeout_s)

    def follow(self, told: Callable[[Sequence[Event]], None]) -> Callable[[], None]:
        """Have ``told`` called with what was written, in its order, by the thread that wrote: it must be quick, and
        must neither raise nor write. Call the answer to end it."""
        with self._news:
            self._followers = (*self._followers, told)
        return lambda: self._drop(told)

    def _drop(self, told: Callable[[Sequence[Event]], None]) -> None:
        with self._news:
            self._followers = tuple(each for each in self._followers if each is not told)

    def live_workloads(self) -> tuple[Workload, ...]:
        """Those that have not ended, as they were written last (their versions may be higher by now)."""
        with self._news:
            return tuple(self._live.values())

    def live_counts(self) -> dict[tuple[Project, WorkloadPhase], int]:
        """How many of a project are in a phase, of those that have not ended. Costs the same however many there are."""
        with self._news:
            return {of: count for of, count in self._counts.items() if count}

    def lives(self, workload: WorkloadId) -> bool:
        """Whether there is such a workload that has not ended."""
        with self._news:
            return workload in self._live

    # Writing -------------------------------------------------------------------------------------------------------

    def append(
        self,
        drafts: Sequence[Draft],
        *,
        cursors: Mapping[str, str] | None = None,
        receipts: Sequence[Receipt] = (),
    ) -> tuple[Event, ...]:
        with self._writing:
            try:
                written = self._store.append(drafts, cursors=cursors, receipts=receipts)
            except StoreError:
                self._in_doubt = True
                raise
            if written and (self._in_doubt or written[0].seq != self._last + 1):
                self._catch_up()
            elif written:
                self._keep(written)
        return written

    def compact(self, *, before: int) -> None:
        self._store.compact(before=before)
        with self._news:
            self._events = [event for event in self._events if event.seq > before]
            self._first = self._events[0].seq if self._events else self._last + 1

    def _catch_up(self) -> None:
        """Read what was written though it was not known: a failed write may have got as far as the database."""
        while page := self._store.events(after=self._last):
            self._keep(page)
        self._in_doubt = False

    def _keep(self, written: tuple[Event, ...]) -> None:
        with self._news:
            self._events.extend(written)
            self._last = written[-1].seq
            for event in written:
                self._count(event)
            if len(self._events) > 2 * KEPT:
                self._events = self._events[-KEPT:]
                self._first = self._events[0].seq
            followers = self._followers
            self._news.notify_all()
        for told in followers:
            told(written)

    def _count(self, event: Event) -> None:
        for change in event.draft.changes:
            if change.table is not Table.WORKLOADS:
                continue
            before = self._live.get(WorkloadId(change.key))
            if before is not None:
                self._counts[before.project, before.phase] -= 1
            if isinstance(change.row, Workload) and not change.row.phase.ended:
                self._live[change.row.id] = change.row
                self._counts[change.row.project, change.row.phase] += 1
            elif before is not None:
                del self._live[before.id]

    # Reading -------------------------------------------------------------------------------------------------------

    def events(self, *, after: int = 0, workload: WorkloadId | None = None, limit: int = 1000) -> tuple[Event, ...]:
        if self._in_doubt:
            with self._writing:
                self._catch_up()
        with self._news:
            if after >= self._last:
                return ()
            if workload is None and after >= self._first - 1:
                start = after + 1 - self._first
                return tuple(self._events[start : start + limit])
        return self._store.events(after=after, workload=workload, limit=limit)

    def live(self) -> Rows:
        return self._store.live()

    def rows(self) -> Rows:
        return self._store.rows()

    def get(self, table: Table, key: str) -> Row | None:
        return self._store.get(table, key)

    def of_workload(self, workload: WorkloadId) -> Rows:
        return self._store.of_workload(workload)

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
        return self._store.workloads(project=project, name=name, phases=phases, kinds=kinds, limit=limit, before=before)

    def base(self) -> Rows:
        return self._store.base()

    def last_before(self, at: float) -> int:
        return self._store.last_before(at)

    def finished(self, *, before: float, limit: int) -> tuple[WorkloadId, ...]:
        return self._store.finished(before=before, limit=limit)

    def receipt(self, key: str) -> Receipt | None:
        return self._store.receipt(key)

    def forget_receipts(self, *, before: float) -> None:
        self._store.forget_receipts(before=before)

    def cursors(self) -> Mapping[str, str]:
        return self._store.cursors()

    def book_requests(self, sums: Sequence[RequestSum], *, cursors: Mapping[str, str]) -> None:
        self._store.book_requests(sums, cursors=cursors)

    def request_usage(
        self,
        *,
        by: Collection[UsageBy],
        since: float = 0.0,
        until: float = float("inf"),
        project: Project | None = None,
    ) -> tuple[RequestSum, ...]:
        return self._store.request_usage(by=by, since=since, until=until, project=project)

    def forget_request_usage(self, *, before: float) -> None:
        self._store.forget_request_usage(before=before)

    def close(self) -> None:
        self._store.close()
