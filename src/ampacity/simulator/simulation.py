"""A cluster's life in simulated time: jobs come, run, are moved aside and end, under the live system's own rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from ampacity.control.queueing import Queueing
from ampacity.control.step import Control
from ampacity.control.writing import Writing
from ampacity.hub import Hub
from ampacity.model.attempt import Attempt, Cause, CauseKind, Progress, ProgressReported
from ampacity.model.errors import AmpacityError
from ampacity.model.event import Table
from ampacity.model.ids import AttemptId, MemberKey, WorkloadId
from ampacity.model.node import Node
from ampacity.model.resources import WHOLE_MILLI
from ampacity.model.workload import Wish, Workload
from ampacity.store.feed import FeedStore
from ampacity.store.memory import MemoryStore

from .jobs import JobOutcome, Run, SimulatedJob
from .machines import Inline, Machines, Pretending
from .timeline import Timeline

MOST_STEPS = 1000
"""Steps in a row at one moment; more of them would never come to rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of every job, in the order in which they were given. ``steps``: of the control loop."""

    outcomes: tuple[JobOutcome, ...]
    accelerators: int
    began_at: float
    ended_at: float
    steps: int


@dataclass(slots=True)
class _Playing:
    """An attempt that runs: since when it gets on with its work, and how much was left then."""

    outcome: JobOutcome
    attempt: Attempt
    started_at: float
    left_s: float | None
    speed: float
    members: list[MemberKey]
    saved_s: float = 0.0
    saves: int = 0

    def done_s(self, now: float) -> float:
        """The work done in this attempt, in seconds on the least number of nodes."""
        return max(0.0, now - self.started_at - self.outcome.job.start_s) * self.speed


class Simulation:
    """Plays jobs to a control loop of its own.

    Args:
        folder: a folder for what the loop's parts want on a disk; nothing of a job is written there.
        nodes: the machines.
        jobs: submitted at their times.
        queue_file: the text of a queue file (docs/scheduling.md), in force before the first job comes.
    """

    def __init__(
        self, folder: Path, nodes: Sequence[Node], jobs: Iterable[SimulatedJob], *, queue_file: str = ""
    ) -> None:
        self.outcomes = [JobOutcome(job=job) for job in jobs]
        self._accelerators = sum(len(node.devices) for node in nodes)
        self._began_at = min((outcome.job.at for outcome in self.outcomes), default=0.0)
        self.timeline = Timeline(self._began_at)
        self.store = FeedStore(MemoryStore())
        self.machines = Machines(nodes, self._clock)
        self._woken = True
        self.machines.on_wake(self._wake)
        self.control = Control(
            store=self.store,
            drivers={self.machines.name: self.machines},
            launcher=Pretending(),
            nodes_every_s=3600.0,
            pool=Inline(),
        )
        idents = count(1)
        self._writing = Writing(
            self.store,
            Hub(folder / "hub"),
            folder / "checkpoints",
            self._clock,
            lambda: self.control.nodes,
            new_ident=lambda: WorkloadId(f"w{next(idents):09d}"),
        )
        self._of: dict[WorkloadId, JobOutcome] = {}
        self._left_s: dict[tuple[WorkloadId, int], float | None] = {}
        self._playing: dict[AttemptId, _Playing] = {}
        self._steps = 0
        self._step()  # the nodes are known before the first job comes
        if queue_file:
            queueing = Queueing(self.store, self.control, self._clock)
            queueing.apply(queue_file, file="queues.yaml", by="simulator", dry_run=False)
        for outcome in self.outcomes:
            self.timeline.at(outcome.job.at, self._submission(outcome))

    def run(self, until: float, *, tell: Callable[[float], None] = lambda now: None) -> Result:
        """Let time pass until then, or until nothing is left to happen. ``tell`` hears the time now and then."""
        wake_at = self.timeline.now
        while True:
            due_at = self.timeline.next_at()
            if due_at is None and not self._of:
                break
            now = wake_at if due_at is None else min(due_at, wake_at)
            if now > until:
                self.timeline.advance(until)
                break
            self.timeline.advance(now)
            wake_at = self._step()
            tell(now)
        self._close()
        return Result(
            outcomes=tuple(self.outcomes),
            accelerators=self._accelerators,
            began_at=self._began_at,
            ended_at=self.timeline.now,
            steps=self._steps,
        )

    def lose_all_on(self, node: str) -> None:
        """The machine is restarted now: all that runs there ends unsaved."""
        died = Cause(kind=CauseKind.NODE_REBOOTED, message="the machine was restarted")
        for playing in list(self._playing.values()):
            if node in playing.attempt.nodes:
                self._interrupt(playing, died)

    # The loop ------------------------------------------------------------------------------------------------------

    def _clock(self) -> float:
        return self.timeline.now

    def _wake(self) -> None:
        self._woken = True

    def _step(self) -> float:
        """Step until nothing more follows at this moment; when the loop wants to be called next."""
        for _ in range(MOST_STEPS):
            self._woken = False
            report = self.control.step(self.timeline.now)
            self._steps += 1
            self._play()
            if not report.wrote and not self._woken and report.next_wake > self.timeline.now:
                return report.next_wake
        raise RuntimeError(f"The control loop does not come to rest at {self.timeline.now}.")

    def _submission(self, outcome: JobOutcome) -> Callable[[], None]:
        def submit() -> None:
            job = outcome.job
            try:
                row = self._writing.submit(job.spec, project=job.project, owner=job.owner).workload
            except AmpacityError as error:
                outcome.refused = str(error)
                return
            self._of[row.id] = outcome
            for replica in range(job.spec.replicas):
                self._left_s[row.id, replica] = job.work_s
            if job.stop_at is not None:
                self.timeline.at(job.stop_at, lambda: self._wish_stopped(row.id))

        return submit

    def _wish_stopped(self, ident: WorkloadId) -> None:
        if ident in self._of:
            job = self._of[ident].job
            self._writing.set_desired(ident, project=job.project, by=job.owner, wish=Wish.STOP, replicas=None)

    # What the machines do ------------------------------------------------------------------------------------------

    def _play(self) -> None:
        """Take in what the loop told the machines, and what has ended for good."""
        begun, self.machines.begun = self.machines.begun, []
        for key in begun:
            self._begin(key)
        asked, self.machines.asked_to_save = self.machines.asked_to_save, []
        for key in asked:
            self._ask_to_save(key)
        asked, self.machines.asked_to_stop = self.machines.asked_to_stop, []
        for key in asked:
            self._stop(key)
        for ident in [ident for ident in self._of if not self.store.lives(ident)]:
            outcome = self._of.pop(ident)
            row = self.store.get(Table.WORKLOADS, ident)
            assert isinstance(row, Workload), "what has ended is kept, too"
            outcome.ended_at, outcome.phase = self.timeline.now, row.phase

    def _begin(self, key: MemberKey) -> None:
        """A member runs; with the last of a gang, the gang does."""
        attempt = self.control.mirror.rows.attempts[key.attempt]
        playing = self._playing.get(attempt.id)
        if playing is None:
            outcome = self._of[attempt.workload]
            playing = self._playing[attempt.id] = _Playing(
                outcome=outcome,
                attempt=attempt,
                started_at=self.timeline.now,
                left_s=self._left_s[attempt.workload, attempt.replica],
                speed=len(attempt.members) / outcome.job.spec.num_nodes.minimum,
                members=[],
            )
        playing.members.append(key)
        if len(playing.members) == len(attempt.members):
            self._get_on(playing)

    def _get_on(self, playing: _Playing) -> None:
        playing.started_at = now = self.timeline.now
        job = playing.outcome.job
        if playing.left_s is not None:
            self.timeline.at(now + job.start_s + playing.left_s / playing.speed, lambda: self._finish(playing))
        every_s = job.spec.checkpoint.every_s
        if every_s is not None:
            self.timeline.at(now + job.start_s + every_s, lambda: self._save_regularly(playing, every_s))

    def _save_regularly(self, playing: _Playing, every_s: float) -> None:
        if playing.attempt.id in self._playing:
            self._save(playing)
            self.timeline.at(self.timeline.now + every_s, lambda: self._save_regularly(playing, every_s))

    def _ask_to_save(self, key: MemberKey) -> None:
        playing = self._playing.get(key.attempt)
        if playing is not None and playing.outcome.job.saves:
            self.timeline.at(self.timeline.now + playing.outcome.job.save_s, lambda: self._save(playing))

    def _save(self, playing: _Playing) -> None:
        """A checkpoint is complete, and the control loop hears of it."""
        if playing.attempt.id not in self._playing:
            return
        now = self.timeline.now
        playing.saved_s = playing.done_s(now)
        playing.saves += 1
        progress = Progress(at=now, step=playing.saves, checkpoint_step=playing.saves, checkpoint_at=now)
        self.machines.report(ProgressReported(key=playing.members[0], at=now, progress=progress))

    def _finish(self, playing: _Playing) -> None:
        if playing.attempt.id in self._playing:
            self._left_s[playing.attempt.workload, playing.attempt.replica] = 0.0
            self._end(playing, Cause(kind=CauseKind.COMPLETED, exit_code=0))

    def _stop(self, key: MemberKey) -> None:
        playing = self._playing.get(key.attempt)
        if playing is None:
            return
        order = self.control.mirror.rows.attempts[key.attempt].stop
        stopped = Cause(kind=CauseKind.STOPPED, message="asked to stop")
        if order is not None and order.preempts:
            self._interrupt(playing, stopped)
        else:
            self._end(playing, stopped)

    def _interrupt(self, playing: _Playing, cause: Cause) -> None:
        """It ends at once; what it has not saved is lost."""
        if playing.left_s is not None:
            self._left_s[playing.attempt.workload, playing.attempt.replica] = playing.left_s - playing.saved_s
            playing.outcome.lost_s += playing.done_s(self.timeline.now) - playing.saved_s
        playing.outcome.interruptions += 1
        self._end(playing, cause)

    def _end(self, playing: _Playing, cause: Cause) -> None:
        """All members end at this moment."""
        if self._playing.pop(playing.attempt.id, None) is None:
            return
        playing.outcome.runs.append(self._run_of(playing))
        for key in playing.members:
            self.machines.crash(key, cause)

    def _run_of(self, playing: _Playing) -> Run:
        members = playing.attempt.members
        milli = sum(share.milli for member in members for share in member.allocation.devices)
        return Run(
            replica=playing.attempt.replica,
            started_at=playing.started_at,
            ended_at=self.timeline.now,
            nodes=len(members),
            accelerators=milli / WHOLE_MILLI,
        )

    def _close(self) -> None:
        """What still runs has run until now."""
        for playing in self._playing.values():
            playing.outcome.runs.append(self._run_of(playing))
        self._playing.clear()
        self.control.close()
        self.store.close()
