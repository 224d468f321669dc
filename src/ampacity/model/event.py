"""Events: what happened, once, in the order of a sequence number. Rows are what folding them gives.

Every event carries the rows that it changed, whole, each one version higher than before. So the fold is the same for
all kinds, a store writes rows and event in one transaction, and a stale writer is found by the version alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from .access import ApiKey, ProjectLimits
from .attempt import Attempt
from .errors import StaleVersion
from .history import RuntimeHistory, Usage
from .ids import DEFAULT_OWNER, DEFAULT_PROJECT, AttemptId, NodeId, Owner, Project, WorkloadId
from .node import Node, Pool
from .policy import POLICY_KEY, SchedulerPolicy
from .queue import Queue
from .route import ROUTES_KEY, Routes
from .site import SITE_KEY, Site
from .workload import Desired, Replica, SpecRevision, Workload

EVENT_VERSION = 1
"""The version of the payload (``changes``, ``touches``) that this release writes."""


class EventKind(StrEnum):
    WORKLOAD_SUBMITTED = "workload.submitted"
    WORKLOAD_REVISED = "workload.revised"
    WORKLOAD_CHANGED = "workload.changed"
    WORKLOAD_ENDED = "workload.ended"
    DESIRED_CHANGED = "desired.changed"
    REPLICA_CHANGED = "replica.changed"
    ATTEMPT_PLACED = "attempt.placed"
    ATTEMPT_CHANGED = "attempt.changed"
    ATTEMPT_RESTARTED = "attempt.restarted"
    ATTEMPT_READY = "attempt.ready"
    ATTEMPT_STOPPING = "attempt.stopping"
    ATTEMPT_ENDED = "attempt.ended"
    NODE_REGISTERED = "node.registered"
    NODE_CHANGED = "node.changed"
    NODE_REMOVED = "node.removed"
    POOL_CHANGED = "pool.changed"
    QUEUE_CHANGED = "queue.changed"
    QUEUES_CHANGED = "queues.changed"
    KEY_CREATED = "key.created"
    KEY_CHANGED = "key.changed"
    KEY_REVOKED = "key.revoked"
    PROJECT_LIMITED = "project.limited"
    WORKLOAD_FORGOTTEN = "workload.forgotten"
    TOPOLOGY_CHANGED = "topology.changed"
    ROUTES_CHANGED = "routes.changed"
    SNAPSHOT = "snapshot"


class Table(StrEnum):
    WORKLOADS = "workloads"
    SPECS = "specs"
    DESIRED = "desired"
    REPLICAS = "replicas"
    ATTEMPTS = "attempts"
    NODES = "nodes"
    POOLS = "pools"
    QUEUES = "queues"
    POLICIES = "policies"
    SITES = "sites"
    USAGE = "usage"
    RUNTIMES = "runtimes"
    API_KEYS = "api_keys"
    PROJECT_LIMITS = "project_limits"
    ROUTES = "routes"


Row = (
    Workload
    | SpecRevision
    | Desired
    | Replica
    | Attempt
    | Node
    | Pool
    | Queue
    | SchedulerPolicy
    | Site
    | Usage
    | RuntimeHistory
    | ApiKey
    | ProjectLimits
    | Routes
)

ROW_TYPES: dict[Table, type[Row]] = {
    Table.WORKLOADS: Workload,
    Table.SPECS: SpecRevision,
    Table.DESIRED: Desired,
    Table.REPLICAS: Replica,
    Table.ATTEMPTS: Attempt,
    Table.NODES: Node,
    Table.POOLS: Pool,
    Table.QUEUES: Queue,
    Table.POLICIES: SchedulerPolicy,
    Table.SITES: Site,
    Table.USAGE: Usage,
    Table.RUNTIMES: RuntimeHistory,
    Table.API_KEYS: ApiKey,
    Table.PROJECT_LIMITS: ProjectLimits,
    Table.ROUTES: Routes,
}

_TABLES = {kind: table for table, kind in ROW_TYPES.items()}


def row_key(row: Row) -> str:
    """The key of a row in its table."""
    match row:
        case Workload() | Attempt() | Node() | ApiKey():
            return str(row.id)
        case SpecRevision():
            return f"{row.workload}@{row.revision}"
        case Desired():
            return str(row.workload)
        case Replica():
            return f"{row.workload}.{row.index}"
        case Pool() | Queue():
            return str(row.name)
        case SchedulerPolicy():
            return POLICY_KEY
        case Site():
            return SITE_KEY
        case Usage() | RuntimeHistory():
            return row.key
        case ProjectLimits():
            return str(row.project)
        case Routes():
            return ROUTES_KEY


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A row as it is after the event; ``row`` ``None`` = removed (``version`` is then the one that was removed)."""

    table: Table
    key: str
    row: Row | None
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """Raises a row's version and nothing else: how a placement lays claim to its nodes."""

    table: Table
    key: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An event that has not been written yet: it has no sequence number."""

    kind: EventKind
    at: float
    changes: tuple[Change, ...] = ()
    touches: tuple[Touch, ...] = ()
    project: Project = DEFAULT_PROJECT
    owner: Owner = DEFAULT_OWNER
    workload: WorkloadId | None = None
    attempt: AttemptId | None = None
    node: NodeId | None = None
    actor: str = "ampacity"
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A written event. ``text`` is one line for people; programs read ``kind`` and ``changes``."""

    seq: int
    draft: Draft
    version: int = EVENT_VERSION

    @property
    def kind(self) -> EventKind:
        return self.draft.kind

    @property
    def at(self) -> float:
        return self.draft.at


