"""Attempts that give their place up: asked to save, told to end, and gone on elsewhere without a retry used up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from control_bench import Bench, gang, node, task

import ampacity.control.step as parts
from ampacity.control.act import SAVE_SIGNAL
from ampacity.model.attempt import Attempt, AttemptPhase, Cause, CauseKind, IncarnationBegan, Progress, ProgressReported
from ampacity.model.errors import DriverUnavailable, Unsupported
from ampacity.model.event import EventKind
from ampacity.model.ids import NodeId, WorkloadId
from ampacity.model.node import NodeCondition
from ampacity.model.plan import Move, Placement, Plan, Resize, Stop
from ampacity.model.resources import Allocation, Range, ResourceRequest
from ampacity.model.workload import CheckpointPolicy, ReplicaPhase, RetryPolicy, Wish, WorkloadPhase
from ampacity.scheduler import State, plan

Decide = Callable[..., None]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, [node("n1"), node("n2"), node("n3")])


@pytest.fixture
def decide(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Decide:
    """Have the next plan hold these decisions, too, and take the steps that follow."""

    def deciding(**decisions: Any) -> None:
        left = [decisions]

        def planned(state: State, now: float) -> Plan:
            made = plan(state, now)
            return replace(made, **left.pop()) if left else made

        monkeypatch.setattr(parts, "plan", planned)
        bench.step()

    return deciding


def stop(attempt: Attempt, *, save: bool = False) -> dict[str, Any]:
    order = Stop(attempt=attempt.id, reason="big needs it", grace_s=2.0, checkpoint_first=save)
    return {"stops": (order,)}


def report(bench: Bench, attempt: Attempt, step: int, *, checkpoint: int | None = None) -> None:
    progress = Progress(at=bench.now, step=step, checkpoint_step=checkpoint, checkpoint_at=bench.now)
    bench.driver.report(ProgressReported(key=attempt.key(0), at=bench.now, progress=progress))
    bench.step()


def at(*places: str, cpus: int = 1) -> tuple[Placement, ...]:
    return tuple(
        Placement(node=NodeId(each), allocation=Allocation(cpu_milli=cpus * 1000, memory_bytes=0)) for each in places
    )


def run(bench: Bench, **keys: Any) -> tuple[WorkloadId, Attempt]:
    ident = bench.submit(task(**keys))
    return ident, bench.last(ident)


def test_one_that_is_stopped_for_another_waits_for_a_place_again_without_using_a_retry(
    bench: Bench, decide: Decide
) -> None:
    ident, attempt = run(bench, retry=RetryPolicy(maximum=1))
    cause = Cause(kind=CauseKind.SIGNAL, signal=9)
    bench.driver.report(IncarnationBegan(key=attempt.key(0), at=bench.now, incarnation=1, cause=cause))
    bench.driver.obey_stops = False
    decide(**stop(attempt, save=True))
    assert bench.driver.signals(attempt.key(0)) == (), "it has never reported anything: it cannot save"
    assert bench.driver.stops[attempt.key(0)] == 1
    assert bench.last(ident).phase is AttemptPhase.STOPPING
    bench.driver.crash(attempt.key(0), Cause(kind=CauseKind.STOPPED))
    bench.step()
    first, second = bench.attempts(ident)
    assert (first.phase, first.cause) == (
        AttemptPhase.CANCELLED,
        Cause(kind=CauseKind.PREEMPTED, message="big needs it"),
    )
    assert second.phase is AttemptPhase.RUNNING
    (replica,) = bench.replicas(ident)
    assert (replica.failures, replica.preempted) == (1, 1), "the restart in place counts, the preemption does not"
    assert "gave its place up; waits for another" in bench.texts(ident)
    bench.finish(ident)
    assert bench.workload(ident).phase is WorkloadPhase.SUCCEEDED
    bench.check()


def test_it_is_asked_to_save_and_told_to_end_once_it_has(bench: Bench, decide: Decide) -> None:
    ident, attempt = run(bench)
    report(bench, attempt, 7, checkpoint=5)
    decide(**stop(attempt, save=True))
    assert bench.driver.signals(attempt.key(0)) == (SAVE_SIGNAL,)
    assert bench.driver.stops[attempt.key(0)] == 0
    assert bench.workload(ident).phase is WorkloadPhase.RUNNING
    bench.pass_time(1.0)
    report(bench, attempt, 8)
    assert bench.driver.signals(attempt.key(0)) == (SAVE_SIGNAL,), "it is asked once"
    assert bench.driver.stops[attempt.key(0)] == 0
    report(bench, attempt, 9, checkpoint=9)
    assert bench.driver.stops[attempt.key(0)] == 1
    assert bench.attempts(ident)[0].progress == Progress(at=bench.now, step=9, checkpoint_step=9, checkpoint_at=1001.0)
    assert bench.last(ident).epoch == 2
    assert bench.texts(ident, EventKind.ATTEMPT_STOPPING) == ["is to give its place up: big needs it; it saves first"]


def test_one_that_does_not_save_in_time_is_told_to_end(bench: Bench, decide: Decide) -> None:
    _, attempt = run(bench, checkpoint=CheckpointPolicy(within_s=30.0))
    report(bench, attempt, 7)
    decide(**stop(attempt, save=True))
    assert bench.control.step(bench.now).next_wake <= bench.now + 30.0
    bench.pass_time(29.0)
    assert bench.driver.stops[attempt.key(0)] == 0
    bench.pass_time(1.0)
    assert bench.driver.stops[attempt.key(0)] == 1


def test_the_next_control_plane_asks_again_and_goes_on(bench: Bench, decide: Decide) -> None:
    ident, attempt = run(bench)
    report(bench, attempt, 7)
    bench.driver.fail("signal", DriverUnavailable("away"), times=1)
    decide(**stop(attempt, save=True))
    assert bench.driver.signals(attempt.key(0)) == ()
    bench.pass_time(0.5)
    assert bench.driver.signals(attempt.key(0)) == (SAVE_SIGNAL,)
    bench.begin()
    bench.step()
    assert bench.driver.signals(attempt.key(0)) == (SAVE_SIGNAL, SAVE_SIGNAL)
    report(bench, attempt, 8, checkpoint=8)
    assert bench.last(ident).epoch == 2
    bench.check()


def test_where_it_cannot_be_asked_it_is_told_to_end(bench: Bench, decide: Decide) -> None:
    _, attempt = run(bench)
    report(bench, attempt, 7)
    bench.driver.fail("signal", Unsupported("no signals here"))
    decide(**stop(attempt, save=True))
    assert bench.driver.stops[attempt.key(0)] == 1


def test_work_that_was_done_before_the_stop_came_is_not_done_again(bench: Bench, decide: Decide) -> None:
    ident, attempt = run(bench)
    report(bench, attempt, 7)
    decide(**stop(attempt, save=True))
    bench.finish(ident)
    assert bench.workload(ident).phase is WorkloadPhase.SUCCEEDED
    assert [each.epoch for each in bench.attempts(ident)] == [1]


def test_one_that_fails_by_itself_while_it_is_asked_to_save_has_failed(bench: Bench, decide: Decide) -> None:
    ident, attempt = run(bench)
    report(bench, attempt, 7)
    decide(**stop(attempt, save=True))
    bench.finish(ident, 3)
    assert bench.workload(ident).phase is WorkloadPhase.FAILED
    assert bench.last(ident).cause == Cause(kind=CauseKind.EXIT, exit_code=3)


def test_a_gang_whose_first_member_ends_before_the_others_is_not_taken_for_failed(bench: Bench, decide: Decide) -> None:
    ident = bench.submit(gang(retry=RetryPolicy(maximum=0)))
    attempt = bench.last(ident)
    bench.driver.obey_stops = False
    decide(**stop(attempt))
    bench.driver.crash(attempt.key(0), Cause(kind=CauseKind.STOPPED))
    bench.driver.crash(
        attempt.key(1), Cause(kind=CauseKind.SUPERVISOR_DIED, message="the agent of node rank 0 is gone")
    )
    bench.step()
    assert bench.last(ident).epoch == 2
    assert bench.replicas(ident)[0].failures == 0


def test_who_stops_it_meanwhile_has_it_stopped_at_once_and_for_good(bench: Bench, decide: Decide) -> None:
    ident, attempt = run(bench)
    report(bench, attempt, 7)
    decide(**stop(attempt, save=True))
    bench.wish(ident, Wish.STOP)
    assert bench.driver.stops[attempt.key(0)] == 1
    assert bench.workload(ident).phase is WorkloadPhase.CANCELLED
    assert [each.epoch for each in bench.attempts(ident)] == [1]


def test_a_node_that_is_lost_meanwhile_ends_the_attempt_as_lost(bench: Bench, decide: Decide) -> None:
    ident, attempt = run(bench, retry=RetryPolicy(maximum=1))
    report(bench, attempt, 7)
    bench.driver.silence(attempt.members[0].node)
    decide(**stop(attempt, save=True))
    for _ in range(16):
        bench.pass_time(6.0)
    assert bench.attempts(ident)[0].phase is AttemptPhase.LOST
    assert bench.last(ident).phase is AttemptPhase.RUNNING
    assert bench.last(ident).nodes != attempt.nodes


def test_one_of_higher_priority_takes_a_place_and_the_other_has_it_back_afterwards(bench: Bench) -> None:
    whole = ResourceRequest(cpu_milli=Range.exactly(4000))
    low = bench.submit(gang("low", 3, resources=whole))
    report(bench, bench.last(low), 3)
    high = bench.submit(task("high", resources=whole, priority=100))
    assert bench.replicas(high)[0].then != ()
    assert bench.attempts(high) == []
    assert "name" not in bench.control.plan.waits[0].text
    assert bench.control.plan.waits[0].text.startswith(f"waits until low ({low}) has saved and left, by ")
    report(bench, bench.last(low), 4, checkpoint=4)
    assert bench.last(high).phase is AttemptPhase.RUNNING
    assert bench.replicas(low)[0].phase is ReplicaPhase.WAITING
    text = f"is to give its place up: makes room for high ({high}): priority 100 over 0; it saves first"
    assert bench.texts(low, EventKind.ATTEMPT_STOPPING) == [text]
    bench.finish(high)
    assert bench.last(low).phase is AttemptPhase.RUNNING
    assert bench.replicas(low)[0].failures == 0
    bench.check()


# Going on elsewhere -----------------------------------------------------------------------------------------------


def test_a_gang_that_is_made_smaller_or_larger_goes_on_at_the_places_kept_for_it(bench: Bench, decide: Decide) -> None:
    asked = ResourceRequest(cpu_milli=Range.exactly(3000))
    ident = bench.submit(gang("elastic", resources=asked))
    attempt = bench.last(ident)
    assert attempt.nodes == ("n1", "n2")
    report(bench, attempt, 4)
    wider = at("n1", "n2", "n3", cpus=3)
    decide(resizes=(Resize(attempt=attempt.id, placements=wider, reason="there is room"),))
    other = bench.submit(task("other", resources=asked))
    assert bench.attempts(other) == [], "the third node is kept"
    assert bench.control.plan.waits[0].workload == other
    report(bench, attempt, 5, checkpoint=5)
    assert [each.nodes for each in bench.attempts(ident)] == [("n1", "n2"), ("n1", "n2", "n3")]
    assert bench.replicas(ident)[0].then == ()
    grown = bench.last(ident)
    decide(resizes=(Resize(attempt=grown.id, placements=at("n2", cpus=3), reason="other needs room"),))
    assert bench.last(ident).nodes == ("n2",)
    assert bench.last(other).phase is AttemptPhase.RUNNING
    assert bench.replicas(ident)[0].preempted == 2
    assert bench.replicas(ident)[0].failures == 0
    bench.check()


def test_one_that_is_moved_goes_on_there_before_all_others(bench: Bench, decide: Decide) -> None:
    ident, attempt = run(bench, resources=ResourceRequest(cpu_milli=Range.exactly(2000)))
    bench.driver.obey_stops = False
    decide(moves=(Move(attempt=attempt.id, placements=at("n3", cpus=2), reason="makes a whole node free"),))
    wide = bench.submit(gang("wide", 3, resources=ResourceRequest(cpu_milli=Range.exactly(3000)), priority=100))
    assert bench.attempts(wide) == []
    bench.driver.crash(attempt.key(0), Cause(kind=CauseKind.STOPPED))
    bench.step()
    assert bench.last(ident).nodes == ("n3",)
    assert bench.last(ident).phase is AttemptPhase.RUNNING
    assert "the places that were kept for it" in bench.texts(ident, EventKind.ATTEMPT_PLACED)[-1]


def test_places_that_are_not_there_any_more_are_given_up(bench: Bench, decide: Decide) -> None:
    ident, attempt = run(bench)
    decide(moves=(Move(attempt=attempt.id, placements=at("n3", cpus=9), reason="nonsense"),))
    assert bench.last(ident).phase is AttemptPhase.RUNNING, "what does not fit is not begun"
    bench.driver.obey_stops = False
    decide(moves=(Move(attempt=attempt.id, placements=at("n3"), reason="makes room"),))
    bench.writing.set_condition("n3", NodeCondition.CORDONED, by="anna")
    bench.driver.crash(attempt.key(0), Cause(kind=CauseKind.STOPPED))
    bench.step()
    assert bench.last(ident).nodes == ("n1",)
    bench.check()


def test_one_for_which_there_is_no_other_place_waits_without_its_promise(bench: Bench, decide: Decide) -> None:
    bench.step()
    for name in ("n2", "n3"):
        bench.writing.set_condition(name, NodeCondition.CORDONED, by="anna")
    ident, attempt = run(bench, resources=ResourceRequest(cpu_milli=Range.exactly(2000)))
    bench.driver.obey_stops = False
    decide(moves=(Move(attempt=attempt.id, placements=at("n1", cpus=2), reason="stays"),))
    bench.writing.set_condition("n1", NodeCondition.CORDONED, by="anna")
    bench.driver.crash(attempt.key(0), Cause(kind=CauseKind.STOPPED))
    bench.step()
    (replica,) = bench.replicas(ident)
    assert (replica.phase, replica.then) == (ReplicaPhase.WAITING, ())
    assert "the place that was kept for it is not there any more" in bench.texts(ident)
    assert bench.control.mirror.promised == {}
    bench.writing.set_condition("n2", NodeCondition.READY, by="anna")
    bench.step()
    assert bench.last(ident).nodes == ("n2",)
    bench.check()
