"""Workloads: what somebody asked for, what is desired of it now, and its replicas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .array import ArrayPlace
from .ids import DEFAULT_OWNER, DEFAULT_PROJECT, DEFAULT_QUEUE, Owner, Project, QueueName, WorkloadId
from .plan import Placement
from .resources import Range, ResourceRequest
from .rules import PlacementRules
from .service_terms import Overload, Price, Routing
from .volume import VolumeUse


class WorkloadKind(StrEnum):
    TASK = "task"
    TRAIN = "train"
    SERVICE = "service"
    DATA = "data"
    DEV = "dev"


class RetryEvent(StrEnum):
    """``error``: the job itself failed. ``interruption``: it was taken from it (node gone, supervisor killed)."""

    ERROR = "error"
    INTERRUPTION = "interruption"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often it may begin again. ``maximum`` ``None`` = without end (services, with a growing backoff)."""

    maximum: int | None = 0
    on_events: tuple[RetryEvent, ...] = (RetryEvent.ERROR, RetryEvent.INTERRUPTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPolicy:
    """``directory`` is absolute once the spec was accepted; ``every_s`` is given to the job, which decides.

    ``within_s``: how long a save may take that the job is asked for before it has to leave its place.
    """

    directory: str = ""
    every_s: float | None = None
    within_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadinessProbe:
    """Ready when ``GET path`` answers 2xx. ``timeout_s``: how long it may take the first time."""

    path: str = "/health"
    interval_s: float = 1.0
    timeout_s: float = 300.0
    failures: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """What a service adds. ``port`` 0 = a free one, given to the process as ``PORT``.

    ``model`` names a hub model (``name`` or ``name:version``); ``engine`` names who serves it. Without an engine
    ``run`` is the server. ``served_name`` is the model name that the gateway answers to; empty = not on the gateway.
    ``concurrency``: so many requests a replica takes at once; 0 = no limit. ``routing``: how the gateway chooses among
    its replicas; ``None`` = as it does where nothing is said. ``hedge_after_s``: when the first token has not come by
    then, a second replica is asked as well; 0 = never.
    """

    port: int = 0
    model: str = ""
    engine: str = ""
    engine_args: tuple[str, ...] = ()
    served_name: str = ""
    readiness: ReadinessProbe = field(default_factory=ReadinessProbe)
    concurrency: int = 0
    routing: Routing | None = None
    hedge_after_s: float = 0.0
    price: Price | None = None
    overload: Overload = field(default_factory=Overload)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretUse:
    """Names of the project's secrets that every process gets: as variables of those names (``envs``), and as files
    whose paths the variables ``<NAME>_FILE`` say (``files``)."""

    envs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.envs, *self.files)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """When it has to be done: ``at`` (seconds since the epoch), or ``within_s`` seconds after its submission."""

    at: float | None = None
    within_s: float | None = None

    def since(self, created_at: float) -> float:
        """The time, for what was submitted then."""
        return self.at if self.at is not None else created_at + (self.within_s or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class GivingWay:
    """Whether its place may be taken from it for others of its queue, and whose places it may take.

    Attributes:
        preemptible: ``None`` = as usual for its kind: a service and a ``dev`` are not, all else is.
        yield_to: of these kinds, those of the same priority may take its place as well.
        outrank: of these kinds, it may take the places of those of the same priority.
        keep_replicas: a service's replicas that are left to it in any case.
    """

    preemptible: bool | None = None
    yield_to: tuple[WorkloadKind, ...] = ()
    outrank: tuple[WorkloadKind, ...] = ()
    keep_replicas: int = 0

    @property
    def tier(self) -> int:
        """Among the same priority only those of a higher tier take places: so nobody takes a place back."""
        return bool(self.outrank) - bool(self.yield_to)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSpec:
    """One immutable revision of what was asked for. Times in seconds, sizes in bytes; ``workdir`` is absolute."""

    name: str
    kind: WorkloadKind
    run: str = ""
    setup: str = ""
    workdir: str = ""
    envs: Mapping[str, str] = field(default_factory=dict)
    resources: ResourceRequest = field(default_factory=ResourceRequest)
    num_nodes: Range = field(default_factory=lambda: Range.exactly(1))
    ranks_per_node: int | None = None
    replicas: int = 1
    queue: QueueName = DEFAULT_QUEUE
    priority: int = 0
    deadline: Deadline | None = None
    after: tuple[str, ...] = ()
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    checkpoint: CheckpointPolicy = field(default_factory=CheckpointPolicy)
    max_duration_s: float | None = None
    grace_s: float = 10.0
    service: ServiceSpec | None = None
    secrets: SecretUse = field(default_factory=SecretUse)
    volumes: tuple[VolumeUse, ...] = ()
    giving_way: GivingWay = GivingWay()
    rules: PlacementRules = field(default_factory=PlacementRules)

    @property
    def preemptible(self) -> bool:
        """Whether its place may be taken from it at all."""
        if self.giving_way.preemptible is not None:
            return self.giving_way.preemptible
        return self.kind not in (WorkloadKind.SERVICE, WorkloadKind.DEV) or bool(self.giving_way.yield_to)


class WorkloadPhase(StrEnum):
    """Where the whole workload stands. The last three are final."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in (WorkloadPhase.SUCCEEDED, WorkloadPhase.FAILED, WorkloadPhase.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The identity of what was asked for; ``spec_revision`` points to the revision in force. ``array``: the array that
    it is an element of."""

    id: WorkloadId
    name: str
    kind: WorkloadKind
    project: Project = DEFAULT_PROJECT
    owner: Owner = DEFAULT_OWNER
    phase: WorkloadPhase = WorkloadPhase.WAITING
    spec_revision: int = 1
    after: tuple[WorkloadId, ...] = ()
    created_at: float = 0.0
    ended_at: float | None = None
    note: str = ""
    array: ArrayPlace | None = None
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecRevision:
    workload: WorkloadId
    revision: int
    spec: WorkloadSpec
    version: int = 1


class Wish(StrEnum):
    RUN = "run"
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """What is desired of a workload: changed by people and autoscalers, never by the control loop."""

    workload: WorkloadId
    wish: Wish = Wish.RUN
    replicas: int = 1
    size: int | None = None
    by: str = ""
    version: int = 1


class ReplicaPhase(StrEnum):
    """``waiting`` for a place (perhaps not before a time), ``active`` in an attempt, or ended."""

    WAITING = "waiting"
    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def ended(self) -> bool:
        return self in (ReplicaPhase.SUCCEEDED, ReplicaPhase.FAILED, ReplicaPhase.STOPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One of the n copies of a service; all other kinds have one.

    ``epoch`` is that of the latest attempt (0 = none yet). ``failures`` counts retries used, incarnations included.
    ``not_before`` (seconds since the epoch) holds back the next attempt: backoff. ``preempted`` counts how often its
    place was taken from it. ``then``: places that were promised to the next attempt. ``ran_s``: for how
    long earlier attempts held their places.
    """

    workload: WorkloadId
    index: int
    phase: ReplicaPhase = ReplicaPhase.WAITING
    epoch: int = 0
    failures: int = 0
    not_before: float = 0.0
    preempted: int = 0
    then: tuple[Placement, ...] = ()
    ran_s: float = 0.0
    version: int = 1
