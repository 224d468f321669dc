"""What is played to the scheduler, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ampacity.model.ids import DEFAULT_OWNER, DEFAULT_PROJECT, Owner, Project
from ampacity.model.workload import WorkloadPhase, WorkloadSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedJob:
    """A workload and how it behaves, which the scheduler does not see.

    Attributes:
        at: when it is submitted, seconds since the epoch.
        work_s: for how long it runs on the least number of nodes that it may have; on more of them it is as much
            faster. ``None``: until somebody stops it.
        stop_at: when its owner stops it, whatever it is doing; ``None`` = never.
        start_s: from each start until it gets on with its work (loading, restoring).
        save_s: how long it takes to save when it is asked to. One whose spec names no ``checkpoint.every_s`` never
            saves, and begins from nothing each time.
    """

    at: float
    spec: WorkloadSpec
    work_s: float | None
    project: Project = DEFAULT_PROJECT
    owner: Owner = DEFAULT_OWNER
    stop_at: float | None = None
    start_s: float = 0.0
    save_s: float = 0.0

    @property
    def saves(self) -> bool:
        return self.spec.checkpoint.every_s is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One attempt as it ran: on how many nodes, and on how many accelerators (shares count as parts)."""

    replica: int
    started_at: float
    ended_at: float
    nodes: int
    accelerators: float

    def accelerator_s(self, since: float, until: float) -> float:
        """What it held within that time, in seconds of whole accelerators."""
        return self.accelerators * max(0.0, min(self.ended_at, until) - max(self.started_at, since))


@dataclass(slots=True, kw_only=True)
class JobOutcome:
    """What became of a job. ``refused``: why it was not accepted. ``lost_s``: work that had to be done again."""

    job: SimulatedJob
    refused: str = ""
    ended_at: float | None = None
    phase: WorkloadPhase | None = None
    interruptions: int = 0
    lost_s: float = 0.0
    runs: list[Run] = field(default_factory=list)

    @property
    def waited_s(self) -> float | None:
        """From its submission to its first start; ``None`` = it never started."""
        return min(run.started_at for run in self.runs) - self.job.at if self.runs else None
