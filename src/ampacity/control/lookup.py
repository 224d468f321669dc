"""Finding workloads by what people call them, and putting rows together into views."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from ampacity.model.attempt import Attempt
from ampacity.model.errors import NotFound
from ampacity.model.event import Rows, Table
from ampacity.model.ids import SYSTEM_PROJECT, Project
from ampacity.model.plan import Waits
from ampacity.model.view import WorkloadView
from ampacity.model.workload import SpecRevision, Workload, WorkloadKind, WorkloadSpec
from ampacity.store.base import Store
from ampacity.store.feed import FeedStore

SAME_NAME_LIMIT = 50
NEAR_LIMIT = 500


def find(store: Store, ref: str, project: Project) -> Workload:
    """The workload with that id, or the live one of that name, else the newest of that name.

    Raises:
        NotFound: neither is there; names near ones.
    """
    row = store.get(Table.WORKLOADS, ref)
    if isinstance(row, Workload):
        return row
    for scope in (project, SYSTEM_PROJECT):
        same = store.workloads(project=scope, name=ref, limit=SAME_NAME_LIMIT)
        if same:
            return next((row for row in same if not row.phase.ended), same[0])
    names = {row.name for row in store.workloads(project=project, limit=NEAR_LIMIT)}
    near = get_close_matches(ref, sorted(names), n=3)
    hint = f"Did you mean {' or '.join(near)}?" if near else "`ampacity ps -a` lists what there is."
    raise NotFound(f"There is no workload {ref!r} in the project {project!r}.", hint=hint)


def live_services(store: FeedStore) -> Iterator[tuple[Workload, WorkloadSpec]]:
    """The services that have not ended, with the spec in force."""
    for row in store.live_workloads():
        if row.kind is WorkloadKind.SERVICE:
            revision = store.get(Table.SPECS, f"{row.id}@{row.spec_revision}")
            if isinstance(revision, SpecRevision):
                yield row, revision.spec


def view_of(rows: Rows, workload: Workload, waits: Waits, *, whole: bool) -> WorkloadView:
    """The view of one workload out of its rows.

    Args:
        whole: with all its attempts, and with what would let it start where it waits; else as it stands in a listing.
    """
    attempts = sorted(rows.attempts.values(), key=lambda attempt: (attempt.placed_at, attempt.epoch, attempt.replica))
    standing = rows.workloads[workload.id]
    return WorkloadView(
        workload=standing,
        spec=rows.spec(workload.id).spec,
        desired=rows.desired[workload.id],
        replicas=tuple(sorted(rows.replicas.values(), key=lambda replica: replica.index)),
        attempts=tuple(attempts if whole else _latest(attempts)),
        waits=waits.of(workload.id, briefly=not whole),
    )


def _latest(attempts: list[Attempt]) -> list[Attempt]:
    newest = {attempt.replica: attempt.epoch for attempt in attempts}
    return [each for each in attempts if not each.phase.ended or newest[each.replica] == each.epoch]
