"""Rows and events for tests of the store: small, valid, and numbered from what stands."""

from __future__ import annotations

from dataclasses import replace

from ampacity.model.attempt import Attempt, Member
from ampacity.model.event import Draft, EventKind, Row, Table, Touch, put
from ampacity.model.ids import AttemptId, NodeId, Project, WorkloadId
from ampacity.model.node import Node
from ampacity.model.resources import Allocation
from ampacity.model.workload import (
    Desired,
    Replica,
    SpecRevision,
    Workload,
    WorkloadKind,
    WorkloadPhase,
    WorkloadSpec,
)


def make_workload(name: str = "a", *, ident: str = "", created_at: float = 1.0, **more: object) -> Workload:
    known = {"id": WorkloadId(ident or f"w{name}"), "name": name, "kind": WorkloadKind.TASK, "created_at": created_at}
    return Workload(**{**known, **more})  # type: ignore[arg-type]


def make_node(name: str = "n1", *, version: int = 1) -> Node:
    return Node(id=NodeId(name), driver="local", cpu_milli=8000, memory_bytes=1 << 30, version=version)


def make_attempt(workload: str = "wa", *, epoch: int = 1) -> Attempt:
    return Attempt(
        id=AttemptId(f"{workload}.0.{epoch}"),
        workload=WorkloadId(workload),
        replica=0,
        epoch=epoch,
        spec_revision=1,
        members=(Member(index=0, node=NodeId("n1"), allocation=Allocation(cpu_milli=1000, memory_bytes=0)),),
    )


def draft(
    *rows: Row, kind: EventKind = EventKind.WORKLOAD_CHANGED, workload: str | None = None, at: float = 1.0
) -> Draft:
    return Draft(
        kind=kind,
        at=at,
        changes=tuple(put(row) for row in rows),
        workload=None if workload is None else WorkloadId(workload),
    )


def submitted(workload: Workload) -> Draft:
    """The event of a submission, with all rows that come with it."""
    return draft(
        workload,
        SpecRevision(workload=workload.id, revision=1, spec=WorkloadSpec(name=workload.name, kind=workload.kind)),
        Desired(workload=workload.id),
        Replica(workload=workload.id, index=0),
        kind=EventKind.WORKLOAD_SUBMITTED,
        workload=workload.id,
        at=workload.created_at,
    )


def ended(workload: Workload, phase: WorkloadPhase = WorkloadPhase.SUCCEEDED) -> Draft:
    changed = replace(workload, phase=phase, ended_at=9.0, version=workload.version + 1)
    return draft(changed, kind=EventKind.WORKLOAD_ENDED, workload=workload.id)


PROJECT = Project("default")


def touch_node(name: str, version: int) -> Draft:
    return Draft(kind=EventKind.ATTEMPT_PLACED, at=1.0, touches=(Touch(table=Table.NODES, key=name, version=version),))
