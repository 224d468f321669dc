"""What one that waits is told of its place in the queue and of its expected start."""

from __future__ import annotations

from dataclasses import replace

from ampacity.model.attempt import Attempt
from ampacity.model.event import Row, SpecRevision
from ampacity.model.ids import QueueName, WorkloadId
from ampacity.model.lasting import Basis, Lasting
from ampacity.model.queue import Queue
from ampacity.scheduler import build, plan
from scheduler_cluster import node, request, rows_of, running, workload

NOW = 1_000_000.0


def in_queue(parts: tuple[Row, ...], queue: str) -> tuple[Row, ...]:
    found: list[Row] = []
    for row in parts:
        if isinstance(row, SpecRevision):
            row = replace(row, spec=replace(row.spec, queue=QueueName(queue)))
        elif isinstance(row, Attempt):
            row = replace(row, queue=QueueName(queue))
        found.append(row)
    return tuple(found)


def outlook(id: str, *parts: Row | tuple[Row, ...]) -> str:
    (wait,) = plan(build(rows_of(*parts)), NOW).waits.of(WorkloadId(id))
    return wait.outlook


def test_place_share_and_expected_start_with_its_basis() -> None:
    n1 = node("n1", devices=8)
    vision = Queue(name=QueueName("vision"), quota={"H100": 4000})
    *rest, attempt = in_queue(running("a", n1, request("H100:8")), "vision")
    assert isinstance(attempt, Attempt)
    lasting = Lasting(basis=Basis.LIMIT, seconds=3600.0)
    held = (*rest, replace(attempt, placed_at=NOW - 600, started_at=NOW - 600, lasting=lasting))
    first = in_queue(workload("b", request("H100:8")), "vision")
    second = in_queue(workload("c", request("H100:4"), created_at=5.0), "vision")
    other = workload("d", request("H100:1"))
    parts = (n1, vision, held, first, second)
    told = outlook("b", *parts)
    assert told.startswith(
        "1st of 2 in the queue vision, which uses 8 H100 of its 4 H100 and borrows 4 H100 (100% of all)"
    )
    assert told.endswith(
        "expected to start by 1970-01-12 14:36 UTC on n1, when name-a (a) has ended, by the time limit"
    )
    assert outlook("c", *parts).startswith("2nd of 2 in the queue vision, ")
    assert outlook("d", *parts, other).startswith("1st of 1 in the queue default, which uses 0 CPUs (0% of all)")


def test_who_is_held_back_by_other_workloads_is_told_of_them_alone() -> None:
    n1 = node("n1", devices=8)
    before = workload("a", request("H100:8"))
    assert outlook("b", n1, before, workload("b", request("H100:1"), after=("a",))) == ""
