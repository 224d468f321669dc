"""Whole lives of workloads, over the memory store and the fake driver."""

from __future__ import annotations

import threading
from concurrent.futures import wait
from pathlib import Path

import pytest
from control_bench import Bench, gang, task

from ampacity.control.handles import LATE_S
from ampacity.control.step import POINTS
from ampacity.drivers.base import Handle, Launch
from ampacity.model.attempt import AttemptPhase, Cause, CauseKind, IncarnationBegan, ProgressReported
from ampacity.model.attempt import Progress as Report
from ampacity.model.errors import (
    DriverUnavailable,
    LaunchFailed,
)
from ampacity.model.event import EventKind
from ampacity.model.plan import WaitCode
from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.workload import ReplicaPhase, RetryEvent, RetryPolicy, Wish, WorkloadPhase


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_task_is_placed_started_and_succeeds(bench: Bench) -> None:
    ident = bench.submit(task(envs={"A": "1"}))
    attempt = bench.last(ident)
    assert attempt.phase is AttemptPhase.RUNNING
    assert bench.workload(ident).phase is WorkloadPhase.RUNNING
    assert attempt.members[0].handle == f"fake:{attempt.key(0)}"
    launch = bench.driver.launch(attempt.key(0))
    assert launch.argv == ("/bin/sh", "-c", "true")
    assert launch.env["A"] == "1"
    assert launch.env["AMPACITY_WORKLOAD_NAME"] == "job"
    assert launch.env["AMPACITY_EPOCH"] == "1"
    bench.finish(ident)
    assert bench.workload(ident).phase is WorkloadPhase.SUCCEEDED
    assert bench.workload(ident).ended_at == bench.now
    assert bench.driver.starts[attempt.key(0)] == 1
    assert bench.control.mirror.rows.workloads == {}
    assert bench.texts(ident)[0] == "task job submitted"
    assert any(text.startswith("placed on n") for text in bench.texts(ident, EventKind.ATTEMPT_PLACED))
    bench.check()


def test_a_start_is_written_down_with_the_end_that_comes_a_moment_later(bench: Bench) -> None:
    bench.begin(gather_s=0.02)
    ident = bench.submit(task())
    assert bench.last(ident).phase is AttemptPhase.PLACED
    seq = bench.store.last_seq
    bench.finish(ident)
    assert bench.workload(ident).phase is WorkloadPhase.SUCCEEDED
    assert [event.kind for event in bench.store.events(after=seq)] == [
        EventKind.ATTEMPT_CHANGED,
        EventKind.ATTEMPT_ENDED,
        EventKind.REPLICA_CHANGED,
        EventKind.WORKLOAD_ENDED,
    ]
    bench.check()


def test_a_start_that_is_put_off_is_written_down_when_its_time_is_up(bench: Bench) -> None:
    bench.begin(gather_s=0.02)
    ident = bench.submit(task())
    report = bench.pass_time(0.01)
    assert (bench.last(ident).phase, report.next_wake) == (AttemptPhase.PLACED, pytest.approx(1000.02))
    bench.pass_time(0.01)
    assert bench.last(ident).phase is AttemptPhase.RUNNING
    assert bench.control.step(bench.now).next_wake > bench.now + 0.02
    bench.check()


def test_a_wish_does_not_wait_for_what_is_put_off(bench: Bench) -> None:
    bench.begin(gather_s=0.02)
    first = bench.submit(task(name="first"))
    second = bench.submit(task(name="second"))
    assert bench.last(first).phase is AttemptPhase.RUNNING
    assert bench.last(second).phase is AttemptPhase.PLACED
    bench.check()


def test_what_was_put_off_is_known_after_a_restart(bench: Bench) -> None:
    bench.begin(gather_s=0.02)
    ident = bench.submit(task())
    bench.begin(gather_s=0.02)
    bench.step()
    bench.pass_time(0.02)
    attempt = bench.last(ident)
    assert attempt.phase is AttemptPhase.RUNNING
    assert bench.driver.starts[attempt.key(0)] == 1


