"""A store in memory: for tests and the simulator. What it holds ends with the process."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass

from ampacity.model.errors import NameTaken, StaleVersion
from ampacity.model.event import Change, Draft, Event, Row, Rows, Table
from ampacity.model.ids import Project, WorkloadId
from ampacity.model.workload import Workload, WorkloadKind, WorkloadPhase

from .views import live_part, part_of_workload, refuse_unsound, snapshot_of


class MemoryStore:
    """Fulfils :class:`ampacity.store.base.Store`. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._rows = Rows()
        self._events: list[Event] = []
        self._cursors: dict[str, str] = {}
        self._names: dict[tuple[Project, str], WorkloadId] = {}

    def append(self, drafts: Sequence[Draft], *, cursors: Mapping[str, str] | None = None) -> tuple[Event, ...]:
        for draft in drafts:
            refuse_unsound(draft)
        with self._lock:
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
            return _copy(self._rows)

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
            chosen = (
                event
                for event in self._events
                if event.seq > after and (workload is None or event.draft.workload == workload)
            )
            return tuple(event for _, event in zip(range(limit), chosen, strict=False))

    def cursors(self) -> Mapping[str, str]:
        with self._lock:
            return dict(self._cursors)

    def compact(self, *, before: int) -> None:
        with self._lock:
            snapshot = snapshot_of(event for event in self._events if event.seq <= before)
            if snapshot is not None:
                self._events = [snapshot, *(event for event in self._events if event.seq > before)]

    def close(self) -> None:
        """Nothing to let go of."""


def _copy(rows: Rows) -> Rows:
    found = Rows(seq=rows.seq)
    for table in Table:
        setattr(found, table.value, copy(rows.table(table)))
    return found


@dataclass(frozen=True, slots=True)
class _Before:
    rows: dict[tuple[Table, str], Row | None]
    seq: int


def _before(rows: Rows, drafts: Sequence[Draft]) -> _Before:
    """The rows that the drafts are about, as they are."""
    keys = {(change.table, change.key) for draft in drafts for change in draft.changes}
    keys |= {(touch.table, touch.key) for draft in drafts for touch in draft.touches}
    return _Before({(table, key): rows.table(table).get(key) for table, key in keys}, rows.seq)
