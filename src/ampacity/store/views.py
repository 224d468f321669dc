"""Parts of all rows as the Protocol's reads describe them, and what every store asks of a draft."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ampacity.model.errors import Repeated
from ampacity.model.event import Draft, Event, EventKind, Rows
from ampacity.model.ids import WorkloadId
from ampacity.model.receipt import Receipt


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


def refuse_repeated(receipts: Iterable[Receipt], known: Callable[[str], Receipt | None]) -> None:
    """Raises ``Repeated`` when one of these stands already."""
    for receipt in receipts:
        if known(receipt.key) is not None:
            raise Repeated(f"There is a receipt of {receipt.key!r} already.")


def snapshot(seq: int, at: float = 0.0) -> Event:
    """The event that stands for all that were compacted; what they amount to is in the base."""
    return Event(seq=seq, draft=Draft(kind=EventKind.SNAPSHOT, at=at, text=f"events up to {seq} were compacted"))


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
        policies=dict(rows.policies),
        sites=dict(rows.sites),
        usage=dict(rows.usage),
        runtimes=dict(rows.runtimes),
        api_keys=dict(rows.api_keys),
        project_limits=dict(rows.project_limits),
        routes=dict(rows.routes),
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
