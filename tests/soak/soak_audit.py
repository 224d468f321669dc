"""The soak's end: what the store, the jobs' own notes and the machine say, held against what was predicted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from soak_oracle import ENDS, Start, judge
from soak_scene import Entry, Scene

from ampacity.model.attempt import Attempt
from ampacity.model.event import Rows, Table, fold
from ampacity.model.fits import capacity, fits, less
from ampacity.model.ids import NodeId
from ampacity.model.node import Node
from ampacity.model.resources import Allocation
from ampacity.model.workload import Workload
from ampacity.store import open_store

NOTHING = Allocation(cpu_milli=0, memory_bytes=0)


def audit(scene: Scene) -> Iterator[str]:
    """All that cannot be. Call it when everything has ended and the control plane is down."""
    store = open_store(str(scene.platform.state_dir / "store.db"))
    try:
        rows, events = store.rows(), store.events(limit=10_000_000)
        if fold(events, store.base()) != rows:
            yield "the events do not amount to the rows"
        yield from _replay(store.base(), events)
    finally:
        store.close()
    yield from scene.overlaps()
    yield from _judge_all(scene.entries, rows, scene.folder)
    yield from (f"still there: {process}" for process in scene.platform.processes())


def _judge_all(entries: Mapping[str, Entry], rows: Rows, folder: Path) -> Iterator[str]:
    known = {row.name: row for row in rows.workloads.values() if row.project == "default"}
    for name in known.keys() - entries.keys():
        yield f"{name} was never submitted"
    for name, entry in entries.items():
        found = known.get(name)
        if found is None:
            if entry.sure:
                yield f"{name} was acknowledged and is lost"
        elif found.phase not in ENDS:
            yield f"{name} has not ended; it is {found.phase}"
        else:
            before = known.get(entry.job.after)
            starts = _starts(folder, found)
            yield from judge(entry.job, entry.deeds, found.phase, starts, before.phase if before else None)
    alive = [attempt.id for attempt in rows.attempts.values() if not attempt.phase.ended]
    if alive:
        yield f"attempts that have not ended: {alive}"


def _starts(folder: Path, workload: Workload) -> list[Start]:
    """What its processes wrote down themselves."""
    notes = folder / "starts" / workload.id
    words = [line.split() for line in notes.read_text().splitlines()] if notes.exists() else []
    return [
        Start(epoch=int(epoch), member=member, incarnation=int(incarnation), rank=int(rank))
        for epoch, member, incarnation, rank in words
    ]


def _replay(rows: Rows, events: tuple) -> Iterator[str]:
    """Every state that was ever written: one live attempt of a replica, and no node with more given out than it has."""
    live: dict[str, Attempt] = {key: row for key, row in rows.attempts.items() if not row.phase.ended}
    nodes: dict[NodeId, Node] = {row.id: row for row in rows.nodes.values()}
    for event in events:
        for change in event.draft.changes:
            if change.table is Table.NODES and isinstance(change.row, Node):
                nodes[change.row.id] = change.row
            if change.table is not Table.ATTEMPTS:
                continue
            live.pop(change.key, None)
            if isinstance(change.row, Attempt) and not change.row.phase.ended:
                live[change.key] = change.row
                yield from _unsound(event.seq, change.row, live, nodes)


def _unsound(seq: int, fresh: Attempt, live: Mapping[str, Attempt], nodes: Mapping[NodeId, Node]) -> Iterator[str]:
    of_replica = [row.id for row in live.values() if (row.workload, row.replica) == (fresh.workload, fresh.replica)]
    if len(of_replica) > 1:
        yield f"event {seq}: live attempts of one replica: {of_replica}"
    for ident in fresh.nodes:
        free = capacity(nodes[ident])
        for member in (member for row in live.values() for member in row.members if member.node == ident):
            free = less(free, member.allocation)
        if not fits(free, NOTHING):
            yield f"event {seq}: more is given out on {ident} than it has"


def counted(scene: Scene, rows: Rows) -> list[str]:
    """How many of each shape came to which end."""
    known = {row.name: row.phase for row in rows.workloads.values()}
    counts = Counter((entry.job.shape, str(known.get(name, "never came in"))) for name, entry in scene.entries.items())
    return [f"{count:5} {shape:8} {phase}" for (shape, phase), count in sorted(counts.items())]