def put(row: Row) -> Change:
    """The change that writes the row."""
    return Change(table=_table_of(row), key=row_key(row), row=row, version=row.version)


def remove(row: Row) -> Change:
    """The change that removes the row."""
    return Change(table=_table_of(row), key=row_key(row), row=None, version=row.version)


def _table_of(row: Row) -> Table:
    return _TABLES[type(row)]


@dataclass(slots=True)
class Rows:
    """All rows, by table and key: what folding the events gives."""

    workloads: dict[str, Workload] = field(default_factory=dict)
    specs: dict[str, SpecRevision] = field(default_factory=dict)
    desired: dict[str, Desired] = field(default_factory=dict)
    replicas: dict[str, Replica] = field(default_factory=dict)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    pools: dict[str, Pool] = field(default_factory=dict)
    queues: dict[str, Queue] = field(default_factory=dict)
    policies: dict[str, SchedulerPolicy] = field(default_factory=dict)
    sites: dict[str, Site] = field(default_factory=dict)
    usage: dict[str, Usage] = field(default_factory=dict)
    runtimes: dict[str, RuntimeHistory] = field(default_factory=dict)
    api_keys: dict[str, ApiKey] = field(default_factory=dict)
    project_limits: dict[str, ProjectLimits] = field(default_factory=dict)
    routes: dict[str, Routes] = field(default_factory=dict)
    seq: int = 0

    def table(self, table: Table) -> dict[str, Row]:
        found: dict[str, Row] = getattr(self, table.value)
        return found

    def spec(self, workload: WorkloadId) -> SpecRevision:
        """The revision in force. Raises ``KeyError``."""
        return self.specs[f"{workload}@{self.workloads[workload].spec_revision}"]

    def copy(self) -> Rows:
        """The same rows in tables of their own."""
        found = Rows(seq=self.seq)
        for table in Table:
            found.table(table).update(self.table(table))
        return found

    def version(self, table: Table, key: str) -> int:
        """The row's version; 0 = there is no such row."""
        row = self.table(table).get(key)
        return 0 if row is None else row.version

    def apply(self, event: Event) -> None:
        """Fold one event in. A snapshot replaces everything.

        Raises:
            StaleVersion: a change does not follow on the row's version. Nothing is changed then.
        """
        if event.kind is EventKind.SNAPSHOT:
            self._restore(event)
            return
        self.check(event.draft)
        for change in event.draft.changes:
            if change.row is None:
                del self.table(change.table)[change.key]
            else:
                self.table(change.table)[change.key] = change.row
        for touch in event.draft.touches:
            table = self.table(touch.table)
            table[touch.key] = replace(table[touch.key], version=touch.version)
        self.seq = event.seq

    def check(self, draft: Draft) -> None:
        """Raises ``StaleVersion`` when a change or touch does not follow on what stands."""
        for change in draft.changes:
            if change.row is None and change.key not in self.table(change.table):
                raise StaleVersion(f"{change.table} {change.key!r} is not there.")
            self._check(change.table, change.key, change.version - (change.row is not None))
        for touch in draft.touches:
            if touch.key not in self.table(touch.table):
                raise StaleVersion(f"{touch.table} {touch.key!r} is not there.")
            self._check(touch.table, touch.key, touch.version - 1)

    def _check(self, table: Table, key: str, expected: int) -> None:
        found = self.version(table, key)
        if found != expected:
            raise StaleVersion(f"{table} {key!r} is at version {found}, not {expected}.")

    def _restore(self, event: Event) -> None:
        for table in Table:
            self.table(table).clear()
        for change in event.draft.changes:
            assert change.row is not None, "a snapshot holds rows only"
            self.table(change.table)[change.key] = change.row
        self.seq = event.seq


def fold(events: Iterable[Event], base: Rows | None = None) -> Rows:
    """The rows that the events amount to, upon those of the ``base`` that a snapshot event without changes stands for.

    Raises:
        StaleVersion: the events do not follow on each other, or on the base.
    """
    rows = Rows()
    for event in events:
        if event.kind is EventKind.SNAPSHOT and base is not None:
            if event.seq != base.seq:
                raise StaleVersion(f"The base is as of event {base.seq}, the snapshot of {event.seq}.")
            rows = base.copy()
        else:
            rows.apply(event)
    return rows
