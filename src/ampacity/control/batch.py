"""A batch of events in the making: reads see what the batch has already changed, versions follow by themselves."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TypedDict, cast

from ampacity.model.attempt import Attempt
from ampacity.model.event import Draft, EventKind, Row, Table, Touch, put, remove, row_key
from ampacity.model.ids import DEFAULT_OWNER, SYSTEM_PROJECT, AttemptId, NodeId, Owner, Project, WorkloadId
from ampacity.model.node import Node
from ampacity.model.workload import Desired, Replica, SpecRevision, Workload, WorkloadSpec

from .mirror import Mirror


class _Subject(TypedDict):
    project: Project
    owner: Owner
    workload: WorkloadId | None
    attempt: AttemptId | None
    node: NodeId | None


class Batch:
    """Collects drafts on top of a mirror of the rows, which it never changes."""

    def __init__(self, mirror: Mirror, now: float) -> None:
        self.now = now
        self.drafts: list[Draft] = []
        self._mirror = mirror
        self._rows = mirror.rows
        self._changed: dict[tuple[Table, str], Row | None] = {}
        self._added: dict[tuple[Table, WorkloadId], set[str]] = {}

    # Reading -------------------------------------------------------------------------------------------------------

    def get(self, table: Table, key: str) -> Row | None:
        if (table, key) in self._changed:
            return self._changed[table, key]
        return self._rows.table(table).get(key)

    def standing(self, table: Table) -> Mapping[str, Row]:
        """The rows of a table as they were before this batch."""
        return self._rows.table(table)

    def attempt(self, key: str) -> Attempt | None:
        return cast("Attempt | None", self.get(Table.ATTEMPTS, key))

    def workload(self, key: str) -> Workload | None:
        return cast("Workload | None", self.get(Table.WORKLOADS, key))

    def replica(self, key: str) -> Replica | None:
        return cast("Replica | None", self.get(Table.REPLICAS, key))

    def desired(self, key: str) -> Desired | None:
        return cast("Desired | None", self.get(Table.DESIRED, key))

    def spec(self, workload: Workload, revision: int | None = None) -> WorkloadSpec:
        """The revision in force, or another. Raises ``KeyError``."""
        key = f"{workload.id}@{revision or workload.spec_revision}"
        row = self.get(Table.SPECS, key)
        if row is None:
            raise KeyError(key)
        return cast(SpecRevision, row).spec

    def replicas(self, workload: WorkloadId) -> list[Replica]:
        """Those of the workload, by index."""
        found = self._of(workload, Table.REPLICAS, self._mirror.replica_keys(workload))
        return sorted((cast(Replica, row) for row in found), key=lambda replica: replica.index)

    def attempts(self, workload: WorkloadId) -> list[Attempt]:
        """Those of the workload, by replica and epoch."""
        found = self._of(workload, Table.ATTEMPTS, self._mirror.attempt_keys(workload))
        return sorted((cast(Attempt, row) for row in found), key=lambda attempt: (attempt.replica, attempt.epoch))

    def _of(self, workload: WorkloadId, table: Table, standing: Collection[str]) -> list[Row]:
        keys = {*standing, *self._added.get((table, workload), ())}
        return [row for key in keys if (row := self.get(table, key)) is not None]

    # Writing -------------------------------------------------------------------------------------------------------

    def write(
        self,
        kind: EventKind,
        text: str,
        *rows: Row,
        removed: tuple[Row, ...] = (),
        touched: tuple[NodeId, ...] = (),
        actor: str = "ampacity",
    ) -> None:
        """One event that writes these rows. Each is given the version after the one that stands."""
        fresh = tuple(self._next(row) for row in rows)
        touches = tuple(self._touch(node) for node in touched)
        for row in fresh:
            self._keep(row)
        for row in removed:
            self._changed[_table(row), row_key(row)] = None
        self.drafts.append(
            Draft(
                kind=kind,
                at=self.now,
                changes=(*(put(row) for row in fresh), *(remove(row) for row in removed)),
                touches=touches,
                actor=actor,
                text=text,
                **self._subject((*fresh, *removed)),
            )
        )

    def touched(self) -> set[WorkloadId]:
        """The workloads that the batch has events about."""
        return {draft.workload for draft in self.drafts if draft.workload is not None}

    def _keep(self, row: Row) -> None:
        table, key = _table(row), row_key(row)
        self._changed[table, key] = row
        workload = _workload_of(row)
        if workload is not None:
            self._added.setdefault((table, workload), set()).add(key)

    def _subject(self, rows: tuple[Row, ...]) -> _Subject:
        """What the event is about, read off its rows."""
        ident = next((found for row in rows if (found := _workload_of(row)) is not None), None)
        workload = None if ident is None else self.workload(ident)
        return _Subject(
            project=SYSTEM_PROJECT if workload is None else workload.project,
            owner=DEFAULT_OWNER if workload is None else workload.owner,
            workload=ident,
            attempt=next((row.id for row in rows if isinstance(row, Attempt)), None),
            node=next((row.id for row in rows if isinstance(row, Node)), None),
        )

    def _next(self, row: Row) -> Row:
        standing = self.get(_table(row), row_key(row))
        return replace(row, version=1 if standing is None else standing.version + 1)

    def _touch(self, node: NodeId) -> Touch:
        standing = self.get(Table.NODES, node)
        if standing is None:
            raise KeyError(node)
        raised = replace(standing, version=standing.version + 1)
        self._changed[Table.NODES, node] = raised
        return Touch(table=Table.NODES, key=node, version=raised.version)


def _table(row: Row) -> Table:
    return put(row).table


def _workload_of(row: Row) -> WorkloadId | None:
    match row:
        case Workload():
            return row.id
        case SpecRevision() | Desired() | Replica() | Attempt():
            return row.workload
        case _:
            return None