def test_a_step_passes_its_points_in_order_and_an_idle_one_writes_nothing(bench: Bench) -> None:
    bench.finish(bench.submit(task()))
    bench.driver.fail("ensure_started", LaunchFailed("no such user"))
    bench.submit(task())
    assert set(bench.points) == set(POINTS)
    bench.points.clear()
    seq = bench.store.live().seq
    report = bench.control.step(bench.now)
    assert (report.wrote, bench.store.live().seq) == (0, seq)
    assert report.futile
    assert bench.points == [point for point in POINTS if point.split(".")[1] not in ("decided", "written")]
    assert report.next_wake > bench.now


def test_a_failed_task_is_tried_again_as_often_as_its_policy_says(bench: Bench) -> None:
    ident = bench.submit(task(retry=RetryPolicy(maximum=2)))
    bench.finish(ident, exit_code=3)
    assert bench.last(ident).epoch == 2
    assert bench.last(ident).phase is AttemptPhase.RUNNING
    bench.finish(ident, exit_code=3)
    assert bench.replicas(ident)[0].phase is ReplicaPhase.WAITING
    assert bench.control.plan.waits[0].code is WaitCode.BACKOFF
    assert bench.pass_time(0.5).next_wake == pytest.approx(bench.now + 0.5)
    bench.pass_time(0.5)
    assert bench.last(ident).epoch == 3
    bench.finish(ident, exit_code=3)
    assert bench.workload(ident).phase is WorkloadPhase.FAILED
    assert "failed; all 2 retries are used up" in bench.texts(ident)
    assert [attempt.phase for attempt in bench.attempts(ident)] == [AttemptPhase.FAILED] * 3
    bench.check()


def test_an_event_that_the_policy_leaves_out_is_not_tried_again(bench: Bench) -> None:
    ident = bench.submit(task(retry=RetryPolicy(maximum=5, on_events=(RetryEvent.INTERRUPTION,))))
    bench.driver.crash(bench.last(ident).key(0), Cause(kind=CauseKind.SUPERVISOR_DIED))
    bench.step()
    assert bench.last(ident).epoch == 2
    bench.finish(ident, exit_code=1)
    assert bench.workload(ident).phase is WorkloadPhase.FAILED
    assert len(bench.attempts(ident)) == 2


def test_restarts_in_place_are_retries_used(bench: Bench) -> None:
    ident = bench.submit(task(retry=RetryPolicy(maximum=2)))
    key = bench.last(ident).key(0)
    cause = Cause(kind=CauseKind.SIGNAL, signal=9, rank=1)
    for incarnation in (1, 2):
        bench.driver.report(IncarnationBegan(key=key, at=bench.now, incarnation=incarnation, cause=cause))
    bench.step()
    assert bench.texts(ident, EventKind.ATTEMPT_RESTARTED) == [
        "rank 1 was killed by SIGKILL; restarted in place (incarnation 1)",
        "rank 1 was killed by SIGKILL; restarted in place (incarnation 2)",
    ]
    bench.finish(ident, exit_code=1)
    assert bench.workload(ident).phase is WorkloadPhase.FAILED
    assert bench.replicas(ident)[0].failures == 3


def test_a_gang_ends_as_one(bench: Bench) -> None:
    ident = bench.submit(gang(retry=RetryPolicy(maximum=1)))
    attempt = bench.last(ident)
    assert {member.node for member in attempt.members} == {"n1", "n2"}
    bench.driver.crash(attempt.key(1), Cause(kind=CauseKind.EXIT, exit_code=7))
    bench.step()
    assert bench.attempts(ident)[0].phase is AttemptPhase.FAILED
    assert bench.attempts(ident)[0].cause == Cause(kind=CauseKind.EXIT, exit_code=7)
    assert bench.driver.stops[attempt.key(0)] == 1
    assert bench.last(ident).epoch == 2
    bench.finish(ident)
    assert bench.workload(ident).phase is WorkloadPhase.SUCCEEDED
    bench.check()


def test_a_gang_waits_until_all_of_it_fits(bench: Bench) -> None:
    small = bench.submit(task("small", resources=ResourceRequest(cpu_milli=Range.exactly(3000))))
    wide = bench.submit(gang("wide", resources=ResourceRequest(cpu_milli=Range.exactly(2000))))
    assert bench.attempts(wide) == []
    assert bench.control.plan.waits[0].workload == wide
    bench.finish(small)
    assert len(bench.last(wide).members) == 2


