"""Tidying: what ended long ago goes with all that was kept of it, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest
from control_bench import Bench, gang, task

from ampacity.control.housekeeping import Housekeeping
from ampacity.model.errors import DriverUnavailable, NotFound
from ampacity.model.event import EventKind, fold
from ampacity.model.ids import DEFAULT_PROJECT
from ampacity.model.receipt import Receipt
from ampacity.model.workload import WorkloadPhase

DAY_S = 86400.0


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def tidy(bench: Bench, *, finished_s: float = DAY_S, events_s: float = 10 * DAY_S) -> None:
    housekeeping = Housekeeping(
        bench.store, {"fake": bench.driver}, lambda: bench.now, keep_finished_s=finished_s, keep_events_s=events_s
    )
    housekeeping.tidy()
    bench.step()


def names(bench: Bench) -> set[str]:
    return {row.name for row in bench.store.rows().workloads.values()}


def test_what_ended_long_ago_is_forgotten_with_what_its_driver_kept(bench: Bench) -> None:
    old = bench.submit(gang("old"))
    keys = [bench.last(old).key(index) for index in (0, 1)]
    bench.finish(old)
    bench.pass_time(DAY_S)
    fresh, live = bench.submit(task("fresh")), bench.submit(task("live"))
    bench.finish(fresh)
    bench.pass_time(60.0)
    tidy(bench)
    assert names(bench) == {"fresh", "live"}
    rows = bench.store.rows()
    assert old not in rows.desired
    assert {row.workload for row in rows.attempts.values()} == {fresh, live}
    for key in keys:
        with pytest.raises(NotFound):
            bench.driver.logs(key, None)
    assert bench.store.events(workload=old)[-1].kind is EventKind.WORKLOAD_FORGOTTEN
    bench.finish(live)
    assert bench.workload(live).phase is WorkloadPhase.SUCCEEDED
    bench.check()


def test_what_a_live_one_comes_after_stays(bench: Bench) -> None:
    first = bench.submit(task("first"))
    bench.submit(task("second", after=("first",)))
    bench.finish(first)
    bench.pass_time(2 * DAY_S)
    tidy(bench)
    assert names(bench) == {"first", "second"}


def test_what_a_driver_cannot_forget_now_stays_until_it_can(bench: Bench) -> None:
    ident = bench.submit(task("old"))
    bench.finish(ident)
    bench.pass_time(2 * DAY_S)
    bench.driver.fail("forget", DriverUnavailable("away"))
    tidy(bench)
    assert names(bench) == {"old"}
    tidy(bench)
    assert names(bench) == set()
    bench.check()


def test_more_than_one_lot(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ampacity.control.housekeeping.LOT", 3)
    for number in range(8):
        bench.finish(bench.submit(task(f"t{number}")))
    bench.pass_time(2 * DAY_S)
    tidy(bench)
    assert names(bench) == set()
    bench.check()


def test_old_events_are_folded_and_old_receipts_go(bench: Bench) -> None:
    for number in range(3):
        bench.finish(bench.submit(task(f"t{number}")))
    for key, at in (("old", bench.now), ("young", bench.now + 3 * DAY_S)):
        bench.store.append((), receipts=(Receipt(key=key, digest="d", answer=b"a", at=at),))
    last = bench.store.last_seq
    bench.pass_time(3 * DAY_S)
    live = bench.submit(task("live"))
    tidy(bench, finished_s=30 * DAY_S, events_s=DAY_S)
    events = bench.store.events()
    assert (events[0].kind, events[0].seq) == (EventKind.SNAPSHOT, last)
    assert fold(events, bench.store.base()) == bench.store.rows()
    assert bench.store.receipt("old") is None
    assert bench.store.receipt("young") is not None
    bench.finish(live)
    assert bench.writing.submit(task("more"), project=DEFAULT_PROJECT, owner="default")  # type: ignore[arg-type]
    bench.check()
