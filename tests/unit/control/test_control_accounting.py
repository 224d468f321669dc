"""What is written down with the end of an attempt."""

from __future__ import annotations

from pathlib import Path

import pytest
from control_bench import Bench, gang, service, task

from ampacity.control import accounting
from ampacity.model.lasting import Basis


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