def test_stopping_a_task_cancels_it_with_grace(bench: Bench) -> None:
    bench.driver.obey_stops = False
    ident = bench.submit(task())
    key = bench.last(ident).key(0)
    bench.wish(ident, Wish.STOP)
    assert bench.workload(ident).phase is WorkloadPhase.STOPPING
    assert bench.driver.stops[key] == 1
    bench.pass_time(30.0)
    assert bench.driver.stops[key] == 1
    bench.driver.crash(key, Cause(kind=CauseKind.STOPPED))
    bench.step()
    assert bench.workload(ident).phase is WorkloadPhase.CANCELLED
    assert bench.last(ident).phase is AttemptPhase.CANCELLED
    assert "stopped by anna" in bench.texts(ident, EventKind.ATTEMPT_STOPPING)


def test_stopping_what_waits_ends_it_at_once(bench: Bench) -> None:
    bench.submit(task("full", resources=ResourceRequest(cpu_milli=Range.exactly(4000))))
    bench.submit(task("fuller", resources=ResourceRequest(cpu_milli=Range.exactly(4000))))
    ident = bench.submit(task("last"))
    bench.wish(ident, Wish.STOP)
    assert bench.workload(ident).phase is WorkloadPhase.CANCELLED
    assert bench.attempts(ident) == []


def test_what_comes_after_waits_for_success_and_falls_with_failure(bench: Bench) -> None:
    first = bench.submit(task("first"))
    second = bench.submit(task("second", after=("first",)))
    third = bench.submit(task("third", after=("second",)))
    assert bench.attempts(second) == []
    assert {wait.code for wait in bench.control.plan.waits} == {WaitCode.AFTER}
    bench.finish(first)
    assert bench.last(second).phase is AttemptPhase.RUNNING
    bench.finish(second, exit_code=1)
    assert bench.workload(third).phase is WorkloadPhase.CANCELLED
    assert bench.workload(third).note == f"second ({second}), which it comes after, failed"
    assert bench.store.rows().desired[third].version == 1
    bench.check()


def test_a_whole_chain_falls_in_one_step(bench: Bench) -> None:
    first = bench.submit(task("z-first"))
    names = ["z-first"]
    idents = []
    for number in range(6):
        idents.append(bench.submit(task(f"c{number}", after=(names[-1],))))
        names.append(f"c{number}")
    bench.driver.finish(bench.last(first).key(0), 1)
    bench.control.step(bench.now)
    assert {bench.workload(ident).phase for ident in idents} == {WorkloadPhase.CANCELLED}


# Starting ----------------------------------------------------------------------------------------------------------


def test_a_driver_that_is_away_is_asked_again_and_never_read_as_failure(bench: Bench) -> None:
    bench.driver.fail("ensure_started", DriverUnavailable("not now"), times=3)
    ident = bench.submit(task())
    assert bench.last(ident).phase is AttemptPhase.PLACED
    for pause_s in (0.5, 1.0, 2.0):
        bench.pass_time(pause_s)
    assert bench.last(ident).phase is AttemptPhase.RUNNING
    assert len(bench.attempts(ident)) == 1


def test_a_lost_reply_starts_nothing_twice(bench: Bench) -> None:
    bench.driver.fail("ensure_started", DriverUnavailable("no reply"), after=True)
    ident = bench.submit(task())
    key = bench.last(ident).key(0)
    assert bench.last(ident).phase is AttemptPhase.RUNNING
    bench.pass_time(1.0)
    assert bench.driver.starts[key] == 1
    bench.finish(ident)
    assert bench.workload(ident).phase is WorkloadPhase.SUCCEEDED


