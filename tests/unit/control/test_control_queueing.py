"""Queue files over a control loop: changed as a whole or not at all, and what a dry run says."""

from __future__ import annotations

from pathlib import Path

import pytest
from control_bench import task
from test_control_plane import Seat

from ampacity.model.errors import InvalidSpec
from ampacity.model.event import EventKind
from ampacity.model.ids import QueueName
from ampacity.model.plan import QueueStanding, WaitCode
from ampacity.model.policy import OrderName
from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.view import QueueChanges
from ampacity.model.workload import WorkloadPhase, WorkloadSpec

TREE = "queues:\n  a: {quota: {cpus: 4}, borrow: none}\n  b: {weight: 3}\n"


@pytest.fixture
def seat(tmp_path: Path) -> Seat:
    return Seat(tmp_path)


def job(name: str, queue: str = "default", cpus: int = 2) -> WorkloadSpec:
    request = ResourceRequest(cpu_milli=Range.exactly(cpus * 1000))
    return task(name, queue=QueueName(queue), resources=request)


def change(seat: Seat, text: str, *, dry_run: bool = False) -> QueueChanges:
    return seat.plane.apply_queues(text, file="q.yaml", by="anna", dry_run=dry_run)


def standing(seat: Seat, name: str) -> QueueStanding:
    return next(each for each in seat.plane.queues().queues if each.queue.name == name)


def test_a_file_changes_the_tree_and_the_settings_at_once(seat: Seat) -> None:
    found = change(seat, TREE + "scheduler: {order: fifo}\n")
    assert (found.added, found.policy) == (("a", "b"), ("order fair -> fifo",))
    tree = seat.plane.queues()
    assert [each.queue.name for each in tree.queues] == ["a", "b", "default"]
    assert tree.policy.order is OrderName.FIFO
    assert tree.capacity["cpus"] == 8000
    written = [event for event in seat.bench.store.events() if event.kind is EventKind.QUEUES_CHANGED]
    assert [len(event.draft.changes) for event in written] == [3]
    assert written[0].draft.actor == "anna"
    again = change(seat, "queues:\n  b: {weight: 1}\n")
    assert (again.changed, again.removed, again.changes) == (("b",), ("a",), ("b: weight 3 -> 1",))
    assert seat.plane.queues().policy.order is OrderName.FIFO, "what the file does not say stays"
    assert change(seat, "queues:\n  b: {weight: 1}\n") == QueueChanges(dry_run=False)


def test_a_queue_holds_its_work_to_its_limit_and_says_so(seat: Seat) -> None:
    change(seat, TREE)
    views = [seat.submit(job(f"j{index}", "a")) for index in range(3)]
    phases = [seat.view(view.workload.id).workload.phase for view in views]
    assert phases == [WorkloadPhase.RUNNING, WorkloadPhase.RUNNING, WorkloadPhase.WAITING]
    (wait,) = seat.view("j2").waits
    assert wait.code is WaitCode.QUOTA
    assert wait.text == "needs 2 CPUs; the queue a uses 4 of 4 that it may use."
    found = standing(seat, "a")
    assert (dict(found.used), found.running, found.waiting, found.share) == ({"cpus": 4000}, 2, 1, 0.5)
    seat.bench.finish(views[0].workload.id)
    assert seat.view("j2").workload.phase is WorkloadPhase.RUNNING


def test_a_dry_run_says_what_would_start_and_changes_nothing(seat: Seat) -> None:
    change(seat, TREE)
    for index in range(3):
        seat.submit(job(f"j{index}", "a"))
    before = seat.bench.store.rows()
    found = change(seat, "queues:\n  a: {quota: {cpus: 6}, borrow: none}\n", dry_run=True)
    assert found.dry_run
    assert (found.removed, found.changes) == (("b",), ("a: quota.cpus 4 -> 6",))
    assert [(ref.name, ref.queue) for ref in found.starts] == [("j2", "a")]
    assert (found.holds, found.over) == ((), ())
    tighter = change(seat, "queues:\n  a: {quota: {cpus: 2}, borrow: none}\n", dry_run=True)
    assert (tighter.starts, tighter.over) == ((), ("a: 4 cpus of at most 2",))
    assert seat.bench.store.rows() == before


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("queues:\n  b: {}\n", 1, "not in the file"),
        ("queues:\n  a: {}\n  c: {parent: a}\n", 2, "has parts"),
        ("queues:\n  a: {quota: {cpus: 9}}\n", 2, "the nodes have 8"),
        ("queues:\n  a: {quota: {H100: 1}}\n", 2, "no node has any"),
        ("name: x\nrun: y\n", 0, "nothing about queues"),
    ],
)
def test_what_cannot_be_is_refused_as_a_whole(seat: Seat, text: str, line: int, words: str) -> None:
    change(seat, TREE)
    seat.submit(job("j", "a"))
    before = seat.bench.store.rows()
    for dry_run in (True, False):
        with pytest.raises(InvalidSpec, match=words) as caught:
            change(seat, text, dry_run=dry_run)
        assert (caught.value.where.file, caught.value.where.line) == ("q.yaml", line)
    assert seat.bench.store.rows() == before


def test_a_submission_into_a_queue_that_is_not_there_is_refused(seat: Seat) -> None:
    change(seat, "queues:\n  research: {}\n  vision: {parent: research}\n")
    with pytest.raises(InvalidSpec, match="no queue 'visoin'"):
        seat.submit(job("j", "visoin"))
    seat.submit(job("j", "vision"))
    assert standing(seat, "research").used == {"cpus": 2000}, "what a part uses, its parent uses"
