"""A store in memory: for tests and the simulator. What it holds ends with the process."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass

from ampacity.model.errors import NameTaken, StaleVersion
from ampacity.model.event import Draft, Event, EventKind, Row, Rows, Table, fold, put
from ampacity.model.ids import Project, WorkloadId
from ampacity.model.workload import Workload, WorkloadKind, WorkloadPhase

from .views import live_part, part_of_workload


class MemoryStore:
    """Fulfils :class:`ampacity.store.base.Store`. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._rows = Rows()
        self._events: list[Event] = []
        self._cursors: dict[str, str] = {}
        self._names: dict[tuple[Project, str], WorkloadId] = {}

    def append(self, drafts: Sequence[Draft], *, cursors: Mapping[str, str] | None = None) -> tuple[Event, ...]:
        with self._lock:
            before = _before(self._rows, drafts)
            written: list[Event] = []
            try:
                for draft in drafts:
                    self._refuse_taken_names(draft)
                    written.append(Event(seq=self._rows.seq + 1, draft=draft))
                    self._rows.apply(written[-1])
                    self._keep_names(draft)
            except (StaleVersion, NameTaken):
                self._put_back(before)
                raise
            self._events.extend(written)
            self._cursors.update(cursors or {})
            return tuple(written)

    def _refuse_taken_names(self, draft: Draft) -> None:
        """One name, one live workload in its project."""
        for change in draft.changes:
            row = change.row
            if not isinstance(row, Workload) or row.phase.ended:
                continue
            if self._names.get((row.project, row.name), row.id) != row.id:
                raise NameTaken(f"The name {row.name!r} is taken by a live workload.")

    def _keep_names(self, draft: Draft) -> None:
        for change in draft.changes:
            if not isinstance(change.row, Workload):
                continue
            name = (change.row.project, change.row.name)
            if not change.row.phase.ended:
                self._names[name] = change.row.id
            elif self._names.get(name) == change.row.id:
                del self._names[name]

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
            kept = [event for event in self._events if event.seq > before]
            old = [event for event in self._events if event.seq <= before]
            if not old:
                return
            rows = fold(old)
            changes = tuple(put(row) for table in Table for row in rows.table(table).values())
            draft = Draft(kind=EventKind.SNAPSHOT, at=old[-1].at, changes=changes, text=f"events up to {rows.seq}")
            self._events = [Event(seq=rows.seq, draft=draft), *kept]

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
