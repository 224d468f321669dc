"""Telemetry's source over a control loop: what it tells of workloads, steps and output."""

from __future__ import annotations

from pathlib import Path

import pytest
from control_bench import Bench, node, task

from ampacity.control.figures import LONG_STEP_S, Figures
from ampacity.control.measuring import Measuring
from ampacity.control.reading import Reading
from ampacity.control.telemetry import FeedSource, open_telemetry
from ampacity.model.event import EventKind
from ampacity.observe.exposition import Family
from ampacity.observe.measured import MetricsFolder


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, [node("n1")])


def source_of(bench: Bench, figures: Figures) -> FeedSource:
    measuring = Measuring(MetricsFolder(bench.folder), bench.store, bench.control, figures, lambda: bench.now)
    reading = Reading(bench.store, bench.control, bench.output)
    return FeedSource(bench.store, reading, bench.output, measuring, figures)


def value(families: list[Family], name: str, **labels: str) -> float:
    family = next(each for each in families if each.name == name)
    return next(value for _, found, value in family.samples if dict(found) == labels)


def test_what_happens_is_told_with_the_whole_life(bench: Bench) -> None:
    source = source_of(bench, Figures())
    before = source.last_seq()
    ident = bench.submit(task("job"))
    bench.step()
    bench.finish(ident)
    kinds = [event.kind for event in source.events(after=before, limit=100)]
    assert EventKind.WORKLOAD_SUBMITTED in kinds
    assert kinds[-1] is EventKind.WORKLOAD_ENDED
    life = source.life(ident)
    assert life is not None
    workload, attempts = life
    assert workload.phase.ended
    assert [attempt.epoch for attempt in attempts] == [1]


def test_output_is_told_once(bench: Bench) -> None:
    source = source_of(bench, Figures())
    ident = bench.submit(task("job"))
    bench.step()
    key = bench.control.mirror.rows.attempts[f"{ident}.0.1"].key(0)
    bench.driver.print(key, "one")
    assert [(name, line.text) for _, name, line in source.output()] == [("job", "one")]
    bench.driver.print(key, "two")
    assert [line.text for _, _, line in source.output()] == ["two"]
    assert source.output() == []


def test_steps_that_took_long_are_told_once_and_all_are_counted(bench: Bench) -> None:
    figures = Figures()
    source = source_of(bench, figures)
    bench.step()
    figures.stepped(ended_at=100.0, lasted_s=0.001, wrote=1)
    figures.stepped(ended_at=200.0, lasted_s=LONG_STEP_S, wrote=7)
    figures.failed()
    (span,) = source.long_steps()
    assert (span.name, span.ended_at - span.began_at) == ("control step", LONG_STEP_S)
    assert source.long_steps() == []
    families = list(source.families())
    assert value(families, "ampacity_control_steps_failed") == 1
    assert value(families, "ampacity_store_events_written") == 8
    assert value(families, "ampacity_nodes", condition="ready") == 1


def test_waits_are_counted_by_queue_once_for_each_workload(bench: Bench) -> None:
    figures = Figures()
    figures(bench.control.mirror)
    first = bench.submit(task("first"))
    bench.submit(task("second", after=("first",)))
    figures(bench.control.mirror)
    bench.now += 30
    bench.finish(first)
    for _ in range(2):
        figures(bench.control.mirror)
    waits = next(each for each in figures.families() if each.name == "ampacity_queue_wait_seconds")
    told = {(suffix, dict(labels).get("le")): value for suffix, labels, value in waits.samples}
    assert told[("_count", None)] == 2
    assert told[("_bucket", "10.0")] == 1
    assert told[("_bucket", "60.0")] == 2


def test_nothing_is_exported_unless_it_is_asked_for(bench: Bench) -> None:
    assert open_telemetry({}, source_of(bench, Figures())) is None
