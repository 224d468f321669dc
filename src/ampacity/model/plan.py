"""The scheduler's output: a plan. It says what to do and, for all that waits, why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import overload

from .ids import AttemptId, NodeId, WorkloadId
from .lasting import UNKNOWN, Basis, Lasting
from .queue import Queue
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
    lasting: Lasting = UNKNOWN


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
    """Places held for a replica from a time on: its expected start. Seconds since the epoch.

    Attributes:
        placements: empty where it waits for what its queue may use, not for room.
        awaits: the attempts whose ends it waits for, the last one first; not more than a few of them.
        basis: how the time is known: that of the least sure of the ends that it waits for.
    """

    workload: WorkloadId
    replica: int
    placements: tuple[Placement, ...]
    from_s: float
    awaits: tuple[AttemptId, ...] = ()
    basis: Basis = Basis.ASSUMED


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """Places that a replica gets, and nobody else, as soon as those have left them who were told to."""

    workload: WorkloadId
    replica: int
    placements: tuple[Placement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStanding:
    """How one queue stands. Amounts are those of :mod:`ampacity.model.amounts`, all of its parts included.

    Attributes:
        share: its dominant share of all that there is, from 0 to 1.
        borrowed: what it uses beyond its quota. ``lent``: what others hold of its quota.
        running, waiting: attempts that hold something, and replicas that want a start.
    """

    queue: Queue
    quota: Mapping[str, int] = field(default_factory=dict)
    used: Mapping[str, int] = field(default_factory=dict)
    borrowed: Mapping[str, int] = field(default_factory=dict)
    lent: Mapping[str, int] = field(default_factory=dict)
    share: float = 0.0
    running: int = 0
    waiting: int = 0


class WaitCode(StrEnum):
    """The binding constraint."""

    AFTER = "after"
    BACKOFF = "backoff"
    INSUFFICIENT = "insufficient"
    IMPOSSIBLE = "impossible"
    NO_NODES = "no_nodes"
    BEHIND = "behind"
    PREEMPTING = "preempting"
    QUOTA = "quota"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Why a replica waits: one sentence with its arithmetic, and what would let it start. ``outlook``: its place in its
    queue, and when it is expected to start."""

    workload: WorkloadId
    replica: int
    code: WaitCode
    text: str
    change: str = ""
    outlook: str = ""


class Waits(Sequence[Wait]):
    """Why each replica waits that does, by workload and replica. Written out when it is first read.

    Args:
        write_out: gives those of one workload, or of all (``None``). It has to give the same waits however late it is
            called.
        briefly: gives those of one workload with less trouble, without ``change`` and ``outlook``.
    """

    def __init__(
        self,
        write_out: Callable[[WorkloadId | None], Iterable[Wait]] = lambda only: (),
        briefly: Callable[[WorkloadId], Iterable[Wait]] | None = None,
    ) -> None:
        self._write_out, self._briefly = write_out, briefly or write_out
        self._all: tuple[Wait, ...] | None = None

    def of(self, workload: WorkloadId, *, briefly: bool = False) -> tuple[Wait, ...]:
        """Those of one workload's replicas; ``briefly``: without what would let them start, and when they may."""
        found = self._briefly(workload) if briefly else self._write_out(workload)
        return tuple(sorted(found, key=lambda wait: wait.replica))

    def _in_order(self) -> tuple[Wait, ...]:
        if self._all is None:
            self._all = tuple(sorted(self._write_out(None), key=lambda wait: (wait.workload, wait.replica)))
        return self._all

    def __len__(self) -> int:
        return len(self._in_order())

    @overload
    def __getitem__(self, index: int) -> Wait: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Wait, ...]: ...

    def __getitem__(self, index: int | slice) -> Wait | tuple[Wait, ...]:
        return self._in_order()[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._in_order() == tuple(other)

    def __hash__(self) -> int:
        return hash(self._in_order())

    def __repr__(self) -> str:
        return f"Waits{self._in_order()!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``promises``: all that stand once this plan is carried out. ``queues``: how each stands once the starts are made,
    the parts of a queue behind it. ``next_wake``: when to plan again though nothing happens (seconds since the epoch).
    """

    starts: tuple[Start, ...] = ()
    stops: tuple[Stop, ...] = ()
    resizes: tuple[Resize, ...] = ()
    moves: tuple[Move, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    promises: tuple[Promise, ...] = ()
    waits: Waits = field(default_factory=Waits)
    queues: tuple[QueueStanding, ...] = ()
    next_wake: float | None = None
