"""A store in memory: for tests and the simulator. What it holds ends with the process."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ampacity.model.errors import NameTaken, StaleVersion
from ampacity.model.event import Change, Draft, Event, Row, Rows, Table
from ampacity.model.ids import Project, WorkloadId
from ampacity.model.receipt import Receipt
from ampacity.model.request_usage import AS_KEPT, RequestSum, UsageBy, grouped
from ampacity.model.workload import Workload, WorkloadKind, WorkloadPhase

from .views import live_part, part_of_workload, refuse_repeated, refuse_unsound, snapshot


class MemoryStore:
    """Fulfils :class:`ampacity.store.base.Store`. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._rows = Rows()
        self._events: list[Event] = []
        self._base = Rows()
        self._cursors: dict[str, str] = {}
        self._receipts: dict[str, Receipt] = {}
        self._request_usage: tuple[RequestSum, ...] = ()
        self._names: dict[tuple[Project, str], WorkloadId] = {}

    def append(
        self,
        drafts: Sequence[Draft],
        *,
        cursors: Mapping[str, str] | None = None,
        receipts: Sequence[Receipt] = (),
    ) -> tuple[Event, ...]:
        for draft in drafts:
            refuse_unsound(draft)
        with self._lock:
            refuse_repeated(receipts, self._receipts.get)
            before = _before(self._rows, drafts)
            written: list[Event] = []
            try:
                for draft in drafts:
                    self._rows.check(draft)
                    for change in draft.changes:
                        self._claim_name(change)
                    written.append(Event(seq=self._rows.seq + 1, draft=draft))
                    self._rows.apply(written[-1])
            except (StaleVersion, NameTaken):
                self._put_back(before)
                raise
            self._events.extend(written)
            self._cursors.update(cursors or {})
            self._receipts.update((receipt.key, receipt) for receipt in receipts)
            return tuple(written)

    def _claim_name(self, change: Change) -> None:
        """One name, one live workload in its project: the change gives up the name that the row has had, and takes
        the one that it has now. Raises ``NameTaken``."""
        if change.table is not Table.WORKLOADS:
            return
        old = self._rows.workloads.get(change.key)
        if old is not None and self._names.get((old.project, old.name)) == old.id:
            del self._names[old.project, old.name]
        row = change.row
        if not isinstance(row, Workload) or row.phase.ended:
            return
        if self._names.setdefault((row.project, row.name), row.id) != row.id:
            raise NameTaken(f"The name {row.name!r} is taken by a live workload.")

    def _put_back(self, before: _Before) -> None:
        """Undo what the first events of a refused batch have changed."""
        for (table, key), row in before.rows.items():
            if row is None:
                self._rows.table(table).pop(key, None)
            else:
                self._rows.table(table)[key] = row
        self._rows.seq = before.seq
        self._names = {(row.project, row.name): row.id for row in self._rows.workloads.values() if not row.phase.ended}

    def live(self) -> Rows:
        with self._lock:
            return live_part(self._rows)

    def rows(self) -> Rows:
        with self._lock:
            return self._rows.copy()

    def get(self, table: Table, key: str) -> Row | None:
        with self._lock:
            return self._rows.table(table).get(key)

    def of_workload(self, workload: WorkloadId) -> Rows:
        with self._lock:
            return part_of_workload(self._rows, workload)

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
        with self._lock:
            found = [
                row
                for row in self._rows.workloads.values()
                if (project is None or row.project == project)
                and (name is None or row.name == name)
                and (phases is None or row.phase in phases)
                and (kinds is None or row.kind in kinds)
                and (before is None or (row.created_at, row.id) < before)
            ]
        found.sort(key=lambda row: (row.created_at, row.id), reverse=True)
        return tuple(found[:limit])

    def events(self, *, after: int = 0, workload: WorkloadId | None = None, limit: int = 1000) -> tuple[Event, ...]:
        with self._lock:
            chosen = [
                event
                for event in self._events
                if event.seq > after and (workload is None or event.draft.workload == workload)
            ]
            compacted = self._base.seq
            if workload is None and after < compacted:
                chosen.insert(0, snapshot(compacted))
            return tuple(chosen[:limit])

    def base(self) -> Rows:
        with self._lock:
            return self._base.copy()

    def last_before(self, at: float) -> int:
        with self._lock:
            return max((event.seq for event in self._events if event.at < at), default=self._base.seq)

    def finished(self, *, before: float, limit: int) -> tuple[WorkloadId, ...]:
        with self._lock:
            found = [
                (row.ended_at, row.id)
                for row in self._rows.workloads.values()
                if row.phase.ended and row.ended_at is not None and row.ended_at < before
            ]
        return tuple(ident for _, ident in sorted(found)[:limit])

    def receipt(self, key: str) -> Receipt | None:
        with self._lock:
            return self._receipts.get(key)

    def forget_receipts(self, *, before: float) -> None:
        with self._lock:
            self._receipts = {key: receipt for key, receipt in self._receipts.items() if receipt.at >= before}

    def cursors(self) -> Mapping[str, str]:
        with self._lock:
            return dict(self._cursors)

    def compact(self, *, before: int) -> None:
        with self._lock:
            for event in [event for event in self._events if event.seq <= before]:
                self._base.apply(event)
            self._events = [event for event in self._events if event.seq > before]

    def book_requests(self, sums: Sequence[RequestSum], *, cursors: Mapping[str, str]) -> None:
        with self._lock:
            self._request_usage = grouped((*self._request_usage, *sums), AS_KEPT)
            self._cursors.update(cursors)

    def request_usage(
        self,
        *,
        by: Collection[UsageBy],
        since: float = 0.0,
        until: float = float("inf"),
        project: Project | None = None,
    ) -> tuple[RequestSum, ...]:
        with self._lock:
            standing = self._request_usage
        return grouped(
            (each for each in standing if since <= each.start < until and project in (None, each.project)), by
        )

    def forget_request_usage(self, *, before: float) -> None:
        with self._lock:
            self._request_usage = tuple(each for each in self._request_usage if each.start >= before)

    def close(self) -> None:
        """Nothing to let go of."""


@dataclass(frozen=True, slots=True)
class _Before:
    rows: dict[tuple[Table, str], Row | None]
    seq: int


def _before(rows: Rows, drafts: Sequence[Draft]) -> _Before:
    """The rows that the drafts are about, as they are."""
    keys = {(change.table, change.key) for draft in drafts for change in draft.changes}
    keys |= {(touch.table, touch.key) for draft in drafts for touch in draft.touches}
    return _Before({(table, key): rows.table(table).get(key) for table, key in keys}, rows.seq)
