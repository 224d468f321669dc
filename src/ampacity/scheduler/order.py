"""Which replicas want a start, and in which order they are served."""

from __future__ import annotations

from dataclasses import dataclass

from ampacity.model.resources import Range
from ampacity.model.workload import Replica, Wish, Workload, WorkloadSpec

from .state import ReplicaKey, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """A replica that needs a start. ``size``: how many nodes its gang may have."""

    workload: Workload
    spec: WorkloadSpec
    replica: Replica
    size: Range


def wanted(state: State) -> list[Want]:
    """All replicas that need a start: the highest priority first, then the oldest, then by id and index."""
    found = [want for key in state.waiting if (want := _want(state, key)) is not None]
    return sorted(found, key=_turn)


def _want(state: State, key: ReplicaKey) -> Want | None:
    held = state.live[key[0]]
    spec, desired = held.spec, held.desired
    if spec is None or desired is None or desired.wish is not Wish.RUN:
        return None
    if key[1] >= desired.replicas or key in state.attempts_of:
        return None
    size = spec.num_nodes if desired.size is None else Range.exactly(desired.size)
    return Want(workload=held.workload, spec=spec, replica=held.replicas[key[1]], size=size)


def _turn(want: Want) -> tuple[int, float, str, int]:
    return -want.spec.priority, want.workload.created_at, want.workload.id, want.replica.index
