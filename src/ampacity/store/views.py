"""Parts of all rows as the Protocol's reads describe them, and what every store asks of a draft."""

from __future__ import annotations

from collections.abc import Iterable

from ampacity.model.event import Draft, Event, EventKind, Rows, Table, put
from ampacity.model.ids import WorkloadId


def refuse_unsound(draft: Draft) -> None:
    """Raises ``ValueError`` for a draft that no store takes, whatever stands: that is a mistake in the program.

    An event that names a row twice would have two versions of it at once, and could not be folded.
    """
    if draft.kind is EventKind.SNAPSHOT:
        raise ValueError("Snapshots are written by compaction alone.")
    named = [(change.table, change.key) for change in draft.changes]
    named += [(touch.table, touch.key) for touch in draft.touches]
    if len(set(named)) < len(named):
        twice = sorted({f"{table} {key!r}" for table, key in named if named.count((table, key)) > 1})
        raise ValueError(f"One event changes a row once; this one names {', '.join(twice)} more than once.")


def snapshot_of(events: Iterable[Event]) -> Event | None:
    """The one event that stands for them all, with the number and the time of the last; ``None`` = there is none.

    Raises:
        StaleVersion: the events do not follow on each other.
    """
    rows, at = Rows(), 0.0
    for event in events:
        rows.apply(event)
        at = event.at
    if not rows.seq:
        return None
    changes = tuple(put(row) for table in Table for row in rows.table(table).values())
    draft = Draft(kind=EventKind.SNAPSHOT, at=at, changes=changes, text=f"events up to {rows.seq}")
    return Event(seq=rows.seq, draft=draft)


def live_part(rows: Rows) -> Rows:
    """What the control loop needs: see ``Store.live``."""
    alive = {key for key, row in rows.workloads.items() if not row.phase.ended}
    known = alive | {before for key in alive for before in rows.workloads[key].after}
    return Rows(
        workloads={key: row for key, row in rows.workloads.items() if key in known},
        specs={key: row for key, row in rows.specs.items() if row.workload in alive},
        desired={key: row for key, row in rows.desired.items() if row.workload in alive},
        replicas={key: row for key, row in rows.replicas.items() if row.workload in alive},
        attempts={key: row for key, row in rows.attempts.items() if row.workload in alive},
        nodes=dict(rows.nodes),
        pools=dict(rows.pools),
        queues=dict(rows.queues),
        seq=rows.seq,
    )


def part_of_workload(rows: Rows, workload: WorkloadId) -> Rows:
    """All rows of one workload."""
    return Rows(
        workloads={key: row for key, row in rows.workloads.items() if row.id == workload},
        specs={key: row for key, row in rows.specs.items() if row.workload == workload},
        desired={key: row for key, row in rows.desired.items() if row.workload == workload},
        replicas={key: row for key, row in rows.replicas.items() if row.workload == workload},
        attempts={key: row for key, row in rows.attempts.items() if row.workload == workload},
        seq=rows.seq,
    )
