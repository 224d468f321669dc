"""What may come of a job: predicted from what it does by itself and from what was done to it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from soak_jobs import Job

from ampacity.model.workload import WorkloadPhase

ENDS = {WorkloadPhase.SUCCEEDED, WorkloadPhase.FAILED, WorkloadPhase.CANCELLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One process of a job that said that it began. ``member`` names attempt and member."""

    epoch: int
    member: str
    incarnation: int
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deeds:
    """What was done to a workload: whether it was told to stop, and how often something of it may have been killed."""

    stopped: bool = False
    kills: int = 0


def judge(
    job: Job, done: Deeds, phase: WorkloadPhase, starts: Sequence[Start], before: WorkloadPhase | None = None
) -> Iterator[str]:
    """What of its history cannot be. ``before``: how the one ended that it comes after."""
    allowed = allowed_ends(job, done, before)
    if phase not in allowed:
        yield f"{job.name} is {phase}; allowed: {', '.join(sorted(allowed))} ({done})"
    for start, count in Counter(starts).items():
        if count > 1:
            yield f"{job.name}: {start} {count} times"
    if before not in (None, WorkloadPhase.SUCCEEDED):
        if starts:
            yield f"{job.name} began though {job.after}, which it comes after, {before}"
        return
    yield from _judge_attempts(job, done, phase, starts)


def allowed_ends(job: Job, done: Deeds, before: WorkloadPhase | None = None) -> Collection[WorkloadPhase]:
    """The phases that the workload may end in."""
    if before not in (None, WorkloadPhase.SUCCEEDED):
        return {WorkloadPhase.CANCELLED}
    allowed = set() if job.end is None else {job.end}
    if done.stopped:
        allowed.add(WorkloadPhase.CANCELLED)
    if job.retries is not None and job.tries - 1 + done.kills > job.retries:
        allowed.add(WorkloadPhase.FAILED)
    return allowed


def _judge_attempts(job: Job, done: Deeds, phase: WorkloadPhase, starts: Sequence[Start]) -> Iterator[str]:
    """How often it may have begun, and how often it must have."""
    tries = {(start.member.partition(".")[0], start.epoch, start.incarnation) for start in starts}
    if not job.serves:
        most = job.tries + done.kills
        if job.retries is not None:
            most = min(most, job.retries + 1)
        if len(tries) > most:
            yield f"{job.name} was tried {len(tries)} times; {most} at most ({done})"
    if phase is WorkloadPhase.SUCCEEDED:
        whole = [one for one, count in Counter(_try_of(start) for start in starts).items() if count == job.starts]
        if not whole:
            yield f"{job.name} succeeded, but no attempt of it began with all {job.starts} processes"
    if not done.stopped and not done.kills and job.end is not None and job.starts == 1 and len(starts) != job.tries:
        yield f"{job.name} was left alone, and began {len(starts)} times in place of {job.tries}"


def _try_of(start: Start) -> tuple[int, int]:
    return start.epoch, start.incarnation
