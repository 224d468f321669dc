"""What runs and may have to give way, by its claim, kept current with the state; and what is leaving already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ampacity.model.attempt import Attempt
from ampacity.model.ids import AttemptId, NodeId, WorkloadId
from ampacity.model.resources import Allocation, Range
from ampacity.model.workload import WorkloadSpec

from ..fleet import Fleet
from .claims import Claim

Ints = npt.NDArray[np.int64]

GONE_KEPT = 10_000
"""So many of those that have left are remembered, for explanations that are read a little later."""

CPU, MEMORY, DISK, DEVICES = range(4)
"""The columns of an amount: thousandths, bytes, bytes, thousandths of accelerators of any kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """An attempt that runs or begins, and that nobody has told to stop.

    Attributes:
        desired: how many nodes it shall have by what somebody has said since; ``None`` = as its spec says.
        preempted: how often it had to leave.
    """

    attempt: Attempt
    spec: WorkloadSpec
    claim: Claim
    preempted: int
    desired: int | None = None

    @property
    def size(self) -> Range:
        """How many nodes it may have."""
        return self.spec.num_nodes if self.desired is None else Range.exactly(self.desired)

    @property
    def surplus(self) -> int:
        """How many nodes it has beyond its least."""
        return len(self.attempt.members) - self.size.minimum

    @property
    def elastic(self) -> bool:
        return self.size.minimum != self.size.maximum

    @property
    def resizable(self) -> bool:
        """Whether it may have another size than it has."""
        return self.elastic or self.desired not in (None, len(self.attempt.members))


@dataclass(slots=True)
class Held:
    """What the attempts of one claim hold: a row a node, by :class:`Runners`' own numbers of nodes."""

    runners: dict[AttemptId, Runner] = field(default_factory=dict)
    elastic: int = 0
    amounts: Ints = field(default_factory=lambda: np.zeros((0, 4), np.int64))

    def change(self, runner: Runner, numbers: dict[NodeId, int], sign: int) -> None:
        if len(numbers) > len(self.amounts):
            grown = np.zeros((max(2 * len(self.amounts), len(numbers)), 4), np.int64)
            grown[: len(self.amounts)] = self.amounts
            self.amounts = grown
        for member in runner.attempt.members:
            self.amounts[numbers[member.node]] += sign * amounts_of(member.allocation)
        self.elastic += sign * runner.elastic


@dataclass(slots=True)
class Runners:
    """All that may have to give way, by claim; those that may not are not in it.

    Attributes:
        held: by claim.
        leaving: the attempts that were told to stop and have not ended.
        resizable: the gangs that may have more or fewer nodes, whether they may be interrupted for others or not.
        replicas: how many replicas of each workload run.
        numbers: a number for each node that was ever used.
        seq: of the event before the one that is being taken in.
    """

    held: dict[Claim, Held] = field(default_factory=dict)
    leaving: dict[AttemptId, Attempt] = field(default_factory=dict)
    resizable: dict[AttemptId, Runner] = field(default_factory=dict)
    replicas: Counter[WorkloadId] = field(default_factory=Counter)
    numbers: dict[NodeId, int] = field(default_factory=dict)
    seq: int = 0
    _gone: dict[AttemptId, tuple[int, Runner]] = field(default_factory=dict)
    _rows: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    _rank: object = None
    _of: dict[WorkloadId, tuple[tuple[Runner, ...], tuple[AttemptId, ...]]] = field(default_factory=dict)

    def put(self, workload: WorkloadId, runners: Iterable[Runner], leaving: Collection[Attempt]) -> None:
        """What the workload has running, and what of it is leaving, instead of what it had before."""
        before, gone = self._of.pop(workload, ((), ()))
        fresh = tuple(runners)
        for runner in before:
            self._drop(runner)
        for id in gone:
            del self.leaving[id]
        for runner in fresh:
            self._add(runner)
        self.leaving.update((attempt.id, attempt) for attempt in leaving)
        if fresh or leaving:
            self._of[workload] = fresh, tuple(attempt.id for attempt in leaving)

    def at(self, id: AttemptId, seq: int) -> Runner | None:
        """One that may have to give way, as of an event not long ago, after which it was placed already."""
        gone = self._gone.get(id)
        if gone is not None:
            return gone[1] if gone[0] >= seq else None
        return next((found for held in list(self.held.values()) if (found := held.runners.get(id))), None)

    def rows_in(self, fleet: Fleet) -> Ints:
        """The fleet's row of each number; -1 where the node is not known."""
        rank = fleet.rank  # another one as soon as a node comes or goes
        if rank is not self._rank or len(self._rows) != len(self.numbers):
            self._rows = np.array([fleet.row_of.get(node, -1) for node in self.numbers], np.int64)
            self._rank = rank
        return self._rows

    def _add(self, runner: Runner) -> None:
        attempt = runner.attempt
        self.replicas[attempt.workload] += 1
        if runner.resizable:
            self.resizable[attempt.id] = runner
        if not runner.claim.preemptible:
            return
        for member in attempt.members:
            self.numbers.setdefault(member.node, len(self.numbers))
        self._gone.pop(attempt.id, None)
        held = self.held.setdefault(runner.claim, Held())
        held.runners[attempt.id] = runner
        held.change(runner, self.numbers, 1)

    def _drop(self, runner: Runner) -> None:
        attempt = runner.attempt
        self.replicas[attempt.workload] -= 1
        if not self.replicas[attempt.workload]:
            del self.replicas[attempt.workload]
        self.resizable.pop(attempt.id, None)
        held = self.held.get(runner.claim)
        if held is None or held.runners.pop(attempt.id, None) is None:
            return
        held.change(runner, self.numbers, -1)
        self._gone[attempt.id] = self.seq, runner
        if len(self._gone) > GONE_KEPT:
            del self._gone[next(iter(self._gone))]
        if not held.runners:
            del self.held[runner.claim]


def amounts_of(allocation: Allocation) -> Ints:
    """By the columns of an amount."""
    devices = sum(share.milli for share in allocation.devices)
    return np.array((allocation.cpu_milli, allocation.memory_bytes, allocation.disk_bytes, devices), np.int64)
