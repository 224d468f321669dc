"""What the API answers: the nouns put together for reading. Derived, never stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .attempt import Attempt
from .event import EventKind
from .ids import QueueName, WorkloadId
from .node import Node
from .plan import QueueStanding, Wait
from .policy import SchedulerPolicy
from .resources import Allocation
from .route import Route
from .workload import Desired, Replica, Workload, WorkloadSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadView:
    """One workload, whole. ``attempts`` are those that are alive and the last ended one of each replica, or all of
    them where the detail was asked for."""

    workload: Workload
    spec: WorkloadSpec
    desired: Desired
    replicas: tuple[Replica, ...]
    attempts: tuple[Attempt, ...]
    waits: tuple[Wait, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EventView:
    """An event as people and programs outside read it. ``name`` is that of its workload."""

    seq: int
    at: float
    kind: EventKind
    text: str
    project: str
    owner: str
    actor: str
    workload: str | None = None
    name: str = ""
    attempt: str | None = None
    node: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """A node and what is given out on it. ``attempts`` are the ids of those that hold a part of it."""

    node: Node
    used: Allocation
    attempts: tuple[str, ...]


class StoryKind(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """The answer to ``why``: a headline, the facts behind it, and what would change it."""

    workload: str
    kind: StoryKind
    headline: str
    lines: tuple[str, ...]
    change: str = ""
    last_lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """One line of output. Rank -1: not a rank's. ``replica`` and ``member`` say where it was printed."""

    at: float
    replica: int
    epoch: int
    member: int
    rank: int
    stream: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogHit:
    """A line that a search found, or with ``matched`` false one beside it. ``workload`` is an id, ``name`` its name;
    hits of one ``group`` stand next to each other."""

    workload: str
    name: str
    record: LogRecord
    matched: bool
    group: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressPoint:
    """One report of a training job (rank 0). ``checkpoint``: this line says that a checkpoint was completed."""

    at: float
    epoch: int
    incarnation: int
    step: int
    loss: float | None = None
    tokens: int | None = None
    checkpoint: bool = False
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The control plane. Addresses are empty when they do not listen. Times in seconds since the epoch.

    ``keys``: API keys that work. ``endpoint_open``: no key was ever made, and the endpoint asks for none.
    """

    version: str
    pid: int
    state_dir: str
    started_at: float
    seq: int
    waiting: int
    running: int
    nodes: int
    socket: str
    api_url: str
    gateway_url: str
    keys: int = 0
    endpoint_open: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueTreeView:
    """The queues as they stand, the parts of each behind it, and the scheduler's settings. ``capacity``: all that the
    nodes have, in the amounts of :mod:`ampacity.model.amounts`."""

    queues: tuple[QueueStanding, ...]
    policy: SchedulerPolicy
    capacity: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadRef:
    id: WorkloadId
    name: str
    queue: QueueName


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyChanges:
    """What a topology file changes, or with ``dry_run`` would change, in a line of words each."""

    dry_run: bool
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutesView:
    """The routes as they were written. ``ready``: how many replicas of each served model are ready."""

    routes: tuple[Route, ...] = ()
    ready: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteChanges:
    """What a route file changes, or with ``dry_run`` would change, in a line of words each. ``unserved``: names in it
    that nobody serves now."""

    dry_run: bool
    changes: tuple[str, ...] = ()
    unserved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueChanges:
    """What a queue file changes, or with ``dry_run`` would change.

    Attributes:
        added, changed, removed: queues by name; ``changes`` says what of each, in a line of words.
        policy: what of the settings, in a line of words each.
        starts: what would be placed now, and is not by the queues as they are.
        holds: what would not be placed now any more.
        stops: whose attempts would be stopped now.
        over: queues that would hold more than they may: nothing of theirs is stopped for it.
    """

    dry_run: bool
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    policy: tuple[str, ...] = ()
    starts: tuple[WorkloadRef, ...] = ()
    holds: tuple[WorkloadRef, ...] = ()
    stops: tuple[WorkloadRef, ...] = ()
    over: tuple[str, ...] = ()
