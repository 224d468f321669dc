"""The scheduler's output: a plan. It says what to do and, for all that waits, why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .ids import AttemptId, NodeId, WorkloadId
from .resources import Allocation


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One member's place. Its position in ``Start.placements`` is its node rank."""

    node: NodeId
    allocation: Allocation


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    workload: WorkloadId
    replica: int
    placements: tuple[Placement, ...]
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """``checkpoint_first``: ask the job to save before the grace time runs."""

    attempt: AttemptId
    reason: str
    grace_s: float
    checkpoint_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    attempt: AttemptId
    placements: tuple[Placement, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    attempt: AttemptId
    placements: tuple[Placement, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Places held for a replica from a time on. Seconds since the epoch."""

    workload: WorkloadId
    replica: int
    placements: tuple[Placement, ...]
    from_s: float


class WaitCode(StrEnum):
    """The binding constraint."""

    AFTER = "after"
    BACKOFF = "backoff"
    INSUFFICIENT = "insufficient"
    IMPOSSIBLE = "impossible"
    NO_NODES = "no_nodes"
    BEHIND = "behind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Why a replica waits: one sentence with its arithmetic, and what would let it start."""

    workload: WorkloadId
    replica: int
    code: WaitCode
    text: str
    change: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``next_wake``: when to plan again though nothing happens (seconds since the epoch)."""

    starts: tuple[Start, ...] = ()
    stops: tuple[Stop, ...] = ()
    resizes: tuple[Resize, ...] = ()
    moves: tuple[Move, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    waits: tuple[Wait, ...] = ()
    next_wake: float | None = None
