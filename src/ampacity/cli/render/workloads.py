"""Workloads as a table: what, how it is, how far it is, where, since when, and what to know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.text import Text

from ampacity.cli.array import collapsed
from ampacity.control.words import cause_words
from ampacity.model.attempt import Attempt
from ampacity.model.view import WorkloadView
from ampacity.model.workload import WorkloadKind, WorkloadPhase

from .phase import phase_text
from .table import Column, Listing
from .units import about_duration, loss_text


def workloads_table(views: Sequence[WorkloadView], *, now: float, projects: bool = False) -> Listing:
    """The newest first, as they come. ``projects``: say whose each is."""
    first = [Column("PROJECT")] if projects else []
    names = [Column("NAME", gives=True), Column("KIND"), Column("PHASE")]
    rest = [Column("PROGRESS", gives=True), Column("NODES", gives=True), Column("FOR", right=True)]
    table = Listing([*first, *names, *rest], note="NOTE")
    for each in collapsed(views):
        if isinstance(each, list):
            table.add(
                *([each[0].workload.project] if projects else []), *_array_cells(each, now), note=_array_note(each)
            )
            continue
        view, workload = each, each.workload
        table.add(
            *([workload.project] if projects else []),
            Text(workload.name, style="bold"),
            str(workload.kind),
            phase_text(shown_phase(view)),
            progress_text(view),
            nodes_text(view),
            about_duration(lasted_s(view, now=now)),
            note=Text(note_text(view), style="" if _failed(view) else "dim"),
        )
    return table


def _array_cells(views: Sequence[WorkloadView], now: float) -> tuple[Text | str, ...]:
    """An array in one line: what its elements are, by phase."""
    place = views[0].workload.array
    assert place is not None, "only elements of arrays are collapsed"
    live = [view for view in views if not view.workload.phase.ended]
    nodes = sorted({str(node) for view in live for attempt in live_attempts(view) for node in attempt.nodes})
    phases = {view.workload.phase for view in views}
    first = next(phase for phase in _TELLING if phase in phases)
    return (
        Text(f"{place.array}-*", style="bold"),
        str(views[0].workload.kind),
        phase_text(str(first)),
        f"{place.size - len(live)}/{place.size} ended",
        ",".join(nodes[:3]),
        about_duration(max(lasted_s(view, now=now) for view in views)),
    )


def _array_note(views: Sequence[WorkloadView]) -> Text:
    place, counts = views[0].workload.array, Counter(str(view.workload.phase) for view in views)
    assert place is not None, "only elements of arrays are collapsed"
    ended = sum(view.workload.phase.ended for view in views)
    if ended < place.size - (len(views) - ended):  # a listing does not show all that have ended
        counts = Counter({phase: count for phase, count in counts.items() if not WorkloadPhase(phase).ended})
    told = ", ".join(f"{counts[str(phase)]} {phase}" for phase in _TELLING if counts[str(phase)])
    return Text(told, style="red" if counts["failed"] else "dim")


_TELLING = (
    WorkloadPhase.RUNNING,
    WorkloadPhase.WAITING,
    WorkloadPhase.STOPPING,
    WorkloadPhase.FAILED,
    WorkloadPhase.CANCELLED,
    WorkloadPhase.SUCCEEDED,
)
"""An array is shown in the first of these phases that one of its elements is in."""


def shown_phase(view: WorkloadView) -> str:
    """The phase; a running one whose processes do not run yet is ``preparing``."""
    phase = view.workload.phase
    live = live_attempts(view)
    if phase is WorkloadPhase.RUNNING and live and all(attempt.started_at is None for attempt in live):
        return "preparing"
    return str(phase)


def live_attempts(view: WorkloadView) -> tuple[Attempt, ...]:
    return tuple(attempt for attempt in view.attempts if not attempt.phase.ended)


def last_attempt(view: WorkloadView) -> Attempt | None:
    """The newest attempt of all replicas; of those that have ended, one that failed goes before."""
    live = live_attempts(view)
    return max(live or view.attempts, key=lambda each: (each.placed_at, each.epoch), default=None)


def progress_text(view: WorkloadView) -> str:
    """Of a service how many are ready; of a training job the step and loss."""
    if view.workload.kind is WorkloadKind.SERVICE:
        ready = sum(attempt.ready for attempt in live_attempts(view))
        return "" if view.workload.phase.ended else f"{ready}/{view.desired.replicas} ready"
    attempt = last_attempt(view)
    if attempt is None or attempt.progress is None:
        return ""
    progress = attempt.progress
    loss = "" if progress.loss is None else f" loss {loss_text(progress.loss)}"
    return f"step {progress.step}{loss}"


def nodes_text(view: WorkloadView) -> str:
    attempts = live_attempts(view) if not view.workload.phase.ended else view.attempts
    names = sorted({str(node) for attempt in attempts for node in attempt.nodes})
    return ",".join(names) if len(names) <= 3 else f"{','.join(names[:2])} +{len(names) - 2}"


def lasted_s(view: WorkloadView, *, now: float) -> float:
    """How long it has been in the state that is shown: waiting, running, or how long it took in all."""
    workload = view.workload
    starts = [attempt.started_at for attempt in view.attempts if attempt.started_at is not None]
    began = min(starts, default=workload.created_at)
    return (now if workload.ended_at is None else workload.ended_at) - began


def note_text(view: WorkloadView) -> str:
    """Why it waits, what it failed of, or what else there is to know. One short line."""
    workload = view.workload
    if workload.phase is WorkloadPhase.FAILED:
        attempt = last_attempt(view)
        said = "" if attempt is None or attempt.cause is None else cause_words(attempt.cause)
        return said or workload.note
    if not workload.phase.ended and view.waits:
        return view.waits[0].text
    unhealthy = next((attempt.unhealthy_detail for attempt in live_attempts(view) if attempt.unhealthy_detail), "")
    failures = sum(replica.failures for replica in view.replicas)
    again = f"began again {times(failures)}" if failures and not workload.phase.ended else ""
    return workload.note or unhealthy or again


def times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _failed(view: WorkloadView) -> bool:
    return view.workload.phase is WorkloadPhase.FAILED
