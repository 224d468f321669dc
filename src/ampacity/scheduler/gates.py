"""What holds a replica back before any node is looked at: other workloads and time."""

from __future__ import annotations

from datetime import UTC, datetime

from ampacity.model.plan import Wait, WaitCode
from ampacity.model.workload import WorkloadPhase

from .order import Want
from .state import State

_LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
"""What a date can be printed of."""


def held_back(state: State, want: Want, now: float) -> Wait | None:
    """The wait of a replica that may not start yet wherever there is room, or ``None``."""
    return _after(state, want) or _backoff(want, now)


def _after(state: State, want: Want) -> Wait | None:
    unfinished: list[str] = []
    for id in want.workload.after:
        row = state.phase_row(id)
        if row is None:
            unfinished.append(f"{id}, of which nothing is known")
        elif row.phase in (WorkloadPhase.FAILED, WorkloadPhase.CANCELLED):
            verb = "failed" if row.phase is WorkloadPhase.FAILED else "was cancelled"
            return _wait(
                want,
                WaitCode.AFTER,
                f"comes after {row.name} ({id}), which {verb}: so it will not start.",
                change=f"run {row.name} again and submit this after the new one",
            )
        elif row.phase is not WorkloadPhase.SUCCEEDED:
            unfinished.append(f"{row.name} ({id}), which is {row.phase}")
    if not unfinished:
        return None
    return _wait(
        want,
        WaitCode.AFTER,
        f"comes after {'; '.join(unfinished)}.",
        change="it starts once all that it comes after have succeeded",
    )


def _backoff(want: Want, now: float) -> Wait | None:
    if want.replica.not_before <= now:
        return None
    count = want.replica.failures
    until = datetime.fromtimestamp(min(want.replica.not_before, _LATEST), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    times = "1 failure" if count == 1 else f"{count} failures"
    return _wait(want, WaitCode.BACKOFF, f"is held back until {until} after {times}.", change=f"it starts at {until}")


def _wait(want: Want, code: WaitCode, text: str, *, change: str) -> Wait:
    return Wait(workload=want.workload.id, replica=want.replica.index, code=code, text=text, change=change)
