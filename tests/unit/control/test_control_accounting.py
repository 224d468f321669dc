"""What is written down with the end of an attempt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from control_bench import Bench, gang, node, service, task

from ampacity.control import accounting
from ampacity.model.attempt import Cause, CauseKind, IncarnationBegan, Progress, ProgressReported
from ampacity.model.event import EventKind
from ampacity.model.ids import DeviceId, WorkloadId
from ampacity.model.lasting import Basis
from ampacity.model.node import Device, Node
from ampacity.model.quantities import parse_accelerator_choice
from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.workload import WorkloadKind, WorkloadSpec


def test_the_end_of_an_attempt_is_charged_to_its_owner(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    first = bench.submit(gang("a-1", nodes=2))
    bench.pass_time(100.0)
    bench.finish(first)
    rows = bench.store.rows()
    (usage,) = rows.usage.values()
    assert (usage.key, usage.at) == ("default/default/default", bench.now)
    assert abs(usage.used_s - 2 * 100.0 / 16) < 0.01, "two CPUs for 100 seconds, of which sixteen cost one device"
    (runtime,) = rows.runtimes.values()
    assert (runtime.key, runtime.count) == ("default/default/task/a", 1)
    assert runtime.quantile_s(1.0) >= 100.0


def test_what_failed_is_charged_and_teaches_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    ident = bench.submit(task("a"))
    bench.pass_time(10.0)
    bench.finish(ident, 1)
    rows = bench.store.rows()
    assert [usage.used_s > 0 for usage in rows.usage.values()] == [True]
    assert rows.runtimes == {}


def training(name: str = "lm-1", choice: str = "2") -> WorkloadSpec:
    resources = ResourceRequest(accelerators=parse_accelerator_choice(choice), cpu_milli=Range.exactly(1000))
    return WorkloadSpec(name=name, kind=WorkloadKind.TRAIN, run="true", resources=resources)


def machine(name: str, *kinds: str) -> Node:
    devices = tuple(
        Device(id=DeviceId(f"{name}-{i}"), index=i, kind=kind, memory_bytes=1) for i, kind in enumerate(kinds)
    )
    return replace(node(name), devices=devices)


def report(bench: Bench, ident: WorkloadId, step: int) -> None:
    key = bench.last(ident).key(0)
    bench.driver.report(ProgressReported(key=key, at=bench.now, progress=Progress(at=bench.now, step=step)))
    bench.step()


def test_the_rate_of_a_training_job_is_learned_for_its_kind_however_it_ends(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [machine("n1", "H100", "H100")])
    ident = bench.submit(training())
    for step, waited_s in ((100, 5.0), (150, 10.0), (300, 20.0)):  # the first report comes after it has begun
        bench.pass_time(waited_s)
        report(bench, ident, step)
    bench.finish(ident, 1)
    (history,) = bench.store.rows().runtimes.values()
    assert (history.key, history.count) == ("default/default/train/lm", 0), "it failed: it does not say how long"
    assert history.rates == {"H100": pytest.approx(200 / 30 / 2)}, "for each of its two"
    again = bench.submit(training("lm-2"))
    report(bench, again, 0)
    bench.pass_time(30.0)
    report(bench, again, 60)
    bench.finish(again)
    (history,) = bench.store.rows().runtimes.values()
    assert (history.count, history.rates) == (1, {"H100": pytest.approx((200 / 60 + 1) / 2)})
    bench.check()


def test_the_rate_of_one_that_runs_is_learned_after_a_minute_and_after_twice_as_long_each_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [machine("n1", "H100", "H100")])
    ident = bench.submit(training())
    report(bench, ident, 0)
    told = []
    for _ in range(100):
        bench.pass_time(10.0)
        report(bench, ident, int(bench.now - 1000.0))
        bench.step()
        told.append(sum(row.version for row in bench.store.rows().runtimes.values()))
    assert [10 * (at + 1) for at in range(1, 100) if told[at] != told[at - 1]] == [60, 120, 240, 480, 960]
    (history,) = bench.store.rows().runtimes.values()
    assert (history.count, history.rates) == (0, {"H100": pytest.approx(1 / 2)}), "for each of its two"
    bench.check()


def test_a_rate_is_measured_from_the_last_beginning_in_place_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [machine("n1", "H100", "H100")])
    ident = bench.submit(training())
    report(bench, ident, 0)
    bench.pass_time(50.0)
    report(bench, ident, 500)
    cause = Cause(kind=CauseKind.EXIT, exit_code=1)
    key = bench.last(ident).key(0)
    bench.driver.report(IncarnationBegan(key=key, at=bench.now, incarnation=1, cause=cause))
    bench.pass_time(50.0)
    report(bench, ident, 490)
    bench.pass_time(10.0)
    report(bench, ident, 590)
    bench.finish(ident)
    (history,) = bench.store.rows().runtimes.values()
    assert history.rates == {"H100": pytest.approx(100 / 10 / 2)}


@pytest.mark.parametrize(
    ("kinds", "steps", "waited_s"), [(("H100", "T4"), 9, 99.0), (("T4", "T4"), 9, 9.0), (("T4",) * 2, 0, 99.0)]
)
def test_of_two_kinds_at_once_of_a_moment_or_of_no_steps_no_rate_is_learned(
    tmp_path: Path, kinds: tuple[str, ...], steps: int, waited_s: float
) -> None:
    bench = Bench(tmp_path, [machine("n1", *kinds)])
    ident = bench.submit(training())
    report(bench, ident, 5)
    bench.pass_time(waited_s)
    report(bench, ident, 5 + steps)
    bench.finish(ident, 1)
    assert bench.store.rows().runtimes == {}


def test_what_one_job_was_measured_at_decides_where_the_next_of_its_kind_goes(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [machine("n1", "H100", "H100"), machine("n2", "A100", "A100")])
    for name, choice, steps in (("lm-1", "H100:2", 20), ("lm-2", "A100:2", 60)):
        ident = bench.submit(training(name, choice))
        report(bench, ident, 0)
        bench.pass_time(20.0)
        report(bench, ident, steps)
        bench.finish(ident)
    ident = bench.submit(training("lm-3", "H100:2 | A100:2"))
    assert bench.last(ident).nodes == ("n2",)
    (placed,) = bench.texts(ident, EventKind.ATTEMPT_PLACED)
    assert placed.endswith("; expected: 3.1 steps/s on A100 (measured), 1 on H100 (measured)")


def test_of_many_kinds_the_one_that_nobody_runs_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting, "MOST_KINDS", 2)
    bench = Bench(tmp_path)
    for name in ("a", "b", "a-2", "c"):
        ident = bench.submit(task(name))
        bench.pass_time(10.0)
        bench.finish(ident)
    assert sorted(bench.store.rows().runtimes) == ["default/default/task/a", "default/default/task/c"]


def test_a_start_says_how_long_it_is_expected_to_last(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for index in range(6):
        ident = bench.submit(task(f"a-{index}"))
        bench.pass_time(100.0)
        bench.finish(ident)
    idents = [
        bench.submit(task("a-9")),
        bench.submit(task("b")),
        bench.submit(task("c", max_duration_s=50.0)),
        bench.submit(service("d")),
    ]
    attempts = bench.store.rows().attempts
    found = [attempts[f"{ident}.0.1"].lasting for ident in idents]
    assert [each.basis for each in found] == [Basis.LEARNED, Basis.ASSUMED, Basis.LIMIT, Basis.ENDLESS]
    assert 100.0 <= found[0].seconds < 142.0
