"""What a step, a listing and a start cost with nothing that has ended, and with very much of it."""

from __future__ import annotations

import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ampacity.control.launching import Launcher
from ampacity.control.step import Control
from ampacity.control.writing import Writing
from ampacity.drivers.fake import FakeDriver
from ampacity.hub import Hub
from ampacity.model.attempt import Attempt, AttemptPhase, Member, MemberPhase
from ampacity.model.codec import encode_row
from ampacity.model.event import Row, Table, row_key
from ampacity.model.ids import DEFAULT_OWNER, DEFAULT_PROJECT, NodeId, WorkloadId, attempt_id
from ampacity.model.node import Node
from ampacity.model.resources import Allocation, Range, ResourceRequest
from ampacity.model.workload import (
    Desired,
    Replica,
    ReplicaPhase,
    SpecRevision,
    Workload,
    WorkloadKind,
    WorkloadPhase,
    WorkloadSpec,
)
from ampacity.store import open_store, schema
from ampacity.store.feed import FeedStore

LOT = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Milliseconds, medians. ``step``: all steps of one task's life together; ``listing``: the first page of ``ps``."""

    step: float
    listing: float
    opening: float


def costs(folder: Path, finished: int, count: int) -> Costs:
    """Of a store in the folder with so many workloads that have ended, over ``count`` tasks."""
    folder.mkdir()
    path = folder / "store.db"
    open_store(str(path)).close()
    fill(path, finished)
    began = time.perf_counter()
    store = FeedStore(open_store(str(path)))
    opening = (time.perf_counter() - began) * 1e3
    node = Node(id=NodeId("n1"), driver="fake", cpu_milli=64_000, memory_bytes=1 << 36)
    driver = FakeDriver((node,), clock=time.time)
    hub = Hub(folder / "hub")
    control = Control(store=store, drivers={"fake": driver}, launcher=Launcher(folder, hub))
    writing = Writing(store, hub, folder, time.time, lambda: control.nodes)
    control.step(time.time())
    steps = [life_ms(writing, control, driver, number) for number in range(count)]
    listings = [timed(lambda: store.workloads(project=DEFAULT_PROJECT, limit=100)) for _ in range(count)]
    control.close()
    store.close()
    return Costs(step=statistics.median(steps), listing=statistics.median(listings), opening=opening)


def life_ms(writing: Writing, control: Control, driver: FakeDriver, number: int) -> float:
    """One task from its submission to its recorded end: the time of the steps alone."""
    spec = WorkloadSpec(
        name=f"now-{number}",
        kind=WorkloadKind.TASK,
        run="true",
        resources=ResourceRequest(cpu_milli=Range.exactly(1000)),
    )
    ident = writing.submit(spec, project=DEFAULT_PROJECT, owner=DEFAULT_OWNER).workload.id
    spent = timed(lambda: control.step(time.time()))
    key = next(attempt for attempt in control.mirror.live_attempts() if attempt.workload == ident).key(0)
    driver.finish(key)
    return spent + timed(lambda: control.step(time.time()))


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e3


def fill(path: Path, count: int) -> None:
    """Write workloads that have ended straight into the tables, as compaction leaves them: rows, and the base."""
    rows = (row for number in range(count) for row in ended(number))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        while lot := list(islice(rows, LOT)):
            for table in Table:
                _insert(connection, table, [row for row in lot if isinstance(row, _TYPES.get(table, type(None)))])
            connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


_TYPES: dict[Table, type[Any]] = {
    Table.WORKLOADS: Workload,
    Table.SPECS: SpecRevision,
    Table.DESIRED: Desired,
    Table.REPLICAS: Replica,
    Table.ATTEMPTS: Attempt,
    Table.NODES: Node,
}


def _insert(connection: sqlite3.Connection, table: Table, rows: list[Row]) -> None:
    if not rows:
        return
    written = [{"key": row_key(row), **schema.columns_of(row), "body": encode_row(row)} for row in rows]
    names = list(written[0])
    marks = ", ".join(f":{name}" for name in names)
    connection.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", written)
    connection.executemany(
        f"INSERT INTO base (of, key, version, body) VALUES ('{table}', :key, :version, :body)", written
    )


def ended(number: int) -> Iterator[Row]:
    """One task that succeeded long ago."""
    ident = WorkloadId(f"wold{number:08d}")
    workload = Workload(
        id=ident,
        name=f"old-{number}",
        kind=WorkloadKind.TASK,
        phase=WorkloadPhase.SUCCEEDED,
        created_at=1e9 + number,
        ended_at=1e9 + number + 60,
    )
    spec = WorkloadSpec(name=workload.name, kind=WorkloadKind.TASK, run="true")
    attempt = Attempt(
        id=attempt_id(ident, 0, 1),
        workload=ident,
        replica=0,
        epoch=1,
        spec_revision=1,
        members=(
            Member(
                index=0,
                node=NodeId("n1"),
                allocation=Allocation(cpu_milli=1000, memory_bytes=0),
                phase=MemberPhase.EXITED,
            ),
        ),
        phase=AttemptPhase.SUCCEEDED,
        placed_at=1e9 + number,
        ended_at=1e9 + number + 60,
    )
    replica = replace(Replica(workload=ident, index=0), phase=ReplicaPhase.SUCCEEDED, epoch=1)
    yield from (
        workload,
        SpecRevision(workload=ident, revision=1, spec=spec),
        Desired(workload=ident),
        replica,
        attempt,
    )
