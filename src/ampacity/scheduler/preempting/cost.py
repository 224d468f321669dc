"""What it costs to interrupt an attempt, in device seconds."""

from __future__ import annotations

from ampacity.model.attempt import Attempt
from ampacity.model.resources import WHOLE_MILLI
from ampacity.model.workload import WorkloadKind

from .runners import Runner

CPUS_PER_DEVICE = 16
"""So many CPUs weigh as much as one accelerator."""


def cost_of(runner: Runner, now: float, restart_s: float) -> float:
    """The work that is lost, what came since its newest checkpoint or since it began, and the time to begin again.

    That it is asked to save before, and may lose next to nothing, is not counted on. A service has no work to lose.
    """
    lost = 0.0 if runner.spec.kind is WorkloadKind.SERVICE else lost_s(runner.attempt, now)
    return weight_of(runner.attempt) * (lost + restart_s)


def lost_s(attempt: Attempt, now: float) -> float:
    """Seconds of work that would have to be done again."""
    if attempt.started_at is None:
        return 0.0
    saved_at = attempt.progress.checkpoint_at if attempt.progress is not None else None
    return max(0.0, now - max(attempt.started_at, saved_at or 0.0))


def weight_of(attempt: Attempt) -> float:
    """How many devices it holds; CPUs count where they weigh more."""
    devices = sum(share.milli for member in attempt.members for share in member.allocation.devices)
    cpus = sum(member.allocation.cpu_milli for member in attempt.members)
    return max(devices, cpus / CPUS_PER_DEVICE) / WHOLE_MILLI
