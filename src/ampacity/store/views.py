"""Parts of all rows, as the Protocol's reads describe them."""

from __future__ import annotations

from ampacity.model.event import Rows
from ampacity.model.ids import WorkloadId


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
