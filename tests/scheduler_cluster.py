"""Small builders of rows for the scheduler's tests."""

from __future__ import annotations

from ampacity.model.attempt import Attempt, AttemptPhase, Member
from ampacity.model.event import Row, Rows, put
from ampacity.model.fits import allocate, free_on
from ampacity.model.ids import DeviceId, NodeId, Owner, QueueName, WorkloadId, attempt_id
from ampacity.model.lasting import UNKNOWN, Basis, Lasting
from ampacity.model.node import Device, Health, Node, NodeCondition
from ampacity.model.quantities import parse_accelerator_choice
from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.workload import (
    Deadline,
    Desired,
    Replica,
    ReplicaPhase,
    SpecRevision,
    Workload,
    WorkloadKind,
    WorkloadPhase,
    WorkloadSpec,
)

GIB = 2**30


def node(
    id: str,
    *,
    devices: int = 0,
    kind: str = "H100",
    cpus: float = 64,
    memory_bytes: int = 256 * GIB,
    condition: NodeCondition = NodeCondition.READY,
    health: Health = Health.OK,
    version: int = 1,
) -> Node:
    return Node(
        id=NodeId(id),
        driver="fake",
        cpu_milli=int(cpus * 1000),
        memory_bytes=memory_bytes,
        devices=tuple(
            Device(id=DeviceId(f"{id}-{i}"), index=i, kind=kind, memory_bytes=80 * GIB, health=health)
            for i in range(devices)
        ),
        condition=condition,
        version=version,
    )


def request(accelerators: str = "", *, cpus: float = 1, memory_bytes: int = 0, disk_bytes: int = 0) -> ResourceRequest:
    return ResourceRequest(
        accelerators=parse_accelerator_choice(accelerators) if accelerators else (),
        cpu_milli=Range.exactly(int(cpus * 1000)),
        memory_bytes=Range.exactly(memory_bytes),
        disk_bytes=disk_bytes,
    )


def workload(
    id: str,
    resources: ResourceRequest | None = None,
    *,
    num_nodes: Range | None = None,
    priority: int = 0,
    created_at: float = 0.0,
    phase: WorkloadPhase = WorkloadPhase.WAITING,
    replicas: int = 1,
    size: int | None = None,
    after: tuple[str, ...] = (),
    not_before: float = 0.0,
    failures: int = 0,
    queue: str = "default",
    owner: str = "default",
    limit_s: float | None = None,
    deadline: float | None = None,
    ran_s: float = 0.0,
) -> tuple[Row, ...]:
    """The rows of one submitted workload; its name is ``name-<id>``."""
    key = WorkloadId(id)
    spec = WorkloadSpec(
        name=f"name-{id}",
        kind=WorkloadKind.TRAIN,
        run="true",
        resources=resources or request(),
        num_nodes=num_nodes or Range.exactly(1),
        priority=priority,
        replicas=replicas,
        queue=QueueName(queue),
        max_duration_s=limit_s,
        deadline=None if deadline is None else Deadline(at=deadline),
    )
    return (
        Workload(
            id=key,
            name=spec.name,
            kind=spec.kind,
            created_at=created_at,
            phase=phase,
            owner=Owner(owner),
            after=tuple(WorkloadId(each) for each in after),
        ),
        SpecRevision(workload=key, revision=1, spec=spec),
        Desired(workload=key, replicas=replicas, size=size),
        *(
            Replica(workload=key, index=index, not_before=not_before, failures=failures, ran_s=ran_s)
            for index in range(replicas)
        ),
    )


def running(
    id: str,
    on: Node,
    resources: ResourceRequest,
    *,
    phase: AttemptPhase = AttemptPhase.RUNNING,
    queue: str = "default",
    owner: str = "default",
    placed_at: float = 0.0,
    lasts_s: float | None = None,
) -> tuple[Row, ...]:
    """The rows of a workload whose only replica has an attempt on that (empty) node."""
    submitted = workload(id, resources, phase=WorkloadPhase.RUNNING, queue=queue, owner=owner, limit_s=lasts_s)
    allocation = allocate(on, free_on(on, ()), resources)
    assert allocation is not None
    key = WorkloadId(id)
    attempt = Attempt(
        id=attempt_id(key, 0, 1),
        workload=key,
        replica=0,
        epoch=1,
        spec_revision=1,
        members=(Member(index=0, node=on.id, allocation=allocation),),
        phase=phase,
        queue=QueueName(queue),
        owner=Owner(owner),
        placed_at=placed_at,
        lasting=UNKNOWN if lasts_s is None else Lasting(basis=Basis.LIMIT, seconds=lasts_s),
    )
    return (*submitted[:3], Replica(workload=key, index=0, phase=ReplicaPhase.ACTIVE, epoch=1), attempt)


def rows_of(*parts: Row | tuple[Row, ...]) -> Rows:
    """Rows as a store would give them."""
    rows = Rows()
    for part in parts:
        for row in part if isinstance(part, tuple) else (part,):
            change = put(row)
            rows.table(change.table)[change.key] = row
    return rows
