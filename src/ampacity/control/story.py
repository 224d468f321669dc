"""``why``: why a workload waits, runs where it runs, or ended as it did."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from ampacity.model.attempt import Attempt, AttemptPhase
from ampacity.model.event import Event, EventKind
from ampacity.model.view import StoryKind, Why, WorkloadView
from ampacity.model.workload import WorkloadKind, WorkloadPhase

from .words import cause_words, place_words

TOLD = 12
"""How many lines of its story are told at most; the latest."""

_QUIET = {EventKind.ATTEMPT_CHANGED, EventKind.DESIRED_CHANGED, EventKind.WORKLOAD_CHANGED}


def tell(view: WorkloadView, events: Sequence[Event], last_lines: tuple[str, ...]) -> Why:
    """The answer, out of the view, the events worth telling and the end of what it printed."""
    phase = view.workload.phase
    if phase.ended:
        return _ended(view, events, last_lines)
    if phase is WorkloadPhase.WAITING and not any(not attempt.phase.ended for attempt in view.attempts):
        return _waiting(view, events, last_lines)
    return _running(view, events, last_lines)


def _waiting(view: WorkloadView, events: Sequence[Event], last_lines: tuple[str, ...]) -> Why:
    wait = view.waits[0] if view.waits else None
    return Why(
        workload=view.workload.id,
        kind=StoryKind.WAITING,
        headline=f"{view.workload.name} waits: {wait.text if wait else 'it will be planned in a moment'}",
        lines=(*([f"{wait.outlook}."] if wait and wait.outlook else []), *_story(events)),
        change=wait.change if wait else "",
        last_lines=last_lines if view.attempts else (),
    )


def _running(view: WorkloadView, events: Sequence[Event], last_lines: tuple[str, ...]) -> Why:
    live = [attempt for attempt in view.attempts if not attempt.phase.ended]
    lines = [_about(view, attempt) for attempt in live]
    lines += [
        f"replica {wait.replica} waits: {wait.text}" + (f" It is {wait.outlook}." if wait.outlook else "")
        for wait in view.waits
    ]
    troubled = view.workload.kind is WorkloadKind.SERVICE and not all(attempt.ready for attempt in live)
    return Why(
        workload=view.workload.id,
        kind=StoryKind.RUNNING,
        headline=_running_headline(view, live),
        lines=(*lines, *_story(events)),
        change=view.waits[0].change if view.waits else "",
        last_lines=last_lines if troubled else (),
    )


def _running_headline(view: WorkloadView, live: Sequence[Attempt]) -> str:
    name = view.workload.name
    if view.workload.kind is WorkloadKind.SERVICE:
        ready = sum(attempt.ready for attempt in live)
        return f"{name} is up: {ready} of {view.desired.replicas} replicas ready"
    if not live:
        return f"{name} is between two attempts"
    attempt = live[0]
    if attempt.phase is AttemptPhase.STOPPING and attempt.stop is not None:
        return f"{name} is stopping: {attempt.stop.reason}"
    since = "" if attempt.started_at is None else f" since {clock(attempt.started_at)}"
    return f"{name} is {attempt.phase} on {place_words(attempt)}{since}"


def _about(view: WorkloadView, attempt: Attempt) -> str:
    words = f"attempt {attempt.epoch} on {place_words(attempt)}: {attempt.phase}"
    if view.workload.kind is WorkloadKind.SERVICE:
        words = f"replica {attempt.replica}, {words}" + (", ready" if attempt.ready else ", not ready")
        if attempt.unhealthy_detail:
            words += f" ({attempt.unhealthy_detail})"
    if attempt.incarnation:
        times = f"{attempt.incarnation} time{'s' if attempt.incarnation > 1 else ''}"
        words += f", restarted in place {times}"
    if attempt.progress is not None:
        words += f", step {attempt.progress.step}"
    return words


def _ended(view: WorkloadView, events: Sequence[Event], last_lines: tuple[str, ...]) -> Why:
    phase = view.workload.phase
    cause = view.attempts[-1].cause if view.attempts else None
    reason = view.workload.note or ("" if phase is WorkloadPhase.SUCCEEDED or cause is None else cause_words(cause))
    verdict = {WorkloadPhase.CANCELLED: "was cancelled"}.get(phase, phase.value)
    return Why(
        workload=view.workload.id,
        kind=StoryKind.ENDED,
        headline=f"{view.workload.name} {verdict}" + (f": {reason}" if reason else ""),
        lines=_story(events),
        last_lines=last_lines if phase is WorkloadPhase.FAILED else (),
    )


def _story(events: Sequence[Event]) -> tuple[str, ...]:
    told = [f"{clock(event.at)}  {event.draft.text}" for event in events]
    left_out = len(told) - TOLD
    return (*([f"… {left_out} earlier"] if left_out > 0 else []), *told[-TOLD:])


def worth_telling(event: Event) -> bool:
    """Whether an event belongs into the story that people are told."""
    return event.kind not in _QUIET and bool(event.draft.text)


def clock(at: float) -> str:
    """The local time of day, to the second."""
    return datetime.datetime.fromtimestamp(at).strftime("%H:%M:%S")
