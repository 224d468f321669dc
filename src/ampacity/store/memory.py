"""A store in memory: for tests and the simulator. What it holds ends with the process."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from copy import copy

from ampacity.model.errors import NameTaken
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

    def append(self, drafts: Sequence[Draft], *, cursors: Mapping[str, str] | None = None) -> tuple[Event, ...]:
        with self._lock:
            after = _copy(self._rows)
            written = []
            for draft in drafts:
                event = Event(seq=after.seq + 1, draft=draft)
                after.apply(event)
                _check_names(after, draft)
                written.append(event)
            self._rows = after
            self._events.extend(written)
            self._cursors.update(cursors or {})
            return tuple(written)

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


def _check_names(rows: Rows, draft: Draft) -> None:
    """One name, one live workload in its project. Raises ``NameTaken``."""
    for change in draft.changes:
        new = change.row
        if not isinstance(new, Workload) or new.phase.ended:
            continue
        for other in rows.workloads.values():
            if (other.name, other.project) == (new.name, new.project) and other.id != new.id and not other.phase.ended:
                raise NameTaken(f"The name {new.name!r} is taken by the live workload {other.id}.")
