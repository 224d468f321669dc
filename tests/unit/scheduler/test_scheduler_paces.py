"""Places among several kinds of accelerators, by how fast a job is said, measured or estimated to run on each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ampacity.model.event import Draft, Event, EventKind, Row, put, remove
from ampacity.model.history import RuntimeHistory
from ampacity.model.node import Node
from ampacity.model.plan import Plan
from ampacity.model.policy import PlacementName, SchedulerPolicy
from ampacity.model.quantities import parse_accelerator_choice
from ampacity.model.resources import KindRate, Range, ResourceRequest
from ampacity.model.workload import SpecRevision
from ampacity.scheduler import State, build, plan
from scheduler_cluster import node, request, rows_of, workload

KINDS = ("H100", "A100", "T4")
JOB = "default/default/train/name-w"


def mixed(devices: int = 8, each: int = 1) -> list[Node]:
    return [node(f"{kind.lower()}-{index}", devices=devices, kind=kind) for kind in KINDS for index in range(each)]


def asks(choice: str, *, nodes: int = 1, id: str = "w1", **throughput: float) -> tuple[Row, ...]:
    found: list[Row] = []
    for row in workload(id, request(cpus=1), num_nodes=Range.exactly(nodes)):
        if isinstance(row, SpecRevision):
            resources: ResourceRequest = replace(
                row.spec.resources,
                accelerators=parse_accelerator_choice(choice),
                throughput=tuple(KindRate(kind=kind, steps_per_s=rate) for kind, rate in sorted(throughput.items())),
            )
            row = replace(row, spec=replace(row.spec, resources=resources))
        found.append(row)
    return tuple(found)


def measured(key: str = JOB, **rates: float) -> RuntimeHistory:
    return RuntimeHistory(key=key, rates=rates)


def planned(*parts: Row | tuple[Row, ...]) -> Plan:
    return plan(build(rows_of(*parts)), 0.0)


def where(*parts: Row | tuple[Row, ...]) -> list[str]:
    (start,) = planned(*parts).starts
    return [str(place.node) for place in start.placements]


def test_alternatives_are_tried_by_what_is_said_of_their_speed() -> None:
    assert where(*mixed(), asks("A100:8 | H100:8")) == ["a100-0"], "as it is written, where nothing is known"
    assert where(*mixed(), asks("A100:8 | H100:8", A100=1.0, H100=3.0)) == ["h100-0"]
    assert where(*mixed(), asks("A100:8 | H100:4", A100=3.0, H100=1.0)) == ["a100-0"]
    busy = asks("H100:8", id="a0")
    made = planned(*mixed(), busy, asks("A100:8 | H100:8", A100=1.0, H100=3.0))
    assert [start.placements[0].node for start in made.starts] == ["h100-0", "a100-0"], "the other one where it fits"


def test_what_was_measured_counts_more_than_what_is_said() -> None:
    slow = measured(H100=0.1, A100=0.5)
    assert where(*mixed(), slow, asks("H100:8 | A100:8", H100=3.0, A100=1.0)) == ["a100-0"]
    assert where(*mixed(), measured(key="other", H100=0.1, A100=0.5), asks("H100:8 | A100:8")) == ["h100-0"]


def test_more_of_a_slower_kind_may_be_faster_in_all() -> None:
    nodes = [node("h", devices=4, kind="H100"), node("a", devices=16, kind="A100")]
    each = measured(H100=0.5, A100=0.3)
    assert where(*nodes, each, asks("H100:4 | A100:16")) == ["a"], "4 x 0.5 against 16 x 0.3"


def test_what_is_known_of_one_kind_is_carried_over_to_the_others() -> None:
    assert where(*mixed(), asks("T4:8 | A100:8", T4=1.0, A100=1.0)) == ["t4-0"]
    assert where(*mixed(), measured(T4=1.0), asks("T4:8 | A100:8")) == ["a100-0"], "by the peaks of the two"
    odd = measured(key="x", T4=9.0, A100=1.0)
    assert where(*mixed(), odd, measured(T4=1.0), asks("A100:8 | T4:8")) == ["t4-0"], "by what others were measured at"


@pytest.mark.parametrize("placement", list(PlacementName))
def test_any_kind_is_the_fastest_one_that_fits(placement: PlacementName) -> None:
    policy = SchedulerPolicy(placement=placement)
    assert where(policy, *mixed(), asks("8", T4=1.0, H100=3.0, A100=9.0)) == ["a100-0"]
    assert where(policy, *mixed(), measured(T4=5.0, H100=1.0, A100=1.0), asks("8")) == ["t4-0"]
    assert where(policy, *mixed(), asks("0.5", T4=9.0, H100=3.0, A100=1.0)) == ["t4-0"]


def test_a_gang_of_any_kind_is_of_one_kind_where_that_can_be() -> None:
    nodes = mixed(each=2)
    assert where(*nodes, asks("8", nodes=2, T4=1.0, H100=3.0, A100=2.0)) == ["h100-0", "h100-1"]
    busy = asks("H100:8", id="a0")
    made = planned(*nodes, busy, asks("8", nodes=2, T4=1.0, H100=3.0, A100=2.0))
    assert [place.node for place in made.starts[1].placements] == ["a100-0", "a100-1"]
    wide = planned(*nodes, asks("8", nodes=5, T4=1.0, H100=3.0, A100=2.0))
    assert len(wide.starts[0].placements) == 5, "else of several"


@pytest.mark.parametrize("nodes", [1, 2])
def test_no_kind_is_given_that_was_not_asked_for_whatever_is_known_of_its_speed(nodes: int) -> None:
    free = [node(f"t4-{index}", devices=8, kind="T4") for index in range(2)]
    asked = asks("A100:8 | H100:8", nodes=nodes, A100=1.0, H100=3.0)
    assert planned(*free, node("a100", devices=1, kind="A100"), measured(T4=9.0, A100=1.0), asked).starts == ()


def test_why_tells_the_rates_and_where_they_come_from() -> None:
    (start,) = planned(*mixed(), measured(H100=0.5), asks("H100:8 | A100:8", H100=3.0, A100=1.0)).starts
    assert start.why.endswith("; expected: 4 steps/s on H100 (measured), 1 on A100 (given)")
    (start,) = planned(*mixed(), asks("A100:8 | H100:8", A100=1.0)).starts
    assert "on H100 (estimated)" in start.why
    (start,) = planned(*mixed(), measured(H100=0.5), asks("H100:8")).starts
    assert "steps/s" not in start.why, "it had no choice"


def apply(state: State, *rows: Row, gone: tuple[Row, ...] = ()) -> None:
    changes = (*(put(row) for row in rows), *(remove(row) for row in gone))
    draft = Draft(kind=EventKind.WORKLOAD_CHANGED, at=0.0, changes=changes)
    state.apply(Event(seq=state.seq + 1, draft=draft))


def test_what_is_measured_while_it_waits_counts_at_once() -> None:
    base: list[Any] = [*mixed(), asks("H100:8 | A100:8")]
    state = build(rows_of(*base))

    def first() -> str:
        return str(plan(state, 0.0).starts[0].placements[0].node)

    assert first() == "h100-0"
    apply(state, measured(H100=1.0, A100=2.0))
    assert first() == "a100-0"
    apply(state, replace(measured(H100=3.0, A100=2.0), version=2))
    assert first() == "h100-0"
    apply(state, replace(measured(key="x", A100=9.0, H100=1.0), version=1))
    apply(state, replace(measured(H100=1.0), version=3))
    assert first() == "a100-0", "by the ratio of another job's"
    apply(state, gone=(replace(measured(H100=1.0), version=3),))
    assert first() == "h100-0"
    assert state.line.shapes.keys() == {next(iter(state.line.shapes))}


def test_only_rates_that_differ_by_more_than_a_little_make_other_shapes() -> None:
    state = build(rows_of(*mixed(), measured(H100=1.0, A100=1.0), asks("H100:8 | A100:8")))
    before = dict(state.line.shapes)
    apply(state, replace(measured(H100=1.01, A100=0.99), version=2))
    assert state.line.shapes == before
    apply(state, replace(measured(H100=1.2, A100=0.99), version=3))
    assert state.line.shapes != before
