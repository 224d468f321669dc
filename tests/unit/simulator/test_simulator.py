"""The twin: time that is turned by events, machines that pretend, and the live system's own loop between them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from ampacity.model.ids import DeviceId, NodeId
from ampacity.model.node import Device, Node
from ampacity.model.resources import AcceleratorRequest, Range, ResourceRequest
from ampacity.model.workload import CheckpointPolicy, RetryPolicy, WorkloadKind, WorkloadPhase, WorkloadSpec
from ampacity.simulator import Result, SimulatedJob, Simulation
from ampacity.simulator.measures import jain_index, percentile, utilisation, waits_s
from ampacity.simulator.timeline import Timeline

T0 = 1_000_000.0


def machine(name: str, devices: int = 2) -> Node:
    made = tuple(
        Device(id=DeviceId(f"{name}-{index}"), index=index, kind="H100", memory_bytes=80 << 30)
        for index in range(devices)
    )
    return Node(id=NodeId(name), driver="any", cpu_milli=64_000, memory_bytes=1 << 39, devices=made)


def job(name: str, at: float, work_s: float | None, *, devices: int = 2, **keys: Any) -> SimulatedJob:
    asked = ResourceRequest(
        cpu_milli=Range.exactly(1000), accelerators=(AcceleratorRequest(kind="H100", count=Range.exactly(devices)),)
    )
    own = {key: keys.pop(key) for key in ("start_s", "save_s", "stop_at") if key in keys}
    spec = WorkloadSpec(name=name, kind=WorkloadKind.TRAIN, run="train", resources=asked, **keys)
    return SimulatedJob(at=T0 + at, spec=spec, work_s=work_s, **own)


def play(folder: Path, jobs: list[SimulatedJob], *, nodes: int = 1, until: float = 1e5) -> Result:
    return Simulation(folder, [machine(f"n{index}") for index in range(nodes)], jobs).run(T0 + until)


def test_the_clock_is_turned_in_order_and_never_back() -> None:
    seen: list[tuple[str, float]] = []
    timeline = Timeline(10.0)

    def later() -> None:
        seen.append(("b", timeline.now))
        timeline.at(5.0, lambda: seen.append(("late", timeline.now)))

    timeline.at(20.0, later)
    timeline.at(20.0, lambda: seen.append(("c", timeline.now)))
    timeline.at(15.0, lambda: seen.append(("a", timeline.now)))
    assert timeline.next_at() == 15.0
    timeline.advance(30.0)
    assert seen == [("a", 15.0), ("b", 20.0), ("c", 20.0), ("late", 20.0)]
    assert (timeline.now, timeline.next_at()) == (30.0, None)


def test_jobs_wait_for_one_another_and_run_for_as_long_as_they_are(tmp_path: Path) -> None:
    result = play(tmp_path, [job("first", 0, 100.0), job("second", 10, 50.0, start_s=5.0)])
    first, second = result.outcomes
    assert [(run.started_at - T0, run.ended_at - T0) for run in first.runs] == [(0.0, 100.0)]
    assert [(run.started_at - T0, run.ended_at - T0) for run in second.runs] == [(100.0, 155.0)]
    assert (first.waited_s, second.waited_s) == (0.0, 90.0)
    assert first.phase is second.phase is WorkloadPhase.SUCCEEDED
    assert utilisation(result, T0, T0 + 310.0) == pytest.approx(0.5)


def test_a_gang_runs_on_all_its_nodes_or_not_at_all(tmp_path: Path) -> None:
    jobs = [job("one", 0, 100.0), job("gang", 1, 30.0, num_nodes=Range.exactly(2))]
    result = play(tmp_path, jobs, nodes=2)
    (run,) = result.outcomes[1].runs
    assert (run.started_at - T0, run.nodes, run.accelerators) == (100.0, 2, 4.0)


def test_an_elastic_gang_is_as_much_faster_as_it_has_nodes(tmp_path: Path) -> None:
    result = play(tmp_path, [job("gang", 0, 100.0, num_nodes=Range(minimum=1, maximum=2))], nodes=2)
    (run,) = result.outcomes[0].runs
    assert (run.nodes, run.ended_at - run.started_at) == (2, 50.0)


def test_who_is_stopped_by_its_owner_ends_then(tmp_path: Path) -> None:
    result = play(tmp_path, [job("notebook", 0, None, stop_at=T0 + 60.0)])
    assert result.outcomes[0].phase is WorkloadPhase.CANCELLED
    assert result.outcomes[0].ended_at == T0 + 60.0


def test_what_runs_beyond_the_end_has_run_until_then(tmp_path: Path) -> None:
    result = play(tmp_path, [job("long", 0, 1000.0), job("never", 5, 10.0)], until=100.0)
    assert [run.ended_at - T0 for run in result.outcomes[0].runs] == [100.0]
    assert result.outcomes[1].waited_s is None
    assert waits_s(result.outcomes, T0 + 100.0) == [0.0, 95.0]


def test_one_that_can_never_run_is_told_so(tmp_path: Path) -> None:
    result = play(tmp_path, [job("huge", 0, 10.0, devices=3)])
    assert "asks for 3 H100; the largest node has 2" in result.outcomes[0].refused


def test_a_node_that_dies_costs_what_was_not_saved(tmp_path: Path) -> None:
    saving = CheckpointPolicy(every_s=40.0)
    jobs = [job("train", 0, 200.0, checkpoint=saving, retry=RetryPolicy(maximum=3))]
    simulation = Simulation(tmp_path, [machine("n0")], jobs)
    simulation.timeline.at(T0 + 100.0, lambda: simulation.lose_all_on("n0"))
    (outcome,) = simulation.run(T0 + 1e5).outcomes
    assert outcome.phase is WorkloadPhase.SUCCEEDED
    assert (outcome.lost_s, outcome.interruptions) == (20.0, 1)
    assert [run.ended_at - T0 for run in outcome.runs] == [100.0, 220.0]


def test_the_same_jobs_have_the_same_lives(tmp_path: Path) -> None:
    jobs = [
        job(f"j{index}", 7.0 * index, 20.0 + index % 5, num_nodes=Range.exactly(1 + index % 2)) for index in range(20)
    ]
    results = [play(tmp_path / str(turn), jobs, nodes=3) for turn in range(2)]
    lives = [[(outcome.phase, outcome.runs) for outcome in result.outcomes] for result in results]
    assert lives[0] == lives[1]
    assert results[0].steps == results[1].steps


def test_percentiles_and_fairness() -> None:
    assert [percentile([1.0, 2.0, 3.0, 4.0], percent) for percent in (0, 25, 50, 95, 100)] == [1, 1, 2, 4, 4]
    assert math.isnan(percentile([], 50))
    assert jain_index([3.0, 3.0, 3.0]) == pytest.approx(1.0)
    assert jain_index([1.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)
    assert jain_index([0.0, 0.0]) == 1.0
