"""Identifiers. All are strings (or integers) in a type of their own, so that they cannot be mixed up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

WorkloadId = NewType("WorkloadId", str)
AttemptId = NewType("AttemptId", str)
NodeId = NewType("NodeId", str)
DeviceId = NewType("DeviceId", str)
PoolName = NewType("PoolName", str)
QueueName = NewType("QueueName", str)
Project = NewType("Project", str)
Owner = NewType("Owner", str)
KeyId = NewType("KeyId", str)

DEFAULT_PROJECT = Project("default")
DEFAULT_OWNER = Owner("default")
DEFAULT_QUEUE = QueueName("default")
DEFAULT_POOL = PoolName("default")

SYSTEM_PROJECT = Project("system")
"""Holds what the platform itself runs (the gateway). Listings leave it out unless asked."""


def attempt_id(workload: WorkloadId, replica: int, epoch: int) -> AttemptId:
    """The identity of the attempt: its replica and its epoch. Needs no randomness, so it can be made twice."""
    return AttemptId(f"{workload}.{replica}.{epoch}")


def workload_of(attempt: AttemptId) -> WorkloadId:
    """The workload that an attempt is of."""
    return WorkloadId(attempt.rsplit(".", 2)[0])


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class MemberKey:
    """Names one member of one attempt. Supervisors and drivers are keyed by it."""

    attempt: AttemptId
    member: int
    epoch: int

    def __str__(self) -> str:
        return f"{self.attempt}-{self.member}"
