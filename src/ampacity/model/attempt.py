"""Attempts: one placed gang for one replica, its members, and the table of its phases."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from .ids import (
    DEFAULT_OWNER,
    DEFAULT_PROJECT,
    DEFAULT_QUEUE,
    AttemptId,
    MemberKey,
    NodeId,
    Owner,
    Project,
    QueueName,
    WorkloadId,
)
from .lasting import UNKNOWN, Lasting
from .plan import Placement
from .resources import Allocation


class AttemptPhase(StrEnum):
    PLACED = "placed"
    PREPARING = "preparing"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def ended(self) -> bool:
        return not TRANSITIONS[self]


_ENDS = frozenset({AttemptPhase.SUCCEEDED, AttemptPhase.FAILED, AttemptPhase.CANCELLED, AttemptPhase.LOST})

TRANSITIONS: dict[AttemptPhase, frozenset[AttemptPhase]] = {
    AttemptPhase.PLACED: frozenset({AttemptPhase.PREPARING, AttemptPhase.RUNNING, AttemptPhase.STOPPING}) | _ENDS,
    AttemptPhase.PREPARING: frozenset({AttemptPhase.RUNNING, AttemptPhase.STOPPING}) | _ENDS,
    AttemptPhase.RUNNING: frozenset({AttemptPhase.STOPPING}) | _ENDS,
    AttemptPhase.STOPPING: _ENDS,
    AttemptPhase.SUCCEEDED: frozenset(),
    AttemptPhase.FAILED: frozenset(),
    AttemptPhase.CANCELLED: frozenset(),
    AttemptPhase.LOST: frozenset(),
}
"""The one table of phases. Phases may be skipped forwards (facts get lost), never walked back."""


class CauseKind(StrEnum):
    """Why a member, and with it an attempt, ended."""

    COMPLETED = "completed"
    EXIT = "exit"
    SIGNAL = "signal"
    OUT_OF_MEMORY = "out_of_memory"
    TIME_LIMIT = "time_limit"
    DISK_FULL = "disk_full"
    DISK_QUOTA = "disk_quota"
    SETUP_FAILED = "setup_failed"
    LAUNCH_FAILED = "launch_failed"
    STOPPED = "stopped"
    UNHEALTHY = "unhealthy"
    SUPERVISOR_DIED = "supervisor_died"
    NODE_LOST = "node_lost"
    NODE_REBOOTED = "node_rebooted"
    DEVICE_FAILED = "device_failed"
    PREEMPTED = "preempted"

    @property
    def is_interruption(self) -> bool:
        """The place was taken from the job; it did nothing wrong itself."""
        return self in _INTERRUPTIONS


_INTERRUPTIONS = frozenset(
    {
        *(CauseKind.SUPERVISOR_DIED, CauseKind.NODE_LOST, CauseKind.NODE_REBOOTED),
        *(CauseKind.DEVICE_FAILED, CauseKind.PREEMPTED),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """``exit_code`` 0..255, ``signal`` its number; ``last_lines`` are the end of what the process printed."""

    kind: CauseKind
    exit_code: int | None = None
    signal: int | None = None
    rank: int | None = None
    message: str = ""
    last_lines: tuple[str, ...] = ()

    @property
    def completed(self) -> bool:
        return self.kind is CauseKind.COMPLETED


class MemberPhase(StrEnum):
    PENDING = "pending"
    PREPARING = "preparing"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An attempt's part on one node. ``endpoint`` is ``host:port`` when it was given a port."""

    index: int
    node: NodeId
    allocation: Allocation
    phase: MemberPhase = MemberPhase.PENDING
    handle: str = ""
    endpoint: str = ""
    cause: Cause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StopOrder:
    """Somebody, or a rule, wants the attempt to end. ``final`` is the phase that it will then have.

    Attributes:
        save_until: before it is told to end it is asked to save, and left alone until it has, or until this time
            (seconds since the epoch). ``None`` = it is told to end at once.
        saved_step: the step of its newest checkpoint when the order was given.
        then: where its successor goes; these places are kept for it.
    """

    reason: str
    by: str
    grace_s: float
    at: float
    final: AttemptPhase = AttemptPhase.CANCELLED
    cause: Cause | None = None
    save_until: float | None = None
    saved_step: int | None = None
    then: tuple[Placement, ...] = ()

    @property
    def preempts(self) -> bool:
        """Its place is wanted for something else; it did nothing wrong, and goes on elsewhere or later."""
        return self.cause is not None and self.cause.kind is CauseKind.PREEMPTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The latest that a training job reported. ``loss`` without a unit; ``tokens`` since the run began.

    ``checkpoint_at``: when the newest checkpoint was complete, seconds since the epoch.
    """

    at: float
    step: int = 0
    loss: float | None = None
    tokens: int | None = None
    checkpoint_step: int | None = None
    checkpoint_path: str = ""
    checkpoint_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One placed gang. Only placing anew makes a new attempt; a restart in place raises ``incarnation``.

    ``first_progress``: what it reported first since it began, or since it began again in place: from there on its rate
    is measured.
    """

    id: AttemptId
    workload: WorkloadId
    replica: int
    epoch: int
    spec_revision: int
    members: tuple[Member, ...]
    project: Project = DEFAULT_PROJECT
    owner: Owner = DEFAULT_OWNER
    queue: QueueName = DEFAULT_QUEUE
    lasting: Lasting = UNKNOWN
    phase: AttemptPhase = AttemptPhase.PLACED
    placed_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    incarnation: int = 0
    ready: bool = False
    unhealthy_detail: str = ""
    progress: Progress | None = None
    first_progress: Progress | None = None
    stop: StopOrder | None = None
    cause: Cause | None = None
    version: int = 1

    def key(self, member: int) -> MemberKey:
        return MemberKey(attempt=self.id, member=member, epoch=self.epoch)

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        return tuple(member.node for member in self.members)

    @property
    def promised(self) -> tuple[Placement, ...]:
        """What is kept for its successor beside its own places. On a node of its own the successor gets what it has."""
        if self.stop is None or not self.stop.then:
            return ()
        own = set(self.nodes)
        return tuple(place for place in self.stop.then if place.node not in own)

    @property
    def held(self) -> tuple[tuple[int, Placement], ...]:
        """All that it keeps from others: its members' places by their index, and what is promised, by -1, -2, …"""
        own = tuple((each.index, Placement(node=each.node, allocation=each.allocation)) for each in self.members)
        return own + tuple((-1 - index, place) for index, place in enumerate(self.promised))

    def saves(self, now: float) -> bool:
        """Whether it was asked to save before it ends, and has neither done so nor used up its time."""
        stop = self.stop
        if stop is None or stop.save_until is None or now >= stop.save_until:
            return False
        return self.progress is None or self.progress.checkpoint_step == stop.saved_step


# Facts: what drivers and probes saw, once, in their own order. -----------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberPreparing:
    key: MemberKey
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberStarted:
    """``on``: where a pool that places by itself has put it, and what it was given there; ``None`` = its place."""

    key: MemberKey
    at: float
    endpoint: str = ""
    on: Placement | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberExited:
    key: MemberKey
    at: float
    cause: Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class IncarnationBegan:
    """The agent restarted the ranks in place. ``cause`` is that of the incarnation before."""

    key: MemberKey
    at: float
    incarnation: int
    cause: Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressReported:
    key: MemberKey
    at: float
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadinessChanged:
    key: MemberKey
    at: float
    ready: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLost:
    """Its node has been silent for longer than the stated time, or is gone for good."""

    attempt: AttemptId
    at: float
    cause: Cause = field(default_factory=lambda: Cause(kind=CauseKind.NODE_LOST))


MemberFact = MemberPreparing | MemberStarted | MemberExited | IncarnationBegan | ProgressReported | ReadinessChanged
AttemptFact = MemberFact | AttemptLost