def test_a_handle_goes_with_the_first_fact_or_is_written_when_that_is_late(bench: Bench) -> None:
    quick = bench.submit(task())
    assert not [text for text in bench.texts(quick) if text.startswith("handed to")]
    bench.driver.hold_facts()
    slow = bench.submit(task(name="slow"))
    key = bench.last(slow).key(0)
    assert bench.last(slow).members[0].handle == ""
    assert bench.control.step(bench.now).next_wake == pytest.approx(bench.now + LATE_S)
    bench.begin()  # one that knows nothing of it starts it again, which starts nothing
    bench.step()
    bench.pass_time(LATE_S)
    assert bench.last(slow).members[0].handle == f"fake:{key}"
    assert bench.texts(slow)[-1].startswith("handed to n")
    assert bench.driver.starts[key] == 1
    bench.driver.release_facts()
    bench.finish(slow)
    bench.check()


def test_a_launch_that_cannot_be_ends_the_attempt(bench: Bench) -> None:
    bench.driver.fail("ensure_started", LaunchFailed("no such user"))
    ident = bench.submit(task())
    assert bench.workload(ident).phase is WorkloadPhase.FAILED
    assert bench.last(ident).cause == Cause(kind=CauseKind.LAUNCH_FAILED, message="no such user")


def test_an_error_that_nobody_foresaw_fails_that_launch_alone(bench: Bench) -> None:
    bench.driver.fail("ensure_started", ValueError("what is this"))
    first = bench.submit(task("first"))
    second = bench.submit(task("second"))
    cause = bench.last(first).cause
    assert cause is not None
    assert "what is this" in cause.message
    assert bench.driver.stops[bench.last(first).key(0)] == 1
    assert bench.last(second).phase is AttemptPhase.RUNNING


def test_a_stop_that_fails_is_asked_again(bench: Bench) -> None:
    ident = bench.submit(task())
    bench.driver.fail("ensure_stopped", DriverUnavailable("not now"))
    bench.wish(ident, Wish.STOP)
    assert bench.workload(ident).phase is WorkloadPhase.STOPPING
    bench.pass_time(0.5)
    assert bench.workload(ident).phase is WorkloadPhase.CANCELLED


def test_a_call_that_hangs_holds_up_nothing_else_and_its_stop_follows_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ampacity.control.act.PATIENCE_S", 0.05)
    bench.step()
    hangs, begun = threading.Event(), bench.driver.ensure_started

    def start(launch: Launch) -> Handle:
        if launch.env["AMPACITY_WORKLOAD_NAME"] == "slow":
            hangs.wait(30.0)
        return begun(launch)

    monkeypatch.setattr(bench.driver, "ensure_started", start)
    slow = bench.submit(task("slow"))
    quick = bench.submit(task("quick"))
    assert bench.last(quick).phase is AttemptPhase.RUNNING
    assert bench.last(slow).phase is AttemptPhase.PLACED
    bench.wish(slow, Wish.STOP)
    assert bench.workload(slow).phase is WorkloadPhase.STOPPING
    hangs.set()
    wait([call.future for call in bench.control._actor._under_way.values()], timeout=30.0)
    bench.step()
    assert bench.workload(slow).phase is WorkloadPhase.CANCELLED
    assert bench.driver.starts[bench.last(slow).key(0)] == 1


def test_facts_may_come_doubled_and_late(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.driver.double_facts = True
    bench.driver.hold_facts()
    ident = bench.submit(gang())
    for key in bench.driver.running():
        bench.driver.finish(key)
    bench.driver.release_facts(shuffle_seed=3)
    bench.step()
    assert bench.workload(ident).phase is WorkloadPhase.SUCCEEDED
    assert len(bench.texts(ident, EventKind.ATTEMPT_ENDED)) == 1
    bench.check()


def test_more_facts_than_a_page_are_all_taken_in(bench: Bench) -> None:
    ident = bench.submit(task())
    key = bench.last(ident).key(0)
    for step in range(11_000):
        bench.driver.report(ProgressReported(key=key, at=bench.now, progress=Report(at=bench.now, step=step // 1000)))
    bench.driver.finish(key)
    report = bench.control.step(bench.now)
    assert report.next_wake == bench.now
    bench.step()
    assert bench.workload(ident).phase is WorkloadPhase.SUCCEEDED
    progress = bench.last(ident).progress
    assert progress is not None
    assert progress.step == 10
