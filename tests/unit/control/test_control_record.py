"""The loop beside other writers, over failing writes, restarts and compaction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from control_bench import Bench, node, service, task

from ampacity.model.attempt import AttemptPhase
from ampacity.model.errors import (
    ImpossibleRequest,
    NameTaken,
    StaleVersion,
    StoreError,
)
from ampacity.model.event import Draft, EventKind, put
from ampacity.model.ids import DEFAULT_OWNER, DEFAULT_PROJECT
from ampacity.model.node import NodeCondition
from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.workload import Wish, WorkloadPhase


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize("point", ["observe.done", "update.done", "plan.done", "commit.decided"])
def test_a_node_that_is_cordoned_before_the_placing_is_written_gets_nothing(tmp_path: Path, point: str) -> None:
    bench = Bench(tmp_path, [node("n1")])
    bench.step()
    ident = bench.writing.submit(task(), project=DEFAULT_PROJECT, owner=DEFAULT_OWNER).workload.id
    seen: list[str] = []

    def cordon_once(passed: str) -> None:
        seen.append(passed)
        if passed == point and seen.count(point) == 1:
            bench.writing.set_condition("n1", NodeCondition.CORDONED, by="anna")

    bench.begin(at=cordon_once)
    bench.step()
    assert point in seen
    assert bench.attempts(ident) == []
    assert bench.store.rows().nodes["n1"].condition is NodeCondition.CORDONED
    bench.writing.set_condition("n1", NodeCondition.READY, by="anna")
    bench.pass_time(1.0)
    assert bench.last(ident).phase is AttemptPhase.RUNNING
    bench.check()


def test_a_stop_that_comes_between_plan_and_commit_holds(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.step()
    ident = bench.writing.submit(task(), project=DEFAULT_PROJECT, owner=DEFAULT_OWNER).workload.id

    def stop_once(passed: str) -> None:
        if passed == "commit.decided" and bench.store.rows().desired[ident].wish is Wish.RUN:
            bench.writing.set_desired(ident, project=DEFAULT_PROJECT, by="anna", wish=Wish.STOP, replicas=None)

    bench.begin(at=stop_once)
    bench.step()
    assert bench.attempts(ident) == []
    assert bench.workload(ident).phase is WorkloadPhase.CANCELLED
    bench.check()


def test_a_store_that_cannot_be_written_loses_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ident = bench.submit(service())
    key = bench.last(ident).key(0)
    bench.writing.set_desired(ident, project=DEFAULT_PROJECT, by="anna", wish=None, replicas=2)
    whole = bench.store.append

    def full(drafts: object, **_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(bench.store, "append", full)
    with pytest.raises(StoreError):
        bench.ready(key)
    with pytest.raises(StoreError):
        bench.control.step(bench.now)
    monkeypatch.setattr(bench.store, "append", whole)
    bench.step()
    assert bench.attempts(ident)[0].ready
    assert len(bench.attempts(ident)) == 2
    bench.check()


def test_an_event_that_does_not_follow_makes_the_loop_read_all_anew(bench: Bench) -> None:
    ident = bench.submit(task())
    mirrored = bench.control.mirror.rows.workloads
    del mirrored[ident]  # as if the copy had gone wrong
    with pytest.raises(StaleVersion):
        bench.wish(ident, Wish.STOP)
    bench.step()
    assert bench.workload(ident).phase is WorkloadPhase.CANCELLED


def test_a_restart_goes_on_from_the_rows(bench: Bench) -> None:
    bench.driver.start_at_once = False
    ident = bench.submit(task())
    key = bench.last(ident).key(0)
    bench.begin()
    bench.step()
    bench.driver.begin(key)
    bench.begin()
    bench.step()
    assert bench.driver.starts[key] == 1
    bench.finish(ident)
    assert bench.workload(ident).phase is WorkloadPhase.SUCCEEDED


def test_events_that_were_compacted_meanwhile_are_read_as_rows(bench: Bench) -> None:
    ident = bench.submit(task())
    other = bench.writing.submit(task("other"), project=DEFAULT_PROJECT, owner=DEFAULT_OWNER).workload.id
    bench.store.compact(before=bench.store.live().seq)
    bench.step()
    assert bench.last(other).phase is AttemptPhase.RUNNING
    bench.finish(ident)
    assert bench.workload(ident).phase is WorkloadPhase.SUCCEEDED
    bench.check()


def test_what_no_node_could_hold_and_names_that_live_are_refused(bench: Bench) -> None:
    bench.step()
    with pytest.raises(ImpossibleRequest):
        bench.submit(task(resources=ResourceRequest(cpu_milli=Range.exactly(64_000))))
    bench.submit(task())
    with pytest.raises(NameTaken):
        bench.submit(task())


def test_a_draft_of_anothers_node_version_is_stale_for_the_commit(tmp_path: Path) -> None:
    """Two placements onto one node cannot both be written from one view of it."""
    bench = Bench(tmp_path, [node("n1", cpus=1)])
    bench.step()
    bench.writing.submit(task(), project=DEFAULT_PROJECT, owner=DEFAULT_OWNER)
    tries: list[str] = []

    def raise_version(passed: str) -> None:
        if passed == "commit.decided":
            tries.append(passed)
            if len(tries) == 1:
                row = bench.store.rows().nodes["n1"]
                fresh = replace(row, labels={"a": "b"}, version=row.version + 1)
                bench.store.append([Draft(kind=EventKind.NODE_CHANGED, at=bench.now, changes=(put(fresh),))])

    bench.begin(at=raise_version)
    bench.step()
    assert len(tries) == 2
    assert len(bench.driver.running()) == 1
    bench.check()
