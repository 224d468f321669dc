"""Workloads that have not ended, with their rows, and what comes after what: a part of the scheduler's state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ampacity.model.event import Table, row_key
from ampacity.model.ids import WorkloadId
from ampacity.model.workload import Desired, Replica, SpecRevision, Workload, WorkloadSpec

from .paths import along

NAMES_KEPT = 10_000
"""Of so many workloads that have ended the names are remembered, for explanations that are read a little later."""


@dataclass(slots=True)
class Live:
    """A workload that has not ended, with its rows."""

    workload: Workload
    desired: Desired | None = None
    specs: dict[int, SpecRevision] = field(default_factory=dict)
    replicas: dict[int, Replica] = field(default_factory=dict)

    @property
    def spec(self) -> WorkloadSpec | None:
        """The revision in force, if its row is there."""
        revision = self.specs.get(self.workload.spec_revision)
        return None if revision is None else revision.spec


@dataclass(slots=True)
class Lives:
    """Kept current row by row.

    Attributes:
        live: workloads that have not ended.
        ended: the workloads that have ended and that a live one comes after.
        dependants: by workload, the live ones that come after it.
        touched: those that take their places in line anew.
        by_path: whether where one stands depends on the work that waits for it.
        seq: of the event before the one that is being taken in.
    """

    live: dict[WorkloadId, Live] = field(default_factory=dict)
    ended: dict[WorkloadId, Workload] = field(default_factory=dict)
    dependants: dict[WorkloadId, set[WorkloadId]] = field(default_factory=dict)
    touched: set[WorkloadId] = field(default_factory=set, compare=False, repr=False)
    by_path: bool = field(default=False, compare=False, repr=False)
    seq: int = field(default=0, compare=False, repr=False)
    _left: dict[WorkloadId, tuple[int, str]] = field(default_factory=dict, compare=False, repr=False)

    def phase_row(self, workload: WorkloadId) -> Workload | None:
        """The row of a workload that is alive or that a live one comes after."""
        held = self.live.get(workload)
        return self.ended.get(workload) if held is None else held.workload

    def name_at(self, workload: WorkloadId, seq: int) -> str | None:
        """The name of a workload that was live as of an event not long ago; ``None`` = it was not."""
        held, left = self.live.get(workload), self._left.get(workload)
        if left is not None and left[0] >= seq:
            return left[1]
        return None if held is None else held.workload.name

    # Changes ---------------------------------------------------------------------------------------------------------

    def put(self, row: Workload) -> None:
        self.touched.add(row.id)
        if row.phase.ended:
            self.drop(row.id)
            if row.id in self.dependants:
                self.ended[row.id] = row
            return
        held = self.live.get(row.id)
        if held is None:
            self.live[row.id] = Live(workload=row)
            self.ended.pop(row.id, None)
            self._link(row)
            return
        if held.workload.after != row.after:
            self._unlink(held.workload)
            self._link(row)
        held.workload = row

    def put_part(self, row: SpecRevision | Desired | Replica) -> None:
        """A row of a workload; of one that is not held it is passed over."""
        self.touched.add(row.workload)
        held = self.live.get(row.workload)
        match row:
            case _ if held is None:
                return
            case SpecRevision():
                held.specs[row.revision] = row
            case Desired():
                held.desired = row
            case Replica():
                held.replicas[row.index] = row

    def drop(self, id: WorkloadId) -> None:
        """It has ended, or is gone."""
        self.touched.add(id)
        self.ended.pop(id, None)
        held = self.live.get(id)
        if held is None:
            return
        self._unlink(held.workload)  # while it can still be asked what it comes after
        del self.live[id]
        self._left[id] = self.seq, held.workload.name
        if len(self._left) > NAMES_KEPT:
            del self._left[next(iter(self._left))]

    def drop_part(self, table: Table, key: str) -> None:
        row = self.find_part(table, key)
        if row is not None:
            self.touched.add(row.workload)
        match row:
            case SpecRevision():
                del self.live[row.workload].specs[row.revision]
            case Desired():
                self.live[row.workload].desired = None
            case Replica():
                del self.live[row.workload].replicas[row.index]

    def find_part(self, table: Table, key: str) -> SpecRevision | Desired | Replica | None:
        """A row of ``specs``, ``desired`` or ``replicas`` as it is held, or ``None``."""
        match table:
            case Table.SPECS:
                held = self.live.get(WorkloadId(key.rpartition("@")[0]))
                return None if held is None else _by_key(held.specs.values(), key)
            case Table.REPLICAS:
                held = self.live.get(WorkloadId(key.rpartition(".")[0]))
                return None if held is None else _by_key(held.replicas.values(), key)
            case _:
                held = self.live.get(WorkloadId(key))
                return None if held is None else held.desired

    def _link(self, workload: Workload) -> None:
        for target in workload.after:
            self.dependants.setdefault(target, set()).add(workload.id)
        self._touch_before(workload)

    def _unlink(self, workload: Workload) -> None:
        self._touch_before(workload)
        for target in set(workload.after):
            self.dependants[target].discard(workload.id)
            if not self.dependants[target]:
                del self.dependants[target]
                self.ended.pop(target, None)

    def _touch_before(self, workload: Workload) -> None:
        """What a workload comes after stands elsewhere, where the work behind it counts."""
        if self.by_path:
            live = self.live
            before = along(workload.id, lambda each: live[each].workload.after if each in live else ())
            self.touched.update(each for each in before if each in live)


def _by_key(rows: Iterable[SpecRevision] | Iterable[Replica], key: str) -> SpecRevision | Replica | None:
    return next((row for row in rows if row_key(row) == key), None)
