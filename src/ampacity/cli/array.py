"""Following an array: how many of its elements have ended, and at the end which failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ampacity.api.answers import SubmittedArray
from ampacity.cli.answer import print_line
from ampacity.cli.failure import INTERRUPTED
from ampacity.cli.render.console import tell
from ampacity.cli.render.status_line import StatusLine
from ampacity.cli.session import Session
from ampacity.model.array import element_name
from ampacity.model.event import EventKind
from ampacity.model.view import WorkloadView
from ampacity.model.workload import WorkloadPhase

if TYPE_CHECKING:
    from ampacity.client import Client

PAGE = 1000
NAMED = 5
"""How many of the failed elements are named."""


def follow_array(session: Session, client: Client, made: SubmittedArray, *, after: int) -> int:
    """Until all elements have ended. The exit code: 0 when all succeeded, 1 when one did not, 130 after Ctrl-C.

    ``after``: the number of an event from before the submission. In JSON: a line ``{"array": …}``, and at the end
    ``{"end": {"phases": {phase: count}, "failed": [name, …]}}``.
    """
    line = StatusLine()
    try:
        _wait(client, made, line, after=after, quiet=session.json)
    except KeyboardInterrupt:
        line.clear()
        tell(f"{made.name} runs on. `ampacity stop {made.name}` stops it, `ampacity ps` shows how far it is.")
        return INTERRUPTED
    line.clear()
    phases = phases_of(client, made)
    counts = Counter(str(phase) for phase in phases.values())
    failed = [
        element_name(made.name, index)
        for index, ident in zip(made.indices, made.workloads, strict=True)
        if phases.get(ident) is not WorkloadPhase.SUCCEEDED
    ]
    if session.json:
        print_line({"end": {"phases": counts, "failed": failed}})
    else:
        _say_end(made, counts, failed)
    return 1 if failed else 0


def phases_of(client: Client, made: SubmittedArray) -> dict[str, WorkloadPhase]:
    """The phase of each element, by its id."""
    wanted, found = set(made.workloads), dict[str, WorkloadPhase]()
    for view in client.workloads(all=True, page=PAGE):
        if view.workload.id in wanted:
            found[view.workload.id] = view.workload.phase
        if len(found) == len(wanted):
            break
    return found


def collapsed(views: Sequence[WorkloadView]) -> list[WorkloadView | list[WorkloadView]]:
    """Elements of one array that come one after another, as one list."""
    found: list[WorkloadView | list[WorkloadView]] = []
    for view in views:
        before = found[-1] if found else None
        if view.workload.array is None:
            found.append(view)
        elif isinstance(before, list) and _array(before[0]) == _array(view):
            before.append(view)
        else:
            found.append([view])
    return found


def _array(view: WorkloadView) -> tuple[str, str, float]:
    """Elements of one submission have its time in common."""
    workload = view.workload
    return workload.project, "" if workload.array is None else workload.array.array, workload.created_at


def _wait(client: Client, made: SubmittedArray, line: StatusLine, *, after: int, quiet: bool) -> None:
    left = set(made.workloads)
    for event in client.events(after=after, follow=True):
        if event.kind is EventKind.WORKLOAD_ENDED and event.workload in left:
            left.discard(event.workload)
            if line.live and not quiet:
                line.show(f"{made.name}: {len(made.workloads) - len(left)} of {len(made.workloads)} have ended")
        if not left:
            return


def _say_end(made: SubmittedArray, counts: Counter[str], failed: list[str]) -> None:
    told = ", ".join(f"{count} {phase}" for phase, count in counts.most_common())
    tell(f"{made.name}: {told}.", style="red" if failed else "dim")
    if failed:
        more = f" and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
        tell(f"Not succeeded: {', '.join(failed[:NAMED])}{more}. See `ampacity why {failed[0]}`.")
